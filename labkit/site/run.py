"""Runs a lesson, solved, on a real kernel, and keeps what each cell showed and did to the views."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import nbformat
from nbclient import NotebookClient

from labkit.lessons import answers, solved

TIMEOUT = 120
"""Seconds that a cell may take."""


class Cell(msgspec.Struct):
    """A cell of a lesson that has run.

    `changes` has the views whose words this cell changed, by model id, with their traits then.
    `exercise` names the exercise whose worked solution the cell is.
    """

    kind: str
    source: str
    number: int | None = None
    outputs: list[dict[str, Any]] = []
    changes: dict[str, dict[str, Any]] = {}
    exercise: str = ""
    hints: list[str] = []


class View(msgspec.Struct):
    """A view that a lesson displays: its traits after the cell that displayed it first."""

    kind: str
    traits: dict[str, Any]
    outcomes: dict[str, dict[str, Any]] = {}


class Lesson(msgspec.Struct):
    """A lesson that has run: its cells, and its views by model id."""

    name: str
    cells: list[Cell]
    views: dict[str, View]

    def traits(self, model_id: str, count: int | None = None) -> dict[str, Any]:
        """A view's traits after so many cells; None: after all that have run."""
        traits = self.views[model_id].traits
        for cell in self.cells[:count]:
            traits = cell.changes.get(model_id, traits)
        return traits


def run(source: Path) -> Lesson:
    """The lesson of a file of `notebooks/source`.

    Raises nbclient's CellExecutionError where a cell fails, and LauncherError's words in it where
    no lab can be had.
    """
    return asyncio.run(_run(source.stem, source.read_text(encoding="utf-8")))


async def _run(name: str, text: str) -> Lesson:
    exercises = _exercises(text)
    lesson = Lesson(name=name, cells=[], views={})
    with tempfile.TemporaryDirectory(prefix="labkit-site-") as folder:
        client = solved.client(text, Path(folder), timeout=TIMEOUT, store_widget_state=False)
        async with client.async_setup_kernel(env=solved.environment(Path(folder))):
            for index, cell in enumerate(client.nb.cells):
                kept = Cell(kind=cell.cell_type, source=cell.source)
                lesson.cells.append(kept)
                if cell.cell_type != "code":
                    continue
                kept.exercise = exercises.get(cell.source, "")
                if kept.exercise:
                    kept.hints = await _ask(client, f"hints({kept.exercise!r})")
                await client.async_execute_cell(cell, index)
                kept.number = cell.execution_count
                kept.outputs = [dict(output) for output in cell.outputs]
                kept.changes = _changes(lesson, await _ask(client, "views()"))
    return lesson


def _exercises(text: str) -> dict[str, str]:
    """The name of the exercise that a solved cell is about, by the cell's text."""
    import jupytext

    cells = jupytext.reads(text, fmt="py:percent").cells
    return {
        answers.cell(cell.source, answers.SOLUTION): found[0].name
        for cell in cells
        if cell.cell_type == "code" and (found := answers.answers(cell.source))
    }


async def _ask(client: NotebookClient, call: str) -> Any:
    """What a function of `inside` answers in the lesson's kernel."""
    # One line that leaves no name behind in the lesson's namespace.
    code = f"__import__('labkit.site.inside', fromlist=['inside']).{call}"
    cell = nbformat.v4.new_code_cell(code)
    await client.async_execute_cell(cell, 0, store_history=False)
    return json.loads("".join(output.text for output in cell.outputs))


def _changes(lesson: Lesson, now: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The views that are new or say something else than before; new ones go into the lesson."""
    changed = {}
    for model_id, told in now.items():
        view = lesson.views.get(model_id)
        if view is None:
            view = lesson.views[model_id] = View(kind=told["kind"], traits=told["traits"])
        elif _words(told["traits"]) != _words(lesson.traits(model_id)):
            changed[model_id] = told["traits"]
        view.outcomes = told.get("outcomes", {})
    return changed


def _words(traits: dict[str, Any]) -> Any:
    """By what a reader would know that a view has changed."""
    return traits.get("words"), traits.get("outcome"), traits.get("step")
