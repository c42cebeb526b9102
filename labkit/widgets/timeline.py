"""The time machine: a slider over the whole session, and the views as of the chosen instant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets
import traitlets

from labkit.errors import LabkitError
from labkit.model.density import Density
from labkit.model.state import State
from labkit.model.words import TOLD, in_words
from labkit.recording import Recording
from labkit.widgets.live import LiveView, static
from labkit.widgets.replay import Replay, seconds
from labkit.widgets.tables import Tables
from labkit.widgets.topology import Topology

COLUMNS = 240
"""Columns of the strip that shows when things happened."""


class Scrubber(LiveView):
    """The slider of a timeline, with what happened when above it.

    Times are nanoseconds from the replay's `origin`, which a browser's numbers hold exactly for
    104 days. `position` is the chosen one, None the end. `told` answers it: the browser sends no
    other until then, so that what is shown keeps up with the hand.
    """

    heeds = (object,)  # whatever happens is on the strip
    pause = 0.25
    _esm = static("shared.js") + static("timeline.js")
    _css = static("labkit.css") + static("timeline.css")

    position = traitlets.Int(None, allow_none=True).tag(sync=True)
    told = traitlets.Dict(help="The position that is shown, and what just happened.").tag(sync=True)

    recording: Replay

    def __init__(self, replay: Replay, moved: Callable[[], None]) -> None:
        self._density = Density()
        self._next = 0
        self._columns: tuple[tuple[int, int, int], list[list[int]]] | None = None
        self._moved = moved
        super().__init__(replay)
        self.observe(self._seek, "position")
        self.on_msg(self._step)

    def _listen(self) -> Callable[[], None]:
        return self.recording.recording.listen(self._hear)  # the end moves on in the past as well

    def _seek(self, change: Any) -> None:
        replay = self.recording
        if change.new is None:
            replay.at = None
        else:
            begins, end = replay.recording.begins, replay.recording.now()
            replay.at = max(begins, min(end, replay.origin + change.new))
        self._moved()
        self.refresh()
        if self.told.get("position") != change.new:  # an error came first, which the view shows
            self.told = {**self.told, "position": change.new}

    def _step(self, _: object, content: Any, __: object) -> None:
        """To the next or the last instant at which something happened."""
        if not isinstance(content, dict) or content.get("step") not in (-1, 1):
            return
        replay = self.recording
        found = replay.recording.beside(replay.now(), TOLD, later=content["step"] > 0)
        if found is not None:
            self.position = found[0] - replay.origin
        elif content["step"] > 0:
            self.position = None

    def picture(self, state: State) -> dict[str, Any]:
        """The log's extent and what happened when, the position, and what had happened by then."""
        replay = self.recording
        first, rows = replay.recording.since(self._next)
        self._next = first + len(rows)
        self._density.take(rows)
        begins, end = replay.recording.begins, replay.recording.now()
        known = (self._next, begins, end)
        if self._columns is None or self._columns[0] != known:
            self._columns = (known, self._density.columns(begins, end, COLUMNS))
        extent = {
            "first": begins - replay.origin,
            "end": end - replay.origin,
            "columns": self._columns[1],
        }
        words = f"{seconds(end - begins)} of events."
        return {"snapshot": extent, "words": words, "told": self._told(state)}

    def _told(self, state: State) -> dict[str, Any]:
        replay = self.recording
        at = replay.now()
        found = replay.recording.beside(at + 1, TOLD, later=False)
        words = ""
        if found is not None:
            when, event = found
            words = f"{seconds(when - replay.origin)}: {in_words(event, state)}"
        return {"position": self.position, "at": at - replay.origin, "words": words}

    def text(self, state: State) -> str:
        """The instant and what had just happened, as plain text."""
        told = self._told(state)
        return f"{self.recording.moment or 'now'}. {told['words']}".strip()


class Timeline(ipywidgets.VBox):
    """The topology and the tables at any instant of a recording, live or loaded.

    `at` is the chosen instant, and `state` the lab's state then.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._replay = Replay(recording)
        self.topology = Topology(self._replay)
        self.tables = Tables(self._replay)
        self.scrubber = Scrubber(self._replay, self._moved)
        super().__init__([self.scrubber, self.topology, self.tables])

    @property
    def at(self) -> int:
        """The chosen instant, nanoseconds since the epoch. It can be set; None is the end.

        Raises LabkitError for a time at which there is no recording.
        """
        return self._replay.now()

    @at.setter
    def at(self, value: int | None) -> None:
        begins, end = self.recording.begins, self.recording.now()
        if value is not None and not begins <= value <= end:
            raise LabkitError(
                f"The recording has no instant {value}.",
                hint=f"It goes from {begins} to {end}: nanoseconds since the epoch.",
            )
        self.scrubber.position = None if value is None else value - self._replay.origin

    @property
    def state(self) -> State:
        """The lab's state at the chosen instant."""
        return self._replay.state()

    def close(self) -> None:
        """Ends the views and their threads."""
        for view in self.children:
            view.close()
        super().close()

    def _moved(self) -> None:
        self.topology.refresh()
        self.tables.refresh()

    def __str__(self) -> str:
        return "\n".join(view.summary() for view in self.children)

    __repr__ = __str__

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return super()._repr_mimebundle_(**options) | {"text/plain": str(self)}
