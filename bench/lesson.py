"""A whole lesson's time: every cell of it, solved, in a notebook kernel of its own."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from bench.report import Report
from labkit.lessons import progress
from labkit.lessons.build import build, sources


def solved(source: Path) -> float:
    """Seconds from the kernel's start until the last cell has ended; raises for a cell's error."""
    notebook = nbformat.reads(build(source.read_text(), fill="solution"), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), progress.FOLDER: folder}
        client = NotebookClient(
            notebook,
            timeout=300,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": folder}},
        )
        began = time.perf_counter()
        asyncio.run(client.async_execute(env=env))
        return time.perf_counter() - began


def lessons(report: Report, rounds: int) -> None:
    """A row for each lesson."""
    for source in sources():
        times = [solved(source) for _ in range(rounds)]
        report.add(f"lesson {int(source.name[:2])}, solved", statistics.median(times), "s")
