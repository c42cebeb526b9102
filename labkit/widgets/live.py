"""What every live view has: updates while a cell blocks, a heartbeat, and visible errors."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labkit.model import events as ev
from labkit.model.state import State
from labkit.recording import Recording

PAUSE = 0.05
"""Seconds between two updates: 20 a second is what a browser takes without losing any."""
BEAT = 2.0
"""Seconds between two heartbeats, by whose absence a view knows that its kernel is gone."""

STATIC = Path(__file__).parent / "static"


def static(name: str) -> str:
    """The text of a file in `static`."""
    return (STATIC / name).read_text(encoding="utf-8")


class LiveView(anywidget.AnyWidget):
    """A view of a recording: one snapshot, computed anew when events have come.

    A plain thread sets the trait, so the browser sees it even while a cell blocks. All that
    a view opened later needs is in the traits, which are replayed to it.
    """

    indifferent: tuple[type, ...] = (ev.ProcessStarted, ev.ProcessEnded)
    """Events that change nothing in the view: an update for them would delay one that does."""

    snapshot = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    beat = traitlets.Int(0).tag(sync=True)

    def __init__(self, recording: Recording, **fields: Any) -> None:
        self.recording = recording
        self._dirty = threading.Event()
        super().__init__(**fields)
        self._publish()
        if recording.live and recording.state().closed is None:
            self._forget = recording.listen(self._hear)
            name = f"labkit {type(self).__name__}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def _hear(self, event: object) -> None:
        if not isinstance(event, self.indifferent):
            self._dirty.set()

    def picture(self, state: State, now: int) -> dict[str, Any]:
        """The snapshot for a state; each view's own."""
        raise NotImplementedError

    def summary(self) -> str:
        """The snapshot in words."""
        return str(self.snapshot.get("summary", ""))

    def _publish(self) -> bool:
        """Computes and sends a snapshot. False when it was the last."""
        state = self.recording.state()
        status = {
            "name": self.recording.name,
            "recorded": not self.recording.live,
            "closed": state.closed,
            "lost": state.lost,
            "error": "",
        }
        try:
            snapshot = self.picture(state, self.recording.now())
        except Exception as error:  # noqa: BLE001 (it is shown in the view, where it belongs)
            status["error"] = f"{type(error).__name__}: {error}"
        else:
            if snapshot != self.snapshot:
                self.snapshot = snapshot
        if status != self.status:
            self.status = status
        return state.closed is None

    def _run(self) -> None:
        last_beat = time.monotonic()
        alive = True
        while alive and self.comm is not None:
            changed = self._dirty.wait(max(0.0, last_beat + BEAT - time.monotonic()))
            if changed:
                self._dirty.clear()
                alive = self._publish()
                time.sleep(PAUSE)
            if time.monotonic() - last_beat >= BEAT:
                last_beat = time.monotonic()
                self.beat += 1
        self._forget()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            data["text/plain"] = self.summary()
        return bundle
