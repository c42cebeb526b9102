"""What the views of this notebook show at this moment, for a page that has no kernel behind it."""

from __future__ import annotations

import re
from typing import Any

import anywidget
from ipywidgets.widgets import widget as registry

from labkit.widgets.live import LiveView, static
from labkit.widgets.player import STYLE, Player
from labkit.widgets.prediction import PredictionView
from labkit.widgets.states import NeighbourStates
from labkit.widgets.tables import Tables
from labkit.widgets.topology import Topology

VIEWS: tuple[type[anywidget.AnyWidget], ...] = (
    Topology,
    Tables,
    NeighbourStates,
    Player,
    PredictionView,
)
"""The views that show the same from their traits alone."""
SHARED = frozenset(anywidget.AnyWidget.class_traits())
EXPORT = re.compile(r"^export default \{ render \};$", re.MULTILINE)


def displayed() -> dict[str, dict[str, Any]]:
    """Every view's name and traits by its model id, brought up to date, and marked as recorded."""
    found = {}
    for model_id, view in list(registry._instances.items()):
        if not isinstance(view, VIEWS):
            continue
        if isinstance(view, LiveView):
            view.refresh()
        traits = {
            name: getattr(view, name)
            for name in view.traits(sync=True)
            if name not in SHARED and not name.startswith("_")
        }
        if "status" in traits:
            traits["status"] = {**traits["status"], "recorded": True}
        found[model_id] = {"kind": type(view).__name__, "traits": traits}
    return found


def script() -> str:
    """All views' modules as one plain script, which sets `LABKIT_VIEWS`: a view's name → render.

    A page that is opened as a file may load no module (they are fetched with CORS, and a file has
    no origin: HTML standard, "fetch a classic script"), but any script.
    """
    parts = []
    for view in VIEWS:
        body, count = EXPORT.subn("return render;", view._esm)
        if count != 1:
            raise ValueError(f"the module of {view.__name__} does not end as the others do")
        parts.append(f"LABKIT_VIEWS.{view.__name__} = (() => {{\n{body}\n}})();\n")
    return '"use strict";\nconst LABKIT_VIEWS = {};\n' + "".join(parts)


def style() -> str:
    """The style of all views."""
    return STYLE + static("prediction.css")
