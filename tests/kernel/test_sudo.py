"""The launcher sudo, as a user without rights whom sudo asks for no password."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.launch.launchers import LAUNCHERS
from tests.kernel.conftest import wait_for
from tests.kernel.test_life import is_alive, issue_of

SUDO = next(launcher for launcher in LAUNCHERS if launcher.name == "sudo")
ALLOWED = """
mount -t tmpfs -o mode=755 none /etc/sudoers.d &&
echo 'nobody ALL=(root) NOPASSWD: ALL' > /etc/sudoers.d/nobody &&
chmod 440 /etc/sudoers.d/nobody &&
exec setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
"""
"""In a mount namespace of its own: the machine's sudo allows nobody nothing."""
LAB = """
import os, sys, time
from labkit import Lab
lab = Lab("first", launcher="sudo")
h = lab.host("h")
h.start("setsid sleep 1000")
print(os.geteuid(), lab.launcher, h.run("id -u").stdout.strip(), flush=True)
if "fork" in sys.argv and os.fork() == 0:
    os.close(1)
    time.sleep(5)  # a child that holds the pipe to the agent open
    os._exit(0)
sys.stdin.readline()
lab.close()
print("closed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def notebook():
    """Starts a user's notebook kernel with a lab in it."""
    if os.geteuid() != 0 or shutil.which("sudo") is None:
        pytest.skip("making a user whom sudo trusts needs root, and sudo")
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        kernel = subprocess.Popen(
            [
                "unshare",
                "--mount",
                "sh",
                "-c",
                ALLOWED,
                "sh",
                sys.executable,
                "-c",
                LAB,
                *arguments,
            ],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
                "HOME": "/",
            },
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(kernel)
        assert kernel.stdout is not None
        words = kernel.stdout.readline()
        if not words and "Permission denied" in (kernel.communicate()[1] or ""):
            pytest.skip("this Python is of no use to a user without rights")
        assert words == "65534 sudo 0\n", kernel.communicate()
        return kernel

    yield start
    for kernel in started:
        kernel.kill()
        kernel.communicate()


def test_it_ends_with_the_lab(notebook):
    kernel = notebook()
    issue = issue_of(kernel.pid)[1:]
    assert len(issue) >= 3
    kernel.stdin.write("\n")
    kernel.stdin.flush()
    assert kernel.stdout.readline() == "closed\n"
    wait_for(lambda: not any(map(is_alive, issue)), 1.0)


@pytest.mark.parametrize("arguments", [(), ("fork",)])
def test_it_ends_with_the_notebook_kernel(notebook, arguments):
    """Even where a forked child of the kernel's holds the pipe to the agent open."""
    kernel = notebook(*arguments)
    issue = issue_of(kernel.pid)[1:]
    issue = [
        pid for pid in issue if b"elevated" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ] or issue
    kernel.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, issue)), 1.0)


def test_it_ends_with_sudo(notebook):
    kernel = notebook()
    issue = issue_of(kernel.pid)[1:]
    os.kill(issue[0], signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, issue)), 1.0)
