"""Makes the recordings that lessons play where there is no kernel for them (`launch.replay`).

Each lesson is run with its solutions on a real kernel, and what went over the wire is kept in
`notebooks/recordings`, with a fingerprint of the code that was run, so that CI can tell one that
is out of date::

    python -m labkit.lessons.recordings            # make those that are out of date
    python -m labkit.lessons.recordings --all      # make all
    python -m labkit.lessons.recordings --check    # exit status 1 where one is out of date
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from labkit import archive
from labkit.errors import LabkitError
from labkit.launch import transcript
from labkit.launch.launchers import choose
from labkit.lessons.answers import SOLUTION
from labkit.lessons.build import NOTEBOOKS, build, sources

RECORDINGS = NOTEBOOKS / "recordings"
PATIENCE = 300
"""Seconds that a cell may take."""


def recording_of(source: Path) -> Path:
    """Where a lesson's recording is."""
    return RECORDINGS / (source.stem + transcript.SUFFIX)


def fingerprint(text: str) -> str:
    """What a lesson's recording is made from: a digest of its code, the solutions among it."""
    cells = json.loads(build(text, fill=SOLUTION))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def problem(source: Path) -> str | None:
    """Why a lesson's recording cannot be used as it is; None where it can."""
    path = recording_of(source)
    if not path.exists():
        return "there is none"
    try:
        header = transcript.read_header(path)
    except LabkitError as error:
        return error.message
    same = header.fingerprint == fingerprint(source.read_text(encoding="utf-8"))
    return None if same else "the lesson has changed since"


def record(source: Path, launcher: str) -> Path:
    """Runs a lesson on a real kernel and keeps its recording. Raises LabkitError."""
    from nbclient.exceptions import CellExecutionError

    from labkit.lessons import solved

    text = source.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="labkit-") as name:
        folder = Path(name)
        wires = folder / "wires"
        wires.mkdir()
        env = solved.environment(
            folder, **{transcript.RECORD: str(wires), "LABKIT_LAUNCHER": launcher}
        )
        client = solved.client(text, folder, timeout=PATIENCE)
        try:
            asyncio.run(client.async_execute(env=env))
        except CellExecutionError as error:
            raise LabkitError(f"{source.name} does not run: {error}") from None
        header = transcript.Header(
            lesson=source.stem, fingerprint=fingerprint(text), launcher=launcher
        )
        content = transcript.packed(wires, header)
    path = recording_of(source)
    with archive.written(path, "The lesson's recording") as file:
        file.write(content)
    return path


def main(arguments: list[str] | None = None) -> int:
    """Makes or checks every recording. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m labkit.lessons.recordings")
    parser.add_argument("--check", action="store_true", help="make none, say what is out of date")
    parser.add_argument("--all", action="store_true", help="make also those that are current")
    asked = parser.parse_args(arguments)
    stale = 0
    for source in sources():
        why = problem(source)
        if asked.check and why:
            stale += 1
            sys.stdout.write(f"{source.stem}: {why}. Run make recordings.\n")
        elif not asked.check and (why or asked.all):
            path = record(source, choose().name)
            sys.stdout.write(f"{path.name}: {path.stat().st_size >> 10} KB\n")
    return int(stale > 0)


if __name__ == "__main__":
    sys.exit(main())
