"""What every live view has: updates while a cell blocks, a heartbeat, and visible errors."""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import msgspec
import traitlets

from labkit.model import events as ev
from labkit.model.replayed import BADGE
from labkit.model.state import State
from labkit.recording import Recording
from labkit.widgets.replay import Replay

PAUSE = 0.04
"""Seconds between two updates: of 20 changes a second each is shown, and a browser keeps up."""
SHARE = 3
"""A view that takes long to compute rests this many times as long, so that a lab goes on."""
BANDWIDTH = 500_000
"""Bytes a second that all views of a kernel send together. Jupyter's server drops messages over
1 MB a second (ServerApp's `iopub_data_rate_limit`, over 3 seconds), and what it drops is lost."""
AHEAD = 1.0
"""Seconds' worth of bytes that may be sent at once."""
BEAT = 2.0
"""Seconds between two heartbeats, by whose absence a view knows that its kernel is gone."""

STATIC = Path(__file__).parent / "static"


def static(name: str) -> str:
    """The text of a file in `static`."""
    return (STATIC / name).read_text(encoding="utf-8")


class Line:
    """What the views of a kernel share on the way to the browser."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = 0.0

    def send(self, size: int) -> float:
        """So many bytes are sent; the seconds that their sender has to rest."""
        with self._lock:
            now = time.monotonic()
            self._free = max(self._free, now) + size / BANDWIDTH
            return max(0.0, self._free - now - AHEAD)


LINE = Line()


class LiveView(anywidget.AnyWidget):
    """A view of a recording: traits that show its state, set anew when events have come.

    A plain thread sets the traits, so the browser sees them even while a cell blocks. All that
    a view opened later needs is in the traits, which are replayed to it. The first event is
    shown at once; those that follow it closely, together, 25 times a second.
    """

    heeds: tuple[type, ...] = ()
    """Events that change what the view shows: an update for another would delay one for these."""

    snapshot = traitlets.Dict().tag(sync=True)
    words = traitlets.Unicode(help="What the view shows, as plain text.").tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    beat = traitlets.Int(0, help="The log's time, in milliseconds since the epoch.").tag(sync=True)

    pause = PAUSE
    """Seconds between two updates of this view, at least."""

    def __init__(self, recording: Recording | Replay, **fields: Any) -> None:
        self.recording = recording
        self._publishing = threading.Lock()
        self._rest = 0.0  # what the line asks for
        self._dirty = threading.Event()
        self._ended = threading.Event()
        super().__init__(**fields)
        # Listening comes first: what happens while the first snapshot is made is in the second.
        forget = self._listen() if recording.live else None
        if self._publish() and forget:
            name = f"labkit {type(self).__name__}"
            thread = threading.Thread(target=self._run, args=(forget,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no threads here: it stays as it was when it was shown
                forget()
        elif forget:
            forget()

    def _listen(self) -> Callable[[], None]:
        return self.recording.listen(self._hear)

    def _hear(self, event: object) -> None:
        if isinstance(event, (ev.Lost, ev.Closed, *self.heeds)):
            self._dirty.set()

    def picture(self, state: State) -> dict[str, Any]:
        """The traits that show a state, by name; each view's own.

        What has not changed since the last picture is to be the same objects again: so little
        is computed, compared, sent, and left behind for the garbage collector.
        """
        raise NotImplementedError

    def text(self, state: State) -> str:
        """What the view shows, as plain text."""
        raise NotImplementedError

    def summary(self) -> str:
        """What the view shows now, as plain text."""
        return self.text(self.recording.state())

    __str__ = summary

    def close(self) -> None:
        """Ends the view and its thread."""
        self._ended.set()
        self._dirty.set()
        super().close()

    def refresh(self) -> None:
        """Computes and sends what has changed, at once: of a replay, when its instant moved."""
        self._publish()

    def _publish(self) -> bool:
        """Computes and sends what has changed. False when it was the last."""
        with self._publishing:  # a replay's instant is moved by another thread than its log grows
            return self._send_changes()

    def _send_changes(self) -> bool:
        state = self.recording.state()
        now = self.recording.now()
        status = {
            "name": self.recording.name,
            "recorded": not self.recording.live,
            "launcher": self.recording.launcher,
            "played": BADGE if self.recording.is_replayed else "",
            "moment": self.recording.moment if isinstance(self.recording, Replay) else "",
            "closed": state.closed,
            "lost": state.lost,
            "frames_lost": state.frames_lost,
            "forgotten": self.recording.forgotten,
            "error": "",
        }
        traits: dict[str, Any] = {"status": status}
        try:
            traits |= self.picture(state)
        except Exception as error:  # noqa: BLE001 (it is shown in the view, where it belongs)
            status["error"] = f"{type(error).__name__}: {error}"
        changed = {name: value for name, value in traits.items() if getattr(self, name) != value}
        if changed:
            size = sum(len(msgspec.json.encode(value)) for value in changed.values())
            self._rest = LINE.send(size)
            with self.hold_sync():
                self.beat = now // 1_000_000
                for name, value in changed.items():
                    setattr(self, name, value)
        return self.recording.closed is None

    def _run(self, forget: Any) -> None:
        last_beat = time.monotonic()
        alive = True
        try:
            while alive and not self._ended.is_set() and self.comm is not None:
                began = time.monotonic()
                if self._dirty.wait(max(0.0, last_beat + BEAT - began)):
                    if self._ended.is_set():
                        break
                    self._dirty.clear()
                    began = time.monotonic()
                    alive = self._publish()
                    spent = time.monotonic() - began
                    self._ended.wait(max(self.pause - spent, spent * SHARE, self._rest))
                if alive and time.monotonic() - last_beat >= BEAT:
                    last_beat = time.monotonic()
                    self.beat = self.recording.now() // 1_000_000
        except Exception:
            # Once the widget is closed or the kernel is going, there is nobody left to tell.
            if not self._ended.is_set() and self.comm is not None:
                raise
        finally:
            forget()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            data["text/plain"] = self.summary()
        return bundle


Seen = tuple[object, ...]
"""What a part of a picture was made of."""


def tables_of(state: State, *names: str) -> Seen:
    """Those tables of every namespace: the same objects for as long as nothing in them changes."""
    return tuple(getattr(space, name) for space in state.namespaces.values() for name in names)


def same(before: Seen, now: Seen) -> bool:
    """Whether all are the same objects."""
    return len(before) == len(now) and all(map(operator.is_, before, now))
