"""An idle lab costs next to nothing, and a busy one gathers nothing. `make soak` is the long form."""

from __future__ import annotations

import pytest

from bench import soak
from labkit.launch.launchers import LAUNCHERS
from labkit.widgets import Tables, Topology

pytestmark = pytest.mark.alone


@pytest.mark.skipif(all(one.probe() for one in LAUNCHERS), reason="no launcher works here")
def test_a_hundred_hosts_idle_then_busy():
    lab = soak.scene(100)
    views = (Topology(lab.recording), Tables(lab.recording))
    try:
        soak.rest(lab)
        shares = soak.idle(lab, 8)
        assert sum(shares.values()) < 5 * soak.IDLE_SHARE, shares  # the figure itself: make soak
        rows = soak.steady(lab, 12, samples=8)
    finally:
        for view in views:
            view.close()
        lab.close()
    assert soak.grown(rows) == []
    assert rows[-1]["agent_mb"] < 60


def test_growth_is_found():
    names = [f"{who}_{what}" for who in ("agent", "kernel") for what in ("mb", "fds", "threads")]
    flat = {**dict.fromkeys(names, 9.0), "forgotten": 0.0}
    assert soak.grown([flat] * 8) == []
    leaking = [{**flat, "agent_fds": 9.0 + n} for n in range(8)]
    assert soak.grown(leaking) == ["agent_fds has grown from 12 to 15"]
    filling = [{**flat, "kernel_mb": 100.0 + 20 * n} for n in range(8)]
    assert soak.grown(filling) == []
    full = [{**row, "forgotten": 5.0} for row in filling]
    assert soak.grown(full) == ["kernel_mb has grown from 160 to 220"]
