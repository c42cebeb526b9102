"""What a check answers: passed, not yet, or could not tell, with expected beside observed."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import msgspec

from labkit.lessons import progress

PASSED, NOT_YET, COULD_NOT_TELL = "passed", "not yet", "could not tell"
NEEDS_LIVE = "needs a live kernel"
"""The answer in a recording that is played, in which a learner can do nothing of their own."""
MARKS = {True: "✓", False: "✗", None: "?"}
OPEN = "○"
MIME = "application/vnd.labkit.verdict+json"
"""The form for programs: what the tests of the lessons read from a notebook that has run."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at. `ok` is None where the probe itself failed.

    `source` names the evidence: a table of the kernel, a command, events of the log.
    """

    what: str
    expected: str
    observed: str
    ok: bool | None
    source: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a check. True when it passed."""

    name: str
    rows: tuple[Row, ...]
    asks: str = ""
    note: str = ""
    lesson: str = ""
    """The lesson whose bar stands below it; "" for none."""
    recorded: bool = False
    """Whether the lab is a recording that is played."""

    @property
    def answer(self) -> str:
        """Passed, not yet, or could not tell: one unmet row is enough for "not yet".

        Of a recording that is played: passed, or needs a live kernel.
        """
        marks = [row.ok for row in self.rows]
        if marks and all(marks):
            return PASSED
        if self.recorded:
            return NEEDS_LIVE
        return NOT_YET if False in marks else COULD_NOT_TELL

    def _mark_of(self, row: Row) -> str:
        return OPEN if self.recorded and row.ok is False else MARKS[row.ok]

    def __bool__(self) -> bool:
        return self.answer == PASSED

    def __repr__(self) -> str:
        lines = [f"{_mark(self.answer)} {self.name}: {self.answer}"]
        for row in self.rows:
            lines.append(f"  {self._mark_of(row)} {row.what}")
            lines.append(f"      expected: {row.expected}")
            lines.append(f"      observed: {row.observed}")
        return "\n".join([*lines, self.note] if self.note else lines)

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr>{cell(f'{self._mark_of(row)} {row.what}')}{cell(row.expected)}"
            f"{cell(row.observed, row.source)}</tr>"
            for row in self.rows
        )
        head = "".join(
            f'<th scope="col" style="{LEFT}">{name}</th>'
            for name in ("looked at", "expected", "observed")
        )
        caption = (
            f'<caption style="{LEFT}; caption-side: top; color: inherit">'
            f"<strong>{_mark(self.answer)} {html.escape(self.name)}: {self.answer}</strong>"
            "</caption>"
        )
        note = f"<div>{html.escape(self.note)}</div>" if self.note else ""
        bar = progress.bar(self.lesson) if self.lesson else ""
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return table + note + bar

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            MIME: {"name": self.name, "answer": self.answer},
        }


LEFT = "text-align: start; vertical-align: top"
SOFT = "font-size: 85%; opacity: 0.8"


def cell(text: str, source: str = "") -> str:
    """A table's cell: a value, and small below it where it comes from."""
    small = f'<div style="{SOFT}">{html.escape(source)}</div>' if source else ""
    style = f"{LEFT}; white-space: pre-wrap; max-width: 32em"
    return f'<td style="{style}">{html.escape(text)}{small}</td>'


def listed(names: Iterable[object]) -> str:
    """Names in a row, or "none"."""
    return ", ".join(str(name) for name in names) or "none"


def _mark(answer: str) -> str:
    return {PASSED: "✓", NOT_YET: "✗", NEEDS_LIVE: OPEN}.get(answer, "?")
