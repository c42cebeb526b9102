"""From the kernel's change to the changed pixel, in a real JupyterLab and headless Chromium.

While a cell blocks, a process in the lab adds rows, first to the bridge's forwarding database,
then to a host's neighbour table. Its clock is read just before it sends each request, which the
kernel carries out at once. In the page an observer notes a row with that MAC, and the clock when
the next frame has been drawn. Both are the same machine's clock.
"""

from __future__ import annotations

from bench import browser

SHOW = """
from IPython.display import display
display(lab, lab.watch(lab["h0"], b))
"""
CALM = 13_000
"""Milliseconds after which the agent looks no more at each host for what its build brings about."""
CHANGER = """
import random, socket, struct, sys, time
kind, interface, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
index = socket.if_nametoindex(interface)
for i in range(count):
    time.sleep(random.uniform(0.1, 0.2))
    mac = bytes([2, 0, 0, 0, kind == "fdb", i])
    rest = struct.pack("=HH6sxx", 10, 2, mac)  # NDA_LLADDR
    if kind == "fdb":
        head = struct.pack("=BxxxiHBB", 7, index, 2, 4, 0)  # AF_BRIDGE, NUD_REACHABLE, NTF_MASTER
    else:
        head = struct.pack("=BxxxiHBB", 2, index, 4, 0, 0)  # AF_INET, NUD_STALE
        rest += struct.pack("=HH4B", 8, 1, 10, 0, 200, i)  # NDA_DST
    body = head + rest
    now = time.time_ns()
    netlink.send(struct.pack("=IHHII", 16 + len(body), 28, 0x505, i, 0) + body)  # RTM_NEWNEIGH
    code = -struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    assert code == 0, code
    print(mac.hex(":"), now)
"""
CHANGE = """
import json, sys
changer = {changer!r}
read = {{}}
sent = {{}}
for host, kind, name in ((lab.machine, "fdb", b.ports[0].name), (lab["h0"], "neighbour", "eth0")):
    done = host.run([sys.executable, "-c", changer, kind, name, "{count}"], timeout=100)
    assert done.exit_code == 0, done.stderr
    sent |= {{mac: int(at) for mac, at in (line.split() for line in done.stdout.splitlines())}}
for event in lab.recording.events:
    if getattr(event, "mac", None) in sent:
        read.setdefault(event.mac, event.at)
print("TOLD", json.dumps({{mac: [sent[mac], read[mac]] for mac in sent}}))
"""
OBSERVE = """() => {
    window.seen = {};
    const look = (row) => {
        const texts = [...row.children].map((cell) => cell.dataset.text ?? '');
        const mac = texts.find((text) => /^02:00:00:00:0[01]:/.test(text));
        if (!mac || mac in window.seen) return;
        window.seen[mac] = null;
        requestAnimationFrame(() => {  // a message sent now is delivered when it is painted
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = () => {
                window.seen[mac] = performance.timeOrigin + performance.now();
            };
            port2.postMessage(null);
        });
    };
    new MutationObserver((records) => {
        for (const { addedNodes } of records) {
            for (const node of addedNodes) if (node.matches?.('.lk tbody tr')) look(node);
        }
    }).observe(document.body, { childList: true, subtree: true });
}"""


def latencies(hosts: int, count: int) -> list[dict[str, float]]:
    """Milliseconds from the kernel's change, for each of `count`: until the agent, until paint."""
    with browser.opened() as notebook:
        page = notebook.page
        notebook.run_code(browser.SCENE.format(hosts=hosts) + SHOW)
        page.locator(".lk-table").first.wait_for()
        page.wait_for_timeout(CALM)
        page.evaluate(OBSERVE)
        times = browser.told(notebook, CHANGE.format(changer=CHANGER, count=count // 2))
        page.wait_for_function(
            "n => Object.values(window.seen).filter(Boolean).length >= n", arg=len(times)
        )
        seen = page.evaluate("() => window.seen")
    return [
        {"agent": (read - sent) / 1e6, "pixel": seen[mac] - sent / 1e6}
        for mac, (sent, read) in times.items()
    ]
