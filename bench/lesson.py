"""A whole lesson's time: every cell of it, solved, in a notebook kernel of its own."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from bench.report import Report
from labkit.lessons.build import sources
from labkit.lessons.solved import client, environment


def solved(source: Path) -> float:
    """Seconds from the kernel's start until the last cell has ended; raises for a cell's error."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = environment(folder, PYTHONPATH=str(Path(__file__).parents[1]))
        quiet = ["--IPKernelApp.log_level=ERROR"]
        runner = client(source.read_text(), folder, timeout=300, extra_arguments=quiet)
        began = time.perf_counter()
        asyncio.run(runner.async_execute(env=env))
        return time.perf_counter() - began


def lessons(report: Report, rounds: int) -> None:
    """A row for each lesson."""
    for source in sources():
        times = [solved(source) for _ in range(rounds)]
        report.add(f"lesson {int(source.name[:2])}, solved", statistics.median(times), "s")
