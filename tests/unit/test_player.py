"""The journey player without a browser: what it is given, and the page that plays anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from labkit import LabkitError
from labkit.journey.packets import layers
from labkit.model import events as ev
from labkit.widgets import Player
from labkit.widgets import storyboard as storyboard_module
from labkit.widgets.export import as_json, page
from labkit.widgets.player import MODULE
from labkit.widgets.storyboard import MATTERS, STEPS, UNSENT, Storyboard
from tests.unit.journeys import HOSTILE, Story, asking, cold_ping, failed_ping, through, who_has
from tests.unit.journeys import echo as icmp

JOURNEYS = [cold_ping, failed_ping]


@pytest.fixture(params=JOURNEYS, ids=lambda make: make.__name__)
def journey(request):
    return request.param()


def pictures(data):
    """The tables of each step, as the player puts them together."""
    held = dict(data["begin"])
    for step in data["steps"]:
        held |= step.get("tables", {})
        yield {
            slot: [data["rows"][row] for row in data["pictures"][number]["rows"]]
            for slot, number in held.items()
        }


def values(rows):
    return [[text for text, _ in row["cells"]] for row in rows]


def test_at_each_step_the_tables_are_those_of_the_state(journey):
    data = Storyboard(journey).data
    assert len(data["steps"]) == len(list(journey.walk()))
    changes = 0
    for number, shown in enumerate(pictures(data)):
        state = journey.state(number)
        assert {"bridge:docker0", "host:nginx-1", "host:nginx-2"} <= set(shown)
        for slot, rows in shown.items():
            kind, _, name = slot.partition(":")
            if kind == "host":
                expected = [
                    [row.address, row.mac or "-", row.state, row.interface]
                    for row in state.neighbours(name)
                ]
            elif kind == "bridge":
                expected = [[row.mac, row.port, row.kind, ""] for row in state.fdb(2)]
            else:
                expected = [
                    [row.destination, row.gateway or "-", row.interface, row.scope]
                    for row in state.routes(name)
                ]
            assert values(rows) == expected, f"step {number}: {slot}"
        changes += len(data["steps"][number].get("tables", {}))
    assert changes >= 4


def test_each_row_that_a_step_writes_is_there_to_be_marked(journey):
    data = Storyboard(journey).data
    marked = 0
    for step, shown in zip(data["steps"], pictures(data), strict=True):
        for slot, key, _ in step.get("rows", []):
            assert [row["keys"][0] for row in shown[slot]].count(key) == 1
            marked += 1
    assert marked >= 5


def test_where_it_happens_is_drawn_and_every_move_has_its_cable(journey):
    data = Storyboard(journey).data
    (layout,) = data["layouts"]
    ends = {frozenset((cable["a"], cable["b"])) for cable in layout["cables"]}
    drawn = {box["id"] for node in layout["nodes"] for box in (node, *node.get("ports", ()))}
    moves = 0
    for step in data["steps"]:
        assert data["wheres"][step["where"]]["places"][0] in drawn
        for start, end, _ in step.get("moves", []):
            assert frozenset((start, end)) in ends
            moves += 1
    assert moves == sum(len(step.moves) for _, step in journey.walk())
    assert moves >= 5


def test_the_frame_in_hand_is_held_once_with_the_fields_that_matter():
    journey = cold_ping()
    data = Storyboard(journey).data
    assert len(data["frames"]) == 4, "one for each kind: the same bytes at every hop"
    for step, (_, told) in zip(data["steps"], journey.walk(), strict=True):
        if told.frame is None or told.kind in UNSENT:
            assert "frame" not in step
            continue
        frame = data["frames"][step["frame"]]
        event = journey.recording.event(told.frame)
        assert frame["hex"] == event.data.hex()
        held = [data["layers"][number] for number in frame["layers"]]
        assert [name for name, _ in held] == [one.name for one in layers(event.data)]
        there = {f"{layer}.{field[0]}" for layer, fields in held for field in fields}
        assert there & set(data["matters"][told.kind]), told.kind


def test_a_field_that_matters_has_a_name_that_some_frame_has():
    frames = [who_has(1, 2), icmp(1, 2, 8)]
    known = {f"{layer.name}.{f.name}" for one in frames for layer in layers(bytes(one)) for f in layer.fields}  # fmt: skip
    for kind, names in MATTERS.items():
        for name in names.split():
            if not name.startswith(("TCP.", "UDP.")):
                assert name in known, kind


def test_branches_know_their_flood():
    steps = Storyboard(cold_ping()).data["steps"]
    flood = next(i for i, step in enumerate(steps) if step["kind"] == "flood")
    assert [s.get("parent") for s in steps[flood : flood + 4]] == [None, flood, flood, None]
    assert [s.get("depth", 0) for s in steps[flood : flood + 4]] == [0, 1, 1, 0]


def test_all_evidence_can_be_opened(journey):
    data = Storyboard(journey).data
    named = {n for _, step in journey.walk() for n in step.evidence}
    named |= {n for step in journey.noise for n in step.evidence}
    named |= set(journey.finding.evidence) if journey.finding else set()
    assert {int(n) for n in data["events"]} == named
    for number, event in data["events"].items():
        told = journey.recording.event(int(number))
        assert event["kind"] == type(told).__name__
        assert ("frame" in event and event["frame"] is not None) is isinstance(told, ev.Frame)


def test_evidence_names_interfaces_and_tells_times_from_the_beginning():
    journey = cold_ping()
    number = next(s.evidence[0] for _, s in journey.walk() if s.kind == "learn")
    event = Storyboard(journey).data["events"][str(number)]
    fields = dict(event["fields"])
    assert fields["bridge"] == "2 (docker0)"
    assert fields["port"] == "3 (veth11a0b1c)"
    assert (
        fields["updated"]
        == f"{(journey.recording.event(number).updated - journey.begins) / 1e6:+.3f} ms"
    )
    assert event["where"] == "machine"


def test_what_was_left_out_and_why_it_failed_are_told():
    data = Storyboard(failed_ping()).data
    assert (data["lost"], data["left_out"]) == (3, 12)
    assert data["finding"]["verdict"] == "neighbour-failed"
    assert data["finding"]["remaining"] == ("the cable loses frames", "a filter at nginx-1 drops them")  # fmt: skip
    assert Storyboard(cold_ping()).data["finding"] is None


def test_background_is_counted_and_only_its_beginning_listed(monkeypatch):
    monkeypatch.setattr(storyboard_module, "NOISE", 2)
    journey = cold_ping()
    journey.noise = journey.noise * 5
    data = Storyboard(journey).data
    assert (data["noises"], len(data["noise"])) == (5, 2)


def test_a_step_with_very_much_evidence_names_its_beginning_and_counts_the_rest(monkeypatch):
    monkeypatch.setattr(storyboard_module, "EVIDENCE", 3)
    story = Story()
    frames = [story.frame(("nginx-1", 2), who_has(1, 2), "outgoing") for _ in range(10)]
    story.tell("loop", "docker0", "The same frame goes round.", frames)
    data = Storyboard(story.ends("storm")).data
    (step,) = data["steps"]
    assert (step["evidence"], step["unnamed"]) == (frames[:3], 7)
    assert len(data["events"]) == 3


def test_a_long_journey_stays_small_and_says_what_is_not_shown():
    story = Story()
    asking(story, 2, (2, 3))
    for sequence in range(500):
        packet = icmp(1, 2, 8)
        packet["ICMP"].seq = sequence
        through(story, packet, 1, 2, "echo-request", "ICMP", True, False)
    journey = story.ends("many pings")
    data = Storyboard(journey).data
    assert len(data["steps"]) == STEPS
    assert data["more"] == len(list(journey.walk())) - STEPS > 0
    assert len(json.dumps(data)) < 600_000
    assert Player(journey, step=99_999).step == STEPS - 1


def test_a_change_of_the_topology_is_a_scene_of_its_own():
    story = Story()
    asking(story, 2, (2, 3))
    link = story.recording.state().link("nginx-2", 2)
    fields = {n: getattr(link, n) for n in link.__struct_fields__ if n not in ("at", "has_carrier")}
    story.log(ev.LinkSet, **fields, has_carrier=False)
    story.tell("timeout", "nginx-1", "Nobody answers.")
    data = Storyboard(story.ends("unplugged")).data
    assert len(data["layouts"]) == 1, "the shape is the same"
    first, last = (data["scenes"][data["steps"][i].get("scene", 0)] for i in (0, -1))
    assert first["links"]["nginx-2/2"][1] is True
    assert last["links"]["nginx-2/2"][1] is False


def test_the_step_is_a_value_of_the_domain():
    journey = cold_ping()
    player = Player(journey)
    walk = [step for _, step in journey.walk()]
    assert player.current is walk[0]
    seen = []
    player.observe(lambda change: seen.append(change.new), "step")
    player.step = 6
    assert player.current is walk[6]
    player.step = len(walk) + 10
    assert player.current is walk[-1]
    player.step = -3
    assert player.current is walk[0]
    assert seen == [6, len(walk) - 1, 0]
    assert Player(Story().ends("nothing")).current is None


def test_text_and_table_say_the_same():
    journey = cold_ping()
    bundle = journey._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == str(journey)
    assert data["text/html"] == journey._repr_html_()
    assert "application/vnd.jupyter.widget-view+json" in data
    for _, step in journey.walk():
        assert step.text in data["text/plain"]


@pytest.mark.parametrize("live", [True, False])
def test_the_badge_says_live_or_recorded_and_needs_no_heartbeat(live):
    status = Player(cold_ping(live=live)).status
    assert status["recorded"] is not live
    assert status["still"] is True


def test_what_goes_wrong_is_shown_in_the_view(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "/nonexistent")
    player = Player(cold_ping())
    assert "apt-get install graphviz" in player.status["error"]
    assert player.snapshot == {}
    with pytest.raises(LabkitError, match="dot is missing"):
        cold_ping().to_html(tmp_path / "x.html")
    assert list(tmp_path.iterdir()) == []


# The page


class Page(HTMLParser):
    """The elements of a page, with the text of scripts and styles as a browser finds it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.texts: dict[int, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))

    def handle_data(self, data):
        at = len(self.tags) - 1
        self.texts[at] = self.texts.get(at, "") + data

    def all(self, tag):
        return [(attrs, self.texts.get(at, "")) for at, (name, attrs) in enumerate(self.tags) if name == tag]  # fmt: skip


def test_the_page_holds_all_and_hostile_text_stays_text():
    journey = cold_ping()
    journey.title = f"{HOSTILE} & \u2028"
    text = page(journey)
    found = Page(text)
    (data_attrs, data), (module_attrs, module) = found.all("script")
    assert data_attrs == {"type": "application/json", "id": "journey"}
    assert module_attrs == {"type": "module"}
    values = json.loads(data)
    assert values["snapshot"] == Storyboard(journey).data
    assert values["status"]["recorded"] is True
    assert any(HOSTILE in text for text in values["snapshot"]["texts"])
    assert module.startswith(MODULE)
    assert "<" not in data
    assert text.count("</script") == 2
    assert len(found.all("style")) == 1


def test_the_page_may_connect_nowhere_and_runs_only_its_own_script():
    found = Page(page(cold_ping()))
    (_, module), ((_, style),) = found.all("script")[1], found.all("style")
    policy = next(a["content"] for a, _ in found.all("meta") if a.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["script-src"] == digest(module)
    assert rules["style-src"] == digest(style)
    assert set(rules) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}
    for tag, attrs in found.tags:
        assert not {"src", "href", "onload", "onclick", "style"} & set(attrs), tag
    addresses = set(re.findall(r"https?://[^\s\"'`]+", module + style))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    for way_out in ("fetch(", "import(", "XMLHttpRequest", "WebSocket", "eval(", "innerHTML"):
        assert way_out not in module


def test_json_for_a_script_element():
    value = {"a": "</script><!-- & \u2028\u2029", "ü": ["<script>"]}
    text = as_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


def test_a_page_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "journey.html"
    assert cold_ping().to_html(path) == path
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
    for bad in (tmp_path / "no" / "such" / "folder.html", tmp_path):
        with pytest.raises(LabkitError, match="could not be saved"):
            cold_ping().to_html(bad)
    assert list(tmp_path.iterdir()) == [path]
    assert not list(tmp_path.parent.glob("*.part"))
