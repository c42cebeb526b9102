"""A lab's log: every event, in order, and the state at any time of it."""

from __future__ import annotations

import bisect
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import archive, naming
from labkit.errors import LabkitError
from labkit.model.events import Event, Frame
from labkit.model.operations import MACHINE
from labkit.model.replayed import REPLAY
from labkit.model.state import State

if TYPE_CHECKING:
    from labkit.journey import Journey
    from labkit.render.chart import Picture
    from labkit.widgets import Timeline
    from labkit.wiring import Bridge

LIMIT = 400_000
"""Events that a log keeps: when there are more, it lets go of its oldest quarter."""
BYTES = 200_000_000
"""Bytes of frames that a log keeps, likewise."""
CHECKPOINT = 2000
"""Events between two kept states, from which `Recording.state` folds on."""


class Recording:
    """Events in order. Live while a lab appends to it; the same views work on a loaded one.

    `live` says which: a recording that was loaded shows its end and marks itself recorded.

    Events are numbered from 0, and a number stays an event's own. The log keeps at most `limit`
    events and about `size` bytes of frames; it folds older ones into the state that it begins
    with, and `forgotten` counts them. `len()` counts all that there ever were.
    """

    def __init__(
        self,
        name: str = "lab",
        *,
        live: bool = True,
        launcher: str = "",
        limit: int = LIMIT,
        size: int = BYTES,
    ) -> None:
        self.name = name
        self.live = live
        self.launcher = launcher  # by which the lab runs, or ran
        self.forgotten = 0
        self._limit = limit
        self._size = size
        self._events: list[Event] = []
        self._times: list[int] = []
        self._held = 0
        self._base = State()
        self._now = State()
        self._checkpoints: list[State] = []
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Event], None]] = []

    def __len__(self) -> int:
        return self.forgotten + len(self._events)

    @property
    def is_replayed(self) -> bool:
        """Whether it comes from a lesson's recording that is played, and not from a kernel now."""
        return self.launcher == REPLAY

    @property
    def is_recorded(self) -> bool:
        """Whether what it shows is no kernel's of now: it was loaded, or is played."""
        return self.is_replayed or not self.live

    def __repr__(self) -> str:
        kind = "recorded" if self.is_recorded else "live"
        gone = f", the first {self.forgotten} forgotten" if self.forgotten else ""
        return f"<Recording of {self.name!r}: {len(self)} events{gone}, {kind}>"

    @property
    def events(self) -> list[Event]:
        """The events that are kept, in order: the first has the number `forgotten`."""
        with self._lock:
            return list(self._events)

    def append(self, event: Event) -> None:
        """Takes one event in, and tells every listener."""
        with self._lock:
            self._take(event)
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(event)

    def _take(self, event: Event) -> None:
        self._events.append(event)
        # Clocks may step back; the log's order is what counts, so its times never do.
        before = self._times[-1] if self._times else self._base.at
        self._times.append(max(event.at, before))
        self._now.apply(event)
        if isinstance(event, Frame):
            self._held += len(event.data)
        if len(self._events) % CHECKPOINT == 0:
            self._checkpoints.append(self._now.copy())
            # Looked at here alone, so with room for what comes until it is looked at again.
            most = self._limit - CHECKPOINT
            while self._checkpoints and (len(self._events) > most or self._held > self._size):
                self._forget()

    def _forget(self) -> None:
        """Lets go of the oldest quarter: a checkpoint is the state that they led to."""
        states = max(1, len(self._checkpoints) // 4)
        count = states * CHECKPOINT
        self._held -= sum(len(e.data) for e in self._events[:count] if isinstance(e, Frame))
        del self._events[:count], self._times[:count]
        self._base = self._checkpoints[states - 1]
        del self._checkpoints[:states]
        self.forgotten += count

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `listener` with each event from now on; the result, called, ends that."""
        if not callable(listener):
            raise LabkitError(
                f"{naming.shown(listener)} cannot be called with an event.",
                hint="Give a function of one argument.",
            )
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    def state(self, at: int | None = None) -> State:
        """The state at time `at` (nanoseconds since the epoch); without it, the latest.

        Of a time before the oldest event that is kept, it is the state that the log begins with.
        """
        with self._lock:
            if at is None:
                return self._now.copy()
            end = bisect.bisect_right(self._times, naming.check_time(at))
            kept = end // CHECKPOINT
            state = (self._checkpoints[kept - 1] if kept else self._base).copy()
            rest = self._events[kept * CHECKPOINT : end]
        for event in rest:
            state.apply(event)
        state.at = at if end else max(at, state.at)
        return state

    def event(self, number: int) -> Event:
        """The event with that number, as a step's evidence names it. Raises LabkitError."""
        naming.check_time(number)
        with self._lock:
            first, end = self.forgotten, len(self)
            if first <= number < end:
                return self._events[number - first]
        if 0 <= number < first:
            raise LabkitError(
                f"Event {number} is forgotten: the log keeps the newest, from {first} on.",
                hint="Save a recording before so many have come, or make less traffic.",
            )
        raise LabkitError(
            f"The recording has no event {naming.shown(number)}.",
            hint=f"It has {first} to {end - 1}." if end > first else "It is empty.",
        )

    def number_of(self, event: object) -> int | None:
        """The number of an event that a state holds; None for one that is not of this log."""
        with self._lock:
            # The log's times never step back, and none is before its event's own.
            first = bisect.bisect_left(self._times, getattr(event, "at", 1 << 63))
            for place in range(first, len(self._events)):
                if self._events[place] is event:
                    return self.forgotten + place
        return None

    def between(self, start: int, end: int) -> list[tuple[int, Event]]:
        """The events of a time (nanoseconds since the epoch), each with its number."""
        naming.check_time(start)
        naming.check_time(end)
        with self._lock:
            first = bisect.bisect_left(self._times, start)
            last = bisect.bisect_right(self._times, end)
            return list(enumerate(self._events[first:last], self.forgotten + first))

    def since(self, number: int) -> tuple[int, list[tuple[int, Event]]]:
        """The events from that number on, each with its time in the log's order.

        Times are nanoseconds since the epoch. Before them: the number of the first.
        """
        naming.check_time(number)
        with self._lock:
            first = max(number, self.forgotten)
            begin = first - self.forgotten
            rows = zip(self._times[begin:], self._events[begin:], strict=True)
            return first, list(rows)

    def beside(self, at: int, kinds: tuple[type, ...], *, later: bool) -> tuple[int, Event] | None:
        """The nearest event of those kinds later than a time, or else earlier, with its time."""
        naming.check_time(at)
        with self._lock:
            if later:
                places = range(bisect.bisect_right(self._times, at), len(self._times))
            else:
                places = range(bisect.bisect_left(self._times, at) - 1, -1, -1)
            for place in places:
                if isinstance(self._events[place], kinds):
                    return self._times[place], self._events[place]
        return None

    @property
    def begins(self) -> int:
        """The time (nanoseconds since the epoch) from which on the log is kept; 0 when empty."""
        with self._lock:
            return self._times[0] if self._times else self._base.at

    def check_kept(self, start: int) -> None:
        """Raises LabkitError where events after that time are forgotten."""
        if self.forgotten and start < self.begins:
            raise LabkitError(
                "That is too long ago: the log has forgotten its oldest "
                f"{self.forgotten} events, and some of that time are among them.",
                hint=f"It is kept from {self.begins} on (recording.begins).",
            )

    @property
    def closed(self) -> str | None:
        """Why the lab ended; None while it is there."""
        return self._now.closed

    def journey(self, start: int | None = None, end: int | None = None) -> Journey:
        """What happened to the packets of a time (nanoseconds since the epoch), step by step.

        Without `start` from the beginning, without `end` until now. Raises LabkitError for a
        time that the log has forgotten.
        """
        from labkit.journey.build import build

        for at in (start, end):
            if at is not None:
                naming.check_time(at)
        return build(self, start, end)

    def timeline(self) -> Timeline:
        """The topology and the tables at any instant: a slider over the whole session."""
        from labkit.widgets import Timeline

        return Timeline(self)

    def lanes(
        self, start: int | None = None, end: int | None = None, *, style: str = "both"
    ) -> Picture:
        """The events of a time as a diagram: a lane for each host and bridge.

        Times are nanoseconds since the epoch; without them, it is the whole recording. `style`
        is "light", "dark", or "both", which has no background and reads on either.

        Raises LabkitError for a time that is empty.
        """
        from labkit.render import lanes

        start, end = self._span(start, end)
        rows = self.between(start, end)
        name = f"{self.name}, recorded" if self.is_replayed else self.name
        return lanes.draw(self.state(start - 1), rows, start, end, name=name, style=style)

    def ageing(
        self,
        bridge: Bridge | str,
        start: int | None = None,
        end: int | None = None,
        *,
        style: str = "both",
    ) -> Picture:
        """How the rows of a bridge's CAM table aged: learned, refreshed by frames, aged out.

        Times and `style` are as for `lanes`. Raises LabkitError.
        """
        from labkit.render import ageing

        start, end = self._span(start, end)
        name = bridge if isinstance(bridge, str) else getattr(bridge, "interface", None)
        if not isinstance(name, str):
            raise LabkitError(
                f"{naming.shown(bridge)} is not a bridge.", hint="Name a bridge of the lab."
            )
        link = self.state(end).space(MACHINE).link_named(name)
        if link is None or link.kind != "bridge":
            raise LabkitError(
                f"There is no bridge {name!r} at that time.",
                hint="Name a bridge of the lab, as lab.bridges lists them.",
            )
        rows = self.between(start, end)
        return ageing.draw(self.state(start - 1), rows, start, end, link.index, style=style)

    def _span(self, start: int | None, end: int | None) -> tuple[int, int]:
        """A time's two ends, within what the log keeps."""
        first = self.begins if start is None else max(naming.check_time(start), self.begins)
        last = self.now() if end is None else min(naming.check_time(end), self.now())
        if first >= last:
            raise LabkitError(
                "Nothing is recorded in that time.",
                hint=f"The recording goes from {self.begins} to {self.now()}.",
            )
        return first, last

    def now(self) -> int:
        """The time that "now" means: the clock's while live, the last event's when recorded."""
        if self.live and self._now.closed is None:
            return time.time_ns()
        with self._lock:
            return self._times[-1] if self._times else self._base.at

    def save(self, path: str | Path) -> Path:
        """Writes the recording (gzip, a JSON line an event), whole or not at all.

        Raises LabkitError where the file cannot be written.
        """
        path = naming.check_path(path)
        with self._lock:
            header = archive.Header(
                name=self.name,
                launcher=self.launcher,
                forgotten=self.forgotten,
                at=self._base.at,
            )
            base, events = self._base.copy(), list(self._events)
        archive.write(path, header, list(base.events()) if self.forgotten else [], events)
        return path

    def to_pcapng(
        self, path: str | Path, comments: Mapping[int, str | Sequence[str]] | None = None
    ) -> Path:
        """Writes every frame to a pcapng file, which Wireshark opens.

        Interfaces are named like "nginx-1:eth0", times are nanoseconds. `comments` are written
        beside the frames, by event number; without them, they are the sentences of the journey.

        Raises LabkitError where the file cannot be written.
        """
        from labkit import pcapng

        path = naming.check_path(path)
        remarks: list[str] = []
        if comments is None:
            journey = self.journey()
            comments = journey.comments()
            if journey.left_out:
                remarks.append(f"{journey.left_out} frames have no comment: there are too many")
        told = {n: [words] if isinstance(words, str) else words for n, words in comments.items()}
        with self._lock:
            base, events = self._base.copy(), list(enumerate(self._events, self.forgotten))
        pcapng.write(path, pcapng.Log(self.name, base, events, remarks), told)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Reads a recording that `save` wrote, of this version or an older one.

        Raises LabkitError for a file that is missing, damaged, or of another kind or version.
        """
        header, base, events = archive.read(naming.check_path(path))
        recording = cls(
            header.name,
            live=False,
            launcher=header.launcher,
            limit=sys.maxsize,
            size=sys.maxsize,
        )
        recording.forgotten = header.forgotten
        recording._base = State.after(base)
        recording._base.at = header.at
        recording._now = recording._base.copy()
        for event in events:
            recording._take(event)
        return recording
