"""Kernel messages to events, where no kernel can be made to say it when a test wants it."""

from __future__ import annotations

import pytest

from labkit.agent import decode
from labkit.agent import netlink as nl

UP, LOWER_UP = 0x1, 0x10000
UNKNOWN, DOWN, OPER_UP = "UNKNOWN", "DOWN", "UP"


@pytest.mark.parametrize(
    ("kind", "flags", "operational", "expected"),
    [
        ("veth", UP | LOWER_UP, OPER_UP, True),
        ("veth", UP | LOWER_UP, UNKNOWN, False),  # the work queue has not come round to it
        ("veth", UP, DOWN, False),
        ("bridge", UP | LOWER_UP, UNKNOWN, False),
        ("bridge", UP | LOWER_UP, OPER_UP, True),
        ("dummy", UP | LOWER_UP, UNKNOWN, True),  # there is no work for it
        ("vlan", UP | LOWER_UP, DOWN, False),
    ],
)
def test_a_carrier_counts_when_the_interface_can_send(
    kind: str, flags: int, operational: str, expected: bool
):
    _, _, body = nl.encode(
        nl.ifinfmsg,
        nl.NEWLINK,
        fields={"index": 2, "flags": flags},
        attributes=[
            ("IFLA_IFNAME", "eth0"),
            ("IFLA_OPERSTATE", operational),
            ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", kind)]}),
        ],
    )
    told = decode.link(0, "h", body, lambda *_: None)
    assert (told.name, told.kind, told.is_up) == ("eth0", kind, True)
    assert told.has_carrier is expected
