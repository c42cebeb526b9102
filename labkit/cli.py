"""The command line: ``labkit doctor``, ``labkit lab``, ``labkit shell``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labkit import __version__


def doctor(arguments: argparse.Namespace) -> int:
    """Says what this machine can do; 0 when a live lab is possible."""
    from labkit.launch.doctor import examine

    report = examine()
    if arguments.json:
        import msgspec

        whole = {"ok": report.ok, **msgspec.structs.asdict(report)}
        print(msgspec.json.format(msgspec.json.encode(whole)).decode())
    else:
        print(report)
    return 0 if report.ok else 1


def lab(arguments: argparse.Namespace) -> int:
    """Becomes JupyterLab, on the notebooks where they are found.

    It keeps its token, and listens on loopback unless told otherwise.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        print(
            "JupyterLab is not installed for this Python.\n→ Run `make lab` in the project's "
            f"folder, or: {sys.executable} -m pip install jupyterlab",
            file=sys.stderr,
        )
        return 1
    notebooks = find_notebooks()
    where = [str(notebooks)] if notebooks else []
    root = ["--allow-root"] if os.name == "posix" and os.geteuid() == 0 else []
    sys.stdout.flush()
    argv = [sys.executable, "-m", "jupyterlab", *root, *arguments.options, *where]
    return os.execv(argv[0], argv)  # noqa: S606 (becoming JupyterLab is the purpose)


def shell(arguments: argparse.Namespace) -> int:
    """Opens a terminal inside a host of a running lab, or lists the labs and their hosts."""
    from labkit.lessons.shell import enter

    return enter(arguments.host)


def find_notebooks() -> Path | None:
    """The folder of the notebooks: here, or beside the package."""
    for parent in (Path.cwd(), Path(__file__).resolve().parent.parent):
        folder = parent / "notebooks"
        if folder.is_dir():
            return folder
    return None


def _add_doctor(commands: Any) -> None:
    parser = commands.add_parser("doctor", help="what this machine can do, and what is missing")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=doctor)


def _add_lab(commands: Any) -> None:
    parser = commands.add_parser(
        "lab", help="open the notebooks in JupyterLab; other options are passed on to it"
    )
    parser.set_defaults(run=lab, passes_on=True)


def _add_shell(commands: Any) -> None:
    parser = commands.add_parser(
        "shell", help="a terminal inside a host of a lab that is running; without a host: which"
    )
    parser.add_argument(
        "host",
        nargs="?",
        help="nginx-1, say, or docker0/nginx-1: lab (or the notebook kernel's process id) and host",
    )
    parser.set_defaults(run=shell)


COMMANDS = (_add_doctor, _add_lab, _add_shell)
"""Each adds a subcommand, whose `run` takes the arguments and returns the exit status."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="labkit", description="Real networks of Linux namespaces, in a notebook."
    )
    parser.add_argument("--version", action="version", version=f"labkit {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in COMMANDS:
        add(commands)
    arguments, others = parser.parse_known_args(argv)
    if others and not getattr(arguments, "passes_on", False):
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    arguments.options = others
    status: int = arguments.run(arguments)
    return status
