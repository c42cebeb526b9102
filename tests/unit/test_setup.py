"""binder/setup.sh on machines made up of fake programs, and the rule about skipped tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What the script may use of the real machine; all else is fake or not there.
REAL = ("sh", "cat", "sed", "awk", "grep", "tail", "tee", "rm", "ln", "mktemp", "dirname", "cksum")
FILES = ("binder/setup.sh", "binder/apt.txt", "binder/requirements.txt", "pyproject.toml")
TEST_FILES = ("tests/apt.txt", "tests/requirements.txt")
VENV_PYTHON = """echo "python $*" >>"$CALLS"; case $* in *version_info*) echo '(3, 11)' ;; esac"""


class Fake:
    """A copy of the files that setup reads, beside programs that only note how they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "clone"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.bin.mkdir()
        for name in REAL:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        for name in (*FILES, *TEST_FILES):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.folder / name)
        self.installed(*listed("binder/apt.txt"), *listed("tests/apt.txt"))
        self.program("id", "echo 1000")
        self.program("apt-get", 'echo "apt-get $*" >>"$CALLS"')
        self.program("apt-cache", "echo '  Candidate: 1.0'")
        self.program(".venv/bin/python", VENV_PYTHON, self.folder)

    def program(self, name: str, script: str, where: Path | None = None) -> None:
        path = (where or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def installed(self, *packages: str) -> None:
        self.program("dpkg-query", f"printf 'installed:%s ' {' '.join(packages)}; exit 1")

    def setup(self, kind: str = "use", **more: str) -> tuple[int, str, str]:
        """Exit status, what was said, and which programs were called."""
        self.calls.write_text("")
        done = subprocess.run(
            [self.folder / "binder/setup.sh", ".venv", kind],
            env={"PATH": str(self.bin), "CALLS": str(self.calls), **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stdout
        return done.returncode, done.stderr, self.calls.read_text()


def listed(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def machine(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def test_the_second_time_is_quiet_and_installs_nothing(machine: Fake):
    status, said, calls = machine.setup()
    assert (status, "ready" in said) == (0, True)
    assert "--require-hashes -r binder/requirements.txt" in calls
    status, said, calls = machine.setup()
    assert (status, said) == (0, "")
    assert "pip" not in calls


def test_what_the_tests_need_is_enough_for_use(machine: Fake):
    assert machine.setup("test")[0] == 0
    assert machine.setup("use")[1:2] == ("",)


@pytest.mark.parametrize("changed", ["binder/requirements.txt", "pyproject.toml"])
def test_a_changed_lock_is_installed(machine: Fake, changed: str):
    machine.setup()
    with (machine.folder / changed).open("a") as file:
        file.write("# changed\n")
    assert "--require-hashes" in machine.setup()[2]


def test_another_python_is_installed_for(machine: Fake):
    machine.setup()
    newer = VENV_PYTHON.replace("11", "12")
    machine.program(".venv/bin/python", newer, machine.folder)
    assert "--require-hashes" in machine.setup()[2]


def test_without_root_and_sudo_it_names_the_packages(machine: Fake):
    machine.installed("iproute2", "graphviz")
    status, said, calls = machine.setup()
    assert status == 1
    *_, administrator, _ = said.splitlines()
    there = ("iproute2", "graphviz", "user-mode-linux")
    lacking = [p for p in listed("binder/apt.txt") if p not in there]
    if Path("/usr/sbin/nginx").exists():
        lacking.remove("nginx-light")
    assert administrator.split("install ")[1].split() == lacking
    assert "apt-get" not in calls
    status, said, _ = machine.setup(NO_APT="1")
    assert (status, "going on without: iputils-ping" in said) == (0, True)


@pytest.mark.parametrize(
    ("kind", "processor", "unshare", "needed"),
    [
        ("use", "x86_64", "exit 1", True),
        ("use", "x86_64", 'case "$*" in *--user*) ;; *) exit 1 ;; esac', False),
        ("use", "aarch64", "exit 1", False),
        ("test", "x86_64", "", True),
        ("test", "aarch64", "", False),
    ],
)
def test_the_small_linux_is_installed_where_it_is_needed(
    machine: Fake, kind: str, processor: str, unshare: str, needed: bool
):
    machine.program("uname", f"echo {processor}")
    machine.program("unshare", unshare)
    both = {*listed("binder/apt.txt"), *listed("tests/apt.txt")}
    machine.installed(*(both - {"user-mode-linux"}))
    machine.program("sudo", 'echo "sudo $*" >>"$CALLS"')
    _, said, _ = machine.setup(kind)
    assert ("installing system packages: user-mode-linux" in said) == needed


def test_sudo_installs(machine: Fake):
    machine.installed("iproute2", "graphviz")
    machine.program("sudo", 'echo "sudo $*" >>"$CALLS"')
    status, said, calls = machine.setup()
    assert status == 0
    assert "installing system packages: iputils-ping bridge-utils" in said
    assert "iputils-ping bridge-utils" in calls[calls.index("sudo sh -c") :]


def test_packages_that_cannot_be_installed_are_named(machine: Fake):
    machine.installed(*(p for p in listed("binder/apt.txt") if p != "graphviz"))
    machine.program("sudo", "case $* in *update | '-n true') ;; *) echo E: no; exit 100 ;; esac")
    status, said, _ = machine.setup()
    assert status == 1
    assert "E: no" in said
    assert said.endswith("could not be installed: graphviz\n")


@pytest.mark.parametrize("browser", ["chromium-browser", "google-chrome"])
def test_any_chromium_will_do(machine: Fake, browser: str):
    machine.installed(*listed("binder/apt.txt"), *(set(listed("tests/apt.txt")) - {"chromium"}))
    assert machine.setup("test")[0] == 1
    machine.program(browser, "")
    assert machine.setup("test")[0] == 0


def test_where_chromium_is_a_snap_playwright_brings_one(machine: Fake):
    machine.installed(*listed("binder/apt.txt"), *(set(listed("tests/apt.txt")) - {"chromium"}))
    machine.program("sudo", 'echo "sudo $*" >>"$CALLS"')
    machine.program("apt-cache", "echo '  Candidate: (none)'")
    chromium = "case $* in *executable_path*) command -v sh ;; esac; " + VENV_PYTHON
    machine.program(".venv/bin/python", chromium, machine.folder)
    status, said, calls = machine.setup("test")
    assert status == 0, said
    assert "sudo sh -c" not in calls
    assert "playwright install" in calls
    assert (machine.folder / ".venv/bin/chromium").resolve().exists()
    assert machine.setup("test")[1] == ""


@pytest.mark.parametrize(("ci", "reason", "status"), [("", "x", 0), ("1", "x", 1), ("1", "ok", 0)])
def test_a_skip_that_is_not_listed_fails_ci(tmp_path: Path, ci: str, reason: str, status: int):
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    (tmp_path / "allowed-skips.txt").write_text("test_one.py* : ok*\n")
    (tmp_path / "test_one.py").write_text(
        f"import pytest\ndef test_it(): pytest.skip('{reason}')\ndef test_other(): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "."],
        cwd=tmp_path,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert ("not on the list" in done.stdout) == bool(status)
