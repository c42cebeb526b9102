"""The lab's state at each step of a journey."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.model import events as ev
from labkit.model.state import State

if TYPE_CHECKING:
    from labkit.journey import Journey


def states(journey: Journey) -> list[State]:
    """The states before the first step and after each one of `walk`."""
    recording = journey.recording
    steps = [step for _, step in journey.walk()]
    state = recording.state(journey.begins - 1)
    claimed = {number for step in steps for number in step.evidence}
    window = recording.between(journey.begins, journey.ends)
    others = [
        (number, event)
        for number, event in window
        if number not in claimed or not isinstance(event, ev.TABLES)
    ]
    found = [state.copy()]
    last = 0
    for step in steps:
        while last < len(others) and others[last][1].at <= step.at:
            state.apply(others[last][1])
            last += 1
        for number in step.evidence:
            event = recording.event(number)
            if isinstance(event, ev.TABLES) and journey.begins <= event.at:
                state.apply(event)
        state.at = step.at
        found.append(state.copy())
    return found
