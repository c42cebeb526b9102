"""Cells run again, twice and in reverse: a refusal in words at most, never a traceback."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from labkit import errors
from labkit.lessons import progress
from labkit.lessons.build import NOTEBOOKS

OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda p: p.stem)
def test_cells_again(path: Path, monkeypatch, tmp_path):
    monkeypatch.setenv(progress.FOLDER, str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    once = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    twice = [cell for cell in once for _ in range(2)]
    order = [*once, *twice, *reversed(once)]
    notebook.cells = [nbformat.v4.new_code_cell(cell.source) for cell in order]
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    first = notebook.cells[: len(once)]
    assert not [o for cell in first for o in cell.outputs if o.output_type == "error"]
    for cell in notebook.cells:
        for output in cell.outputs:
            if output.output_type == "error":
                assert output.ename in OURS, (cell.source, output.traceback)
                assert len(output.traceback) == 1
            else:
                assert "Traceback" not in output.get("text", "")
