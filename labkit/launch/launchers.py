"""How an agent is started: each launcher is a name, a probe and a command line.

A probe says why a launcher cannot be used here, and the remedy. It takes what it knows
from a `Machine`, so that a test can describe any machine. See `unshare(1)`,
`user_namespaces(7)` and `capabilities(7)`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from labkit.errors import LabkitError, LauncherError

CAPABILITIES = {
    "CAP_NET_BROADCAST": 11,  # for one socket that hears every namespace, netlink(7)
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_SYS_ADMIN": 21,
}
"""What a lab needs where no user namespace gives it: `capabilities(7)`, linux/capability.h."""

NAMESPACES = (
    # --fork: the agent, not unshare, is process 1 of the new PID namespace.
    # --kill-child: when unshare dies, so does the agent, and with process 1 all the rest.
    # slave: no mount of a lab reaches the machine, and the machine's unmounts reach the lab,
    # so that a lab keeps no disk busy.
    # --uts, --ipc: a learner's `hostname` names the lab, not the machine.
    *("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"),
    *("--propagation", "slave", "--mount-proc"),
)
USER_NAMESPACE = ("--user", "--map-root-user")
KEPT = (
    # Interfaces, frames, hearing every namespace; namespaces and mounts; a learner's tracing.
    "+net_admin,+net_raw,+net_broadcast,+sys_admin,+sys_ptrace,"
    # What root's programs rely on, as in a container of Docker's.
    "+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+setfcap,"
    "+net_bind_service,+sys_chroot"
)
BOUNDED = ("setpriv", "--bounding-set", f"-all,{KEPT}", "--")
"""Takes the other capabilities from root's agent and all that it starts (`capabilities(7)`).

With them a slip of a learner's could set the machine's clock, load a module or make a device.
A user namespace gives none of them any effect, so that the rootless launcher needs no such thing.
"""

APPARMOR = """\
sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0
To keep it after a reboot:
  echo kernel.apparmor_restrict_unprivileged_userns=0 | sudo tee -a /etc/sysctl.d/60-labkit.conf
Or, to lift it for the unshare program alone, put this into /etc/apparmor.d/labkit-unshare:
  abi <abi/4.0>,
  include <tunables/global>
  profile labkit-unshare /usr/bin/unshare flags=(unconfined) {
    userns,
  }
and load it: sudo apparmor_parser -r /etc/apparmor.d/labkit-unshare"""

DOCKER_ROOT = (
    "In Docker: docker run --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add NET_RAW "
    "--cap-add NET_BROADCAST --security-opt apparmor=unconfined …"
)
DOCKER_USER = (
    "In Docker: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined …"
)


class Problem(msgspec.Struct, frozen=True):
    """Why something cannot be used here, and the exact remedy."""

    reason: str
    remedy: str


class Machine:
    """The facts that a diagnosis rests on. A test gives its own."""

    system = sys.platform

    def read(self, path: str) -> str | None:
        """The stripped text of a small file such as those of /proc, or None."""
        try:
            return Path(path).read_text().strip()
        except (OSError, ValueError):
            return None

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        return os.path.exists(path)

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
                timeout=10,
                check=False,
            )
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

    def probe(self, machine: Machine | None = None) -> Problem | None:
        """Why this launcher cannot be used here; None when it can."""
        raise NotImplementedError

    def argv(self, agent: list[str]) -> list[str]:
        """The command line that starts `agent` in namespaces of its own.

        File descriptors are inherited, and killing that process ends the agent and all it
        started.
        """
        raise NotImplementedError


class Unshare(Launcher):
    """Starts the agent with `unshare(1)`, in a user namespace or as root without one."""

    def __init__(self, name: str, summary: str, *, user: bool) -> None:
        self.name = name
        self.summary = summary
        self.user = user

    def argv(self, agent: list[str], *, program: str | None = None) -> list[str]:
        unshare = program or Machine().which("unshare") or "unshare"
        bounded = () if self.user or not _can_bound(Machine()) else BOUNDED
        user = USER_NAMESPACE if self.user else ()
        return [unshare, *user, *NAMESPACES, "--", *bounded, *agent]

    def probe(self, machine: Machine | None = None) -> Problem | None:
        machine = machine or Machine()
        problem = no_linux(machine)
        if problem is None and not self.user:
            problem = no_root(machine)
        if problem is not None:
            return problem
        unshare = machine.which("unshare")
        if unshare is None:
            return Problem(
                "The program unshare is not installed.",
                "Install util-linux: sudo apt-get install util-linux",
            )
        code, words = machine.attempt(self.argv(["true"], program=unshare))
        if code == 0:
            return None
        return diagnose(machine, words, user=self.user)


def _can_bound(machine: Machine) -> bool:
    """Whether `setpriv(1)` is there, and root may drop capabilities: in a container, not always."""
    return machine.which("setpriv") is not None and (
        machine.euid() != 0 or not machine.missing_capabilities({"CAP_SETPCAP": 8})
    )


def no_linux(machine: Machine) -> Problem | None:
    """Why there are no network namespaces at all here, or None."""
    if not machine.system.startswith("linux"):
        name = {"darwin": "macOS", "win32": "Windows"}.get(machine.system, machine.system)
        where = {
            "macOS": "in a virtual machine or container with Linux: brew install lima && "
            "limactl start, or Docker Desktop",
            "Windows": "in WSL 2: wsl --install (in a terminal of an administrator)",
        }.get(name, "on a machine or virtual machine with Linux")
        return Problem(
            f"This is {name}, and network namespaces are part of the Linux kernel.",
            f"Run it {where}.",
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


def no_root(machine: Machine) -> Problem | None:
    """Why this process may not do what root may, or None."""
    if machine.euid() != 0:
        return Problem(
            f"You are not root (your user id is {machine.euid()}).",
            "Use the launcher rootless, which needs no root; or start Jupyter as root.",
        )
    missing = machine.missing_capabilities()
    if missing:
        return Problem(
            f"This root user lacks {', '.join(missing)}, as in a container.",
            f"{DOCKER_ROOT}\nOr use the launcher rootless, if that works here.",
        )
    return None


def diagnose(machine: Machine, words: str, *, user: bool) -> Problem:
    """Why `unshare` failed with these words: the first known cause that fits."""
    words = words.removeprefix("unshare: ") or "it said nothing"
    if user:
        problem = _no_user_namespace(machine)
        if problem:
            return problem
    for kind, what in (("net", "network"), ("pid", "PID"), ("mnt", "mount")):
        name = f"user.max_{kind}_namespaces"
        if machine.setting(name) == "0":
            return Problem(f"{name} is 0: no {what} namespaces are allowed.", _raise(name))
    if "No space left" in words:
        name = "user.max_user_namespaces" if user else "user.max_net_namespaces"
        return Problem(
            f"A limit on the number of namespaces is reached ({words}).",
            f"{_raise(name)}\nOr close labs and containers that are no longer used; or do not "
            "nest namespaces this deep.",
        )
    if machine.is_chrooted():
        return Problem(
            f"This process is in a chroot, where these namespaces cannot be made ({words}).",
            "Start Jupyter outside the chroot, or enter that folder with pivot_root: "
            "systemd-nspawn -D FOLDER, or podman run --rootfs FOLDER.",
        )
    if "/proc failed" in words:
        return Problem(
            f"A new /proc cannot be mounted ({words}), because parts of the present one are "
            "hidden, as container engines do.",
            DOCKER_USER if user else DOCKER_ROOT,
        )
    if machine.is_filtered():
        return Problem(
            f"A seccomp filter forbids new namespaces ({words}), as in a container.",
            f"{DOCKER_USER if user else DOCKER_ROOT}\n"
            "In a systemd service: RestrictNamespaces=no and an open SystemCallFilter=.",
        )
    return Problem(
        f"The namespaces cannot be made: {words}.",
        "A security module, an outer container or a chroot forbids it. See what the kernel says: "
        f"sudo dmesg | tail. {DOCKER_USER if user else DOCKER_ROOT}",
    )


def _no_user_namespace(machine: Machine) -> Problem | None:
    if not machine.exists("/proc/self/ns/user"):
        return Problem(
            "The kernel has no user namespaces (there is no /proc/self/ns/user).",
            "Use a kernel built with CONFIG_USER_NS=y, or the launcher root.",
        )
    if machine.setting("user.max_user_namespaces") == "0":
        name = "user.max_user_namespaces"
        return Problem(f"{name} is 0: no user namespaces are allowed.", _raise(name))
    privileged = "CAP_SYS_ADMIN" not in machine.missing_capabilities()
    if not privileged and machine.setting("kernel.unprivileged_userns_clone") == "0":
        return Problem(
            "kernel.unprivileged_userns_clone is 0: only root may make user namespaces.",
            _set("kernel.unprivileged_userns_clone", 1),
        )
    if not privileged and machine.setting("kernel.apparmor_restrict_unprivileged_userns") == "1":
        return Problem(
            "AppArmor takes the rights away that a user namespace gives "
            "(kernel.apparmor_restrict_unprivileged_userns is 1, as on Ubuntu since 24.04).",
            APPARMOR,
        )
    return None


def _raise(name: str) -> str:
    return _set(name, 15000)


def _set(name: str, value: int) -> str:
    return (
        f"sudo sysctl -w {name}={value}\n"
        "To keep it after a reboot:\n"
        f"  echo {name}={value} | sudo tee -a /etc/sysctl.d/60-labkit.conf"
    )


LAUNCHERS: tuple[Launcher, ...] = (
    Unshare("root", "as root, in network, mount and PID namespaces", user=False),
    Unshare("rootless", "as any user, in a user namespace besides", user=True),
)
"""In order of preference."""

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
        candidates = tuple(one for one in LAUNCHERS if one.name == name)
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
    listed = "\n".join(
        f"{launcher.name}: {problem.reason}\n  → " + problem.remedy.replace("\n", "\n    ")
        for launcher, problem in problems
    )
    raise LauncherError(
        f"No lab can be started on this machine.\n{listed}",
        hint="One of these remedies is enough; then run the cell again. labkit doctor tells more.",
    )


def explained(launcher: Launcher, error: LabkitError) -> LabkitError:
    """Why a lab did not start with a launcher that seemed to work, if that can be found out."""
    problem = launcher.probe()
    if problem is None:
        return error
    return LauncherError(f"No lab can be started now. {problem.reason}", hint=problem.remedy)


def _unknown(name: str, source: str) -> LauncherError:
    import difflib

    known = [launcher.name for launcher in LAUNCHERS]
    close = difflib.get_close_matches(name, known, 1, 0.5)
    guess = f"Did you mean {close[0]!r}? " if close else ""
    return LauncherError(
        f"There is no launcher {name!r}{source}.", hint=f"{guess}There are: {', '.join(known)}."
    )
