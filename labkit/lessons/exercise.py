"""Exercises: what a lesson asks for, how it is checked, and hints that read the live state.

An exercise is a small function in a module of `labkit/lessons/exercises/`, one module a lesson::

    @exercise("third-container", asks="Plug in a third container that nginx-1 can ping.",
              hints=third_container_hints)
    def third_container(look: Look) -> Iterator[Row]:
        yield expects("docker0's ports", "3 or more", len(look.bridge("docker0").ports), ok=…)

It yields rows, expected beside observed, and judges the effect, whatever the route to it. Its
worked solution and its wrong ones stand in the lesson's source (see `answers`).
"""

from __future__ import annotations

import difflib
import html
import importlib
import json
import pkgutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import msgspec
from msgspec.structs import replace

from labkit.errors import LabkitError
from labkit.lab import Lab
from labkit.lessons import progress
from labkit.lessons.look import Look, judge, newest_lab
from labkit.lessons.verdict import Row, Verdict
from labkit.model.replayed import HOW

Rows = Callable[[Look], Iterator[Row]]
Hints = Callable[[Look], tuple[str, str, str]]
SOLUTIONS = Path(__file__).with_name("solutions.json")
"""The worked solutions, by name: built from the lessons' sources, as the notebooks are."""


class Exercise(msgspec.Struct, frozen=True):
    """One exercise of a lesson."""

    name: str
    lesson: str
    asks: str
    rows: Rows
    hints: Hints


_known: dict[str, Exercise] = {}


def exercise(name: str, *, asks: str, hints: Hints) -> Callable[[Rows], Rows]:
    """Declares the decorated function as the check of an exercise. Its module names the lesson."""

    def declare(rows: Rows) -> Rows:
        lesson = rows.__module__.rsplit(".", 1)[-1].removeprefix("lesson_")
        if name in _known and _known[name].lesson != lesson:
            raise ValueError(f"two lessons have an exercise {name!r}")
        _known[name] = Exercise(name, lesson, asks, rows, hints)
        return rows

    return declare


@lru_cache(maxsize=1)
def all_exercises() -> dict[str, Exercise]:
    """Every exercise by its name, in the order of the lessons."""
    from labkit.lessons import exercises

    for module in sorted(one.name for one in pkgutil.iter_modules(exercises.__path__)):
        importlib.import_module(f"{exercises.__name__}.{module}")
    return _known


def find(name: str) -> Exercise:
    """An exercise by its name. Raises LabkitError, which guesses what was meant."""
    known = all_exercises()
    if name in known:
        return known[name]
    close = difflib.get_close_matches(str(name), known, 1)
    guess = f'Did you mean "{close[0]}"? ' if close else ""
    raise LabkitError(
        f"There is no exercise {name!r}.", hint=f"{guess}There are: {', '.join(known)}."
    )


def check(name: str, *, lab: Lab | None = None) -> Verdict:
    """Whether an exercise is done: passed, not yet, or could not tell; with what was observed.

    It looks at `lab`, or at the one made last. In a recording that is played, what is not passed
    needs a live kernel, and a pass is the recording's: it is not kept as the learner's.

    Raises LabkitError for an unknown exercise and where there is no lab.
    """
    wanted = find(name)
    lab = lab or newest_lab()
    verdict = _judge(wanted, lab)
    if lab.recording.is_replayed:
        note = recorded_note(verdict, f'solution("{name}"), in the cell above')
    elif verdict:
        note = progress.passed(name)
    else:
        note = f'hint("{name}") helps; solution("{name}") shows a way.'
    recorded = lab.recording.is_replayed
    return replace(verdict, note=note, lesson=wanted.lesson, recorded=recorded)


def recorded_note(verdict: Verdict, solution: str) -> str:
    """What is said below the verdict on a recording that is played."""
    if verdict:
        return "This was seen in the recording; your progress counts what you do in a live lab."
    return f"This lab is a recording: only the worked solution can be played ({solution}). {HOW}"


def _judge(wanted: Exercise, lab: Lab) -> Verdict:
    return judge(wanted.name, wanted.rows(Look(lab)), asks=wanted.asks)


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """Something said to the learner: prints as its text, displays as a quiet box."""

    title: str
    text: str
    code: bool = False

    def __repr__(self) -> str:
        return f"{self.title}\n{self.text}"

    def _repr_html_(self) -> str:
        tag = "pre" if self.code else "div"
        return (
            '<div style="border-inline-start: 4px solid var(--jp-border-color1, #bdbdbd); '
            f'padding: 4px 12px"><strong>{html.escape(self.title)}</strong>'
            f'<{tag} style="white-space: pre-wrap; margin: 4px 0">{html.escape(self.text)}'
            f"</{tag}></div>"
        )


def hint(name: str, *, lab: Lab | None = None) -> Words:
    """The next of three hints, each nearer, and each from the lab as it is now."""
    wanted = find(name)
    lab = lab or newest_lab()
    if _judge(wanted, lab):
        return Words(title=name, text=f'It is done. check("{name}") says what was seen.')
    number = min(3, int(progress.known().get(name, {}).get("hints", 0)) + 1)
    try:
        text = wanted.hints(Look(lab))[number - 1]
    except Exception as error:  # noqa: BLE001 (a probe that fails says so; the number stays)
        text = f"This hint could not look at the lab: {error}\nIt asks: {wanted.asks}"
    else:
        progress.note(name, hints=number)
    more = "" if number < 3 else f'\nThis was the last: solution("{name}") shows a way.'
    return Words(title=f"{name}, hint {number} of 3", text=text + more)


def solution(name: str) -> Words:
    """A worked solution: code that a cell can run."""
    find(name)
    known = solutions()
    if name not in known:
        raise LabkitError(
            f"The exercise {name!r} has no worked solution here.", hint="Please report this."
        )
    progress.note(name, solution=True)
    return Words(title=f"{name}: one way of many", text=known[name], code=True)


def solutions() -> dict[str, str]:
    """The worked solutions by name."""
    if not SOLUTIONS.exists():
        return {}
    known: dict[str, str] = json.loads(SOLUTIONS.read_text(encoding="utf-8"))
    return known
