"""Builds the learners' notebooks from `notebooks/source/*.py` (jupytext's percent format).

Code cells are shared by every language; a Markdown cell tagged ``en`` or ``zh`` goes into
that language's edition alone. The same source always gives the same bytes, so CI can
check that the committed notebooks are current::

    python -m labkit.lessons.build            # write them
    python -m labkit.lessons.build --check    # exit status 1 where one is out of date
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def build(source: str, language: str = "en") -> str:
    """The text of the notebook that a lesson's source makes."""
    import jupytext

    notebook = jupytext.reads(source, fmt="py:percent")
    cells: list[dict[str, Any]] = []
    for cell in notebook.cells:
        tags = list(cell.metadata.get("tags", []))
        if set(tags) & set(LANGUAGES) and language not in tags:
            continue
        kept: dict[str, Any] = {
            "cell_type": cell.cell_type,
            "id": _cell_id(len(cells), cell.source),
            "metadata": {"tags": rest} if (rest := [t for t in tags if t != language]) else {},
            "source": cell.source.splitlines(keepends=True),
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


def _cell_id(number: int, source: str) -> str:
    return f"{number:03d}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"


def main(arguments: list[str] | None = None) -> int:
    """Builds or checks every notebook. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m labkit.lessons.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is stale")
    check = parser.parse_args(arguments).check
    stale = []
    for source in sorted((NOTEBOOKS / "source").glob("[0-9]*.py")):
        target = NOTEBOOKS / f"{source.stem}.ipynb"
        text = build(source.read_text(encoding="utf-8"))
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
