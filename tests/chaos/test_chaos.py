"""Killed, interrupted, filled up and exhausted at any moment: nothing stays behind, the next works.

LABKIT_CHAOS=100 makes each attack that many times as long as the few rounds of a usual run;
`make chaos` does.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit.launch.launchers import LAUNCHERS
from tests.kernel.conftest import wait_for
from tests.kernel.test_life import processes_of

ROOT = Path(__file__).resolve().parents[2]
LONG = int(os.environ.get("LABKIT_CHAOS", "1"))
SEED = int(os.environ.get("LABKIT_CHAOS_SEED", str(int(time.time()))))
USABLE = [one.name for one in LAUNCHERS if one.name in ("root", "rootless") and one.probe() is None]
UML = next(one for one in LAUNCHERS if one.name == "uml").probe()
CHANGING = ("random/", "ns_last_pid", "pty/nr", "nf_conntrack_count", "dentry-state", "file-nr")
CHANGING += (
    "inode-nr",
    "inode-state",
    "aio-nr",
    "epoll",
    "sched_domain",
    "max_sample_rate",
    "numa",
)
pytestmark = [
    pytest.mark.skipif(not USABLE, reason="no launcher of namespaces works here"),
    pytest.mark.timeout(300 + 60 * LONG),
]


def machine() -> dict[str, str]:
    """All of the machine's own that a lab could touch: as its own tools and /proc tell."""

    def tell(*command: str) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout
        except OSError:
            return ""

    settings = []
    for path in sorted(Path("/proc/sys").rglob("*")):
        if not any(part in str(path) for part in CHANGING) and path.is_file():
            try:
                settings.append(f"{path} {path.read_text()}")
            except OSError:
                continue  # for root's eyes, or of no use here
    return {
        "links": tell("ip", "-d", "-o", "link"),
        "addresses": tell("ip", "-o", "address"),
        "routes": tell("ip", "route", "show", "table", "all"),
        "routes 6": tell("ip", "-6", "route", "show", "table", "all"),
        "rules": tell("ip", "rule"),
        "firewall": tell("iptables-save") + tell("nft", "list", "ruleset"),
        "namespaces": tell("ip", "netns"),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "settings": "".join(settings),
        "name": socket.gethostname(),
        "run": "\n".join(sorted(os.listdir("/run"))),
    }


@pytest.fixture
def marked():
    """Environment by which all that descends from a test is known; checks that nothing stays."""
    name = "LABKIT_TEST_LEAK"
    value = f"chaos-{os.getpid()}-{time.monotonic_ns()}"
    before = machine()
    yield {**os.environ, name: value, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    wait_for(lambda: not processes_of(f"{name}={value}"), 10)
    after = machine()
    changed = {what: set(after[what].split("\n")) ^ set(before[what].split("\n")) for what in after}
    assert {what: lines for what, lines in changed.items() if lines} == {}


def victim(kind: str, launcher: str, seed: int, rounds: int) -> list[str]:
    return [sys.executable, "-m", "tests.chaos.victim", kind, launcher, str(seed), str(rounds)]


def attack(marked: dict[str, str], kind: str, launcher: str, rounds: int) -> None:
    """Lets a victim attack itself in so many rounds: each of them ends well."""
    done = subprocess.run(
        victim(kind, launcher, SEED, rounds),
        env=marked,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=200 + 60 * LONG,
    )
    assert done.returncode == 0, f"seed {SEED}:\n{done.stdout[-500:]}\n{done.stderr[-5000:]}"
    assert json.loads(done.stdout.splitlines()[-1]) == {"round": rounds - 1}


@pytest.mark.parametrize("launcher", USABLE)
@pytest.mark.parametrize(("kind", "rounds"), [("agent", 3), ("process", 3), ("interrupt", 5)])
def test_attacked_at_any_moment(marked, launcher: str, kind: str, rounds: int):
    attack(marked, kind, launcher, rounds * LONG)


@pytest.mark.parametrize("launcher", USABLE)
def test_the_notebook_kernel_killed_at_any_moment(marked, launcher: str):
    """While it starts, builds, pings, watches: in a moment, all that it has started is gone."""
    chance = random.Random(SEED)
    mark = f"LABKIT_TEST_LEAK={marked['LABKIT_TEST_LEAK']}"
    for number in range(2 * LONG):
        kernel = subprocess.Popen(
            victim("kernel", launcher, SEED + number, 10**6),
            env=marked,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if chance.random() < 0.8:
            kernel.stdout.readline()  # its lab is there; else it is killed while it starts
        time.sleep(chance.uniform(0, 0.7))  # the moment is the attack, not a wait for something
        assert kernel.poll() is None, f"seed {SEED}: it ended by itself"
        kernel.send_signal(signal.SIGKILL)
        kernel.wait()
        kernel.stdout.close()
        wait_for(lambda: not processes_of(mark), 5)


@pytest.mark.skipif(UML is not None, reason=f"launcher uml: {UML and UML.reason}")
def test_the_small_linux_killed_at_any_moment(marked):
    """It, its relay or its guard: nothing stays in /tmp or ~/.uml, and the next lab works."""
    attack(marked, "linux", "uml", 2 * LONG)


def run(marked: dict[str, str], script: str, *before: str, **more: str) -> str:
    """Runs a script; what it printed. `before` is a command line that it runs under."""
    done = subprocess.run(
        [*before, sys.executable, "-c", script],
        env={**marked, **more},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-5000:]}"
    return done.stdout


@pytest.mark.parametrize("launcher", USABLE)
def test_file_descriptors_exhausted(marked, launcher: str):
    """Refused in words, all of it undone, and room again when something was removed."""
    script = """
import resource, sys
from labkit import Lab, LabkitError
from tests.chaos.victim import scene, check
resource.setrlimit(resource.RLIMIT_NOFILE, (90, 90))
with Lab("fds", launcher=sys.argv[1] if len(sys.argv) > 1 else None) as lab:
    scene(lab)
    for attempt in range(3):
        made = len(lab.hosts)
        try:
            for i in range(100):
                host = lab.host(f"h{attempt}-{i}")
                lab.cable(host, lab["docker0"])
        except LabkitError as error:
            print(error)
        else:
            raise AssertionError("more hosts than descriptors")
        # Something is left for the check's own commands, which need some, too.
        for host in lab.hosts[-12:]:
            if host.name.startswith("h"):
                host.remove()
        check(lab)
        for host in lab.hosts[2:]:
            host.remove()
with Lab("fds") as lab:
    scene(lab)
    check(lab)
"""
    told = run(marked, script, LABKIT_LAUNCHER=launcher)
    assert "Too many open files" in told
    assert "→" in told


def test_network_namespaces_exhausted(marked):
    """In a user namespace of the test's own, whose limit is 12."""
    script = """
from labkit import Lab, LabkitError
from tests.chaos.victim import scene, check
with Lab("many") as lab:
    scene(lab)
    before = lab.hosts
    try:
        with lab.batch():
            for i in range(30):
                lab.host(f"h{i}")
    except LabkitError as error:
        print(error)
    else:
        raise AssertionError("more namespaces than the limit")
    assert lab.hosts == before
    check(lab)
    lab.host("one-more")
    try:
        for i in range(30):
            Lab(f"lab{i}")
    except LabkitError as error:
        print(error)
    check(lab)
"""
    limit = 'echo 12 > /proc/sys/user/max_net_namespaces; exec "$@"'
    told = run(
        marked, script, "unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh",
        LABKIT_LAUNCHER="root",
    )  # fmt: skip
    assert "No space left on device" in told
    assert "user.max_net_namespaces" in told


@pytest.mark.parametrize("launcher", USABLE)
def test_memory_exhausted(marked, launcher: str):
    """The agent may end, in words; the notebook kernel goes on, and its next lab works."""
    script = """
import resource
from labkit import Lab, LabkitError
from tests.chaos.victim import scene, check
from labkit.launch import connection
lab = Lab("memory")
scene(lab)
pids = open(f"/proc/{lab.agent_pid}/task/{lab.agent_pid}/children").read().split()
have = int(open(f"/proc/{pids[0]}/statm").read().split()[0]) * 4096
resource.prlimit(int(pids[0]), resource.RLIMIT_AS, (have + (6 << 20), have + (6 << 20)))
try:
    for i in range(40):
        lab["nginx-1"].start("yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | head -c 3000000")
        with lab.batch():
            for j in range(20):
                lab.host(f"h{i}-{j}")
except LabkitError as error:
    print(error)
else:
    raise AssertionError("the limit was not reached")
with Lab("memory") as lab:
    scene(lab)
    check(lab)
"""
    told = run(marked, script, LABKIT_LAUNCHER=launcher)
    assert "emory" in told, told


def test_a_full_disk_while_saving_leaves_the_old_recording(marked, tmp_path):
    """On a file system of 64 KiB of the test's own."""
    script = f"""
import os
from labkit import Lab, LabkitError, Recording
from tests.chaos.victim import scene, check
os.chdir({str(tmp_path)!r})
with Lab("disk") as lab:
    scene(lab)
    lab.recording.save("kept.labkit")
    good = open("kept.labkit", "rb").read()
    for i in range(40):
        lab["nginx-1"].run("head -c 100000 /dev/urandom > /dev/udp/172.17.0.3/9; "
                           "head -c 1400 /dev/urandom | curl -s -m 1 --data-binary @- 172.17.0.3")
        lab["nginx-1"].run(["bash", "-c", "for i in $(seq 20); do head -c 1400 /dev/urandom > /dev/udp/172.17.0.3/9; done"])
        lab["nginx-1"].ping(lab["nginx-2"])
        try:
            lab.recording.save("kept.labkit")
        except LabkitError as error:
            print(error)
            break
        good = open("kept.labkit", "rb").read()
    else:
        raise AssertionError("the disk did not fill up")
    assert open("kept.labkit", "rb").read() == good
    assert sorted(os.listdir()) == ["kept.labkit"]
    assert len(Recording.load("kept.labkit")) > 0
    check(lab)
"""
    mount = f'mount -t tmpfs -o size=64k none {tmp_path} && exec "$@"'
    told = run(
        marked, script, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh",
        LABKIT_LAUNCHER="root",
    )  # fmt: skip
    assert "No space left on device" in told


@pytest.mark.parametrize("launcher", USABLE)
def test_loops_and_floods(marked, launcher: str):
    """A loop of bridges, a flood of output, a bomb of processes: the lab answers, and ends clean."""
    script = """
import time
from labkit import Lab, LabkitError
from tests.chaos.victim import scene, check
lab = Lab("flood")
scene(lab)
one, two = lab.bridge("sw1"), lab.bridge("sw2")
h = lab.host("h")
lab.cable(h, one, "10.9.0.1/24")
lab.cable(one, two)
loop = lab.cable(one, two)
h.start("ping -b -i 0.01 10.9.0.255")
jobs = [lab["nginx-1"].start(c) for c in ("yes", "for i in $(seq 300); do sleep 100 & done; wait", "ping -f 172.17.0.3")]
until = time.monotonic() + 2
slowest = 0
while time.monotonic() < until:
    began = time.monotonic()
    assert lab["nginx-2"].run("true")
    slowest = max(slowest, time.monotonic() - began)
print(f"{slowest:.2f} s was the slowest answer")
assert slowest < 15
for job in jobs:
    job.stop()
loop.remove()
check(lab)
lab.close()
with Lab("flood") as lab:
    scene(lab)
    check(lab)
"""
    print(run(marked, script, LABKIT_LAUNCHER=launcher))
