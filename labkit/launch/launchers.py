"""The launchers, and which of them is to be used.

Each is a name, a probe and a command line. A probe says why a launcher cannot be used here,
and the remedy. It takes what it knows from a `Machine`, so that a test can describe any.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from labkit.errors import LabkitError, LauncherError
from labkit.launch.connection import Connection
from labkit.launch.machine import Launcher, Machine
from labkit.launch.replay import Replay, Replayed, open_replay
from labkit.launch.transcript import RECORD, Tap
from labkit.launch.uml import Uml
from labkit.launch.unshare import Sudo, Unshare
from labkit.model.events import Event

LAUNCHERS: tuple[Launcher, ...] = (
    Unshare("root", "as root, in network, mount and PID namespaces", user=False),
    Unshare("rootless", "as any user, in a user namespace besides", user=True),
    Sudo("sudo", "as root by sudo, where that asks for no password"),
    Uml(),
)
"""In order of preference."""
REPLAY = Replay()
"""Where none of them works, and a recording of the notebook is there; it gives no live lab."""

_working: set[str] = set()
"""The launchers that were found to work in this process: only good news is remembered."""


def choose(name: str | None = None, machine: Machine | None = None) -> Launcher:
    """The launcher of that name, or that LABKIT_LAUNCHER names, or the first that works here.

    Raises LauncherError, which says why each cannot be used, and the remedies.
    """
    source = "" if name else " (from the environment variable LABKIT_LAUNCHER)"
    name = name or os.environ.get("LABKIT_LAUNCHER") or None
    if name is None:
        candidates = LAUNCHERS
    else:
        candidates = tuple(one for one in (*LAUNCHERS, REPLAY) if one.name == name)
        if not candidates:
            raise _unknown(name, source)
    problems = []
    for launcher in candidates:
        if machine is None and launcher.name in _working:
            return launcher
        problem = launcher.probe(machine)
        if problem is None:
            if machine is None:
                _working.add(launcher.name)
            return launcher
        problems.append((launcher, problem))
    if name is not None:
        _, problem = problems[0]
        raise LauncherError(
            f"The launcher {name!r}{source} cannot be used here. {problem.reason}",
            hint=problem.remedy,
        )
    if REPLAY.probe() is None:
        return REPLAY
    listed = "\n".join(
        f"{launcher.name}: {problem.reason}\n  → " + problem.remedy.replace("\n", "\n    ")
        for launcher, problem in problems
    )
    raise LauncherError(
        f"No lab can be started on this machine.\n{listed}",
        hint="One of these remedies is enough; then run the cell again. labkit doctor tells more.",
    )


def connect(
    launcher: Launcher, on_event: Callable[[Event], None], name: str
) -> Connection | Replayed:
    """A new lab of that name, by that launcher. Raises LabkitError where it cannot be started."""
    if launcher is REPLAY:
        return open_replay(on_event, name)
    folder = os.environ.get(RECORD)
    return Connection(launcher, on_event, name, Tap(folder, name) if folder else None)


def explained(launcher: Launcher, error: LabkitError) -> LabkitError:
    """Why a lab did not start with a launcher that seemed to work, if that can be found out."""
    problem = launcher.probe()
    if problem is None:
        return error
    return LauncherError(f"No lab can be started now. {problem.reason}", hint=problem.remedy)


def _unknown(name: str, source: str) -> LauncherError:
    import difflib

    known = [launcher.name for launcher in (*LAUNCHERS, REPLAY)]
    close = difflib.get_close_matches(name, known, 1, 0.5)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return LauncherError(
        f"There is no launcher {name!r}{source}.", hint=f"{guess}There are: {', '.join(known)}."
    )
