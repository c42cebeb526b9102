"""Which labs of this user are running, found in /proc alone: no lab keeps a file of itself.

A lab's processes carry its name in their environment (`LABKIT_LAB`). The one that is process 1
of its PID namespace is the agent, and its namespaces are the lab's (`namespaces(7)`,
`pid_namespaces(7)`). A lab without such a process here runs in a kernel of its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from labkit.launch.connection import LAB
from labkit.model.operations import MACHINE

PROC = Path("/proc")


class RunningLab(msgspec.Struct, frozen=True, kw_only=True):
    """A running lab. `agent` is the agent's process id, None where it is in another kernel.

    `kernel` is the process that made the lab, `folder` where that works; `started` is in clock
    ticks since the machine's start (`proc(5)`).
    """

    name: str
    agent: int | None
    kernel: int
    folder: str
    started: int
    hosts: tuple[str, ...]


class _Process(msgspec.Struct, frozen=True, kw_only=True):
    pid: int
    parent: int
    lab: str
    started: int
    is_agent: bool


def running_labs() -> list[RunningLab]:
    """The labs of this user, the one made last first."""
    paths = [path for path in PROC.iterdir() if path.name.isdecimal()]
    processes = {one.pid: one for one in map(_read, paths) if one is not None}
    labs = []
    for outermost in processes.values():
        if outermost.parent in processes:
            continue
        agent = next((one.pid for one in _below(outermost, processes) if one.is_agent), None)
        folder = ""
        with suppress(OSError):
            folder = os.readlink(PROC / str(outermost.parent) / "cwd")
        labs.append(
            RunningLab(
                name=outermost.lab,
                agent=agent,
                kernel=outermost.parent,
                folder=folder,
                started=outermost.started,
                hosts=_hosts(agent) if agent else (),
            )
        )
    return sorted(labs, key=lambda lab: (-lab.started, -lab.kernel))


def _read(process: Path) -> _Process | None:
    """What is known of a process of a lab of this user; None for every other."""
    with suppress(OSError, ValueError, IndexError):
        if process.stat().st_uid != os.geteuid():
            return None
        environment = (process / "environ").read_bytes().split(b"\0")
        mark = f"{LAB}=".encode()
        names = [entry.removeprefix(mark) for entry in environment if entry.startswith(mark)]
        if not names:
            return None
        # The name in parentheses may hold anything, so the fields are counted after it.
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        argv = (process / "cmdline").read_bytes().split(b"\0")
        status = (process / "status").read_text()
        inner = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
        return _Process(
            pid=int(process.name),
            parent=int(fields[1]),
            lab=names[0].decode(errors="replace"),
            started=int(fields[19]),
            is_agent=b"labkit.agent" in argv and len(inner) > 2 and inner[-1] == "1",
        )
    return None


def _below(process: _Process, processes: dict[int, _Process]) -> list[_Process]:
    children = [one for one in processes.values() if one.parent == process.pid]
    return [process, *(found for child in children for found in _below(child, processes))]


def _hosts(agent: int) -> tuple[str, ...]:
    """The names of the lab's namespaces, as its own /run/netns has them."""
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(PROC / str(agent) / "root/run/netns"))
    return (*names, MACHINE)
