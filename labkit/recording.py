"""A lab's log: every event, in order, and the state at any time of it."""

from __future__ import annotations

import bisect
import gzip
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from labkit.errors import LabkitError
from labkit.model.events import Event
from labkit.model.state import State

FORMAT = "labkit recording"
VERSION = 1
CHECKPOINT = 2000
"""Events between two kept states, from which `Recording.state` folds on."""


class Recording:
    """Events in order. Live while a lab appends to it; the same views work on a loaded one.

    `live` says which: a recording that was loaded shows its end and marks itself recorded.
    """

    def __init__(self, name: str = "lab", *, live: bool = True, launcher: str = "") -> None:
        self.name = name
        self.live = live
        self.launcher = launcher  # by which a live lab runs
        self.events: list[Event] = []
        self._times: list[int] = []
        self._now = State()
        self._checkpoints: list[State] = []
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Event], None]] = []

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        kind = "live" if self.live else "recorded"
        return f"<Recording of {self.name!r}: {len(self)} events, {kind}>"

    def append(self, event: Event) -> None:
        """Takes one event in, and tells every listener."""
        with self._lock:
            self.events.append(event)
            # Clocks may step back; the log's order is what counts, so its times never do.
            self._times.append(max(event.at, self._times[-1] if self._times else 0))
            self._now.apply(event)
            if len(self.events) % CHECKPOINT == 0:
                self._checkpoints.append(self._now.copy())
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(event)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `listener` with each event from now on; the result, called, ends that."""
        with self._lock:
            self._listeners.append(listener)

        def stop() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    def state(self, at: int | None = None) -> State:
        """The state at time `at` (nanoseconds since the epoch); without it, the latest."""
        with self._lock:
            if at is None:
                return self._now.copy()
            end = bisect.bisect_right(self._times, at)
            kept = end // CHECKPOINT
            state = self._checkpoints[kept - 1].copy() if kept else State()
            rest = self.events[kept * CHECKPOINT : end]
        for event in rest:
            state.apply(event)
        state.at = at
        return state

    def now(self) -> int:
        """The time that "now" means: the clock's while live, the last event's when recorded."""
        if self.live and self._now.closed is None:
            return time.time_ns()
        return self._times[-1] if self._times else 0

    def save(self, path: str | Path) -> Path:
        """Writes the recording (gzip, a JSON line an event), whole or not at all.

        Raises LabkitError where the file cannot be written.
        """
        path = Path(path)
        partial = path.with_name(path.name + ".part")
        with self._lock:
            events = list(self.events)
        header = {"format": FORMAT, "version": VERSION, "name": self.name}
        try:
            with gzip.open(partial, "wb") as file:
                file.write(msgspec.json.Encoder().encode_lines([header, *events]))
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise LabkitError(
                f"The recording could not be saved as {path}: {error.strerror}.",
                hint="Choose a folder that exists, is yours to write in and has room.",
            ) from error
        return path

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Reads a recording that `save` wrote.

        Raises LabkitError for a file that is missing, damaged, or of another kind or version.
        """
        path = Path(path)
        try:
            with gzip.open(path, "rb") as file:
                lines = file.read().splitlines()
            header = msgspec.json.decode(lines[0])
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise ValueError("it is not a labkit recording")
            if header.get("version") != VERSION:
                raise ValueError(
                    f"it is of version {header.get('version')}; this labkit reads {VERSION}"
                )
            decoder = msgspec.json.Decoder(Event)
            recording = cls(str(header.get("name", "lab")), live=False)
            for line in lines[1:]:
                recording.append(decoder.decode(line))
        except (OSError, EOFError, ValueError, IndexError) as error:
            raise LabkitError(
                f"The recording {path} could not be read: {error}.",
                hint="Check the path; a damaged file has to be recorded again.",
            ) from error
        return recording
