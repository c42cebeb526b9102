"""Who can reach what: another user, a lab's commands, and the machine. See docs/security.md.

The users are ids that nobody has; only root can take them, so these tests need root.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from labkit import Lab
from labkit.launch.launchers import LAUNCHERS
from labkit.launch.unshare import KEPT
from tests.kernel.conftest import Scene, wait_for

STUDENT, OTHER = 61001, 61002
PACKAGE = Path(__file__).resolve().parents[2] / "labkit"
NEEDED = ("msgspec", "pyroute2")
ROOTLESS = next(one for one in LAUNCHERS if one.name == "rootless")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two other users")


def run_as(uid: int, code: str, *arguments: str, shelf: Path) -> subprocess.Popen[str]:
    """Python, run by that user, with nothing of ours but what lies on the shelf."""
    return subprocess.Popen(
        [os.path.realpath(sys.executable), "-c", code, *arguments],
        user=uid,
        group=uid,
        extra_groups=[],
        umask=0o022,
        cwd=shelf / str(uid),
        env={"PATH": os.environ["PATH"], "HOME": str(shelf / str(uid)), "PYTHONPATH": str(shelf)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def shelf():
    """A folder that everybody can read, with labkit in it, and homes that are private."""
    folder = Path(tempfile.mkdtemp(prefix="labkit-security-"))
    folder.chmod(0o755)
    shutil.copytree(PACKAGE, folder / "labkit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED:
        source = Path(importlib.util.find_spec(name).origin).parent
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for uid in (STUDENT, OTHER):
        (folder / str(uid)).mkdir(mode=0o700)
        os.chown(folder / str(uid), uid, uid)
    probe = run_as(OTHER, "import labkit, msgspec", shelf=folder)
    probe.communicate()
    if probe.returncode:
        shutil.rmtree(folder)
        pytest.skip("another user cannot run this Python")
    yield folder
    shutil.rmtree(folder)


VICTIM = """
import sys
from labkit import Lab
lab = Lab("mine", launcher=sys.argv[1])
docker0 = lab.bridge("docker0", "172.17.0.1/16")
h1, h2 = lab.host("h1"), lab.host("h2")
lab.cable(h1, docker0, "172.17.0.2/16")
lab.cable(h2, docker0, "172.17.0.3/16")
job = h1.start("SECRET=1 sleep 1000")
h2.serve()
lab.recording.save("mine.labkit")
print(lab.agent_pid, flush=True)
for line in sys.stdin:
    print(bool(h1.ping(h2)), job.is_running, flush=True)
"""

INTRUDER = """
import ctypes, errno, json, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
done = {}
def attempt(name, call):
    try:
        value = call()
    except OSError as error:
        done[name] = errno.errorcode.get(error.errno, "ETIMEDOUT")
    else:
        done[name] = "done"
def system(*call):
    if libc.syscall(*(ctypes.c_long(n) if isinstance(n, int) else n for n in call)) == -1:
        raise OSError(ctypes.get_errno(), "no")
for pid in map(int, sys.argv[2:]):
    at = f"/proc/{pid}"
    for name in ("environ", "maps", "mem", "auxv", "stack", "syscall", "pagemap", "io"):
        attempt(f"{pid} {name}", lambda: open(f"{at}/{name}", "rb").read(1))
    for name in ("fd", "map_files", "fdinfo"):
        attempt(f"{pid} {name}", lambda: os.listdir(f"{at}/{name}"))
    for name in ("root/run/labkit", "cwd/."):
        attempt(f"{pid} {name}", lambda: os.listdir(f"{at}/{name}"))
    for name in ("net", "mnt", "pid", "user"):
        attempt(f"{pid} ns/{name}", lambda: os.open(f"{at}/ns/{name}", os.O_RDONLY))
    attempt(f"{pid} ptrace", lambda: system(101, 16, pid, 0, 0))
    fd = os.pidfd_open(pid)
    attempt(f"{pid} setns", lambda: system(308, fd, 0x40000000))
    attempt(f"{pid} pidfd_getfd", lambda: system(438, fd, 0, 0))
    buffer = ctypes.create_string_buffer(8)
    class Part(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))
    own, theirs = Part(ctypes.addressof(buffer), 8), Part(0x10000, 8)
    attempt(f"{pid} read memory", lambda: system(
        310, pid, ctypes.byref(own), 1, ctypes.byref(theirs), 1, 0))
    attempt(f"{pid} priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attempt(f"{pid} stop", lambda: os.kill(pid, signal.SIGSTOP))
    attempt(f"{pid} kill", lambda: os.kill(pid, signal.SIGKILL))
attempt("home", lambda: os.listdir(sys.argv[1]))
attempt("recording", lambda: open(sys.argv[1] + "/mine.labkit", "rb").read())
def connect():
    s = socket.socket()
    s.settimeout(2)
    s.connect(("172.17.0.3", 80))  # somebody else may have that address: it is the page that counts
    s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    if b"Hello from h2" not in s.recv(4096):
        raise OSError(errno.EACCES, "not the host's page")
attempt("a host's page", connect)
attempt("the lab's /run", lambda: os.listdir("/run/labkit"))
print(json.dumps(done))
"""


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for thread in os.listdir(f"/proc/{parent}/task"):
            children = Path(f"/proc/{parent}/task/{thread}/children").read_text()
            found += map(int, children.split())
    return found


@needs_root
@pytest.mark.parametrize("launcher", ["rootless", "root"])
def test_another_user_can_neither_enter_nor_read_nor_end_a_lab(shelf: Path, launcher: str):
    """Whether a fellow student's own, or one that root started."""
    if launcher == "rootless":
        victim = run_as(STUDENT, VICTIM, launcher, shelf=shelf)
        home = shelf / str(STUDENT)
    else:
        home = shelf / "root"
        home.mkdir(mode=0o700, exist_ok=True)
        victim = subprocess.Popen(
            [sys.executable, "-c", VICTIM, launcher],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        pid = victim.stdout.readline().strip()
        if not pid and launcher == "rootless":
            pytest.skip("a user without rights cannot start a lab here")
        pids = family(victim.pid)
        assert len(pids) >= 5  # notebook kernel, unshare, agent, sleep, nginx
        intruder = run_as(OTHER, INTRUDER, str(home), *map(str, pids), shelf=shelf)
        told, _ = intruder.communicate(timeout=60)
        done = json.loads(told)
        assert len(done) > 20 * len(pids)
        assert done.pop("a host's page") != "done"
        assert done.pop("the lab's /run") == "ENOENT"
        assert {what: how for what, how in done.items() if how not in ("EPERM", "EACCES")} == {}
        victim.stdin.write("\n")
        victim.stdin.flush()
        assert victim.stdout.readline() == "True True\n"
    finally:
        victim.stdin.close()
        victim.wait(20)
        victim.stdout.close()


@needs_root
def test_the_attempts_are_real(shelf: Path):
    """The same, of a user against a process of their own, mostly goes well."""
    own = run_as(OTHER, "input()", shelf=shelf)
    intruder = run_as(OTHER, INTRUDER, str(shelf / str(OTHER)), str(own.pid), shelf=shelf)
    told, _ = intruder.communicate(timeout=60)
    done = {what.partition(" ")[2] for what, how in json.loads(told).items() if how == "done"}
    own.communicate()
    assert {"environ", "maps", "fd", "ns/net", "ptrace", "pidfd_getfd", "stop", "kill"} <= done


def open_doors(pid: int) -> set[str]:
    """The sockets of a process at which somebody could knock (`proc(5)`)."""
    doors = set()
    for name, column, value in (("tcp", 3, "0A"), ("tcp6", 3, "0A"), ("unix", 3, "00010000")):
        for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            cells = row.split()
            if cells[column] == value:
                doors.add(cells[6] if name == "unix" else cells[9])
    for name in ("udp", "udp6"):
        for row in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            doors.add(row.split()[9])
    held = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    return {door for door in doors if f"socket:[{door}]" in held}


def test_a_lab_listens_nowhere(launcher: str):
    with Lab("quiet", launcher=launcher) as lab:
        pids = family(lab.agent_pid)
        assert len(pids) == 2  # unshare, and the agent
        assert [open_doors(pid) for pid in pids] == [set(), set()]
        Scene(lab).nginx1.serve()
        assert [open_doors(pid) for pid in pids] == [set(), set()]
        assert any(open_doors(pid) for pid in family(lab.agent_pid)), "nginx listens, in its host"
        assert lab.machine.run("ss -Hltuxwn").stdout == ""


@needs_root
def test_roots_agent_and_commands_hold_what_they_need_and_no_more():
    with Lab("bounded", launcher="root") as lab:
        h = lab.host("h")
        for where, command in ((lab.machine, "cat /proc/1/status"), (h, "cat /proc/self/status")):
            status = dict(
                line.split(":\t", 1)
                for line in where.run(command).stdout.splitlines()
                if ":\t" in line
            )
            assert status["CapEff"] == status["CapBnd"] == status["CapPrm"]
            held = int(status["CapEff"], 16)
            assert held.bit_count() == len(KEPT.split(","))
            for forbidden in (2, 16, 17, 22, 25, 27, 34):  # linux/capability.h
                assert not held >> forbidden & 1


SLIPS = {
    "the clock": "date -s 12:00",
    "a sysctl": "sysctl -w kernel.panic=7",
    "memory's sysctls": "sysctl -w vm.swappiness=7",
    "the magic key": "echo h > /proc/sysrq-trigger",
    "a device": "mknod /tmp/labkit-device b 8 0",
    "the kernel's log": "dmesg -C",
    "a module": 'python3 -c \'import ctypes as c; exit(c.CDLL(None).syscall(175, b"x", 1, b"") != 0)\'',
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_does_not_reach_the_machine(launcher: str, slip: str):
    with Lab("slip", launcher=launcher) as lab:
        assert not lab.host("h").run(SLIPS[slip])
    assert not Path("/tmp/labkit-device").exists()


def test_a_shell_in_a_host_reaches_no_more_than_its_commands(launcher: str):
    """`labkit shell`, which joins a running lab from outside."""
    name = socket.gethostname()
    with Lab("shelled", launcher=launcher) as lab:
        lab.host("h")
        done = subprocess.run(
            [sys.executable, "-m", "labkit", "shell", f"{os.getpid()}/h"],
            input="hostname of-the-lab; hostname; grep CapEff /proc/self/status; date -s 12:00\n",
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        own = lab.host("other").run("grep CapEff /proc/self/status").stdout
    assert done.stdout.startswith(f"of-the-lab\n{own}"), done
    assert "cannot set date" in done.stderr
    assert socket.gethostname() == name


def test_a_labs_name_is_its_own(lab: Lab):
    before = socket.gethostname()
    assert (
        lab.host("h").run("hostname a-name-of-the-lab && hostname").stdout == "a-name-of-the-lab\n"
    )
    assert socket.gethostname() == before


def test_what_a_command_cannot_reach(lab: Lab):
    """The machine's processes, its loopback, its abstract sockets, its /run."""
    h = lab.host("h")
    pids = h.run("ls /proc | grep -c '^[0-9]'").stdout
    assert int(pids) < 10
    assert not h.run(
        f"kill -0 {os.getpid()} 2>/dev/null && grep -q pytest /proc/{os.getpid()}/cmdline"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind("\0labkit-test")
        abstract.listen()
        for place in (h, lab.machine):
            port = server.getsockname()[1]
            assert place.run(f"curl -s -m 2 http://127.0.0.1:{port}").exit_code == 7
            code = "import socket; socket.socket(socket.AF_UNIX).connect('\\0labkit-test')"
            assert "ConnectionRefusedError" in place.run(["python3", "-c", code]).stderr
    assert sorted(h.run("ls /run").stdout.split()) == ["labkit", "netns"]
    assert h.run("cat /proc/1/comm").exit_code == 0


def test_mounts_stay_in_the_lab(lab: Lab, tmp_path: Path):
    assert lab.host("h").run(f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/inside")
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_nobody_elses_processes_end_with_a_lab(lab: Lab):
    """`kill -9 -1`, typed in a host, ends that lab's commands, and nothing besides."""
    bystander = subprocess.Popen(["sleep", "100"])
    h = lab.host("h")
    job = h.start("sleep 1000")
    h.run("kill -9 -1")
    wait_for(lambda: not job.is_running)
    assert bystander.poll() is None
    assert h.run("true"), "the agent, process 1, is not killed from inside"
    bystander.kill()
    bystander.wait()
