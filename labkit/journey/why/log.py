"""The events that a case looks at, by their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from labkit.model import events as ev
from labkit.recording import Recording

FORGOTTEN = ev.Lost(at=0, what="forgotten")
"""Stands where the recording does not keep an event any more."""


class Log(Sequence[ev.Event]):
    """A recording's events up to a number, each at its own number."""

    def __init__(self, recording: Recording, last: int) -> None:
        events: list[ev.Event] = []
        first = -1
        while first != recording.forgotten:  # a live one may let go of some meanwhile
            first = recording.forgotten
            events = recording.events
        self._first = first
        self._events = events[: max(0, last + 1 - first)]

    def __len__(self) -> int:
        return self._first + len(self._events)

    @overload
    def __getitem__(self, index: int) -> ev.Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[ev.Event]: ...
    def __getitem__(self, index: int | slice) -> ev.Event | Sequence[ev.Event]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self._events[index - self._first] if index >= self._first else FORGOTTEN
