"""No claim of the text is left out: docs/claims.md names a lesson, a heading and a check for each."""

from __future__ import annotations

import re

import pytest

from labkit.lessons.build import NOTEBOOKS
from labkit.lessons.exercise import all_exercises
from labkit.lessons.predict import _declared

DOCUMENT = NOTEBOOKS.parent / "docs" / "claims.md"
CLAIMS = [f"C{number}" for number in range(1, 22)]


def table(text: str) -> list[list[str]]:
    """The rows of the document's one table, without its head."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def missing(row: list[str]) -> list[str]:
    """What a row of the table names and the lessons do not have."""
    _, short, lesson, heading, checks = row
    link = re.fullmatch(r"\[(\d)\]\((.+)\)", lesson)
    if not link or not short:
        return [f"no lesson in {lesson!r}"]
    notebook = (DOCUMENT.parent / link[2]).resolve()
    source = NOTEBOOKS / "source" / f"{notebook.stem}.py"
    if not notebook.exists() or not source.exists() or not notebook.name.startswith(f"0{link[1]}-"):
        return [f"no notebook {link[2]}"]
    text = source.read_text()
    problems = []
    if not re.search(rf"^# #+ {re.escape(heading)}$", text, re.MULTILINE):
        problems.append(f"{source.name} has no heading {heading!r}")
    named = re.findall(r"`([^`]+)`(?: \(lesson (\d)\))?", checks)
    if not named:
        problems.append("no check")
    for name, elsewhere in named:
        (home,) = (NOTEBOOKS / "source").glob(f"0{elsewhere or link[1]}-*.py")
        used = [f'{verb}("{name}")' in home.read_text() for verb in ("check", "predict")]
        if used != [name in all_exercises(), name in _declared] or not any(used):
            problems.append(f"{home.name} has no check or prediction {name!r}")
    return problems


def test_every_claim_is_there_once():
    assert [row[0] for row in table(DOCUMENT.read_text())] == CLAIMS


@pytest.mark.parametrize("row", table(DOCUMENT.read_text()), ids=lambda row: row[0])
def test_a_claim_has_a_lesson_a_heading_and_a_check(row: list[str]):
    assert missing(row) == []


@pytest.mark.parametrize(
    ("place", "instead", "words"),
    [
        (2, "7", "no lesson"),
        (2, "[7](../notebooks/07-not-there.ipynb)", "no notebook"),
        (3, "No such heading", "no heading"),
        (4, "none", "no check"),
        (4, "`no-such-check`", "no check or prediction"),
        (4, "`refill`", "no check or prediction"),
    ],
)
def test_what_is_not_there_is_found(place: int, instead: str, words: str):
    row = table(DOCUMENT.read_text())[0]
    row[place] = instead
    assert any(words in problem for problem in missing(row))
