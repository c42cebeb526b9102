"""The small Linux: what it can and cannot touch, its serial line, its memory, and its death."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from labkit import Lab
from labkit.errors import ClosedError
from labkit.launch.launchers import LAUNCHERS
from labkit.launch.uml import MEMORY
from labkit.model import events as ev
from labkit.model import wire
from tests.kernel.conftest import wait_for
from tests.kernel.test_life import is_alive, issue_of

UML = next(launcher for launcher in LAUNCHERS if launcher.name == "uml")


@pytest.fixture(scope="module")
def uml():
    """The launcher, where it works."""
    problem = UML.probe()
    if problem:
        pytest.skip(f"launcher uml: {problem.reason}")
    return UML.name


@pytest.fixture
def lab(uml: str):
    with Lab("small", launcher=uml) as lab:
        yield lab


def test_files_of_the_machine_cannot_be_changed(lab: Lab, tmp_path: Path):
    mine = Path(__file__).with_name("conftest.py")  # not below /tmp, which is another inside
    before = mine.stat()
    for command in (
        f"echo spoilt >> {mine}",
        f"touch {mine.parent}/new",
        f"rm {mine}",
        f"chmod 0 {mine}",
        f"mv {mine.parent} {mine.parent}2",
        "touch /etc/new ~/new",
    ):
        result = lab.machine.run(command)
        assert result.exit_code != 0
        assert "Read-only file system" in result.stderr
    assert mine.stat() == before
    assert not (mine.parent / "new").exists()
    assert lab.machine.run(f"cmp {mine} {mine}")  # it can be read


def test_its_own_tmp_and_run(lab: Lab):
    name = f"labkit-test-{os.getpid()}"
    for folder in ("/tmp", "/run", "/var/tmp", "/dev/shm"):
        path = Path(folder) / name
        assert lab.machine.run(f"echo mine > {path} && cat {path}").stdout == "mine\n"
        assert not path.exists()


def open_for_writing(pid: int) -> list[str]:
    """The files that a process has open for writing, as /proc names them."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile
            about = Path(f"/proc/{pid}/fdinfo/{fd}").read_text()
            if int(about.split("flags:")[1].split()[0], 8) & 3:
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def test_nothing_is_left(uml: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with Lab("small", launcher=uml) as lab:
        issue = issue_of(lab.agent_pid)
        written = open_for_writing(processes(lab)["linux"])
        named = [path for path in written if path.startswith("/") and "(deleted)" not in path]
        assert len(written) > len(named) > 0, "its memory is a file without a name"
        assert set(named) <= {"/dev/null", "/dev/ptmx"}
        assert not list(tmp_path.iterdir())  # not even while it is there
    wait_for(lambda: not any(map(is_alive, issue)), 1.0)
    assert not list(tmp_path.iterdir())


def test_much_goes_both_ways_whole_and_at_once(lab: Lab):
    """A megabyte in, a megabyte out, of every character that JSON can hold."""
    rng = random.Random(7)
    text = "".join(
        chr(rng.choice((rng.randrange(1, 32), rng.randrange(32, 0x2FF)))) for _ in range(400_000)
    )
    job = lab._spawn(lab.machine, ("cat", "/run/labkit/text"), files={"text": text}, timeout=60)
    assert hashlib.sha256(job.stdout.encode()).digest() == hashlib.sha256(text.encode()).digest()


def test_input_and_output_do_not_wait_for_each_other(lab: Lab):
    """Requests that are large, while answers that are large come."""
    chatty = lab.machine.start("while :; do head -c 20000 /dev/zero | tr '\\0' x; sleep 0.01; done")
    for _ in range(10):
        padded = ("true", "x" * 50_000)
        assert lab._spawn(lab.machine, padded, timeout=60).exit_code == 0
        assert len(chatty.output) >= 0
    chatty.stop()


def test_memory_is_bounded_and_a_glutton_is_ended(lab: Lab):
    total = int(lab.machine.run("free -m").stdout.split("Mem:")[1].split()[0])
    assert total <= MEMORY
    glutton = "x = []\nwhile True: x.append(bytes(1 << 20) + b'x')"
    result = lab.machine.run(["python3", "-c", glutton], timeout=100)
    assert result.exit_code != 0
    assert lab.host("h").run("true"), "the lab goes on"


def processes(lab: Lab) -> dict[str, int]:
    """The guard, the relay and the Linux."""
    guard = lab.agent_pid
    found = {"guard": guard}
    for child in Path(f"/proc/{guard}/task/{guard}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes()
        found["linux" if b"\0mem=" in words else "relay"] = int(child)
    return found


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("guard", "killed by signal 9"),
        ("relay", "relay was killed by signal 9"),
        ("linux", r"small Linux \(User Mode Linux\) was killed by signal 9"),
        ("guard relay", "killed by signal 9"),
    ],
)
def test_whoever_is_killed_all_ends(lab: Lab, who: str, words: str):
    issue = issue_of(lab.agent_pid)
    roles = processes(lab)
    for role in who.split():
        os.kill(roles[role], signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, issue)), 3.0)
    wait_for(lambda: lab.recording.state().closed)
    with pytest.raises(ClosedError, match=words):
        lab.host("h")


def test_a_panic_is_told(lab: Lab):
    issue = issue_of(lab.agent_pid)
    with pytest.raises(ClosedError, match="Kernel panic - not syncing: sysrq triggered crash"):
        lab.machine.run("umount /proc/sysrq-trigger; echo c > /proc/sysrq-trigger")
    wait_for(lambda: not any(map(is_alive, issue)), 3.0)


def test_modules_load_by_themselves(lab: Lab):
    """What no lab starts with: 802.1Q, VXLAN, netem; and by a learner's own command."""
    h = lab.host("h")
    for command in (
        "ip link add v0 type veth peer name v1",
        "ip link add link v0 name v0.5 type vlan id 5",
        "ip link add name x0 type vxlan id 5 dstport 4789 dev v0",
        "tc qdisc add dev v0 root netem delay 1ms",
        "modprobe dummy",
    ):
        assert h.run(command), command
    if shutil.which("iptables", path="/usr/sbin:/sbin"):  # the lab does without
        assert h.run("iptables -w -t nat -A POSTROUTING -j MASQUERADE")
        assert "MASQUERADE" in h.run("iptables -w -t nat -S").stdout


@pytest.mark.alone  # it is as wrong as a question takes on a busy machine
def test_its_clock_is_the_machines(lab: Lab):
    """Journeys are cut by the machine's time: nothing happens before it was asked for."""
    slack = 3_000_000  # nanoseconds; without being set it is 7 ms behind
    for _ in range(10):
        before, asked = len(lab.recording), time.time_ns()
        lab._request(wire.Lookup, netns="machine", destination="127.0.0.1")
        [told] = [e for _, e in lab.recording.since(before)[1] if isinstance(e, ev.RouteLookup)]
        assert asked - slack < told.at < time.time_ns() + slack


def test_a_terminal_cannot_enter_and_says_so(lab: Lab):
    lab.host("nginx-1")
    inside = lab["nginx-1"].run('echo "$LABKIT_LAB"')
    assert inside.stdout == "small\n"
    done = subprocess.run(
        [sys.executable, "-m", "labkit", "shell", f"{os.getpid()}/nginx-1"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "runs in a kernel of its own (User Mode Linux)" in done.stderr
    assert "→ Use the notebook: %%on nginx-1" in done.stderr


def test_a_long_line_is_carried(lab: Lab):
    """Six megabytes in one message: JSON writes each of these characters as six."""
    assert lab.machine.run("head -c 950000 /dev/zero | tr '\\0' '\\1'").stdout == "\1" * 950_000


FIRST_LAB = """
from labkit import Lab
with Lab("first") as lab:
    docker0 = lab.bridge("docker0", "172.17.0.1/16")
    h1, h2 = lab.host("h1"), lab.host("h2")
    lab.cable(h1, docker0, "172.17.0.2/16")
    lab.cable(h2, docker0, "172.17.0.3/16")
    print(lab.launcher, bool(h1.ping(h2)))
"""
POOR = """
echo 0 > /proc/sys/user/max_user_namespaces &&
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
"""In a user namespace of its own: no further one, and no capability."""


def test_without_any_right_it_is_chosen_by_itself(uml: str):
    """For a user without capabilities who can gain none and may make no user namespace."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    user = nobody if os.geteuid() == 0 else []
    poor = [*user, "unshare", "--user", "--map-root-user", "sh", "-c", POOR, "sh"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        "HOME": "/",
    }

    def run(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*poor, sys.executable, "-c", code],
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    if run("import msgspec, labkit.lab").returncode:
        pytest.skip("this Python is of no use to a user without rights")
    done = run(FIRST_LAB)
    assert done.stdout.strip() == "uml True", done.stderr


def test_a_project_below_tmp_in_a_folder_with_a_space(uml: str, tmp_path: Path):
    """It stays visible, though the folder above it is the small Linux's own, and read-only."""
    project = tmp_path / "my project"
    shutil.copytree(Path(__file__).resolve().parents[2] / "labkit", project / "labkit")
    code = """
import labkit
lab = labkit.Lab("there", launcher="uml")
print(labkit.__file__, lab.machine.run("pwd; touch new"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(project)},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith(f"{project}/labkit/__init__.py {project}\n"), done.stderr
    assert "Read-only file system" in done.stdout
