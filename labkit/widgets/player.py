"""The journey player: what happened to a packet, step by step."""

from __future__ import annotations

from typing import Any

import anywidget
import traitlets

from labkit.journey import Journey, Step
from labkit.model.replayed import BADGE
from labkit.widgets.live import static
from labkit.widgets.storyboard import STEPS, Storyboard

PARTS = ("shared", "diagram", "rows", "headers", "tokens", "controls", "instant", "player")
MODULE = "".join(static(f"{name}.js") for name in PARTS)
STYLE = static("labkit.css") + static("player.css")


def status_of(journey: Journey, error: str = "") -> dict[str, Any]:
    """What the head of the view says. `still`: it is finished, whatever becomes of the lab."""
    recording = journey.recording
    return {
        "name": recording.name,
        "recorded": recording.is_recorded,
        "played": BADGE if recording.is_replayed else "",
        "still": True,
        "error": error,
    }


class Player(anywidget.AnyWidget):
    """Plays a journey: the frame on its way, and the tables and headers as of each step.

    `step` is the number of the step that is shown, in the order of `Journey.walk`; set it to
    go there, observe it to follow what is done in the browser. `current` is that `Step`.
    """

    _esm = MODULE
    _css = STYLE

    snapshot = traitlets.Dict().tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)

    def __init__(self, journey: Journey, step: int = 0) -> None:
        self.journey = journey
        self._walk = [each for _, each in journey.walk()][:STEPS]
        snapshot, error = {}, ""
        try:
            snapshot = Storyboard(journey).data
        except Exception as problem:  # noqa: BLE001 (it is shown in the view, where it belongs)
            error = f"{type(problem).__name__}: {problem}"
        super().__init__(snapshot=snapshot, status=status_of(journey, error), step=step)

    @traitlets.validate("step")
    def _within(self, proposal: Any) -> int:
        return max(0, min(len(self._walk) - 1, int(proposal.value)))

    @property
    def current(self) -> Step | None:
        """The step that is shown; None where the journey has none."""
        return self._walk[self.step] if self._walk else None

    def summary(self) -> str:
        """The journey as plain text."""
        return str(self.journey)

    __str__ = summary

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = super()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            data["text/plain"] = self.summary()
            data["text/html"] = self.journey._repr_html_()
        return bundle
