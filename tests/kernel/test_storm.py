"""A broadcast storm: two bridges, two cables between them, and no spanning tree.

`LABKIT_STORM=10` makes it ten seconds long; else it is short.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from labkit import Lab
from labkit.agent import capture
from labkit.model import events as ev
from labkit.widgets import Tables, Topology
from tests.kernel.conftest import wait_for
from tests.kernel.test_life import processes_of

pytestmark = pytest.mark.alone

SECONDS = float(os.environ.get("LABKIT_STORM", "1"))
MOST = 300
"""Megabytes that the agent may take, at any time."""


def highest(pid: int) -> float:
    """A process's memory at its most, megabytes."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.timeout(300)
def test_a_storm(launcher: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LABKIT_TEST_STORM", str(os.getpid()))
    lab = Lab("storm", launcher=launcher)
    try:
        one, two = lab.bridge("sw1"), lab.bridge("sw2")
        lab.cable(one, two)
        h1, h2 = lab.host("h1"), lab.host("h2")
        lab.cable(h1, one, "10.0.0.1/24")
        lab.cable(h2, two, "10.0.0.2/24")
        assert h1.ping(h2)
        views = [Topology(lab.recording), Tables(lab.recording)]
        assert [view.status["frames_lost"] for view in views] == [0, 0]
        begins = lab.recording.now()
        lab.cable(one, two)  # and there it goes round
        h1.ping("10.0.0.99", timeout=0.1)
        began = time.monotonic()
        answers = 0
        while time.monotonic() - began < SECONDS or not lab.recording.state().frames_lost:
            assert h1.run("echo hello").stdout == "hello\n"
            assert len(one.ports) == 3
            answers += 1
            assert time.monotonic() - began < 60 + SECONDS, "nothing is left out: no storm?"
        assert answers
        state = lab.recording.state()
        told = [e for e in lab.recording.events if isinstance(e, ev.Lost) and e.what == "frames"]
        assert state.frames_lost == sum(e.count or 1 for e in told) > capture.RATE
        assert all(e.netns is not None for e in told)
        for view in views:
            wait_for(lambda view=view: view.status["frames_lost"] > 0)
        agents = [pid for pid in processes_of(f"LABKIT_TEST_STORM={os.getpid()}") if is_agent(pid)]
        assert len(agents) == 1
        assert highest(agents[0]) < MOST
        journey = lab.recording.journey(begins, told[0].at)
        assert journey.left_out > 0
        assert journey.lost > 0
        assert "too many to explain one by one" in str(journey)
        assert f"{journey.lost} frames were not captured" in str(journey)
    finally:
        lab.close()
    wait_for(lambda: not processes_of(f"LABKIT_TEST_STORM={os.getpid()}"), 10)
    wait_for(lambda: all(view.status["closed"] for view in views))


def is_agent(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return command[1:3] == [b"-m", b"labkit.agent"]
