"""A lesson with its solutions, ready to run on a real kernel: for recordings, the site, bench."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from labkit.lessons import progress
from labkit.lessons.answers import SOLUTION
from labkit.lessons.build import build


def client(text: str, folder: Path, **options: Any) -> NotebookClient:
    """What runs the lesson of a source's text in a folder; `options` are NotebookClient's."""
    read: Any = nbformat.reads
    return NotebookClient(
        read(build(text, fill=SOLUTION), as_version=4),
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        **options,
    )


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment for its kernel: progress is kept in the folder, and in no learner's file."""
    return {**os.environ, progress.FOLDER: str(folder), **more}
