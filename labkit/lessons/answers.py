"""The answers in a lesson's source: worked solutions, and ones that are wrong on purpose.

In a code cell of `notebooks/source`, between markers that stand alone on their lines::

    # solution: third-container
    nginx3 = lab.host("nginx-3")
    lab.cable(nginx3, docker0, "172.17.0.4/16")
    # wrong: third-container
    nginx3 = lab.host("nginx-3")
    lab.cable(nginx3, docker0, "10.0.0.4/16")
    # end: third-container

A learner's copy has neither. The tests run each notebook with the solutions, without, and once
for each wrong answer that the exercise with most of them has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

MARKER = re.compile(r"# (solution|wrong|end): (\S+)\s*")
BLANK = "# Write your answer here.\n"
SOLUTION, WRONG, END = "solution", "wrong", "end"


class Answer(msgspec.Struct):
    """The answers to one exercise that one cell holds."""

    name: str
    solution: str = ""
    wrong: list[str] = msgspec.field(default_factory=list)


def parts(source: str) -> Iterator[str | Answer]:
    """A cell's text, line by line, and the answers between. Raises ValueError where unbalanced."""
    answer: Answer | None = None
    for number, line in enumerate(source.splitlines(keepends=True), 1):
        marker = MARKER.fullmatch(line)
        if not marker:
            if answer is None:
                yield line
            elif answer.wrong:
                answer.wrong[-1] += line
            else:
                answer.solution += line
            continue
        kind, name = marker.groups()
        if (answer is None) != (kind == SOLUTION) or (answer and answer.name != name):
            raise ValueError(f"line {number} of the cell: unexpected {line.strip()!r}")
        if answer is None:
            answer = Answer(name)
        elif kind == WRONG:
            answer.wrong.append("")
        else:
            if not answer.solution.strip():
                raise ValueError(f"line {number} of the cell: {name} has an empty solution")
            yield answer
            answer = None
    if answer is not None:
        raise ValueError(f"the answer {answer.name!r} has no end marker")


def answers(source: str) -> list[Answer]:
    """The answers that a cell holds."""
    return [part for part in parts(source) if isinstance(part, Answer)]


def cell(source: str, fill: str | int | None = None) -> str:
    """A cell with its answers: none (the learner's), `SOLUTION`, or the wrong ones of a number.

    An exercise with fewer wrong answers than that gets its last one.
    """
    text = ""
    for part in parts(source):
        if isinstance(part, str):
            text += part
        elif fill is None:
            text += BLANK
        elif fill == SOLUTION:
            text += part.solution
        elif isinstance(fill, int) and part.wrong:
            text += part.wrong[min(fill, len(part.wrong) - 1)]
    return text.rstrip("\n")
