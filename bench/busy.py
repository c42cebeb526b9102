"""How busy a browser's main thread is with a live view of many hosts and a long CAM table.

A process in the lab fills the bridge's forwarding database, then changes it 20 times a second: a
row moves to another port, a row comes, the oldest goes. Chromium itself counts the time that its
main thread spends in tasks (`Performance.getMetrics`, TaskDuration, of the DevTools protocol).
"""

from __future__ import annotations

from typing import Any

from bench import browser
from bench.report import Report

RATE = 20
"""Changes a second."""
SHOW = """
from IPython.display import display
display(lab, lab.watch())
"""
CHANGER = """
import itertools, socket, struct, sys, time
rows, rate, seconds = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
ports = [index for index, name in socket.if_nameindex() if name.startswith("veth")]

def send(kind, flags, number, port):
    mac = struct.pack("=H", 2) + struct.pack("!I", number)
    # AF_BRIDGE, NUD_REACHABLE, NTF_MASTER, NDA_LLADDR
    body = struct.pack("=BxxxiHBB", 7, ports[port % len(ports)], 2, 4, 0)
    body += struct.pack("=HH6sxx", 10, 2, mac)
    netlink.send(struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body)
    code = -struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    assert code == 0, code

where = {number: number for number in range(rows)}
for number, port in where.items():
    send(28, 0x505, number, port)  # RTM_NEWNEIGH, NLM_F_REPLACE, NLM_F_CREATE
print("filled", flush=True)
if not seconds:
    sys.exit()
began = time.monotonic()
for step in itertools.count():
    due = began + step / rate
    if due > began + seconds:
        break
    time.sleep(max(0, due - time.monotonic()))
    if step % 3 == 0:  # a row moves
        number = list(where)[step * 7 % rows]
        where[number] += 1
        send(28, 0x505, number, where[number])
    elif step % 3 == 1:  # a row comes
        where[rows + step] = step
        send(28, 0x505, rows + step, step)
    else:  # the oldest goes
        number = next(iter(where))
        send(29, 5, number, where.pop(number))  # RTM_DELNEIGH
"""
FILL = """
import sys
changer = {changer!r}
done = lab.machine.run([sys.executable, "-c", changer, "{rows}", "{rate}", "0"], timeout=100)
assert done.exit_code == 0, done.stderr
print("TOLD", len([row for row in b.fdb if row.kind == "learned"]))
"""
CHANGE = """
stream = lab["h0"].start("ping -q -i 0.05 10.0.1.2")
job = lab.machine.start([sys.executable, "-c", changer, "{rows}", "{rate}", "1000"])
print("TOLD 0")
"""
END = """
assert job.is_running, job.output
job.stop()
stream.stop()
assert not lab.recording.state().lost
print("TOLD 0")
"""
OBSERVE = """() => {
    window.painted = 0;
    let due = false;
    new MutationObserver((records) => {
        const rows = ({ target }) => target.matches?.('.lk-table :is(tbody, td)');
        if (due || !records.some(rows)) return;
        due = true;
        requestAnimationFrame(() => { due = false; window.painted += 1; });
    }).observe(document.body, { childList: true, subtree: true });
}"""


DOMAINS = {"wall": "timeTicks", "processor": "threadTicks"}
"""Of the protocol: the clock's time, and what the thread had of a processor."""


def measured(hosts: int, rows: int, seconds: float) -> dict[str, float]:
    """Shares of the main thread's time by both clocks, and updates painted a second."""
    with browser.opened() as notebook:
        page = notebook.page
        notebook.run_code(browser.SCENE.format(hosts=hosts) + SHOW)
        page.locator(".lk-table").first.wait_for()
        if browser.told(notebook, FILL.format(changer=CHANGER, rows=rows, rate=RATE)) < rows:
            raise RuntimeError("the CAM table has not as many rows as it was given")
        page.locator(".lk-table").first.scroll_into_view_if_needed()
        page.evaluate(OBSERVE)
        cdp = page.context.new_cdp_session(page)
        browser.told(notebook, CHANGE.format(rows=rows, rate=RATE))
        page.wait_for_timeout(5000)  # what filling it made the views do is over
        found = {}
        looks = []
        for name, domain in DOMAINS.items():
            cdp.send("Performance.enable", {"timeDomain": domain})
            before = look(page, cdp)
            page.wait_for_timeout(seconds * 1000)
            after = look(page, cdp)
            cdp.send("Performance.disable")
            found[name] = rate("tasks", before, after)
            looks += [before, after]
        found["painted"] = rate("painted", looks[0], looks[-1])
        browser.told(notebook, END)
    return found


def rate(what: str, before: dict[str, float], after: dict[str, float]) -> float:
    return (after[what] - before[what]) / (after["at"] - before["at"])


def look(page: Any, cdp: Any) -> dict[str, float]:
    rows = cdp.send("Performance.getMetrics")["metrics"]
    tasks = next(row["value"] for row in rows if row["name"] == "TaskDuration")
    at, painted = page.evaluate("() => [performance.now() / 1000, window.painted]")
    return {"tasks": tasks, "at": at, "painted": painted}


def busy(report: Report, hosts: int, rows: int, seconds: float) -> None:
    """The rows of the report."""
    found = measured(hosts, rows, seconds)
    report.add(f"{hosts} hosts: browser's thread busy", found["wall"] * 100, "%")
    report.add(f"{hosts} hosts: of a processor", found["processor"] * 100, "%")
    report.add(f"{hosts} hosts: updates painted", found["painted"], "/s")
