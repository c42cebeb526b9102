"""The launcher of User Mode Linux: a whole Linux kernel as an ordinary process.

It needs no rights, no KVM and no namespaces of the machine's: only `ptrace(2)` of its own
processes, and somewhere to map its memory from. See the kernel's
Documentation/virt/uml/user_mode_linux_howto_v2.rst.
"""

from __future__ import annotations

import sys
from pathlib import Path

from labkit.launch.machine import Launcher, Machine, Problem, no_linux

MEMORY = 256
"""Megabytes that the small Linux can have; it takes them as it needs them."""
SLACK = 32
MODULES = "/usr/lib/uml/modules"
INSTALL = "sudo apt-get install user-mode-linux"
PACKAGE = Path(__file__).resolve().parents[2]
RELAY = (
    "import sys; sys.path.insert(0, {!r}); from labkit.launch.relay import main; sys.exit(main())"
)
NOWHERE = "/proc"  # a folder in which nothing can be made: UML then ends after its checks


class Uml(Launcher):
    """Starts the agent in a Linux of its own, by `labkit.launch.relay`."""

    name = "uml"
    summary = "as any user, in a small Linux that is an ordinary process (User Mode Linux)"
    patience = "Starting a small Linux (User Mode Linux)"

    def argv(self, command: list[str], watched: int | None = None) -> list[str]:
        machine = Machine()
        options = {
            "kernel": machine.which("linux.uml") or "linux.uml",
            "modules": MODULES,
            "memory": f"{MEMORY}M",
            "folder": _folder(machine) or "/tmp",  # noqa: S108 (its file has no name there)
            "watch": watched,
        }
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        return [sys.executable, "-c", RELAY.format(str(PACKAGE)), *given, "--", *command]

    def probe(self, machine: Machine | None = None) -> Problem | None:
        machine = machine or Machine()
        problem = no_linux(machine)
        if problem is not None:
            return problem
        if machine.processor not in ("x86_64", "AMD64"):
            return Problem(
                f"User Mode Linux exists for x86-64 alone, and this is {machine.processor}.",
                "Use another launcher, or a machine or virtual machine of that kind.",
            )
        kernel = machine.which("linux.uml")
        if kernel is None:
            return Problem(
                "User Mode Linux (the program linux.uml) is not installed.",
                f"On Debian and Ubuntu: {INSTALL}",
            )
        if machine.which("modprobe") is None:
            return Problem(
                "The program modprobe is not installed, by which its kernel loads modules.",
                "sudo apt-get install kmod",
            )
        code, version = machine.attempt(["sh", "-c", 'exec "$0" --version >&2', kernel])
        if code:
            return Problem(
                f"{kernel} cannot be run: {version or 'it said nothing'}.",
                f"sudo apt-get install --reinstall {INSTALL.rsplit(' ', 1)[-1]}",
            )
        if not machine.exists(f"{MODULES}/{version}/modules.dep"):
            there = ", ".join(machine.names(MODULES)) or "none"
            return Problem(
                f"The kernel {kernel} is {version}, and in {MODULES} are modules for: {there}.",
                "Kernel and modules must be of one version: "
                "sudo apt-get install --reinstall user-mode-linux",
            )
        folders = {folder: _unfit(machine, folder) for folder in machine.scratch_folders()}
        if all(folders.values()):
            reasons = "; ".join(f"{folder} {why}" for folder, why in folders.items())
            return Problem(
                f"Its memory, {MEMORY} MB, has no place: {reasons}.",
                "Name a folder that has room and is not mounted noexec, before Jupyter starts: "
                "export TMPDIR=/some/folder\n"
                "Or in Docker: docker run --shm-size 1g --tmpfs /tmp:exec …",
            )
        script = f'TMPDIR={NOWHERE} exec "$0" >&2'
        _, words = machine.attempt(["sh", "-c", script, kernel])
        return None if "advanced syscall emulation" in words else _no_ptrace(machine, words)


def _folder(machine: Machine) -> str | None:
    """Where the memory can be mapped from: the first folder that has room and allows it."""
    return next((f for f in machine.scratch_folders() if not _unfit(machine, f)), None)


def _unfit(machine: Machine, folder: str) -> str | None:
    """Why the memory cannot be in that folder."""
    room = machine.room(folder)
    if room is None:
        return "cannot be written to"
    free, noexec = room
    if noexec:
        return "is mounted noexec"
    if free < (MEMORY + SLACK) << 20:
        return f"has {free >> 20} MB free"
    return None


def _no_ptrace(machine: Machine, words: str) -> Problem:
    last = words.rsplit("\n", 1)[-1] or "it said nothing"
    if machine.setting("kernel.yama.ptrace_scope") in ("2", "3"):
        return Problem(
            "kernel.yama.ptrace_scope forbids ptrace, on which User Mode Linux rests.",
            "sudo sysctl -w kernel.yama.ptrace_scope=1 (from 3 it is only lowered by a reboot)",
        )
    if "ptrace" in words:
        return Problem(
            f"ptrace is forbidden, on which User Mode Linux rests ({last}).",
            "A seccomp filter or a security module forbids it. In Docker: docker run "
            "--cap-add SYS_PTRACE …, or a Docker and kernel newer than 19.03 and 4.8",
        )
    return Problem(
        f"User Mode Linux does not start here: {last}.",
        "Try it by hand: linux.uml mem=64M, and see what it says.",
    )
