"""A row's end by age, as the kernel does it and as the chart tells it."""

from __future__ import annotations

from labkit import Lab
from tests.kernel.conftest import wait_for


def test_a_row_that_ages_out(lab: Lab):
    bridge = lab.bridge("sw", "10.0.0.254/24", ageing=1)
    h1, h2 = lab.host("h1"), lab.host("h2")
    lab.cable(h1, bridge, "10.0.0.1/24", mac="02:00:00:00:00:01")
    lab.cable(h2, bridge, "10.0.0.2/24", mac="02:00:00:00:00:02")
    assert h1.ping(h2)
    assert {"02:00:00:00:00:01", "02:00:00:00:00:02"} <= {row.mac for row in bridge.fdb}
    wait_for(lambda: not [row for row in bridge.fdb if row.kind == "learned"])
    told = str(lab.recording.ageing(bridge))
    assert "sw: age of the learned rows (ageing time 1 s)" in told
    assert "02:00:00:00:00:01 (h1 eth0)" in told
    assert told.count("aged out at") >= 2
    assert "removed at" not in told
