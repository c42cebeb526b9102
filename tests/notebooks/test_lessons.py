"""Each lesson several ways: solved, untouched, wrong on purpose, and its cells out of order.

The runs go side by side, as most of a lesson's time is spent waiting.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from labkit import errors
from labkit.launch.launchers import LAUNCHERS
from labkit.lessons import answers, progress
from labkit.lessons.build import build, sources
from labkit.lessons.verdict import MIME

SOURCES = sources()
BY_NAME = {launcher.name: launcher for launcher in LAUNCHERS}
NAMES = ["root", "rootless"]
OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
SIDE_BY_SIDE = 3


def exercises(path: Path) -> list[answers.Answer]:
    cells = jupytext.reads(path.read_text(), fmt="py:percent").cells
    return [a for cell in cells if cell.cell_type == "code" for a in answers.answers(cell.source)]


def wrong_turns() -> list[tuple[Path, str, int]]:
    """Each source as many times as its exercise with most wrong answers needs."""
    return [
        (path, NAMES[number % 2], number)
        for path in SOURCES
        for number in range(max((len(a.wrong) for a in exercises(path)), default=0))
    ]


Key = tuple[Path, str, object]


class Runs:
    """Notebooks that are being executed, each in a kernel and a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        self._started: dict[Key, Future] = {}

    def start(self, key: Key) -> None:
        if key not in self._started:
            self._started[key] = self._pool.submit(self._execute, *key)

    def _execute(self, path: Path, launcher: str, fill: object):
        own = self.folder / f"{path.stem}-{launcher}-{fill}"
        own.mkdir()
        again = fill == "again"
        text = build(path.read_text(), fill=None if again else fill)
        notebook = nbformat.reads(text, as_version=4)
        code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        if again:  # a first pass; every cell twice; and all of them from the last to the first
            twice = [source for source in code for _ in range(2)]
            cells = [new_code_cell(source) for source in [*code, *twice, *reversed(code)]]
            notebook = new_notebook(cells=cells, metadata=notebook.metadata)
        env = {**os.environ, "LABKIT_LAUNCHER": launcher, progress.FOLDER: str(own)}
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", allow_errors=again,
            resources={"metadata": {"path": str(own)}},
        )  # fmt: skip
        asyncio.run(client.async_execute(env=env))  # which closes its loop, in a thread of its own
        return notebook, own

    def result(self, path: Path, launcher: str, fill: object):
        problem = BY_NAME[launcher].probe()
        if problem:
            pytest.skip(f"launcher {launcher}: {problem.reason}")
        self.start((path, launcher, fill))
        return self._started[path, launcher, fill].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    found = Runs(tmp_path_factory.mktemp("lessons"))
    for item in request.session.items:
        callspec = getattr(item, "callspec", None)
        if item.path == Path(__file__) and callspec and "fill" in callspec.params:
            key = tuple(callspec.params[name] for name in ("path", "launcher", "fill"))
            if BY_NAME[key[1]].probe() is None:
                found.start(key)
    yield found
    found.close()


def verdicts(notebook) -> dict[str, str]:
    """The last answer of each check."""
    found = [
        output["data"][MIME]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {})
    ]
    return {one["name"]: one["answer"] for one in found}


def refused_in_words(notebook) -> None:
    """What cannot be done is refused by an error of ours, without a traceback."""
    for cell in notebook.cells:
        for output in cell.outputs:
            if output.output_type == "error":
                assert output.ename in OURS, (cell.source, output.traceback)
                assert len(output.traceback) == 1, (cell.source, output.traceback)
            else:
                assert "Traceback" not in output.get("text", "")


def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setenv(progress.FOLDER, str(folder))
    return set(progress.read())


each = pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
pytestmark = pytest.mark.timeout(400)  # the first one waits for those that go beside it


@each
@pytest.mark.parametrize("launcher", [*NAMES, "uml"])
@pytest.mark.parametrize("fill", [answers.SOLUTION])
def test_with_solutions_every_check_passes(runs, path, launcher, fill, monkeypatch):
    notebook, folder = runs.result(path, launcher, fill)
    names = {answer.name for answer in exercises(path)}
    assert verdicts(notebook) == dict.fromkeys(names, "passed")
    assert kept(folder, monkeypatch) >= names


@each
@pytest.mark.parametrize("launcher", NAMES)
@pytest.mark.parametrize("fill", [None], ids=["untouched"])
def test_without_them_every_exercise_says_not_yet(runs, path, launcher, fill, monkeypatch):
    notebook, folder = runs.result(path, launcher, fill)
    names = {answer.name for answer in exercises(path)}
    assert verdicts(notebook) == dict.fromkeys(names, "not yet")
    assert kept(folder, monkeypatch) == set()


@pytest.mark.parametrize(
    ("path", "launcher", "fill"), wrong_turns(), ids=lambda p: getattr(p, "stem", str(p))
)
def test_no_wrong_answer_passes(runs, path, launcher, fill):
    notebook, _ = runs.result(path, launcher, fill)
    found = verdicts(notebook)
    assert set(found) == {answer.name for answer in exercises(path)}
    assert "passed" not in found.values(), found


@each
@pytest.mark.parametrize("launcher", NAMES[1:])
@pytest.mark.parametrize("fill", ["again"])
def test_cells_twice_and_in_reverse_give_no_traceback(runs, path, launcher, fill):
    """What cannot be done twice is refused in words, by an error of ours without a traceback."""
    notebook, _ = runs.result(path, launcher, fill)
    first = notebook.cells[: len(notebook.cells) // 4]
    assert not [o for cell in first for o in cell.outputs if o.output_type == "error"]
    refused_in_words(notebook)


@each
def test_every_exercise_is_checked_and_has_a_wrong_answer(path):
    text = path.read_text()
    for answer in exercises(path):
        assert f'check("{answer.name}")' in text
        assert answer.wrong, f"{answer.name} has no wrong answer"
