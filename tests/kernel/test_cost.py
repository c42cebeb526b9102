"""An idle lab costs next to nothing, and a busy one gathers nothing. `make soak` is the long form."""

from __future__ import annotations

import pytest

from bench import soak
from labkit.launch.launchers import LAUNCHERS
from labkit.widgets import Tables, Topology


@pytest.mark.skipif(all(one.probe() for one in LAUNCHERS), reason="no launcher works here")
def test_a_hundred_hosts_idle_then_busy():
    lab = soak.scene(100)
    views = (Topology(lab.recording), Tables(lab.recording))
    try:
        soak.rest(lab)
        shares = soak.idle(lab, 8)
        assert sum(shares.values()) < soak.IDLE_SHARE, shares
        rows = soak.steady(lab, 12, samples=8)
    finally:
        for view in views:
            view.close()
        lab.close()
    # The log still fills up in so short a time: memory is for the long form.
    assert [line for line in soak.grown(rows) if "_mb" not in line] == []
    assert rows[-1]["agent_mb"] < 60


def test_growth_is_found():
    flat = {
        f"{who}_{what}": 9.0 for who in ("agent", "kernel") for what in ("mb", "fds", "threads")
    }
    assert soak.grown([flat] * 8) == []
    leaking = [{**flat, "agent_fds": 9.0 + n} for n in range(8)]
    assert soak.grown(leaking) == ["agent_fds has grown from 12 to 15"]
