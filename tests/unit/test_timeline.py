"""The time machine without a browser: the instant, the views as of it, what happened when."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import LabkitError, Recording
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.density import BINS, KINDS, Density
from labkit.model.state import State
from labkit.model.words import TOLD, in_words
from labkit.recording import CHECKPOINT
from labkit.widgets import Tables, Timeline, Topology
from tests.unit.test_model import M, learned, scene
from tests.unit.test_widgets import LATE, all_end, seen, tables_in

S = 1_000_000_000


def neighbour(at, state="REACHABLE"):
    return ev.NeighbourSet(
        at=at, netns="nginx-1", index=4, address="172.17.0.3", state=state, mac="02:42:ac:11:00:03"
    )


def told():
    """The scene at 1 s, then a row of each table, one change, and the cable's end."""
    return [
        *scene(),
        learned(3, at=2 * S),
        neighbour(3 * S),
        ev.Traffic(at=3 * S + 5, netns=M, index=3, received=1, sent=1),
        neighbour(4 * S, "STALE"),
        ev.LinkRemoved(at=5 * S, netns="nginx-2", index=6),
    ]


def recorded(events):
    recording = Recording("then", live=False)
    for event in events:
        recording.append(event)
    return recording


@pytest.fixture
def timeline():
    return Timeline(recorded(told()))


def step(timeline, by):
    timeline.scrubber._handle_custom_msg({"step": by}, [])


@pytest.mark.parametrize("instant", [1 * S, 2 * S, 2 * S + 1, 3 * S, 4 * S - 1, 4 * S, 5 * S])
def test_the_views_show_the_state_of_the_chosen_instant(timeline, instant):
    timeline.at = instant
    assert timeline.at == timeline.state.at == instant
    until = recorded([event for event in told() if event.at <= instant])
    assert tables_in(timeline.tables) == tables_in(Tables(until))
    assert timeline.topology.snapshot == Topology(until).snapshot
    for view in (timeline.topology, timeline.tables, timeline.scrubber):
        assert view.status["moment"] == f"as of {instant / 1e9 - 1:.3f} s"
        assert view.status["error"] == ""
    assert timeline.tables.beat == instant // 1_000_000, "ages are counted up to then"


def test_the_end_is_where_it_begins_and_where_none_leads(timeline):
    assert timeline.at == 5 * S
    assert timeline.tables.status["moment"] == ""
    timeline.at = 2 * S
    timeline.at = None
    assert timeline.at == 5 * S
    assert timeline.tables.status["moment"] == ""


@pytest.mark.parametrize("instant", [0, 6 * S])
def test_an_instant_outside_is_refused(timeline, instant):
    with pytest.raises(LabkitError, match="has no instant"):
        timeline.at = instant
    assert timeline.at == 5 * S


def test_the_browsers_choice_is_kept_within_the_recording(timeline):
    timeline.scrubber.position = 99 * S  # as the browser sets it, where the end has moved
    assert timeline.at == 5 * S
    timeline.scrubber.position = -1
    assert timeline.at == 1 * S


def test_steps_go_from_event_to_event(timeline):
    """Past what was merely counted; and from the last one on to the end."""
    step(timeline, -1)
    seen = [timeline.at]
    for _ in range(4):
        step(timeline, -1)
        seen.append(timeline.at)
    assert seen == [4 * S, 3 * S, 2 * S, 1 * S, 1 * S]
    step(timeline, +1)
    assert timeline.at == 2 * S
    for _ in range(9):
        step(timeline, +1)
    assert timeline.at == 5 * S
    assert timeline.scrubber.position is None
    for nonsense in ({"step": 7}, {"step": "x"}, [], None):
        timeline.scrubber._handle_custom_msg(nonsense, [])
    assert timeline.at == 5 * S


def test_it_says_what_just_happened(timeline):
    timeline.at = 3 * S + 10
    assert timeline.scrubber.told == {
        "position": 2 * S + 10,
        "at": 2 * S + 10,
        "words": "2.000 s: nginx-1: neighbour 172.17.0.3 is REACHABLE, at 02:42:ac:11:00:03",
    }
    text = str(timeline)
    assert text.startswith("as of 2.000 s. 2.000 s: nginx-1")
    assert "docker0 joins" in text
    assert "172.17.0.3 is at 02:42:ac:11:00:03, REACHABLE" in text


def test_the_browser_is_answered_also_when_something_fails(timeline, monkeypatch):
    """Else it would wait for good: it asks for one instant at a time."""
    monkeypatch.setattr(type(timeline.scrubber), "_told", lambda *_: 1 / 0)
    timeline.at = 2 * S
    assert timeline.scrubber.told["position"] == 1 * S
    assert "ZeroDivisionError" in timeline.scrubber.status["error"]
    assert timeline.tables.status["moment"] == "as of 1.000 s"


def test_the_strip_shows_when_things_happened(timeline):
    columns = timeline.scrubber.snapshot["columns"]
    assert [sum(column[kind] for column in columns) for kind in range(3)] == [0, 3, 11]
    tables = [number for number, column in enumerate(columns) if column[1]]
    assert tables == pytest.approx([60, 120, 180], abs=1)
    assert (timeline.scrubber.snapshot["first"], timeline.scrubber.snapshot["end"]) == (0, 4 * S)


def test_a_live_lab_grows_under_the_slider():
    recording = Recording("now")
    for event in told():
        recording.append(event)
    timeline = Timeline(recording)
    try:
        timeline.at = 2 * S
        before = tables_in(timeline.tables)
        changed, values = seen(timeline.scrubber, "snapshot")
        now = time.time_ns()
        recording.append(learned(5, at=now, mac="02::77"))
        assert changed.wait(LATE)
        assert values[-1]["end"] >= now - 1 * S
        assert sum(column[1] for column in values[-1]["columns"]) == 4
        assert timeline.at == 2 * S
        assert tables_in(timeline.tables) == before, "the past stays as it was"
        timeline.at = None
        assert "02::77" in timeline.tables.words
        changed, values = seen(timeline.tables, "changes")
        recording.append(learned(5, at=time.time_ns(), mac="02::78"))
        assert changed.wait(LATE), "at the end the views go on with the lab"
    finally:
        timeline.close()
    assert all_end()


def test_the_labs_end_ends_the_threads_of_a_view_of_the_past():
    recording = Recording("short")
    for event in told():
        recording.append(event)
    timeline = Timeline(recording)
    timeline.at = 2 * S
    recording.append(ev.Closed(at=6 * S, reason="it was closed"))
    assert all_end()
    assert recording._listeners == []
    assert timeline.tables.status["closed"] is None, "at that instant it had not ended"
    timeline.at = None
    assert timeline.tables.status["closed"] == "it was closed"
    timeline.close()


def test_a_log_that_forgets_moves_the_beginning():
    recording = Recording("long", live=False, limit=2 * CHECKPOINT)
    for event in scene():
        recording.append(event)
    timeline = Timeline(recording)
    timeline.at = 1 * S
    for i in range(3 * CHECKPOINT):
        recording.append(learned(3, at=2 * S + i * 1000))
    timeline.scrubber.refresh()
    assert recording.forgotten
    assert timeline.scrubber.snapshot["first"] == recording.begins - 1 * S > 0
    with pytest.raises(LabkitError, match="has no instant"):
        timeline.at = 1 * S
    assert timeline.state.at < recording.begins, "what the log begins with, under its own time"


def test_many_layouts_are_found_once_each(timeline, monkeypatch):
    """Scrubbing to and fro over a change of shape does not run Graphviz again."""
    from labkit.widgets import topology

    asked = []
    real = topology.layout
    monkeypatch.setattr(topology, "layout", lambda state: asked.append(1) or real(state))
    for _ in range(5):
        timeline.at = 4 * S
        timeline.at = 5 * S
    assert len(asked) <= 2


def test_the_words_of_every_kind_of_event():
    state = State.after(scene())
    common = {"at": 1, "netns": "nginx-1"}
    said = {
        ev.Applied(at=1, operation=op.AddHost(name="h", netns="h")): "ip netns add h",
        scene()[3]: "nginx-1: eth0 is up",
        ev.LinkSet(index=4, name="eth0", is_up=True, **common): "nginx-1: eth0 is up, no carrier",
        ev.LinkRemoved(index=4, **common): "nginx-1: interface 4 is gone",
        ev.AddressSet(index=4, address="a/8", **common): "nginx-1 eth0 has the address a/8",
        ev.AddressRemoved(index=4, address="a/8", **common): "nginx-1 eth0 has no longer the a",
        ev.RouteSet(destination="default", gateway="g", **common): "a route to default through g",
        ev.RouteRemoved(destination="10.0.0.0/8", **common): "no route any more to 10.0.0.0/8",
        ev.NeighbourSet(index=4, address="a", state="FAILED", **common): "neighbour a is FAILED",
        ev.NeighbourRemoved(index=4, address="a", **common): "neighbour a is forgotten",
        learned(3): "docker0: learned 02:42:ac:11:00:02, behind veth0",
        ev.FdbRemoved(at=1, netns=M, bridge=2, port=3, mac="m"): "m behind veth0 is forgotten",
        ev.NamespaceRemoved(**common): "nginx-1: the namespace has ended",
        ev.Frame(index=4, packet_type="outgoing", data=b"x", length=98, **common): "eth0 sent a",
        ev.ProcessStarted(job=1, host="h", command="sleep 9", **common): "h: started sleep 9",
        ev.ProcessEnded(at=1, job=1, exit_code=0): "job 1 ended with exit code 0",
        ev.Lost(at=1, what="frames", count=3): "3 frames",
        ev.Closed(at=1, reason="it was closed"): "the lab ended: it was closed",
    }
    assert {type(event) for event in said} == set(TOLD)
    for event, words in said.items():
        assert words.split(" the a")[0] in in_words(event, state)
    assert in_words(ev.Traffic(at=1, netns=M, index=3, received=1, sent=1), state) == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=60).map(sorted), st.integers(1, 300))
def test_nothing_is_lost_from_the_strip(times, count):
    density = Density()
    half = len(times) // 2
    for part in (times[:half], times[half:]):
        density.take((at, neighbour(at)) for at in part)
    columns = density.columns(times[0], times[-1], count)
    assert len(columns) == count
    assert sum(column[1] for column in columns) == len(times)
    assert all(len(column) == len(KINDS) for column in columns)
    assert len(density._bins) <= BINS


def test_the_strip_stays_small_and_true_over_a_long_time():
    density = Density()
    density.take((i * S, neighbour(i * S)) for i in range(100_000))
    columns = density.columns(0, 100_000 * S, 10)
    assert len(density._bins) <= BINS
    assert [column[1] for column in columns] == pytest.approx([10_000] * 10, rel=0.01)


def test_seeking_while_the_log_grows():
    """From two threads at once; what is shown in the end is what was chosen last."""
    recording = Recording("busy")
    for event in told():
        recording.append(event)
    timeline = Timeline(recording)
    stop = threading.Event()

    def write():
        i = 0
        while not stop.is_set():
            i += 1
            recording.append(learned(3, at=6 * S + i, mac=f"02::{i % 50}"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            timeline.at = None
            timeline.at = 3 * S
            until = recorded([event for event in told() if event.at <= 3 * S])
            assert tables_in(timeline.tables) == tables_in(Tables(until))
    finally:
        stop.set()
        writer.join()
        timeline.close()
    assert all_end()
