"""Bad input and faults: a LabkitError that says what next, and the lab as it was."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import Lab, LabkitError
from labkit.errors import ClosedError, CommandError, KernelError
from tests.kernel.conftest import BY_NAME, Scene, ask, wait_for


def whole(lab: Lab) -> str:
    """Everything that the kernel holds in the lab, as told by `ip`, in one command."""
    result = lab.machine.run(WHOLE)
    assert result.exit_code == 0, result
    return result.stdout


WHOLE = """
ip -j link && ip -j route
for name in $(ip netns | cut -d' ' -f1 | sort); do
    echo "$name" && ip -n "$name" -j link && ip -n "$name" -j route || exit
done
"""


def settled(lab: Lab) -> str:
    """The same, once the kernel has worked out which links are up: that comes a moment later."""

    def is_settled() -> bool:
        text = whole(lab)
        return '"operstate":"DOWN"' not in text and '"operstate":"LOWERLAYERDOWN"' not in text

    wait_for(is_settled)
    return whole(lab)


BAD = {
    "host name twice": lambda s: s.lab.host("nginx-1"),
    "bridge named as a host": lambda s: s.lab.bridge("nginx-1"),
    "machine": lambda s: s.lab.host("machine"),
    "empty name": lambda s: s.lab.host(""),
    "odd name": lambda s: s.lab.host("../../etc"),
    "name with a quote": lambda s: s.lab.host("a'b$(reboot)"),
    "no name": lambda s: s.lab.host(None),
    "unknown network": lambda s: s.lab.host("x", network="hots"),
    "malformed address": lambda s: s.lab.cable(s.lab["spare"], s.docker0, "172.17.0.999/16"),
    "no prefix": lambda s: s.lab.cable(s.lab["spare"], s.docker0, "172.17.0.9"),
    "used address": lambda s: s.lab.cable(s.lab["spare"], s.docker0, "172.17.0.3/16"),
    "network address": lambda s: s.lab.cable(s.lab["spare"], s.docker0, "172.17.0.0/16"),
    "broadcast": lambda s: s.lab.cable(s.lab["spare"], s.docker0, "172.17.255.255/16"),
    "same address twice": lambda s: s.lab.cable(
        s.lab["spare"], s.nginx1, "10.1.0.1/24", "10.1.0.1/24"
    ),
    "address at a bridge": lambda s: s.lab.cable(s.docker0, s.lab["spare"], "172.17.0.9/16"),
    "both ends": lambda s: s.lab.cable(s.nginx1, s.nginx1),
    "a string for a host": lambda s: s.lab.cable("nginx-1", s.docker0),
    "bad mac": lambda s: s.lab.cable(s.lab["spare"], s.docker0, mac="01:00:00:00:00:01"),
    "gateway out of reach": lambda s: s.nginx1.add_route("10.0.0.0/8", via="192.0.2.9"),
    "route twice": lambda s: s.nginx1.add_route("default", via="172.17.0.1"),
    "malformed route": lambda s: s.nginx1.add_route("everywhere", via="172.17.0.1"),
    "malformed gateway": lambda s: s.nginx1.add_route("default", via="gateway"),
    "no way": lambda s: s.nginx1.add_route("10.0.0.0/8"),
    "no interface": lambda s: s.nginx1.add_route("10.0.0.0/8", interface="eth7"),
    "no such route": lambda s: s.nginx1.remove_route("10.0.0.0/8", via="172.17.0.1"),
    "negative ageing": lambda s: s.lab.bridge("b", ageing=-1),
    "ageing in words": lambda s: s.lab.bridge("b", ageing="long"),
    "nobody": lambda s: s.lab["nobody"],
    "ping nobody": lambda s: s.nginx1.ping("nobody"),
    "ping nothing": lambda s: s.nginx1.ping(s.lab["spare"]),
    "ping never": lambda s: s.nginx1.ping(s.nginx2, count=0),
    "no command": lambda s: s.nginx1.run(""),
    "command not found": lambda s: s.nginx1.run("no-such-program"),
    "program not found": lambda s: s.nginx1.run(["no-such-program"]),
    "watch a string": lambda s: s.lab.watch("nginx-1"),
}


@pytest.fixture(scope="module")
def steady(launcher: str) -> Iterator[tuple[Scene, str]]:
    """One scene for all that changes nothing in it, and what the kernel holds in it."""
    with Lab("steady", launcher=launcher) as lab:
        scene = Scene(lab)
        lab.host("spare")
        yield scene, settled(lab)


@pytest.mark.parametrize("what", BAD)
def test_bad_input_says_what_next_and_changes_nothing(steady: tuple[Scene, str], what: str):
    scene, before = steady
    with pytest.raises(LabkitError) as caught:
        BAD[what](scene)
    assert "→" in str(caught.value), "an error says what to do next"
    assert whole(scene.lab) == before
    assert scene.nginx1.ping(scene.nginx2)


def test_a_long_name_works_shortened_with_the_whole_as_altname(lab: Lab):
    long = "a-bridge-with-a-name-that-is-long"
    bridge = lab.bridge(long)
    assert len(bridge.interface) <= 15
    assert ask(lab.machine, f"ip -j link show {long}")[0]["ifname"] == bridge.interface
    host = lab.host("a-host-with-a-name-that-is-long")
    lab.cable(host, bridge, "10.0.0.1/24")
    assert host.run("hostname -I").stdout.strip() in ("10.0.0.1", "")
    assert len(bridge.ports) == 1


def test_a_refusal_in_the_middle_of_a_batch_undoes_the_rest(scene: Scene):
    before = whole(scene.lab)
    with pytest.raises(KernelError) as caught, scene.lab.batch():
        h = scene.lab.host("h")
        scene.lab.cable(h, scene.docker0, "172.17.0.9/16")
        h.add_route("10.0.0.0/8", via="192.0.2.1")
    assert caught.value.code == 101  # ENETUNREACH
    wait_for(lambda: whole(scene.lab) == before)
    h = scene.lab.host("h")  # the name is free again
    scene.lab.cable(h, scene.docker0, "172.17.0.9/16")
    assert h.ping(scene.nginx1)


def test_what_was_removed_or_closed_says_so(scene: Scene):
    scene.nginx2.remove()
    for use in (
        lambda: scene.nginx2.run("true"),
        lambda: scene.nginx2.interfaces,
        scene.nginx2.remove,
        scene.cable2.plug,
        lambda: scene.lab.cable(scene.nginx2, scene.docker0),
    ):
        with pytest.raises(ClosedError, match="removed"):
            use()
    wait_for(lambda: len(scene.docker0.ports) == 1)
    scene.lab.close()
    scene.lab.close()
    for use in (
        lambda: scene.nginx1.run("true"),
        lambda: scene.docker0.fdb,
        lambda: scene.lab.host("new"),
    ):
        with pytest.raises(ClosedError, match="Make a new one"):
            use()


def test_things_of_a_replaced_lab_are_refused(launcher: str):
    first = Lab("same", launcher=launcher)
    old = first.host("old")
    with Lab("same", launcher=launcher) as second:
        with pytest.raises(ClosedError):
            old.run("true")
        bridge = second.bridge("b")
        with pytest.raises(LabkitError, match="another lab"):
            second.cable(old, bridge)


def test_a_command_that_never_ends_is_killed_with_its_children(lab: Lab):
    h = lab.host("h")
    with pytest.raises(CommandError, match="had not ended"):
        h.run("setsid sleep 1000 & sleep 1000", timeout=0.3)
    wait_for(lambda: "sleep" not in lab.machine.run("ps -eo comm").stdout)


def test_a_command_that_prints_without_end_is_bounded(lab: Lab):
    got = lab.host("h").run("yes | head -c 100000000; echo end")
    assert len(got.stdout) < 1_100_000
    assert got.stdout.startswith("[labkit: the first ")
    assert got.stdout.endswith("end\n")


def test_a_failing_command_is_no_error(lab: Lab):
    got = lab.host("h").run("echo out; echo err >&2; exit 3")
    assert (got.exit_code, got.stdout, got.stderr) == (3, "out\n", "err\n")
    assert not got


def test_a_port_that_is_taken_says_so_in_nginx_words(scene: Scene):
    scene.nginx1.serve(port=80)
    with pytest.raises(CommandError, match="Address already in use"):
        scene.nginx1.serve(port=80)


def test_jobs_run_on_and_stop(lab: Lab):
    h = lab.host("h")
    job = h.start("echo started; sleep 1000")
    wait_for(lambda: job.output == "started\n")
    assert job.is_running
    job.stop()
    assert not job.is_running
    assert job.exit_code == -signal.SIGTERM


TIMERS: list[threading.Timer] = []
"""Kept: an interrupt that meets Python while it lets go of an ended thread is lost."""


def interrupt_in(seconds: float) -> None:
    """What Jupyter's stop button sends."""
    TIMERS.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)))
    TIMERS[-1].start()


def test_interrupting_a_ping(scene: Scene):
    interrupt_in(0.3)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        scene.nginx1.ping(scene.nginx2, count=1000)
    assert time.monotonic() - began < 5
    wait_for(lambda: "ping" not in scene.lab.machine.run("ps -eo comm").stdout)
    assert scene.nginx1.ping(scene.nginx2)


def test_interrupting_a_build_leaves_all_or_nothing(scene: Scene):
    before = whole(scene.lab)
    interrupt_in(0.15)
    try:
        with scene.lab.batch():
            for i in range(600):
                h = scene.lab.host(f"h{i}")
                scene.lab.cable(h, scene.docker0, f"172.17.{1 + i // 200}.{1 + i % 200}/16")
    except KeyboardInterrupt:
        assert len(scene.lab.hosts) == 2
        wait_for(lambda: whole(scene.lab) == before, 30)
    else:
        pytest.fail("600 hosts were built in 0.15 s: ask for more")
    assert scene.nginx1.ping(scene.nginx2)


def test_interrupting_a_loop_of_builds_ends_the_loop(lab: Lab):
    """Each build may be done before the interrupt is noticed: it counts all the same."""
    names = itertools.count()
    for seconds in (0.05, 0.07, 0.11, 0.13, 0.17, 0.19):  # the moments at which it may fall
        interrupt_in(seconds)
        with pytest.raises(KeyboardInterrupt):
            while True:
                lab.host(f"h{next(names)}")
        made = {n["name"] for n in ask(lab.machine, "ip -j netns")}
        assert made == {host.name for host in lab.hosts}


def test_an_interrupt_inside_a_batch_ends_the_batch(scene: Scene):
    """A block that is interrupted has built nothing."""
    before = whole(scene.lab)
    with pytest.raises(KeyboardInterrupt), scene.lab.batch():
        scene.lab.host("h")
        raise KeyboardInterrupt
    assert whole(scene.lab) == before
    with scene.lab.batch():
        scene.lab.host("h")
    assert scene.lab["h"].run("true")


@pytest.mark.parametrize("address", ["97.97.97.97/8", "98.98.98.98/8"])
def test_an_address_that_looks_like_a_stand_in(scene: Scene, address: str):
    """Its MAC holds the bytes of "aaaa" or "bbbb", by which the agent's form finds the names."""
    h = scene.lab.host("h")
    scene.lab.cable(h, scene.docker0, address)
    assert [i.addresses for i in h.interfaces][1:] == [(address,)]


def test_the_agent_killed(scene: Scene):
    os.kill(scene.lab.agent_pid, signal.SIGKILL)
    wait_for(lambda: scene.lab.recording.state().closed)
    with pytest.raises(ClosedError, match="killed by signal 9"):
        scene.nginx1.ping(scene.nginx2)
    with Lab("test", launcher=scene.lab.launcher) as again:
        assert again.host("nginx-1").run("true")


def test_a_cable_moves_with_its_address(lab):
    """The address of a cable that has just been removed is free again at once."""
    one, other, host = lab.bridge("sw1"), lab.bridge("sw2"), lab.host("h1")
    for bridge in (one, other, one):
        lab.cable(host, bridge, "10.0.0.1/24").remove()
    lab.cable(host, other, "10.0.0.1/24")
    assert [i.addresses for i in host.interfaces if i.name != "lo"] == [("10.0.0.1/24",)]


FULL_DISK = """
import os, sys
from labkit import LabkitError, Recording
from labkit.model import events as ev
recording = Recording("full")
for index in range(2000):
    recording.append(ev.ProcessStarted(at=index, netns="machine", job=index, host="h", command=os.urandom(64).hex()))
try:
    recording.save(sys.argv[1] + "/full.labkit")
except LabkitError as error:
    print(error)
print(os.listdir(sys.argv[1]))
"""


def test_a_full_disk_leaves_no_half_recording(launcher: str, tmp_path: Path):
    if launcher == "uml":
        tmp_path = Path("/mnt")  # a folder that the small Linux has, and the project is not in
    script = f'mount -t tmpfs -o size=16k none {tmp_path} && exec "$@"'
    argv = ["sh", "-c", script, "sh", sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(
        BY_NAME[launcher].argv(argv),
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "could not be saved" in done.stdout, done.stderr
    assert "No space left on device" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_interrupting_a_removal_ends_it_first(scene: Scene):
    """What is removed cannot be put back, so that a removal that has begun goes to its end."""
    for seconds in (0.002, 0.005, 0.01, 0.02, 0.03, 0.05):  # the moments at which it may fall
        with scene.lab.batch():
            h = scene.lab.host("h")
            for _ in range(60):
                scene.lab.cable(h, scene.docker0)
        try:
            interrupt_in(seconds)
            while "h" in [host.name for host in scene.lab.hosts]:
                h.remove()
            time.sleep(5)
        except KeyboardInterrupt:
            pass
        there = ask(scene.lab.machine, "ip -j link show type veth")
        ends = {end.interface for cable in scene.lab.cables for end in cable.ends}
        assert {link["ifname"] for link in there} <= ends
        assert len(there) == len(scene.lab.cables)
        if not h._removed:
            h.remove()


def test_a_job_stopped_by_two_at_once_answers_both(lab: Lab):
    job = lab.host("h").start("trap '' TERM; sleep 1000")
    answered = []
    both = [threading.Thread(target=lambda: answered.append(job.stop())) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(20)
    assert len(answered) == 2
    assert not job.is_running


def test_ended_jobs_are_kept_within_bounds(lab: Lab):
    """The newest can be asked for what they printed; of the oldest it is said that they are gone."""
    h = lab.host("h")
    jobs = [h.start("head -c 900000 /dev/zero | tr '\\0' x") for _ in range(50)]
    wait_for(lambda: not any(job.is_running for job in jobs), 60)
    assert len(jobs[-1].output) == 900_000
    with pytest.raises(KernelError, match="kept no longer"):
        jobs[0].output  # noqa: B018 (reading asks)
    assert "ended" in repr(jobs[0])
    assert h.run("true")


def test_a_name_that_a_command_has_taken_is_passed_over(lab):
    switch, host = lab.bridge("sw1"), lab.host("h1")
    assert host.run("ip link add eth0 type veth peer name other")
    assert [i.name for i in host.interfaces] == ["lo", "other", "eth0"]
    assert lab.cable(host, switch, "10.0.0.1/24").a.name == "eth1"
