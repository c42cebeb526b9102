"""Every notebook runs from its top to its end, with every launcher, and without an error."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from labkit.launch.launchers import LAUNCHERS
from labkit.lessons.build import NOTEBOOKS


@pytest.mark.parametrize("launcher", [launcher.name for launcher in LAUNCHERS])
@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_runs_from_top_to_bottom(path: Path, launcher: str, monkeypatch):
    problem = next(one for one in LAUNCHERS if one.name == launcher).probe()
    if problem:
        pytest.skip(f"launcher {launcher}: {problem.reason}")
    monkeypatch.setenv("LABKIT_LAUNCHER", launcher)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    text = "".join(
        output.get("text", "") or output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        for output in cell.get("outputs", [])
    )
    assert "1 of 1 answered" in text
    assert "<h1>Hello from nginx-2</h1>" in text


def test_a_cell_run_twice_says_what_to_do(monkeypatch):
    """Running a cell again that makes a host is refused in words, without a traceback."""
    cells = ["from labkit import Lab\nlab = Lab('twice')", "h = lab.host('h')", "h = lab.host('h')"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    (output,) = notebook.cells[2].outputs
    assert len(output.traceback) == 1
    assert 'lab["h"] is it' in output.traceback[0]
