"""The log: bounded, numbered for good, and the same again when it comes back from a file."""

from __future__ import annotations

import gzip
import stat
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import LabkitError, Recording, archive
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.commands import Commands
from labkit.model.state import State
from labkit.recording import CHECKPOINT
from labkit.widgets import Tables
from tests.unit.test_model import M, learned, scene

V1 = Path(__file__).with_name("data") / "version-1.labkit"


def frame(at, size=60, netns="nginx-1"):
    return ev.Frame(at=at, netns=netns, index=4, packet_type="outgoing", data=bytes(size))


def seen(state):
    """All that a state holds, comparable."""
    return {
        "hosts": {name: vars(host) for name, host in state.hosts.items()},
        "namespaces": {name: vars(space) for name, space in state.namespaces.items()},
        "rest": (state.bridges, state.jobs, state.applied, state.lost, state.frames_lost),
        "closed": state.closed,
    }


def filled(count=9 * CHECKPOINT, limit=4 * CHECKPOINT, **options):
    """A log that had to forget, and all the events that it was given."""
    recording, given = Recording("long", limit=limit, **options), scene()
    given += [learned(3 + 2 * (i % 2), at=2_000_000_000 + i * 1000) for i in range(count)]
    for event in given:
        recording.append(event)
    return recording, given


def test_the_log_keeps_a_bounded_part_and_says_how_much_is_gone():
    recording, given = filled()
    assert recording.forgotten > 0
    assert recording.forgotten + len(recording.events) == len(recording) == len(given)
    assert len(recording.events) <= 4 * CHECKPOINT
    assert recording.events == given[recording.forgotten :]
    assert f"first {recording.forgotten} forgotten" in repr(recording)
    assert Tables(Recording("x", live=False)).status["forgotten"] == 0
    view = Tables(recording)
    assert view.status["forgotten"] == recording.forgotten
    view.close()


def test_the_bytes_of_frames_are_bounded_too():
    recording = Recording("big", size=3_000_000)
    for i in range(10_000):
        recording.append(frame(i, size=1000))
    kept = sum(len(event.data) for event in recording.events)
    assert kept <= 3_000_000 + CHECKPOINT * 1000
    assert recording._held == kept
    assert recording.forgotten + len(recording.events) == 10_000


def test_numbers_stay_and_a_forgotten_one_says_so():
    recording, given = filled()
    first = recording.forgotten
    for number in (first, first + 1, len(given) - 1):
        assert recording.event(number) is given[number]
    for number in (0, first - 1):
        with pytest.raises(LabkitError, match=f"Event {number} is forgotten.*from {first} on"):
            recording.event(number)
    for number in (-1, len(given)):
        with pytest.raises(LabkitError, match=f"no event {number}"):
            recording.event(number)
    rows = recording.between(given[first].at, given[first + 9].at)
    assert [number for number, _ in rows] == list(range(first, first + 10))
    number, rest = recording.since(0)
    assert number == first
    assert [event for _, event in rest] == recording.events
    assert recording.since(len(given) - 1) == (len(given) - 1, [(given[-1].at, given[-1])])
    assert recording.since(len(given)) == (len(given), [])


def test_the_state_is_the_fold_over_all_events_also_the_forgotten():
    recording, given = filled()
    first = recording.forgotten
    assert seen(recording.state()) == seen(State.after(given))
    for number in (first, first + 1, first + CHECKPOINT, len(given) - 1):
        at = given[number].at
        assert seen(recording.state(at)) == seen(State.after(given[: number + 1]))
        assert recording.state(at).at == at
    early = recording.state(0)
    assert seen(early) == seen(State.after(given[:first]))
    assert early.at == given[first - 1].at, "the time that it really shows"


def test_a_journey_of_a_forgotten_time_says_so():
    recording, given = filled()
    with pytest.raises(LabkitError, match="too long ago.*forgotten its oldest"):
        recording.journey(given[0].at)
    assert recording.journey().begins == recording.begins
    whole, given = filled(10)
    assert whole.journey(0).begins == 0


def test_the_commands_are_all_still_known():
    recording, _ = filled()
    known = [event.operation for event in recording.state().applied]
    assert [operation.name for operation in known] == ["nginx-1", "nginx-2"]
    assert "ip netns add nginx-2" in Commands.of(known).script


def everything():
    """A state with something in each of its tables."""
    at = 5_000_000_000
    return [
        *scene(),
        learned(3),
        ev.RouteSet(at=at, netns="nginx-1", destination="default", gateway="172.17.0.1", index=4),
        ev.NeighbourSet(at=at, netns="nginx-1", index=4, address="172.17.0.3", state="STALE"),
        ev.Traffic(at=at, netns=M, index=3, received=1, sent=2),
        ev.SettingSet(at=at, netns=M, name="net.ipv4.ip_forward", value="1"),
        ev.FirewallSet(at=at, netns=M, rules="*filter"),
        ev.CountersSet(at=at, netns=M, counters={"Ip.InNoRoutes": 3}),
        ev.ProcessStarted(at=at, netns="nginx-1", job=7, host="nginx-1", command="sleep 9"),
        ev.Applied(at=at, operation=op.AddHost(name="gone", netns="gone")),
        ev.Applied(at=at, operation=op.RemoveHost(name="gone", netns="gone")),
        ev.NamespaceRemoved(at=at, netns="gone"),
        ev.Lost(at=at, what="frames", count=9, netns=M),
        ev.Lost(at=at, what="changes of links and tables"),
        ev.Closed(at=at, reason="it was closed"),
    ]


def test_a_state_as_events_leads_to_the_same_state():
    state = State.after(everything())
    assert seen(State.after(state.events())) == seen(state)
    assert (state.lost, state.frames_lost) == (1, 9)


def test_a_recording_that_forgot_comes_back_as_it_was(tmp_path):
    recording = Recording("long", limit=CHECKPOINT, live=False)
    for event in [*everything(), *(frame(6_000_000_000 + i) for i in range(2 * CHECKPOINT))]:
        recording.append(event)
    assert recording.forgotten
    loaded = Recording.load(recording.save(tmp_path / "x.labkit"))
    assert (loaded.name, loaded.forgotten, loaded.live) == ("long", recording.forgotten, False)
    assert loaded.events == recording.events
    assert loaded.begins == recording.begins
    for at in (0, recording.begins, recording.now(), None):
        assert seen(loaded.state(at)) == seen(recording.state(at))
        assert loaded.state(at).at == recording.state(at).at
    again = Recording.load(loaded.save(tmp_path / "y.labkit"))
    assert again.events == loaded.events
    assert (tmp_path / "x.labkit").read_bytes() == (tmp_path / "y.labkit").read_bytes()


def test_a_file_of_version_1_loads():
    """Written by version 1's own code: a ping over docker0, and a cable unplugged."""
    loaded = Recording.load(V1)
    assert (loaded.name, len(loaded), loaded.forgotten) == ("version-1", 67, 0)
    state = loaded.state()
    bridge = state.space(M).link_named("docker0").index
    assert [row.mac for row in state.fdb(bridge) if row.kind == "learned"] == ["02:42:ac:11:00:02"]
    (row,) = state.neighbours("nginx-1")
    assert (row.address, row.mac) == ("172.17.0.3", "02:42:ac:11:00:03")
    assert len(state.applied) == 6
    assert list(state.namespaces) == ["machine", "nginx-1", "nginx-2"]


def test_a_file_tells_by_which_launcher_the_lab_ran(tmp_path):
    path = Recording("small", launcher="uml").save(tmp_path / "x.labkit")
    assert Recording.load(path).launcher == "uml"
    assert Recording.load(V1).launcher == ""
    head, *rest = gzip.decompress(path.read_bytes()).split(b"\n")
    header = msgspec.json.decode(head)
    assert header.pop("launcher") == "uml"
    assert header["version"] == 2
    before = tmp_path / "before.labkit"  # of a labkit that did not tell it yet
    before.write_bytes(gzip.compress(b"\n".join([msgspec.json.encode(header), *rest])))
    assert Recording.load(before).launcher == ""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A small recording, and its file's bytes."""
    recording = Recording("good", limit=CHECKPOINT)
    for event in [*scene(), *(frame(3_000_000_000 + i, 70) for i in range(2 * CHECKPOINT))]:
        recording.append(event)
    path = recording.save(tmp_path_factory.mktemp("good") / "good.labkit")
    return recording, path.read_bytes()


def loads_the_same_or_says_why(path, recording, content):
    path.write_bytes(content)
    try:
        loaded = Recording.load(path)
    except LabkitError as error:
        assert "could not be read" in str(error)  # noqa: PT017
        return False
    assert loaded.events == recording.events
    assert (loaded.name, loaded.forgotten) == (recording.name, recording.forgotten)
    assert seen(loaded.state()) == seen(recording.state())
    return True


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_cut_file_is_never_taken_for_a_recording(good, tmp_path_factory, data):
    recording, content = good
    end = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path_factory.mktemp("cut") / "cut.labkit"
    assert not loads_the_same_or_says_why(path, recording, content[:end])


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_flipped_bits_are_noticed_or_change_nothing(good, tmp_path_factory, data):
    """What changes nothing: gzip's notes of the time and the machine, which mean nothing here."""
    recording, content = good
    flips = data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=3))
    broken = bytearray(content)
    for bit in flips:
        broken[bit // 8] ^= 1 << bit % 8
    path = tmp_path_factory.mktemp("flip") / "flip.labkit"
    loads_the_same_or_says_why(path, recording, bytes(broken))


def lines(*parts):
    lines = b"".join(msgspec.json.encode(part) + b"\n" for part in parts)
    return gzip.compress(lines, mtime=0)  # its time would be in the name of the test


HEAD = {"format": archive.FORMAT, "version": 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lines({**HEAD, "events": 2}, learned(3)), "should hold 2 events and holds 1"),
        (lines({**HEAD, "base": 1, "events": 1}, learned(3)), "should hold 2 events and holds 1"),
        (lines({**HEAD, "base": 5}, learned(3)), "contradicts itself"),
        (lines({**HEAD, "version": 3}), "is of version 3; this labkit reads 1 and 2"),
        (lines({"format": "other"}), "not a labkit recording"),
        (lines({**HEAD, "name": 7}), "Expected `str`"),
        (gzip.compress(b"[" * 100_000, mtime=0), "could not be read"),
    ],
)
def test_a_file_mended_by_hand_is_found_out(tmp_path, content, said):
    path = tmp_path / "bad.labkit"
    path.write_bytes(content)
    with pytest.raises(LabkitError, match=said):
        Recording.load(path)


def test_a_missing_file_is_told_in_plain_words(tmp_path):
    with pytest.raises(LabkitError, match="could not be read: No such file or directory."):
        Recording.load(tmp_path / "none.labkit")


def test_a_failed_save_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "x.labkit"
    recording, _ = filled(10)
    before = recording.save(path).read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) & 0o044, "others may read it, as the umask says"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive.os, "fsync", full)
    with pytest.raises(LabkitError, match="could not be saved.*No space left"):
        recording.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.labkit"]


def test_reading_while_the_log_grows_and_forgets():
    """Numbers, times and states fit together at every moment."""
    recording = Recording("busy", limit=CHECKPOINT)
    done = threading.Event()

    def write():
        for i in range(20 * CHECKPOINT):
            recording.append(learned(3, at=2_000 + i))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    looked = 0
    while not done.is_set() or not looked:
        first, rows = recording.since(0)
        assert all(at == event.at == 2_000 + first + i for i, (at, event) in enumerate(rows[:50]))
        assert recording.state(recording.begins).namespaces
        looked += 1
    writer.join()
    assert len(recording) == 20 * CHECKPOINT
