"""Each lesson where no lab can be started: its cells play the recording that was made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labkit.lessons import answers, recordings
from labkit.lessons.verdict import NEEDS_LIVE
from labkit.model.replayed import HOW, REPLAY
from tests.notebooks.test_lessons import (
    SOURCES,
    Runs,
    exercises,
    kept,
    refused_in_words,
    verdicts,
)

each = pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
pytestmark = pytest.mark.timeout(400)  # the first one waits for those that go beside it


def filled(fill):
    return pytest.mark.parametrize("fill", [fill])


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    found = Runs(tmp_path_factory.mktemp("replayed"))
    for item in request.session.items:
        callspec = getattr(item, "callspec", None)
        if item.path == Path(__file__) and callspec and "fill" in callspec.params:
            found.start((callspec.params["path"], REPLAY, callspec.params["fill"]))
    yield lambda path, fill: found._started[path, REPLAY, fill].result()
    found.close()


@each
def test_its_recording_is_current_and_small(path):
    assert recordings.problem(path) is None, "run make recordings"
    assert recordings.recording_of(path).stat().st_size < 1_000_000


def texts(notebook) -> str:
    """All that the cells put out as plain text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(
        str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))
        for output in outputs
    )


@each
@filled(answers.SOLUTION)
def test_with_solutions_every_check_passes_as_recorded(runs, path, fill, monkeypatch):
    notebook, folder = runs(path, fill)
    assert verdicts(notebook) == {answer.name: "passed" for answer in exercises(path)}
    assert kept(folder, monkeypatch) == set(), "what a recording shows is no learner's progress"
    said = texts(notebook)
    assert "● Recorded: no kernel is at work here." in said
    assert "Traceback" not in said


@each
@filled(None)
def test_untouched_every_check_says_that_it_needs_a_kernel(runs, path, fill, monkeypatch):
    notebook, folder = runs(path, fill)
    assert verdicts(notebook) == {answer.name: NEEDS_LIVE for answer in exercises(path)}
    assert kept(folder, monkeypatch) == set()
    said = texts(notebook)
    assert HOW in said
    assert "✗" not in re.sub(r"labkit doctor, on.*", "", said, flags=re.DOTALL)
    assert "Traceback" not in said


@each
@filled("again")
def test_cells_twice_and_in_reverse_give_no_traceback(runs, path, fill):
    notebook, _ = runs(path, fill)
    refused_in_words(notebook)
