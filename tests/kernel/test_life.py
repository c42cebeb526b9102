"""Nothing of the machine's own changes, and nothing of a lab outlives its notebook kernel."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit import Lab
from tests.kernel.conftest import Scene, wait_for

pytestmark = pytest.mark.alone


def machine() -> dict[str, str]:
    """The machine's own network and mounts, as its own tools tell."""

    def tell(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    settings = "\n".join(
        f"{path} {path.read_text().strip()}"
        for path in sorted(Path("/proc/sys/net").rglob("*"))
        if path.is_file() and os.access(path, os.R_OK) and path.name in NAMES
    )
    return {
        "links": tell("ip", "-o", "link"),
        "addresses": tell("ip", "-o", "address"),
        "routes": tell("ip", "route", "show", "table", "all"),
        "rules": tell("ip", "rule"),
        "netns": tell("ip", "netns"),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "settings": settings,
        "run": "\n".join(sorted(os.listdir("/run"))),
        "nginx": "\n".join(sorted(os.listdir("/var/log"))),
    }


NAMES = {
    "ip_forward",
    "disable_ipv6",
    "ping_group_range",
    "bridge-nf-call-iptables",
    "bridge-nf-call-ip6tables",
    "bridge-nf-call-arptables",
}


def test_the_machine_is_as_before(launcher: str):
    before = machine()
    with Lab("life", launcher=launcher) as lab:
        scene = Scene(lab)
        scene.nginx1.serve()
        assert scene.nginx2.ping(scene.nginx1)
        assert machine() == before
    assert machine() == before


def processes_of(marker: str) -> list[int]:
    """Processes with that word in their environment: the notebook kernel and all its issue."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and int(entry) != os.getpid():
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if marker.encode() in environment.split(b"\0"):
                found.append(int(entry))
    return found


def issue_of(pid: int) -> list[int]:
    """A process and all that came of it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in issue_of(int(child)))]


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie, which waits for process 1 of the machine."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


NOTEBOOK = """
import itertools, sys
from labkit import Lab
lab = Lab("leak", launcher=sys.argv[1])
print("go", flush=True)
docker0 = lab.bridge("docker0", "172.17.0.1/16")
for i in itertools.count():
    h = lab.host(f"h{i}")
    lab.cable(h, docker0, f"172.17.{1 + i // 200}.{1 + i % 200}/16")
    h.start("setsid sleep 1000")
    if i % 3 == 1:
        h.ping("172.17.0.1")
        lab.hosts[-2].remove()
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_notebook_kernel_leaves_nothing(launcher: str, seed: int):
    """SIGKILL at any moment: within a second every process of it is gone.

    A namespace, a mount in it and an interface in it live only while a process is in it.
    """
    marker = f"LABKIT_TEST_LEAK={os.getpid()}-{launcher}-{seed}"
    name, _, value = marker.partition("=")
    before = machine()
    kernel = subprocess.Popen(
        [sys.executable, "-c", NOTEBOOK, launcher],
        env={**os.environ, name: value, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    assert kernel.stdout is not None
    try:
        assert kernel.stdout.readline() == b"go\n"
        pause = random.Random(seed).uniform(0, 0.6)
        time.sleep(pause)  # the moment is the test's parameter, not a wait for something
        assert set(processes_of(marker)) > {kernel.pid}
        issue = issue_of(kernel.pid)
    finally:
        kernel.send_signal(signal.SIGKILL)
        kernel.wait()
        kernel.stdout.close()
    wait_for(lambda: not processes_of(marker), 1.0)
    wait_for(lambda: not any(map(is_alive, issue)), 1.0)  # of sudo, whose environment is new
    assert machine() == before


def test_closing_ends_everything(lab: Lab):
    scene = Scene(lab)
    scene.nginx1.serve()
    issue = issue_of(lab.agent_pid)
    assert len(issue) > 1
    lab.close()
    wait_for(lambda: not any(map(is_alive, issue)), 1.0)


def test_labs_do_not_meet(launcher: str):
    with Lab("one", launcher=launcher) as one, Lab("two", launcher=launcher) as two:
        first, second = Scene(one), Scene(two)
        assert first.nginx1.ping(first.nginx2)
        second.nginx2.remove()
        assert not second.nginx1.ping("172.17.0.3")
        assert first.nginx1.ping(first.nginx2)
