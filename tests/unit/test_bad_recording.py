"""Anything at all, given to a recording and to a journey: a LabkitError or a right result."""

from __future__ import annotations

import decimal
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit import LabkitError, Recording
from labkit.journey import Journey
from labkit.model import events as ev
from labkit.model.state import State

EXAMPLES = int(os.environ.get("LABKIT_EXAMPLES", "150"))


class Nasty:
    """A value that nothing can be done with."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __bool__ = __len__ = __index__ = __float__ = __iter__ = __call__ = __repr__
    __lt__ = __gt__ = __le__ = __ge__ = __repr__


VALUE = st.one_of(
    st.sampled_from([None, True, -1, 0, 1, 5, 2**63, 2**64, 10**400, 10**5000, 0.5, float("nan")]),
    st.sampled_from(
        [float("inf"), decimal.Decimal(3), 1j, b"x", "x", "\ud800", "a\0", "", [], {}, type]
    ),
    st.sampled_from(
        [".", "/", "..", "~", "a" * 300, "no/such/folder/x", Path("."), Path("/dev/null/x")]
    ),
    st.sampled_from([ev.LinkRemoved(at=1, netns="h", index=1), State()]),
    st.integers(-3, 30),
    st.text(max_size=5),
    st.builds(Nasty),
    st.lists(st.builds(Nasty), min_size=1, max_size=2),
)


def recording() -> Recording:
    recording = Recording("bad", live=False)
    for at in range(1, 20):
        recording.append(ev.LinkSet(at=at, netns="machine", index=at % 4 + 2, name=f"v{at}"))
    return recording


CALLS = {
    "state": 1,
    "event": 1,
    "number_of": 1,
    "between": 2,
    "since": 1,
    "journey": 2,
    "listen": 1,
    "lanes": 2,
    "ageing": 3,
    "to_pcapng": 1,
    "save": 1,
}


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_recording_given_anything(tmp_path, monkeypatch, data):
    monkeypatch.chdir(tmp_path)
    what = data.draw(st.sampled_from(sorted(CALLS)))
    arguments = [data.draw(VALUE) for _ in range(CALLS[what])]
    log = recording()
    before = log.events
    try:
        result = getattr(log, what)(*arguments)
    except LabkitError as error:
        assert len(str(error)) < 2000
        assert "→" in str(error)
    else:
        if what == "event":
            assert result is before[arguments[0]]
        if what == "between":
            assert [event for _, event in result] == [
                event for event in before if arguments[0] <= event.at <= arguments[1]
            ]
    assert log.events == before
    if what not in ("save", "to_pcapng"):
        assert list(tmp_path.iterdir()) == []
    for path in tmp_path.iterdir():
        assert not path.name.endswith(".part")
        path.unlink()


@pytest.mark.parametrize(
    "value", [None, 5, "", "\ud800", "a\0b", ".", "/", "x" * 300, b"x", Nasty(), []]
)
def test_loading_anything(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabkitError, match="→"):
        Recording.load(value)


@settings(max_examples=60, deadline=None)
@given(VALUE)
def test_a_journey_given_anything(value):
    journey = Journey(recording(), [], begins=1, ends=19)
    for call in (journey.state, journey.after):
        try:
            call(value)
        except LabkitError as error:
            assert "→" in str(error)
        else:
            assert call == journey.state
            assert value == -1


def test_an_events_number_stays_its_own_when_older_ones_are_forgotten():
    log = Recording("long", live=False, limit=6000)
    kept = []
    for at in range(20_000):
        event = ev.Traffic(at=at, netns="machine", index=2, received=at, sent=at)
        log.append(event)
        kept.append(event)
    assert log.forgotten > 0
    assert log.number_of(kept[-5]) == 19_995
    assert log.event(19_995) is kept[-5]
    assert log.number_of(kept[0]) is None
