"""A notebook with a lab's live views, in a real JupyterLab and headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser.conftest import FLAGS, Jupyter, Notebook, open_notebook

NOTEBOOK = "00-start-here.ipynb"
LATE = 300_000
"""Milliseconds after which something counts as stuck."""
SCENE = """
from labkit import Lab
lab = Lab("bench")
b = lab.bridge("br0", "10.0.255.254/16")
with lab.batch():
    for i in range({hosts}):
        lab.cable(lab.host(f"h{{i}}"), b, f"10.0.{{1 + i // 250}}.{{1 + i % 250}}/16")
"""


@contextmanager
def opened() -> Iterator[Notebook]:
    """A notebook with a kernel, of the first lesson, of which no cell has been run."""
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])  # where the notebook finds labkit
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as folder:
        jupyter = Jupyter(Path(folder))
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
                size = {"width": 1280, "height": 900}
                notebook = open_notebook(browser, jupyter, NOTEBOOK, viewport=size)
                notebook.page.set_default_timeout(LATE)
                yield notebook
                browser.close()
        finally:
            jupyter.stop()


def told(notebook: Notebook, code: str) -> Any:
    """Runs a cell, and waits for what its last line, `print("TOLD", json…)`, has printed."""
    outputs = notebook.page.locator(".jp-OutputArea-output").get_by_text("TOLD ")
    output = outputs.nth(outputs.count())
    notebook.run_code(code)
    output.wait_for()
    return json.loads(output.inner_text().partition("TOLD ")[2])
