"""More frames than there is a budget for: lost, counted, and nobody starves."""

from __future__ import annotations

import pytest

from labkit import Lab
from labkit.agent import capture
from labkit.agent.__main__ import WAITING
from labkit.hosts import Host
from labkit.model import events as ev
from tests.kernel.conftest import ask, wait_for
from tests.kernel.test_capture import KIND, SENDER, flood

pytestmark = pytest.mark.alone


def lost(lab: Lab, netns: str) -> int:
    return sum(
        event.count or 0
        for event in lab.recording.events
        if isinstance(event, ev.Lost) and event.what == "frames" and event.netns == netns
    )


@pytest.mark.timeout(300)
def test_what_is_too_much_is_counted(lab: Lab):
    """Beyond the budget frames are lost, each of them told: captured and lost are what was sent."""
    one, two = lab.host("one"), lab.host("two")
    lab.cable(one, two, "10.0.0.1/24", "10.0.0.2/24")
    count = capture.BURST  # at each of two ends: more than there is budget for
    flood(one, count)
    counters = ask(two, "ip -j -s link show eth0")[0]["stats64"]["rx"]
    assert counters["packets"] >= count

    def seen(host: Host) -> list[ev.Frame]:
        return [
            e
            for e in lab.recording.events
            if isinstance(e, ev.Frame) and e.netns == host.netns and e.data[12:14] == KIND
        ]

    def accounted() -> bool:
        return all(len(seen(host)) + lost(lab, host.netns) >= count for host in (one, two))

    wait_for(accounted, 60)
    assert lost(lab, "one") + lost(lab, "two") > 0, "the test has to overrun something"
    for host in (one, two):
        others = sum(
            isinstance(e, ev.Frame) and e.netns == host.netns and e.data[12:14] != KIND
            for e in lab.recording.events
        )
        # Of what is lost nobody knows what it was: it may have been one of the few others.
        assert count <= len(seen(host)) + lost(lab, host.netns) <= count + others + 10
    numbers = [e.data[14:18] for e in seen(two)]
    assert numbers == sorted(set(numbers)), "none twice, and in order"
    state = lab.recording.state()
    assert state.frames_lost == lost(lab, "one") + lost(lab, "two")
    assert one.ping(two), "and it goes on"


@pytest.mark.timeout(300)
def test_nobody_is_starved(lab: Lab):
    """While others take more than the budget, a quiet host's ping is still captured."""
    one, two = lab.host("one"), lab.host("two")
    lab.cable(one, two, "10.0.0.1/24", "10.0.0.2/24")
    a, b = lab.host("a"), lab.host("b")
    lab.cable(a, b, "10.1.0.1/24", "10.1.0.2/24")
    flood(one, capture.BURST)
    job = one.start(["python3", "-c", SENDER, "100000000", "64"])
    wait_for(lambda: lost(lab, "two"))
    for _ in range(3):
        assert a.ping(b)

    def told() -> bool:
        return [e.data[34] for e in quiet(lab, "b") if e.data[12:14] == b"\x08\0"] == [8, 0] * 3

    wait_for(told)
    assert not lost(lab, "b")
    assert job.is_running
    job.stop()


def quiet(lab: Lab, netns: str) -> list[ev.Frame]:
    return [e for e in lab.recording.events if isinstance(e, ev.Frame) and e.netns == netns]


@pytest.mark.timeout(300)
def test_a_host_that_goes_takes_no_count_with_it(lab: Lab):
    """What is lost or still unread when a host is removed is told."""
    one, two = lab.host("one"), lab.host("two")
    lab.cable(one, two, "10.0.0.1/24", "10.0.0.2/24")
    flood(one, capture.BURST)
    wait_for(lambda: lost(lab, "one") + lost(lab, "two"))
    count = 30_000
    before = {n: len(of_kind(lab, n)) + lost(lab, n) for n in ("one", "two")}
    flood(one, count)
    two.remove()
    wait_for(lambda: len(of_kind(lab, "one")) + lost(lab, "one") >= before["one"] + count, 60)
    assert len(of_kind(lab, "two")) + lost(lab, "two") >= count + capture.BURST


def of_kind(lab: Lab, netns: str) -> list[ev.Frame]:
    return [e for e in quiet(lab, netns) if e.data[12:14] == KIND]


@pytest.mark.timeout(300)
def test_memory_is_bounded(lab: Lab):
    """However much comes: the rest waits in the kernel's buffers, and these are bounded."""
    one, two = lab.host("one"), lab.host("two")
    lab.cable(one, two, "10.0.0.1/24", "10.0.0.2/24")
    flood(one, 1000, 1400)
    before = resident(lab)
    flood(one, 150_000, 1400)
    assert resident(lab) - before < (capture.HELD + 4 * WAITING) / 1e6, "megabytes"
    assert len(one.run("ip link").stdout) > 0


def resident(lab: Lab) -> float:
    """Megabytes that the agent had, at the most that there ever were."""
    text = lab.machine.run("cat /proc/1/status").stdout
    return int(text.split("VmHWM:")[1].split()[0]) / 1024
