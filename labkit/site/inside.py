"""What `labkit.site.run` asks in a lesson's kernel between its cells, unseen by the lesson.

The answers are one line of JSON each, on the standard output of a cell that is thrown away.
"""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import chain, combinations
from typing import Any

from labkit.errors import LabkitError
from labkit.lessons.exercise import find
from labkit.lessons.look import Look, newest_lab
from labkit.lessons.predict import Prediction, Seen
from labkit.recording import Recording
from labkit.widgets.still import displayed


def views() -> None:
    """Every view as it is when all that has happened so far has been told."""
    with suppress(LabkitError):  # no lab yet, or it has ended: its views show its end
        newest_lab()._state(None)
    found = displayed()
    for one in found.values():
        if one["kind"] == "PredictionView":
            one["outcomes"] = outcomes(one["traits"])
    print(json.dumps(found))


def hints(name: str) -> None:
    """The three hints of an exercise, from the lab as it is before the exercise is done."""
    print(json.dumps(find(name).hints(Look(newest_lab()))))


def outcomes(traits: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """How each possible prediction would be graded, by the places of its choices: "0,2".

    Empty before what happens has been seen.
    """
    if not traits["outcome"]:
        return {}
    choices = traits["choices"]
    seen = Seen(
        tuple(choices[place] for place in traits["outcome"]["seen"]),
        tuple(traits["outcome"]["evidence"]),
    )
    most = len(choices) if traits["several"] else 1
    sizes = range(1, most + 1)
    graded = {}
    for places in chain.from_iterable(combinations(range(len(choices)), size) for size in sizes):
        guess = Prediction(
            traits["question"], choices, seen=lambda _: seen, several=traits["several"]
        )
        guess.choose(*(choices[place] for place in places))
        guess.lock()
        guess.grade(Recording("what was seen", live=False))
        graded[",".join(map(str, places))] = {
            **traits["outcome"],
            "answer": guess.answer,
            "words": guess.words,
        }
    return graded
