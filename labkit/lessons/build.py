"""Builds the learners' notebooks from `notebooks/source/*.py` (jupytext's percent format).

Code cells are shared by every language; a Markdown cell tagged ``en`` or ``zh`` goes into
that language's edition alone. Answers to exercises (see `answers`) are left out of the
learner's copy; the worked solutions go into `solutions.json`, where `solution("…")` finds
them. The same source always gives the same bytes, so CI can check that what is
committed is current::

    python -m labkit.lessons.build            # write them
    python -m labkit.lessons.build --check    # exit status 1 where one is out of date
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

from labkit.lessons import answers
from labkit.lessons.exercise import SOLUTIONS

LANGUAGES = ("en", "zh")
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def build(source: str, language: str = "en", *, fill: str | int | None = None) -> str:
    """The text of the notebook that a lesson's source makes.

    `fill` puts answers in, for the tests: see `answers.cell`.
    """
    import jupytext

    notebook = jupytext.reads(source, fmt="py:percent")
    cells: list[dict[str, Any]] = []
    for cell in notebook.cells:
        tags = list(cell.metadata.get("tags", []))
        if set(tags) & set(LANGUAGES) and language not in tags:
            continue
        text = answers.cell(cell.source, fill) if cell.cell_type == "code" else cell.source
        kept: dict[str, Any] = {
            "cell_type": cell.cell_type,
            "id": _cell_id(len(cells), text),
            "metadata": {"tags": rest} if (rest := [t for t in tags if t != language]) else {},
            "source": text.splitlines(keepends=True),
        }
        if cell.cell_type == "code":
            kept |= {"execution_count": None, "outputs": []}
        cells.append(kept)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def worked(source: str) -> dict[str, str]:
    """The worked solutions of a lesson's source, by exercise; magics as in the notebook."""
    import jupytext

    found: dict[str, str] = {}
    for cell in jupytext.reads(source, fmt="py:percent").cells:
        if cell.cell_type == "code":
            magic = "".join(re.findall(r"\A%%.*\n", cell.source))
            for answer in answers.answers(cell.source):
                found[answer.name] = magic + answer.solution
    return found


def _cell_id(number: int, source: str) -> str:
    return f"{number:03d}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def sources() -> list[Path]:
    """The lessons' sources, in order."""
    return sorted((NOTEBOOKS / "source").glob("[0-9]*.py"))


def everything() -> dict[Path, str]:
    """Every file that is built, with its text."""
    solutions: dict[str, str] = {}
    built: dict[Path, str] = {}
    for path in sources():
        source = path.read_text(encoding="utf-8")
        built[NOTEBOOKS / f"{path.stem}.ipynb"] = build(source)
        solutions |= worked(source)
    built[SOLUTIONS] = json.dumps(solutions, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return built


def main(arguments: list[str] | None = None) -> int:
    """Builds or checks every notebook. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m labkit.lessons.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    check = parser.parse_args(arguments).check
    stale = []
    for target, text in everything().items():
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        stale.append(target.name)
        if not check:
            target.write_text(text, encoding="utf-8")
    for name in stale:
        sys.stdout.write(f"{name}: {'out of date, run make notebooks' if check else 'built'}\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
