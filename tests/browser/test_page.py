"""The views on a page of their own, under a strict content security policy, with hostile names.

No JupyterLab here, whose own requests would hide a view's.
"""

from __future__ import annotations

import json

import anywidget
import pytest

from labkit import Recording, widgets
from labkit.model import events as ev
from labkit.model import operations as op

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; frame-ancestors 'none'"
ORIGIN = "http://labkit.test"
NAMES = (
    "<img/src=x/onerror=alert(1)>",
    "<script>alert(1)</script>",
    '"onload="alert(1)',
    "javascript:alert(1)",
    "\x1b[31m$(reboot)",
    "\u202egnp",
    "{a|b}\\N&lt;",
)
ARP = bytes.fromhex("080600010800060400010200000000010a00000a0000000000000a00000b")
PAGE = """<!doctype html><title>a view</title><link rel="stylesheet" href="/view.css">
<div id="el"></div><script type="module" src="/main.js"></script>"""
MAIN = """
import view from "/view.js";
import traits from "/traits.js";
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => window.violations.push(
  `${e.violatedDirective}: ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`));
const heard = new Map();
const model = {
  get: (name) => traits[name],
  set: (name, value) => { traits[name] = value; },
  save_changes() {}, send() {},
  on: (name, f) => heard.set(name, [...(heard.get(name) ?? []), f]),
  off: (name, f) => heard.set(name, (heard.get(name) ?? []).filter((one) => one !== f)),
};
window.change = (news) => {
  Object.assign(traits, news);
  for (const name of Object.keys(news)) for (const f of heard.get(`change:${name}`) ?? []) f();
};
try {
  await view.initialize?.({ model, experimental: {} });
  await view.render({ model, el: document.querySelector("#el"), experimental: {} });
  window.ready = true;
} catch (error) { window.failed = String(error.stack); }
"""


def recording() -> Recording:
    """What a lab would tell whose every name was chosen to do harm."""
    recording = Recording(NAMES[0], live=False)
    machine = op.MACHINE
    recording.append(ev.LinkSet(at=1, netns=machine, index=2, name=NAMES[1], kind="bridge"))
    for number, name in enumerate(NAMES, 10):
        mac = f"02:00:00:00:00:{number:02x}"
        recording.append(ev.Applied(at=2, operation=op.AddHost(name=name, netns=name)))
        inner = {"netns": name, "index": number, "peer_netns": machine, "peer_index": 100 + number}
        outer = {"netns": machine, "index": 100 + number, "peer_netns": name, "peer_index": number}
        state = {"kind": "veth", "is_up": True, "has_carrier": True, "mac": mac}
        recording.append(ev.LinkSet(at=3, name=name, **inner, **state))
        recording.append(ev.LinkSet(at=3, name=f"v{name}", master=2, **outer, **state))
        recording.append(
            ev.AddressSet(at=4, netns=name, index=number, address=f"10.0.0.{number}/24")
        )
        recording.append(
            ev.NeighbourSet(
                at=5, netns=name, index=number, address=f"10.0.0.{number + 1}", state=name
            )
        )
        recording.append(
            ev.FdbSet(
                at=5, netns=machine, bridge=2, port=100 + number, mac=mac, kind="learned", updated=5
            )
        )
        recording.append(ev.Traffic(at=6, netns=machine, index=100 + number, received=1, sent=1))
        asks = bytes.fromhex("ffffffffffff") + bytes.fromhex(mac.replace(":", "")) + ARP
        for netns, index, way in ((name, number, "outgoing"), (machine, 100 + number, "broadcast")):
            recording.append(
                ev.Frame(at=7 + number, netns=netns, index=index, packet_type=way, data=asks)
            )
    recording.append(ev.Lost(at=99, what=NAMES[0], count=3))
    recording.append(ev.Closed(at=99, reason=NAMES[1]))
    return recording


MAKERS = {
    "Topology": lambda: widgets.Topology(recording()),
    "Tables": lambda: widgets.Tables(recording()),
    "Player": lambda: widgets.Player(recording().journey()),
    "Timeline": lambda: widgets.Timeline(recording()).scrubber,  # beside it: the two first
    "NeighbourStates": lambda: widgets.NeighbourStates(recording()),
    "PredictionView": lambda: widgets.PredictionView(
        question=NAMES[1], choices=list(NAMES), note=NAMES[0], locked=True
    ),
}


def own_traits(view: anywidget.AnyWidget) -> dict[str, object]:
    shared = anywidget.AnyWidget.class_traits()
    return {
        name: getattr(view, name)
        for name in view.traits(sync=True)
        if name not in shared and name[0] != "_"
    }


@pytest.mark.parametrize("name", widgets.__all__)
def test_a_view_asks_nobody_runs_nothing_and_shows_text(browser, name, picture):
    view = MAKERS[name]()  # a view that is missing there is asked to be added
    files = {
        "/": ("text/html", PAGE),
        "/main.js": ("text/javascript", MAIN),
        "/view.js": ("text/javascript", str(view._esm)),
        "/view.css": ("text/css", str(view._css)),
        "/traits.js": ("text/javascript", f"export default {json.dumps(own_traits(view))};"),
    }
    asked: list[str] = []
    told: list[str] = []

    def answer(route) -> None:
        path = route.request.url.removeprefix(ORIGIN)
        asked.append(path)
        kind, text = files.get(path, (None, None))
        if kind is None:
            route.abort()
            return
        route.fulfill(body=text, content_type=kind, headers={"Content-Security-Policy": POLICY})

    context = browser.new_context()
    context.route("**/*", answer)
    page = context.new_page()
    page.on("dialog", lambda dialog: (told.append(dialog.message), dialog.dismiss()))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("websocket", lambda socket: told.append(socket.url))
    page.goto(f"{ORIGIN}/")
    page.wait_for_function("() => window.ready || window.failed")
    assert page.evaluate("() => window.failed") is None
    loaded = set(asked)
    assert loaded <= {*files, "/favicon.ico"}
    # Everything anew, some of it changed; every element visited; a while of its timers.
    news = own_traits(view)
    other = {"status": {"name": "other"}, "words": "other"}
    page.evaluate("(news) => window.change(news)", {k: v for k, v in other.items() if k in news})
    page.evaluate("(news) => window.change(news)", news)
    for _ in range(12):
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
    page.mouse.move(200, 200)
    page.wait_for_timeout(1500)  # timers of a second's length have run
    picture(page, f"page-{name.lower()}")
    assert set(asked) - {"/favicon.ico"} == loaded - {"/favicon.ico"}, "a view asked for something"
    assert page.evaluate("() => window.violations") == []
    assert told == []
    elements = page.evaluate(
        "() => [...new Set([...document.querySelectorAll('#el *')].map(e => e.localName))]"
    )
    assert not set(elements) & {
        "script",
        "img",
        "iframe",
        "object",
        "embed",
        "link",
        "style",
        "b",
        "a",
    }
    handlers = page.evaluate(
        "() => [...document.querySelectorAll('#el *')].flatMap(e => e.getAttributeNames())"
        ".filter(name => name.startsWith('on') || name === 'href' || name === 'src')"
    )
    assert handlers == []
    words = page.locator("#el").inner_text() + " ".join(page.locator("#el").all_text_contents())
    assert NAMES[1] in words
    context.close()
