"""Every situation in which a launcher cannot be used is told apart, with its remedy."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from labkit.errors import LauncherError
from labkit.launch import launchers
from labkit.launch.launchers import LAUNCHERS, choose
from labkit.launch.machine import Launcher, Machine, Problem
from tests.kernel.conftest import SELECTED

ROOT_FOLDER = Path(__file__).resolve().parents[2]
ROOT, ROOTLESS, SUDO, UML = LAUNCHERS
ALL, NONE, DOCKER = "000001ffffffffff", "0000000000000000", "00000000a80425fb"
DENIED = (1, "unshare: unshare failed: Operation not permitted")
NO_MAP = (1, "unshare: write failed /proc/self/uid_map: Operation not permitted")
NO_PROC = (1, "unshare: mount /proc failed: Operation not permitted")
FULL = (1, "unshare: unshare failed: No space left on device")


class Fake(Machine):
    """A machine as described; by default a user's ordinary one, where all goes well."""

    def __init__(self, **facts: Any) -> None:
        self.system = facts.pop("system", "linux")
        self._uid = facts.pop("uid", 1000)
        self._missing = facts.pop("missing", ())
        self._answer = facts.pop("answer", (0, ""))
        self.attempts: list[list[str]] = []
        caps = facts.pop("caps", NONE if self._uid else ALL)
        seccomp = facts.pop("seccomp", 0)
        self.processor = facts.pop("processor", "x86_64")
        self._answers = facts.pop("answers", {})
        self._rooms = facts.pop("rooms", {"/dev/shm": (1 << 30, False)})
        self._modules = facts.pop("modules", ["6.1.176"])
        root = facts.pop("root", "/")
        self._files = {
            "/proc/self/status": f"Name:\tx\nCapEff:\t{caps}\nSeccomp:\t{seccomp}",
            "/proc/self/ns/net": "",
            "/proc/self/ns/user": "",
            "/proc/self/mountinfo": f"1 2 8:1 / {root} rw - ext4 /dev/sda1 rw",
            "/proc/sys/kernel/osrelease": "6.1.0",
            **facts.pop("files", {}),
        }
        assert not facts

    def read(self, path: str) -> str | None:
        return self._files.get(path)

    def exists(self, path: str) -> bool:
        return self._files.get(path) is not None

    def euid(self) -> int:
        return int(self._uid)

    def which(self, program: str) -> str | None:
        return None if program in self._missing else f"/usr/bin/{program}"

    def names(self, folder: str) -> list[str]:
        return list(self._modules)

    def room(self, folder: str) -> tuple[int, bool] | None:
        return self._rooms.get(folder)  # type: ignore[no-any-return]

    def scratch_folders(self) -> list[str]:
        return list(self._rooms)

    def attempt(self, argv: list[str]) -> tuple[int, str]:
        self.attempts.append(argv)
        for part, answer in self._answers.items():
            if any(part in word for word in argv):
                return answer  # type: ignore[no-any-return]
        return self._answer  # type: ignore[no-any-return]


VERSION = {"--version": (0, "6.1.176"), "TMPDIR": (1, "Checking advanced syscall emulation…OK")}
FILES = {"/usr/lib/uml/modules/6.1.176/modules.dep": ""}
NO_PTRACE = {**VERSION, "TMPDIR": (1, "Checking…\ncheck_ptrace : Operation not permitted")}


def uml(**facts: Any) -> tuple[Launcher, dict[str, Any]]:
    """A machine on which User Mode Linux works, but for these facts."""
    files = FILES | facts.pop("files", {})
    return UML, {"answers": VERSION, "files": files, **facts}


def sysctl(name: str, value: int) -> dict[str, str]:
    return {"/proc/sys/" + name.replace(".", "/"): str(value)}


SITUATIONS = {
    "macos": (ROOTLESS, {"system": "darwin"}, "macOS", "lima"),
    "windows": (ROOT, {"system": "win32"}, "Windows", "wsl --install"),
    "wsl1": (
        ROOTLESS,
        {"files": {"/proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft"}},
        "WSL 1",
        "wsl --set-version",
    ),
    "no netns": (ROOT, {"files": {"/proc/self/ns/net": None}}, "/proc/self/ns/net", "NET_NS"),
    "no userns": (
        ROOTLESS,
        {"files": {"/proc/self/ns/user": None}, "answer": DENIED},
        "/proc/self/ns/user",
        "CONFIG_USER_NS",
    ),
    "no unshare": (ROOTLESS, {"missing": ["unshare"]}, "unshare is not", "install util-linux"),
    "not root": (ROOT, {}, "not root (your user id is 1000)", "rootless"),
    "root in docker": (
        ROOT,
        {"uid": 0, "caps": DOCKER, "seccomp": 2},
        "lacks CAP_NET_BROADCAST, CAP_NET_ADMIN, CAP_SYS_ADMIN",
        "--cap-add SYS_ADMIN --cap-add NET_ADMIN",
    ),
    "apparmor": (
        ROOTLESS,
        {"answer": NO_MAP, "files": sysctl("kernel.apparmor_restrict_unprivileged_userns", 1)},
        "AppArmor",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\nTo keep it",
    ),
    "debian": (
        ROOTLESS,
        {"answer": DENIED, "files": sysctl("kernel.unprivileged_userns_clone", 0)},
        "kernel.unprivileged_userns_clone is 0",
        "sudo sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    "no user namespaces": (
        ROOTLESS,
        {"answer": FULL, "files": sysctl("user.max_user_namespaces", 0)},
        "user.max_user_namespaces is 0",
        "sudo sysctl -w user.max_user_namespaces=15000",
    ),
    "no net namespaces": (
        ROOT,
        {"uid": 0, "answer": FULL, "files": sysctl("user.max_net_namespaces", 0)},
        "user.max_net_namespaces is 0",
        "sudo sysctl -w user.max_net_namespaces=15000",
    ),
    "limit reached": (ROOTLESS, {"answer": FULL}, "limit", "user.max_user_namespaces=15000"),
    "seccomp": (
        ROOTLESS,
        {"answer": DENIED, "seccomp": 2},
        "seccomp",
        "--security-opt seccomp=unconfined",
    ),
    "masked proc": (
        ROOTLESS,
        {"answer": NO_PROC, "seccomp": 2},
        "/proc",
        "systempaths=unconfined",
    ),
    "chroot": (ROOTLESS, {"answer": DENIED, "root": "/proc"}, "chroot", "outside the chroot"),
    "no sudo": (SUDO, {"missing": ["sudo"]}, "sudo is not installed", "rootless"),
    "sudo asks": (
        SUDO,
        {"answer": (1, "sudo: a password is required")},
        "asks for a password",
        "NOPASSWD: ALL",
    ),
    "sudo in a container": (
        SUDO,
        {"answer": (1, 'sudo: The "no new privileges" flag is set, which prevents sudo')},
        "no_new_privs",
        "launcher uml",
    ),
    "sudo refuses": (
        SUDO,
        {"answer": (1, "sudo: you are not in the sudoers file")},
        "you are not in the sudoers file",
        "administrator",
    ),
    "sudo, no namespaces": (
        SUDO,
        {"answers": {"unshare": DENIED}, "seccomp": 2},
        "seccomp",
        "--cap-add SYS_ADMIN",
    ),
    "no uml": (*uml(missing=["linux.uml"]), "not installed", "apt-get install user-mode-linux"),
    "uml on arm": (
        *uml(missing=["linux.uml"], processor="aarch64"),
        "for x86-64 alone, and this is aarch64",
        "another launcher",
    ),
    "uml without kmod": (*uml(missing=["modprobe"]), "modprobe", "apt-get install kmod"),
    "uml does not run": (
        *uml(answers={"--version": (126, "Exec format error")}),
        "Exec format error",
        "--reinstall user-mode-linux",
    ),
    "uml modules apart": (
        *uml(files={"/usr/lib/uml/modules/6.1.176/modules.dep": None}, modules=["6.1.99"]),
        "is 6.1.176, and in /usr/lib/uml/modules are modules for: 6.1.99",
        "--reinstall user-mode-linux",
    ),
    "uml without modules": (
        *uml(files={"/usr/lib/uml/modules/6.1.176/modules.dep": None}, modules=[]),
        "modules for: none",
        "--reinstall user-mode-linux",
    ),
    "uml without room": (
        *uml(rooms={"/dev/shm": (64 << 20, False), "/tmp": (1 << 40, True), "/var/tmp": None}),
        "/dev/shm has 64 MB free; /tmp is mounted noexec; /var/tmp cannot be written to",
        "export TMPDIR=",
    ),
    "no ptrace": (*uml(answers=NO_PTRACE), "ptrace is forbidden", "--cap-add SYS_PTRACE"),
    "yama": (
        *uml(answers=NO_PTRACE, files=sysctl("kernel.yama.ptrace_scope", 2)),
        "ptrace_scope",
        "sysctl -w kernel.yama.ptrace_scope=1",
    ),
    "uml fails": (
        *uml(answers={**VERSION, "TMPDIR": (1, "odd\nno idea")}),
        "does not start here: no idea",
        "linux.uml",
    ),
    "unknown": (ROOTLESS, {"answer": (1, "unshare: no idea")}, "made: no idea", "dmesg"),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_each_situation_has_its_reason_and_remedy(name: str) -> None:
    launcher, facts, reason, remedy = SITUATIONS[name]
    problem = launcher.probe(Fake(**facts))  # type: ignore[arg-type]
    assert isinstance(problem, Problem)
    assert reason in problem.reason
    assert remedy in problem.remedy


def test_uml_is_found_to_work() -> None:
    launcher, facts = uml(rooms={"/dev/shm": (64 << 20, False), "/tmp": (1 << 30, False)})
    assert launcher.probe(Fake(**facts)) is None


def test_sudo_passes_on_the_process_to_watch_and_little_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A command line is for all to read: the environment, with its tokens, is not in it."""
    monkeypatch.setenv("JUPYTER_TOKEN", "secret")
    watched = os.pidfd_open(os.getpid())
    try:
        argv = SUDO.argv(["agent"], watched)
    finally:
        os.close(watched)
    assert str(os.getpid()) in argv
    assert argv[-1] == "agent"
    assert "secret" not in " ".join(argv)
    assert any(word.startswith("PYTHONPATH=") for word in argv)


def test_a_limit_that_does_not_bite_is_no_problem() -> None:
    restricted = sysctl("kernel.apparmor_restrict_unprivileged_userns", 1)
    assert ROOTLESS.probe(Fake(files=restricted)) is None


def test_the_try_uses_the_real_command_line() -> None:
    for launcher, uid in ((ROOT, 0), (ROOTLESS, 1000), (SUDO, 1000)):
        machine = Fake(uid=uid)
        assert launcher.probe(machine) is None
        tried = machine.attempts[-1]
        assert tried[1:] == launcher.argv(["true"])[1:]
        assert ("--user" in tried) == (launcher is ROOTLESS)
        assert tried[-2:] == ["--", "true"]


def test_the_first_that_works_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_LAUNCHER", raising=False)
    assert choose(machine=Fake(uid=0)) is ROOT
    assert choose(machine=Fake(uid=1000)) is ROOTLESS
    forbidden = {"unshare": DENIED, "sudo": (1, "sudo: a password is required"), **VERSION}
    assert choose(machine=Fake(answers=forbidden, files=FILES)) is UML
    allowed = {"elevated.py": (0, ""), "sudo": (0, ""), "unshare": DENIED}
    assert choose(machine=Fake(answers=allowed)) is SUDO


def test_the_argument_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABKIT_LAUNCHER", "rootless")
    assert choose(machine=Fake(uid=0)) is ROOTLESS
    assert choose("root", machine=Fake(uid=0)) is ROOT


def test_none_that_works_tells_about_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABKIT_LAUNCHER", raising=False)
    with pytest.raises(LauncherError) as caught:
        choose(machine=Fake(answer=DENIED, seccomp=2))
    text = str(caught.value)
    assert "root: You are not root" in text
    assert "rootless: A seccomp filter" in text
    assert "seccomp=unconfined" in text
    assert "sudo: " in text
    assert "uml: " in text
    assert "labkit doctor" in text


def test_one_asked_for_that_does_not_work_is_not_replaced() -> None:
    with pytest.raises(LauncherError, match=r"'root' cannot be used here.*not root"):
        choose("root", machine=Fake())


def test_an_unknown_name_gets_a_suggestion(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LauncherError, match=r"(?s)no launcher 'rotless'.*mean 'rootless'"):
        choose("rotless")
    monkeypatch.setenv("LABKIT_LAUNCHER", "qqq")
    with pytest.raises(
        LauncherError, match=r"(?s)LABKIT_LAUNCHER.*There are: root, rootless, sudo, uml"
    ):
        choose()


def test_only_good_news_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Problem | None] = [Problem("no", "wait"), None]
    asked = []

    def probe(machine: Machine | None = None) -> Problem | None:
        asked.append(machine)
        return answers[len(asked) - 1]

    monkeypatch.setattr(launchers, "_working", set())
    monkeypatch.setattr(ROOT, "probe", probe)
    with pytest.raises(LauncherError):
        choose("root")
    assert choose("root") is choose("root") is ROOT
    assert len(asked) == 2


def test_this_very_machine_is_read_without_trouble() -> None:
    machine = Machine()
    assert machine.read("/nowhere") is None
    assert machine.setting("net.no_such_thing") is None
    assert not machine.is_chrooted() or machine.read("/proc/self/mountinfo")
    assert machine.attempt(["/no/such/program"])[0] != 0
    assert machine.names("/nowhere") == []
    assert machine.room("/nowhere") is None
    assert machine.room(machine.scratch_folders()[0])


def test_the_docs_tell_which_files_are_tried_with_which_launcher() -> None:
    rows = (ROOT_FOLDER / "docs/where-it-runs.md").read_text().splitlines()
    table = [row for row in rows if row.startswith("|") and "test_" in row]
    for name, files in SELECTED.items():
        (row,) = (row for row in table if row.split("|")[1].strip() == name)
        assert set(re.findall(r"test_\w+\.py", row)) == {*files, f"test_{name}.py"}
        assert all((ROOT_FOLDER / "tests/kernel" / file).exists() for file in files)
