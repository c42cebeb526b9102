"""Predict, run, explain: a prediction is locked first, and graded against what was seen.

::

    guess = predict(
        "Which tables will have a new row?",
        ["nginx-1's neighbours", "docker0's fdb"],
        seen=new_rows,                       # a function of what happens after the lock
        several=True,
    )
    guess                                    # shown: choose, and lock
    nginx1.ping(nginx2)                      # the experiment
    guess.grade()                            # prediction beside evidence

In plain Python: ``guess.choose("docker0's fdb"); guess.lock()``. A lesson declares its own in its
module of `labkit/lessons/exercises/`, so that its cell is short: ``predict("first-ping")``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from labkit.errors import LabkitError
from labkit.lab import Lab
from labkit.lessons.exercise import all_exercises
from labkit.lessons.look import Look, Missing, newest_lab, words_of
from labkit.lessons.verdict import listed
from labkit.recording import Recording

MIME = "application/vnd.labkit.prediction+json"
RIGHT, PARTLY, OTHERWISE = "as predicted", "partly as predicted", "not as predicted"
NOT_PREDICTED, NOT_YET, COULD_NOT_TELL = "not predicted", "not yet", "could not tell"


class Seen(msgspec.Struct, frozen=True):
    """What was observed: the choices that came true, and the evidence in words."""

    choices: tuple[Any, ...]
    evidence: tuple[str, ...] = ()


Observe = Callable[[Look], Any]


_declared: dict[str, Callable[..., Prediction]] = {}
"""The lessons' own predictions by name: each call asks anew."""


def prediction(
    name: str, question: str, choices: Sequence[str], *, several: bool = False
) -> Callable[[Observe], Observe]:
    """Declares the decorated function as what grades a lesson's prediction of that name."""

    def declare(seen: Observe) -> Observe:
        _declared[name] = partial(Prediction, question, choices, seen=seen, several=several)
        return seen

    return declare


def predict(
    question: str,
    choices: Iterable[object] | None = None,
    *,
    seen: Observe | None = None,
    several: bool = False,
    lab: Lab | None = None,
) -> Prediction:
    """Asks for a prediction before an experiment. Raises LabkitError for what cannot be one.

    With a name alone, it is the one of that name that a lesson declares. Else:
    `choices` are texts, or hosts, bridges and ports, which show as their names. `seen` looks at
    the lab afterwards (see `labkit.lessons.look.Look`; its events are those since the lock) and
    returns the choice or choices that came true, or a `Seen` with evidence besides; None while
    there is nothing to see yet.
    """
    if choices is None and seen is None:
        all_exercises()  # the modules that declare exercises declare predictions
        if question not in _declared:
            raise LabkitError(
                f"No lesson has a prediction {question!r}.",
                hint=f"There are: {listed(_declared)}. Or give choices, and seen=…",
            )
        return _declared[question](lab=lab)
    return Prediction(question, choices or (), seen=seen, several=several, lab=lab)


class Prediction:
    """A question, a choice that is locked before the experiment, and its grading."""

    def __init__(
        self,
        question: str,
        choices: Iterable[object],
        *,
        seen: Observe | None,
        several: bool = False,
        lab: Lab | None = None,
    ) -> None:
        if not callable(seen):
            raise LabkitError(
                f"A prediction is graded against what is seen, and {seen!r} is no way to look.",
                hint="Give a function of the lab: seen=lambda look: …",
            )
        self.question = question
        self.choices = tuple(map(_label, choices))
        if len(self.choices) < 2 or len(set(self.choices)) < len(self.choices):
            raise LabkitError(
                f"These choices cannot be told apart: {listed(self.choices)}.",
                hint="Give two or more, each once.",
            )
        self.several = several
        self.chosen: tuple[str, ...] = ()
        self.locked = False
        self.answer = ""
        self.words = ""
        self.seen: tuple[str, ...] = ()
        self.evidence: tuple[str, ...] = ()
        self._observe = seen
        self._lab = lab
        self._since = self._told()
        self._view: Any = None

    @property
    def graded(self) -> bool:
        """Whether what happened has been seen, so that it is too late to predict."""
        return self.answer not in ("", NOT_YET, COULD_NOT_TELL)

    def choose(self, *choices: object) -> None:
        """Chooses, as a click does. Raises LabkitError when it is locked, or for no such choice."""
        if self.locked or self.graded:
            raise LabkitError("The prediction is locked.", hint="Run its cell again to start anew.")
        labels = tuple(dict.fromkeys(map(_label, choices)))
        unknown = [label for label in labels if label not in self.choices]
        if unknown:
            raise LabkitError(
                f"{unknown[0]!r} is not one of the choices.", hint=f"They are: {self._listed()}."
            )
        if len(labels) > 1 and not self.several:
            raise LabkitError("One choice is asked for.", hint=f"One of: {self._listed()}.")
        self.chosen = tuple(choice for choice in self.choices if choice in labels)
        self._show()

    def lock(self) -> None:
        """Locks the choice: what happens from now on is what counts. Raises LabkitError."""
        if self.locked:
            return
        if self.graded:
            raise LabkitError(
                "It is too late: what happened has been shown.",
                hint="Run its cell again to start anew.",
            )
        if not self.chosen:
            raise LabkitError("Nothing is chosen yet.", hint=f"Choose from: {self._listed()}.")
        self._since = self._told()
        self.locked = True
        self._show()

    def grade(self, source: Lab | Recording | None = None) -> Prediction:
        """Compares with what was seen since the lock, in the lab or a recording of it.

        What was not locked counts as not predicted. While there is nothing to see, it stays open.
        """
        self.seen, self.evidence = (), ()
        try:
            if source is None:  # an empty recording is one, too
                source = self._lab or newest_lab()
            look = Look(source, self._since)
            self._judge(self._observe(look))
        except Missing as missing:
            self.answer, self.words = NOT_YET, f"Not yet: {missing}."
        except Exception as error:  # noqa: BLE001 (a broken probe is no grade)
            self.answer, self.words = COULD_NOT_TELL, f"It could not be seen: {words_of(error)}"
        self._show()
        return self

    def _judge(self, observed: Any) -> None:
        if observed is None:
            raise Missing("the experiment has shown nothing so far")
        if isinstance(observed, Seen):
            self.evidence, observed = observed.evidence, observed.choices
        single = isinstance(observed, str) or not isinstance(observed, Iterable)
        seen = [_label(one) for one in ([observed] if single else observed)]
        others = [label for label in seen if label not in self.choices]
        if others:
            self.evidence = (*self.evidence, f"seen: {listed(seen)}")
            raise LabkitError(f"what was seen ({listed(others)}) is none of the choices")
        self.seen = tuple(choice for choice in self.choices if choice in seen)
        if not self.locked:
            self.answer = NOT_PREDICTED
            self.chosen = ()
            self.words = f"Not locked before the experiment. What was seen: {listed(self.seen)}."
            return
        missed = [choice for choice in self.seen if choice not in self.chosen]
        wrong = [choice for choice in self.chosen if choice not in self.seen]
        if not missed and not wrong:
            self.answer, self.words = RIGHT, "As you predicted."
            return
        common = set(self.seen) & set(self.chosen)
        self.answer = PARTLY if common else OTHERWISE
        parts = []
        if wrong:
            parts.append(f"you predicted {listed(wrong)}, which was not seen")
        if missed:
            parts.append(f"{listed(missed)} was seen, which you did not predict")
        self.words = f"{self.answer.capitalize()}: {'; '.join(parts)}. Why?"

    def __bool__(self) -> bool:
        return self.answer == RIGHT

    def __repr__(self) -> str:
        lines = [self.question]
        if self.words:
            for choice in self.choices:
                mine = "predicted" if choice in self.chosen else ""
                real = "seen" if choice in self.seen else ""
                lines.append(f"  {choice:<30} {mine:<10} {real}".rstrip())
            lines += [self.words, *(f"  {text}" for text in self.evidence)]
        else:
            lines += [f"  {'●' if c in self.chosen else '○'} {c}" for c in self.choices]
            lines.append("locked" if self.locked else "open: choose, then lock")
        return "\n".join(lines)

    def _listed(self) -> str:
        return ", ".join(f'"{choice}"' for choice in self.choices)

    def _told(self) -> int:
        """How many events there are, when all that has happened has been told."""
        try:
            lab = self._lab or newest_lab()
            lab._state(None)
        except LabkitError:
            return 0  # no lab yet: all that comes counts
        return len(lab.recording)

    # The view

    def _show(self) -> None:
        view = self._view
        if view is None:
            return
        outcome = {}
        if self.graded:
            outcome = {
                "answer": self.answer,
                "words": self.words,
                "seen": [self.choices.index(choice) for choice in self.seen],
                "evidence": list(self.evidence),
            }
        with view.hold_sync():
            view.chosen = [self.choices.index(choice) for choice in self.chosen]
            view.locked = self.locked
            view.note = "" if self.graded else self.words
            view.outcome = outcome

    def _diagram(self) -> dict[str, Any]:
        """The lab's topology, where two choices or more are things in it, to be picked there."""
        from labkit.render.layout import layout, titles

        try:
            drawn = layout((self._lab or newest_lab()).recording.state())
        except LabkitError:
            return {}  # no lab yet, or no Graphviz: the choices are enough
        choices = self.choices
        targets = {key: choices.index(name) for key, name in titles(drawn) if name in choices}
        return {"layout": drawn, "targets": targets} if len(targets) > 1 else {}

    def _clicked(self, change: Any) -> None:
        chosen = tuple(self.choices[index] for index in change.new)
        if chosen != self.chosen and not self.locked and not self.graded:
            self.chosen = chosen
            self._view.note = ""

    def _wished(self, _: Any) -> None:
        try:
            self.lock()
        except LabkitError as error:
            self._view.note = error.message

    def _make_view(self) -> Any:
        from labkit.widgets import PredictionView

        if self._view is None:
            self._view = PredictionView(
                question=self.question,
                choices=list(self.choices),
                several=self.several,
                diagram=self._diagram(),
            )
            self._view.observe(self._clicked, "chosen")
            self._view.observe(self._wished, "wish")
            self._show()
        return self._view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle = self._make_view()._repr_mimebundle_(**options)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if isinstance(data, dict):
            data["text/plain"] = repr(self)
            data[MIME] = {"question": self.question, "answer": self.answer}
        return bundle


def _label(choice: object) -> str:
    """A choice as text: a host, bridge, interface or port by its name."""
    name = getattr(choice, "name", None)
    return choice if isinstance(choice, str) else name if isinstance(name, str) else str(choice)
