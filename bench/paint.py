"""From the kernel's event to the changed pixel, in a real JupyterLab and headless Chromium.

A blocking cell adds rows to a bridge's forwarding database with `bridge fdb`. The clock starts
when the kernel's netlink message is read (microseconds after it was sent; netlink carries no
time of its own). In the page an observer notes when a row with that MAC is in the document and
the next frame has been drawn.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, Jupyter, open_notebook

NOTEBOOK = "01-containers-on-one-bridge.ipynb"
BUILD = """
from labkit import Lab
lab = Lab("paint")
b = lab.bridge("br0", "10.0.0.254/24")
with lab.batch():
    for i in range({hosts}):
        lab.cable(lab.host(f"h{{i}}"), b, f"10.0.0.{{i + 1}}/24")
port = b.ports[0].name
from IPython.display import display
display(lab, lab.watch(b))
"""
CHANGE = """
import json, time
times = {{}}
for i in range({count}):
    mac = f"02:00:00:00:01:{{i:02x}}"
    lab.machine.run(f"bridge fdb replace {{mac}} dev {{port}} master dynamic")
    time.sleep(0.13)
for event in lab.recording.events:
    if getattr(event, "mac", "").startswith("02:00:00:00:01:"):
        times.setdefault(event.mac, event.at)
print("TIMES", json.dumps(times))
"""
OBSERVE = """() => {
    window.seen = {};
    const look = () => {
        for (const row of document.querySelectorAll('.lk tbody tr')) {
            const mac = row.firstElementChild?.dataset.text;
            if (!mac?.startsWith('02:00:00:00:01:') || mac in window.seen) continue;
            window.seen[mac] = null;
            requestAnimationFrame(() => {  // a message sent now is delivered when it is painted
                const { port1, port2 } = new MessageChannel();
                port1.onmessage = () => {
                    window.seen[mac] = performance.timeOrigin + performance.now();
                };
                port2.postMessage(null);
            });
        }
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
}"""


def latencies(hosts: int, count: int) -> list[float]:
    """Milliseconds from the kernel's change to its paint, one for each of `count` changes."""
    with tempfile.TemporaryDirectory() as folder:
        jupyter = Jupyter(Path(folder))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium", args=FLAGS
                )
                page_size = {"width": 1280, "height": 900}
                notebook = open_notebook(browser, jupyter, NOTEBOOK, viewport=page_size)
                page = notebook.page
                notebook.run_code(BUILD.format(hosts=hosts))
                page.locator(".lk-table").first.wait_for()
                page.evaluate(OBSERVE)
                notebook.run_code(CHANGE.format(count=count))
                output = page.get_by_text("TIMES {").first
                output.wait_for(timeout=120_000)
                page.wait_for_function(
                    f"() => Object.values(window.seen).filter(Boolean).length >= {count}"
                )
                began = json.loads(output.inner_text().partition("TIMES ")[2])
                seen = page.evaluate("() => window.seen")
                browser.close()
        finally:
            jupyter.stop()
    return [seen[mac] - at / 1e6 for mac, at in began.items()]


def percentiles(hosts: int, count: int) -> tuple[float, float]:
    """Median and 95th percentile, milliseconds."""
    found = latencies(hosts, count)
    return statistics.median(found), statistics.quantiles(found, n=20)[18]
