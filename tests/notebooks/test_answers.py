"""Each notebook three ways: solved, untouched, and wrong on purpose; with every launcher."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from labkit.launch.launchers import LAUNCHERS
from labkit.lessons import answers, progress
from labkit.lessons.build import NOTEBOOKS, build
from labkit.lessons.verdict import MIME

SOURCES = sorted((NOTEBOOKS / "source").glob("[0-9]*.py"))


def exercises(source: str) -> list[answers.Answer]:
    cells = jupytext.reads(source, fmt="py:percent").cells
    return [a for cell in cells if cell.cell_type == "code" for a in answers.answers(cell.source)]


def wrong_turns() -> list[tuple[Path, int]]:
    """Each source as many times as its exercise with most wrong answers needs."""
    return [
        (path, number)
        for path in SOURCES
        for number in range(max((len(a.wrong) for a in exercises(path.read_text())), default=0))
    ]


@pytest.fixture(params=["root", "rootless"])
def launcher(request, monkeypatch, tmp_path):
    problem = next(one for one in LAUNCHERS if one.name == request.param).probe()
    if problem:
        pytest.skip(f"launcher {request.param}: {problem.reason}")
    monkeypatch.setenv("LABKIT_LAUNCHER", request.param)
    monkeypatch.setenv(progress.FOLDER, str(tmp_path))
    return request.param


def verdicts(path: Path, fill: str | int | None) -> dict[str, str]:
    """The last answer of each check, after the notebook has run from its top to its end."""
    notebook = nbformat.reads(build(path.read_text(), fill=fill), as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    found = [
        output["data"][MIME]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {})
    ]
    return {one["name"]: one["answer"] for one in found}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_with_solutions_every_check_passes(path: Path, launcher: str):
    names = {answer.name for answer in exercises(path.read_text())}
    assert verdicts(path, answers.SOLUTION) == dict.fromkeys(names, "passed")
    assert set(progress.read()) == names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_without_them_every_exercise_says_not_yet(path: Path, launcher: str):
    names = {answer.name for answer in exercises(path.read_text())}
    assert verdicts(path, None) == dict.fromkeys(names, "not yet")
    assert progress.read() == {}


@pytest.mark.parametrize(("path", "number"), wrong_turns(), ids=lambda p: getattr(p, "stem", p))
def test_no_wrong_answer_passes(path: Path, number: int, launcher: str):
    found = verdicts(path, number)
    assert set(found) == {answer.name for answer in exercises(path.read_text())}
    assert "passed" not in found.values(), found
