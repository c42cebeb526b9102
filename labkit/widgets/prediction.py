"""The view of a prediction: choices, a lock, and then what was predicted beside what was seen."""

from __future__ import annotations

import anywidget
import traitlets

from labkit.widgets.live import static


class PredictionView(anywidget.AnyWidget):
    """Shows a prediction and takes the learner's choice. It decides nothing: its owner does."""

    _esm = static("shared.js") + static("diagram.js") + static("prediction.js")
    _css = static("labkit.css") + static("prediction.css")

    question = traitlets.Unicode().tag(sync=True)
    choices = traitlets.List(traitlets.Unicode()).tag(sync=True)
    several = traitlets.Bool().tag(sync=True)
    diagram = traitlets.Dict(
        help="The topology to pick choices on: layout, and targets (item: place among the choices)."
    ).tag(sync=True)
    chosen = traitlets.List(traitlets.Int(), help="Places among the choices.").tag(sync=True)
    wish = traitlets.Int(0, help="Counts the learner's wishes to lock.").tag(sync=True)
    locked = traitlets.Bool().tag(sync=True)
    note = traitlets.Unicode(help="A line below the choices: what is refused, and why.").tag(
        sync=True
    )
    outcome = traitlets.Dict(help="answer, words, seen (places) and evidence, once graded.").tag(
        sync=True
    )
