"""A recording as of an instant that can be moved."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from labkit.model.events import Closed, Event
from labkit.model.state import State
from labkit.recording import Recording


class Replay:
    """What a view takes for a recording, and shows it as it was at `at`.

    `at` is nanoseconds since the epoch; None is the end, which moves on while the lab is live.
    """

    # The same at every instant.
    name = property(attrgetter("recording.name"))
    live = property(attrgetter("recording.live"))
    launcher = property(attrgetter("recording.launcher"))
    is_replayed = property(attrgetter("recording.is_replayed"))
    forgotten = property(attrgetter("recording.forgotten"))
    closed = property(attrgetter("recording.closed"))

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.at: int | None = None
        self._origin = 0
        self._last: tuple[int, int, State] | None = None

    @property
    def origin(self) -> int:
        """The time that is counted from: the first that was known of the recording."""
        self._origin = self._origin or self.recording.begins
        return self._origin

    @property
    def moment(self) -> str:
        """The instant in words; empty at the end."""
        return "" if self.at is None else f"as of {seconds(self.at - self.origin)}"

    def state(self) -> State:
        """The state at that instant; several views ask for the same, and it is found once."""
        at, last = self.at, self._last
        if at is None:
            return self.recording.state()
        if last is None or last[:2] != (at, len(self.recording)):
            last = self._last = (at, len(self.recording), self.recording.state(at))
        return last[2].copy()

    def now(self) -> int:
        """The instant that "now" means, nanoseconds since the epoch."""
        return self.recording.now() if self.at is None else self.at

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Calls `listener` with each event that changes what is shown: none in the past."""

        def hear(event: Event) -> None:
            if self.at is None or isinstance(event, Closed):
                listener(event)

        return self.recording.listen(hear)


def seconds(nanoseconds: int) -> str:
    """A duration in words, to the millisecond."""
    return f"{nanoseconds / 1e9:.3f} s"
