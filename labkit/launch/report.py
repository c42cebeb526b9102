"""What `labkit doctor` found: friendly words first, then everything that was tried."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

import msgspec

from labkit.launch.machine import Problem
from labkit.model.replayed import REPLAY

INSTALL = "sudo apt-get install "


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a lab can use: whether it is here, and if not, why and the remedy."""

    name: str
    use: str
    needed: bool = False
    detail: str = ""
    problem: Problem | None = None

    @property
    def ok(self) -> bool:
        """Whether it is here and works."""
        return self.problem is None

    @property
    def title(self) -> str:
        """Its name, what it is for, and where it lacks how much it matters."""
        detail = f" ({self.detail})" if self.detail else ""
        need = "" if self.ok else f" [{'needed' if self.needed else 'optional'}]"
        return f"{'✓' if self.ok else '✗'} {self.name}{detail}: {self.use}{need}"

    def __str__(self) -> str:
        lines = [self.title]
        if self.problem:
            lines += indented(Advice(self.problem.reason, self.problem.remedy), "    ")
        return "\n".join(f"  {line}" for line in lines)


class Advice(msgspec.Struct, frozen=True):
    """A sentence, and what to type or change if there is something to be done about it."""

    words: str
    remedy: str = ""


def indented(advice: Advice, margin: str) -> Iterator[str]:
    """The lines of an advice as plain text."""
    yield f"{margin}{advice.words}"
    for number, line in enumerate(advice.remedy.splitlines()):
        yield f"{margin}{'  ' if number else '→ '}{line}"


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `launcher` names the one that a lab would use, `asked` the one asked for.

    `replay` is whether lessons can be played from their recordings: that is no live lab.
    """

    system: str
    launcher: str | None
    launchers: tuple[Check, ...]
    programs: tuple[Check, ...]
    kernel: tuple[Check, ...]
    python: tuple[Check, ...]
    asked: str = ""
    replay: Check | None = None

    @property
    def ok(self) -> bool:
        """Whether a live lab is possible: a launcher works, and all that is needed is here."""
        return self.launcher is not None and all(c.ok for c in self._things() if c.needed)

    def _things(self) -> tuple[Check, ...]:
        return (*self.programs, *self.kernel, *self.python)

    @property
    def _sections(self) -> tuple[tuple[str, tuple[Check, ...]], ...]:
        return (
            ("Launchers (one is enough)", self.launchers),
            ("Recorded only, where none of them works", (self.replay,) if self.replay else ()),
            ("Programs", self.programs),
            ("The kernel, tried in a throw-away namespace", self.kernel),
            ("Python packages", self.python),
        )

    # The friendly words

    @property
    def verdict(self) -> str:
        """One sentence."""
        if self.ok:
            return f"✓ A live lab is possible here, with the launcher {self.launcher}."
        if self.replay and self.replay.ok:
            return (
                "✗ No live lab is possible here yet. Recorded only: every lesson opens, and its "
                "cells play a recording that was made on a real kernel."
            )
        return "✗ No live lab is possible here yet."

    @property
    def how(self) -> str:
        """Which launcher a lab would use, which others could be, and which not and why."""
        works = [check.name for check in self.launchers if check.ok]
        said = []
        if self.asked:
            said.append(f"The environment variable LABKIT_LAUNCHER asks for {self.asked!r}.")
            if self.asked == REPLAY:
                said.append("That plays recordings, and is no live lab.")
        said += [f"A lab starts {c.use}." for c in self.launchers if c.name == self.launcher]
        others = [name for name in works if name != self.launcher]
        if others:
            one = "it" if len(others) == 1 else "one of them"
            said.append(
                f"{_listed(others)} would work, too: Lab(…, launcher={others[0]!r}) asks for {one}."
            )
        said += [
            f"Not {check.name}: {check.problem.reason}"
            for check in self.launchers
            if check.problem and works
        ]
        return " ".join(said)

    @property
    def missing(self) -> tuple[Advice, ...]:
        """What lacks, and what to do about it: first what a lab cannot do without."""
        found = []
        if self.launcher is None:
            found += [
                Advice(f"{check.name}: {check.problem.reason}", check.problem.remedy)
                for check in self.launchers
                if check.problem and self.asked in ("", check.name)
            ]
        for needed in (True, False):
            lacking = [c for c in self._things() if not c.ok and c.needed is needed]
            if self.launcher is None:  # what was not tried is told of the launchers
                lacking = [c for c in lacking if c not in self.kernel]
            found += _grouped(lacking, whole=needed)
        return tuple(found)

    @property
    def _about_missing(self) -> str:
        if self.launcher is None:
            return "A lab can be started in several ways, and none works. One remedy is enough:"
        if not self.ok:
            return "What is missing, and how to get it:"
        if self.missing:
            return "Optional, and not here (the rest works without):"
        return "Everything that the lessons use is here."

    def __str__(self) -> str:
        words = [self.verdict, *filter(None, [self.how]), self._about_missing]
        for advice in self.missing:
            words += indented(advice, "  ")
        parts = [f"labkit doctor, on {self.system}", "\n".join(words)]
        for title, checks in self._sections:
            parts.append("\n".join([title, *(str(check) for check in checks)]))
        return "\n\n".join(parts)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """For a notebook: the friendly words, and the rest folded."""
        details = "".join(
            f"<p><strong>{_text(title)}</strong></p><ul>{''.join(map(_item, checks))}</ul>"
            for title, checks in self._sections
        )
        advice = "".join(f"<li>{_advice(one)}</li>" for one in self.missing)
        return (
            f"<div><p><strong>{_text(self.verdict)}</strong></p><p>{_text(self.how)}</p>"
            f"<p>{_text(self._about_missing)}</p>{f'<ul>{advice}</ul>' if advice else ''}"
            f"<details><summary>All that was tried, on {_text(self.system)}</summary>"
            f"{details}</details></div>"
        )


def _grouped(lacking: Iterable[Check], *, whole: bool) -> Iterator[Advice]:
    """What lacks, in sentences: things of one remedy in one, and of packages in one command.

    `whole` tells whether a remedy's alternatives are told, too.
    """
    groups: dict[str, list[Check]] = {}
    packages: dict[str, None] = {}
    for check in lacking:
        remedy = check.problem.remedy if check.problem else ""
        if not whole:
            remedy = remedy.split("\n", 1)[0]
        if remedy.startswith(INSTALL) and "\n" not in remedy:
            packages[remedy.removeprefix(INSTALL)] = None
            remedy = INSTALL
        groups.setdefault(remedy, []).append(check)
    for remedy, checks in groups.items():
        words = ", ".join(f"{check.name} ({check.use})" for check in checks)
        yield Advice(words, remedy + " ".join(packages) if remedy == INSTALL else remedy)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _text(words: str) -> str:
    return html.escape(words)


def _advice(advice: Advice) -> str:
    remedy = f'<pre style="margin: 0 0 0.5em 1em">{_text(advice.remedy)}</pre>'
    return _text(advice.words) + (remedy if advice.remedy else "")


def _item(check: Check) -> str:
    problem = check.problem
    more = f"<br>{_advice(Advice(problem.reason, problem.remedy))}" if problem else ""
    return f"<li>{_text(check.title)}{more}</li>"
