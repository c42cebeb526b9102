"""The journey player as a learner meets it: in JupyterLab by keyboard, and as a page of its own."""

from __future__ import annotations

import json
import re

import pytest

from tests.browser.conftest import open_notebook
from tests.unit.journeys import Story, cold_ping, failed_ping

FIRST = "00-start-here.ipynb"
SIZE = {"width": 1280, "height": 1100}

# A cold ping in a real lab. What the tables hold at each step is written by the side of the player.
SCENE = """
import json
from pathlib import Path
from labkit import Lab, Recording
from labkit.widgets import Player

lab = Lab('docker0')
docker0 = lab.bridge('docker0', '172.17.0.1/16')
hosts = [lab.host(f'nginx-{i}') for i in (1, 2, 3)]
for i, host in enumerate(hosts):
    lab.cable(host, docker0, f'172.17.0.{i + 2}/16')
ping = hosts[0].ping(hosts[1])
journey = ping.journey

def oracle(journey):
    told = []
    for number, (_, step) in enumerate(journey.walk()):
        state = journey.state(number)
        bridge = state.space('machine').link_named('docker0').index
        told.append({
            'text': step.text,
            'docker0': sorted([r.mac, r.port] for r in state.fdb(bridge) if r.kind == 'learned'),
            **{f'nginx-{i}': [[r.address, r.mac or '-', r.state] for r in state.neighbours(f'nginx-{i}')] for i in (1, 2)},
        })
    return told
"""

SHOWN = """(player) => Object.fromEntries(
    [...player.querySelectorAll('.lk-tables .lk-table')]
        .filter((table) => table.dataset.kind !== 'routes')
        .map((table) => [
            table.querySelector('.lk-name').textContent,
            [...table.querySelector('tbody').rows].filter((row) => row.dataset.kind !== 'permanent')
                .map((row) => [...row.cells].slice(0, table.dataset.kind === 'cam' ? 2 : 3)
                    .map((cell) => cell.querySelector('.lk-value').textContent)),
        ]),
)"""


@pytest.fixture(params=["Light"])
def notebook(request, browser, jupyter):
    jupyter.theme(f"JupyterLab {request.param}")
    notebook = open_notebook(browser, jupyter, FIRST, viewport=SIZE)
    yield notebook
    notebook.page.context.close()


def by_keyboard(page, player, told, picture=None):
    """Goes through every step with the right arrow alone; compares tables and words at each."""
    player.locator(".lk-play").focus()
    page.keyboard.press("Home")
    marks = set()
    for number, expected in enumerate(told):
        if number:
            page.keyboard.press("ArrowRight")
        sentence = player.locator(".lk-telling > .lk-sentence")
        assert sentence.inner_text() == expected["text"], f"step {number}"
        shown = player.evaluate(SHOWN)
        assert sorted(shown["docker0"]) == expected["docker0"], f"step {number}"
        for name in ("nginx-1", "nginx-2"):
            assert shown[name] == expected[name], f"step {number}: {name}"
        assert (
            f"Step {number + 1} of {len(told)}"
            in player.locator(".lk-telling [aria-live]").inner_text()
        )
        for kind in ("read", "written"):
            marks |= {kind} if player.locator(f"tr.lk-{kind}").count() else set()
        if picture and player.locator(".lk-kind").inner_text() in ("flood", "neighbour-learn"):
            picture(player, f"player-{number + 1}")
    assert marks == {"read", "written"}
    page.keyboard.press("ArrowRight")
    assert player.locator(".lk-count").inner_text() == f"{len(told)} / {len(told)}"
    page.keyboard.press("ArrowLeft")
    assert sentence.inner_text() == told[-2]["text"]


def test_a_cold_ping_by_keyboard_live_and_recorded(notebook, tmp_path, picture):
    page = notebook.page
    path = tmp_path / "told.json"
    saved = tmp_path / "cold.labkit"
    notebook.run_code(
        SCENE + f"Path({str(path)!r}).write_text(json.dumps(oracle(journey)))\n"
        f"lab.recording.save({str(saved)!r})\n"
        "player = Player(journey)\nplayer"
    )
    player = page.locator(".lk-player").last
    player.wait_for()
    assert notebook.errors() == []
    told = json.loads(path.read_text())
    assert len(told) > 20
    assert player.locator(".lk-badge").inner_text() == "live"
    by_keyboard(page, player, told, picture)

    notebook.run_code("print('at', player.step, player.current.text)")
    page.get_by_text(f"at {len(told) - 2} {told[-2]['text']}").wait_for()
    notebook.run_code("player.step = 4")
    page.wait_for_function(
        "([player, text]) => player.querySelector('.lk-sentence').textContent === text",
        arg=[player.element_handle(), told[4]["text"]],
    )

    notebook.run_code(
        f"again = Recording.load({str(saved)!r}).journey(journey.begins, journey.ends)\n"
        f"Path({str(path)!r}).write_text(json.dumps(oracle(again)))\n"
        "again"
    )
    recorded = page.locator(".lk-player").filter(has_text="recorded")
    recorded.wait_for()
    by_keyboard(page, recorded, json.loads(path.read_text()))
    # it needs no kernel: what is shown is finished
    notebook.run_code("lab.close()")
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.shutdown()"
    )
    recorded.locator(".lk-play").focus()
    page.keyboard.press("Home")
    assert recorded.locator(".lk-telling > .lk-sentence").inner_text() == told[0]["text"]


@pytest.mark.parametrize("notebook", ["Dark"], indirect=True)
def test_other_views_and_the_player_light_each_other(notebook, picture):
    page = notebook.page
    notebook.run_code(SCENE + "from IPython.display import display\ndisplay(lab, journey)")
    player = page.locator(".lk-player")
    player.wait_for()
    topology = page.locator(".lk:not(.lk-player)").first
    topology.locator('[data-item="host:nginx-2"]').hover()
    player.locator('.lk-picture [data-item="host:nginx-2"].lk-lit').wait_for()
    player.locator(".lk-play").focus()
    page.keyboard.press("End")
    player.locator(".lk-tables tbody tr", has_text="02:42:ac:11:00:03").first.hover()
    topology.locator('[data-item="host:nginx-2"].lk-lit').wait_for()
    picture(page, "player-dark-notebook")


# The page of its own


@pytest.fixture
def leaf(browser, tmp_path, request):
    """Opens a journey's page from its file, with the network off."""
    contexts = []

    def open_page(journey, **options):
        path = journey.to_html(tmp_path / "journey.html")
        context = browser.new_context(**{"viewport": SIZE, "offline": True, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.asked, page.wrong = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("console", lambda message: page.wrong.append(message.text))
        page.goto(path.as_uri())
        page.locator(".lk-play").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()


def shows(page, number):
    page.wait_for_function(
        "n => document.querySelector('.lk-count').textContent.startsWith(`${n} /`)", arg=number
    )


def test_the_page_plays_offline_and_asks_for_nothing(leaf, tmp_path):
    page = leaf(cold_ping())
    page.locator(".lk-choice select").first.select_option("4")
    page.locator(".lk-play").focus()
    page.keyboard.press("Space")
    for number in (2, 3, 4):
        shows(page, number)
    assert page.locator(".lk-play").get_attribute("aria-label") == "Pause (space)"
    page.keyboard.press("Space")
    assert page.locator(".lk-play").get_attribute("aria-label") == "Play (space)"
    page.keyboard.press("End")
    shows(page, 23)
    assert page.locator(".lk-table", has_text="nginx-1").locator("tr.lk-lit").count() == 0
    assert page.asked == [(tmp_path / "journey.html").as_uri()]
    assert page.wrong == []
    assert page.title() == "nginx-1 pings nginx-2 (172.17.0.3) · docker0", "no event's text ran"
    blocked = page.evaluate(
        "() => fetch('http://127.0.0.1:9/').then(() => 'reached', (error) => String(error))"
    )
    assert "reached" not in blocked


def tokens(page):
    return page.locator(".lk-tokens .lk-token").evaluate_all(
        "all => all.map((e) => e.getAttribute('transform'))"
    )


def test_a_flood_splits_and_its_copies_move_along_their_cables(leaf, picture):
    page = leaf(cold_ping())
    page.locator(".lk-choice select").first.select_option("0.25")
    page.locator(".lk-step", has_text="flood").click()
    first = tokens(page)
    assert len(first) == 2
    page.wait_for_function(
        """() => { const part = document.querySelector('.lk-trail');
            return part.getAttribute('stroke-dashoffset') / part.getTotalLength() < 0.5; }"""
    )
    picture(page, "player-flood", full_page=True)
    later = tokens(page)
    assert all(a != b for a, b in zip(first, later, strict=True))
    page.keyboard.press("ArrowRight")
    # at the first branch the other copy waits where it arrived
    assert page.locator(".lk-token.lk-waiting").count() == 1
    page.keyboard.press("ArrowRight")
    assert page.locator(".lk-token.lk-waiting").count() == 0


def test_with_reduced_motion_a_frame_is_there_at_once(leaf):
    page = leaf(cold_ping(), reduced_motion="reduce")
    page.locator(".lk-choice select").first.select_option("0.25")
    page.locator(".lk-step", has_text="flood").click()
    offsets = page.locator(".lk-trail").evaluate_all(
        "all => all.map((e) => Number(e.getAttribute('stroke-dashoffset')))"
    )
    assert [round(each, 3) for each in offsets] == [0, 0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 420, 300])
def test_a_failed_ping_says_why_and_fits(leaf, picture, scheme, width):
    page = leaf(failed_ping(), color_scheme=scheme, viewport={"width": width, "height": 900})
    finding = page.locator(".lk-finding")
    assert not finding.is_visible()
    page.locator(".lk-step", has_text="forward").click()
    page.locator(".lk-cross").wait_for()
    assert page.locator(".lk-token.lk-lost").count() == 1
    page.locator(".lk-outcome").click()
    assert finding.is_visible()
    assert finding.evaluate("e => e === document.activeElement")
    for words in ("and never arrived", "nginx-2 answered", "the cable loses frames", "ip -s link"):
        assert words in finding.inner_text()
    assert "3 frames were not captured" in page.locator(".lk-notice").last.inner_text()
    assert "12 more frames were captured" in page.locator(".lk-notice").last.inner_text()
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= width, "nothing runs out of the page"
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    dark = max(int(n) for n in re.findall(r"\d+", background)) < 128
    assert dark is (scheme == "dark")
    picture(page, f"player-failed-{scheme}-{width}", full_page=True)


def test_evidence_opens_down_to_the_bytes_and_the_focus_comes_back(leaf):
    page = leaf(cold_ping())
    journey = cold_ping()
    page.locator(".lk-step", has_text="arp-request").click()
    proof = page.locator(".lk-telling .lk-proof").first
    number = int(re.search(r"\d+", proof.inner_text())[0])
    proof.focus()
    page.keyboard.press("Enter")
    heading = page.locator(".lk-frame h3")
    assert heading.inner_text() == f"Evidence #{number}: Frame"
    assert page.locator(".lk-back").evaluate("e => e === document.activeElement")
    data = journey.recording.event(number).data
    shown = "".join(page.locator(".lk-hex span").all_inner_texts())
    assert shown == data.hex()
    page.keyboard.press("Escape")
    assert heading.inner_text() == "The frame: ARP who-has"
    assert proof.evaluate("e => e === document.activeElement")
    # every field, and its bytes
    layer = page.locator(".lk-layer", has_text="ARP").last
    assert not layer.get_by_text("hwlen").is_visible()
    layer.get_by_role("button").click()
    layer.locator(".lk-field", has_text="psrc").hover()
    pointed = "".join(page.locator(".lk-hex .lk-pointed").all_inner_texts())
    assert bytes.fromhex(pointed) == bytes([172, 17, 0, 2])
    page.locator('.lk-hex [data-at="0"]').hover()
    assert "Ethernet dst" in page.locator(".lk-readout").inner_text()


def test_a_table_that_was_looked_through_in_vain_says_so(leaf):
    story = Story()
    story.tell("route", "nginx-1", "No row of the routing table matches 8.8.8.8.")
    story.tell("timeout", "nginx-1", "Nothing was sent.")
    page = leaf(story.ends("no route"))
    table = page.locator(".lk-table.lk-in-hand")
    assert "172.17.0.0/16" in table.inner_text()
    assert table.locator(".lk-missing").inner_text() == "Looked through: no row matches."
    page.locator(".lk-play").focus()
    page.keyboard.press("ArrowRight")
    table.wait_for(state="detached")


def test_one_protocol_alone(leaf):
    page = leaf(cold_ping())
    page.locator(".lk-choice select").last.select_option("ICMP")
    told = [(n, s) for n, (_, s) in enumerate(cold_ping().walk()) if s.protocol == "ICMP"]
    assert page.locator(".lk-steps li:visible").count() == len(told)
    page.locator(".lk-play").focus()
    page.keyboard.press("Home")
    for number, step in told:
        shows(page, number + 1)
        assert page.locator(".lk-telling > .lk-sentence").inner_text() == step.text
        page.keyboard.press("ArrowRight")


def test_noise_is_folded_counted_and_opens_as_text(leaf):
    page = leaf(cold_ping())
    fold = page.locator(".lk-noise")
    assert fold.locator("summary").inner_text() == "1 other event in the background"
    assert not fold.locator("li").is_visible()
    fold.locator("summary").click()
    assert "</script><script>" in fold.locator("li").inner_text()
    fold.locator(".lk-proof").click()
    assert "</script><script>" in page.locator(".lk-event").inner_text()
    assert page.locator("main script").count() == 0


def test_the_keys_leave_other_controls_alone(leaf):
    page = leaf(cold_ping())
    page.locator(".lk-scrubber").focus()
    page.keyboard.press("ArrowRight")
    shows(page, 2)
    page.locator('[aria-label="Step forward (right arrow)"]').focus()
    page.keyboard.press("Space")
    shows(page, 3)
    page.locator(".lk-step[aria-current]").focus()
    page.keyboard.press("ArrowDown")
    shows(page, 4)
    assert page.locator(".lk-step[aria-current]").evaluate("e => e === document.activeElement")
    row = page.locator(".lk-tables tbody tr:visible").first
    row.focus()
    page.keyboard.press("ArrowDown")
    shows(page, 4)
    row.focus()
    page.keyboard.press("Control+Home")  # the page's own
    assert row.evaluate("e => e === document.activeElement")


def test_every_stop_of_the_tab_key_is_in_sight_and_in_order(leaf):
    page = leaf(failed_ping())
    seen = []
    page.evaluate("() => document.activeElement.blur()")
    for _ in range(40):
        page.keyboard.press("Tab")
        name = page.evaluate(
            """() => { const e = document.activeElement;
                return e === document.body ? null
                    : e.getAttribute('aria-label') || e.textContent.slice(0, 30) || e.tagName; }"""
        )
        if name is None:
            break
        seen.append(name)
    order = ["First step", "Play", "Last step", "step"]
    places = [next(i for i, name in enumerate(seen) if name.startswith(each)) for each in order]
    assert places == sorted(places)
    assert len(seen) < 25, seen
