"""What a launcher is, and the machine that its diagnosis rests on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

CAPABILITIES = {
    "CAP_NET_BROADCAST": 11,  # for one socket that hears every namespace, netlink(7)
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_ADMIN": 21,
}
"""What a lab needs where no user namespace gives it: `capabilities(7)`, linux/capability.h."""


PATIENCE = 20
"""Seconds in which a quick command must have ended; many, for a machine with much to do."""


class Problem(msgspec.Struct, frozen=True):
    """Why something cannot be used here, and the exact remedy."""

    reason: str
    remedy: str


class Machine:
    """The facts that a diagnosis rests on. A test gives its own."""

    system = sys.platform
    processor = platform.machine()

    def read(self, path: str) -> str | None:
        """The stripped text of a small file such as those of /proc, or None."""
        try:
            return Path(path).read_text().strip()
        except (OSError, ValueError):
            return None

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return os.path.exists(path)

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; nothing where there is none."""
        try:
            return sorted(os.listdir(folder))
        except OSError:
            return []

    def room(self, folder: str) -> tuple[int, bool] | None:
        """The bytes free in a folder, and whether it is noexec; None if it is not ours to fill."""
        try:
            about = os.statvfs(folder)
        except OSError:
            return None
        if not os.access(folder, os.W_OK | os.X_OK):
            return None
        return about.f_bavail * about.f_frsize, bool(about.f_flag & os.ST_NOEXEC)

    def scratch_folders(self) -> list[str]:
        """Where a large file without a name may be: in memory first, then where TMPDIR says."""
        found = ["/dev/shm", tempfile.gettempdir(), "/var/tmp", str(Path.home())]  # noqa: S108
        return list(dict.fromkeys(found))

    def euid(self) -> int:
        """The effective user id: 0 for root."""
        return os.geteuid()

    def which(self, program: str) -> str | None:
        """Where a program is, or None. The system folders count though they may not be on PATH."""
        path = os.environ.get("PATH", os.defpath)
        return shutil.which(program, path=f"{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")

    def attempt(self, argv: list[str]) -> tuple[int, str]:
        """Runs a command that is quick; its exit status and what it said on standard error."""
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 126, f"no answer within {PATIENCE} s"
        except (OSError, subprocess.SubprocessError) as error:
            return 126, str(error)
        return done.returncode, done.stderr.decode(errors="replace").strip()

    # What follows is worked out from the above.

    def setting(self, name: str) -> str | None:
        """A sysctl's value by its dotted name, or None where the kernel has none such."""
        return self.read("/proc/sys/" + name.replace(".", "/"))

    def status(self, field: str) -> str:
        """A field of this process's /proc/self/status (`proc(5)`), or an empty string."""
        for line in (self.read("/proc/self/status") or "").splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
        return ""

    def missing_capabilities(self, needed: Mapping[str, int] = CAPABILITIES) -> list[str]:
        """Which of the needed capabilities this process lacks."""
        effective = int(self.status("CapEff") or "0", 16)
        return [name for name, bit in needed.items() if not effective >> bit & 1]

    def is_filtered(self) -> bool:
        """Whether a seccomp filter limits this process's system calls."""
        return self.status("Seccomp") == "2"

    def is_chrooted(self) -> bool:
        """Whether this process's root is surely no mount: the mark of a `chroot(2)`."""
        mounts = self.read("/proc/self/mountinfo")
        return mounts is not None and not any(
            line.split()[4:5] == ["/"] for line in mounts.splitlines()
        )


class Launcher:
    """A way to start an agent."""

    name: str
    summary: str
    patience: str | None = None
    """What is said while a human waits, where that takes long."""
    notice: str | None = None
    """What is said of every lab of this launcher, where it is not the usual kind."""

    def probe(self, machine: Machine | None = None) -> Problem | None:
        """Why this launcher cannot be used here; None when it can."""
        raise NotImplementedError

    def argv(self, command: list[str], watched: int | None = None) -> list[str]:
        """The command line that runs `command` in namespaces of its own, or a Linux of its own.

        Killing that process ends the command and all it started. `watched` is a pidfd, which
        that process inherits, of one whose death is to end it all, too; the command takes it
        as its last argument where it can have it.
        """
        raise NotImplementedError


def no_linux(machine: Machine) -> Problem | None:
    """Why there are no network namespaces at all here, or None."""
    if not machine.system.startswith("linux"):
        name = {"darwin": "macOS", "win32": "Windows"}.get(machine.system, machine.system)
        where = {
            "macOS": "in a virtual machine with Linux: brew install lima && limactl start && lima; "
            "then there, in this project's folder: make lab",
            "Windows": "in WSL 2: wsl --install (in a terminal of an administrator); then in its "
            "Ubuntu, in this project's folder: make lab",
        }.get(name, "on a machine or virtual machine with Linux")
        return Problem(
            f"This is {name}, and network namespaces are part of the Linux kernel.",
            f"Run it {where}. Without installing anything: Binder or GitHub Codespaces "
            "(docs/where-it-runs.md).",
        )
    if "-Microsoft" in (machine.read("/proc/sys/kernel/osrelease") or ""):
        return Problem(
            "This is WSL 1, which has no Linux kernel.",
            "Change to WSL 2, in PowerShell: wsl --set-version DISTRIBUTION 2",
        )
    if not machine.exists("/proc/self/ns/net"):
        return Problem(
            "The kernel has no network namespaces (there is no /proc/self/ns/net).",
            "Mount /proc if it is missing (mount -t proc proc /proc); else use a kernel built "
            "with CONFIG_NET_NS=y.",
        )
    return None
