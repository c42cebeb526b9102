"""The launchers of Linux namespaces: `unshare(1)` as root, for any user, and by sudo.

See `unshare(1)`, `user_namespaces(7)` and `capabilities(7)`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from labkit.launch.machine import Launcher, Machine, Problem, no_linux

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
"""Takes the other capabilities from root's agent and all that it starts (`capabilities(7)`): a
slip could set the clock with them, or load a module. In a user namespace they have no effect."""

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


class Unshare(Launcher):
    """Starts the agent with `unshare(1)`, in a user namespace or as root without one."""

    def __init__(self, name: str, summary: str, *, user: bool) -> None:
        self.name = name
        self.summary = summary
        self.user = user

    def argv(
        self, command: list[str], watched: int | None = None, *, program: str | None = None
    ) -> list[str]:
        unshare = program or Machine().which("unshare") or "unshare"
        last = [] if watched is None else [str(watched)]
        user = USER_NAMESPACE if self.user else ()
        limits = () if self.user else bounded()
        return [unshare, *user, *NAMESPACES, "--", *limits, *command, *last]

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


def bounded(machine: Machine | None = None) -> tuple[str, ...]:
    """What stands before root's commands in a lab: `BOUNDED`, where it can be used.

    That is where `setpriv(1)` is, and root may drop capabilities: in a container, not always.
    """
    machine = machine or Machine()
    lacks = machine.euid() == 0 and machine.missing_capabilities({"CAP_SETPCAP": 8})
    return () if lacks or machine.which("setpriv") is None else BOUNDED


class Sudo(Unshare):
    """Starts the agent as root by `sudo(8)`, where that asks for no password."""

    def __init__(self, name: str, summary: str) -> None:
        super().__init__(name, summary, user=False)

    def argv(
        self, command: list[str], watched: int | None = None, *, program: str | None = None
    ) -> list[str]:
        sudo = program or Machine().which("sudo") or "sudo"
        pid = "0" if watched is None else _pid_of(watched)
        kept = [f"{k}={os.environ[k]}" for k in PASSED if k in os.environ]  # sudo drops them
        if watched is not None:  # an agent, which needs its modules
            kept.append(f"PYTHONPATH={os.pathsep.join(filter(None, (str(PACKAGE), *sys.path)))}")
        inner = super().argv(command)
        return [sudo, "-n", "--", "env", *kept, sys.executable, ELEVATED, pid, *inner]

    def probe(self, machine: Machine | None = None) -> Problem | None:
        machine = machine or Machine()
        problem = no_linux(machine)
        if problem is not None:
            return problem
        sudo = machine.which("sudo")
        if sudo is None:
            return Problem(
                "The program sudo is not installed.",
                "Use the launcher rootless or uml; or, as root: apt-get install sudo",
            )
        code, words = machine.attempt([sudo, "-n", "--", "true"])
        if code:
            return _no_sudo(words.removeprefix("sudo: "))
        code, words = machine.attempt(self.argv(["true"], program=sudo))
        return None if code == 0 else diagnose(machine, words, user=False)


PACKAGE = Path(__file__).resolve().parents[2]
ELEVATED = str(Path(__file__).with_name("elevated.py"))
PASSED = ("PATH", "LANG", "LC_ALL", "TZ", "LABKIT_LAB")
"""Variables that the lab's commands see; a command line is for all to read, so no more."""


def _pid_of(pidfd: int) -> str:
    """The process that a pidfd stands for (`pidfd_open(2)`)."""
    for line in Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pid":
            return value.strip()
    return "0"


def _no_sudo(words: str) -> Problem:
    if "no new privileges" in words:
        return Problem(
            "sudo cannot work here: this process may gain no privileges (no_new_privs), as in a "
            "container.",
            "Use the launcher uml, which needs none. In Docker: leave out "
            "--security-opt no-new-privileges",
        )
    if "password" in words:
        return Problem(
            f"sudo asks for a password, which a notebook cannot answer ({words}).",
            "Use the launcher rootless or uml. Or let sudo ask no more, which makes all that you "
            "run as good as root:\n"
            '  echo "$USER ALL=(root) NOPASSWD: ALL" | sudo tee /etc/sudoers.d/labkit',
        )
    return Problem(
        f"sudo refuses: {words or 'it said nothing'}.",
        "Use the launcher rootless or uml; or ask the administrator of this machine.",
    )


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
