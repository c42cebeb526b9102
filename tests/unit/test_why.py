"""Findings from hand-made events: what the kernel cannot easily be made to do."""

from __future__ import annotations

import re
from itertools import count
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import ARP, Ether

from labkit.journey.why import Case, explain, firewall
from labkit.journey.why.findings import FINE, REMAINING, VERDICTS
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.operations import MACHINE
from labkit.recording import Recording

A, B, C = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "02:00:00:00:00:0c"
PORT = {"a": 11, "b": 12, "c": 13}
BRIDGE, ETH0 = 10, 2
MACS = {"a": A, "b": B, "c": C}
ADDRESS = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}


class Wire:
    """A recording of hosts a, b and c on a bridge, to which frames can be added."""

    def __init__(self, ports=None) -> None:
        self.recording = Recording("hand-made")
        self.clock = count(1_000_000_000, 1000)
        self.ports = {}
        self.put(ev.LinkSet, netns=MACHINE, index=BRIDGE, name="br0", kind="bridge", mac=C)
        for name in MACS:
            operation = op.AddHost(name=name, netns=name)
            self.put(ev.Applied, operation=operation)
            self.link(name)
            self.ports[name] = self.port(name, **(ports or {}).get(name, {}))
            self.put(ev.AddressSet, netns=name, index=ETH0, address=f"{ADDRESS[name]}/24")
        self.put(ev.LinkSet, netns=MACHINE, index=BRIDGE, name="br0", kind="bridge", is_up=True)
        self.first = len(self.recording)
        for here, there in (("a", "b"), ("b", "a")):
            self.put(
                ev.RouteLookup,
                netns=here,
                destination=ADDRESS[there],
                matched="10.0.0.0/24",
                index=ETH0,
                source=ADDRESS[here],
            )
        self.put(ev.ProcessStarted, netns="a", job=1, host="a", command="ping")

    def put(self, event, /, **fields) -> int:
        self.recording.append(event(at=next(self.clock), **fields))
        return len(self.recording) - 1

    def link(self, name, **fields) -> int:
        given = {"is_up": True, "has_carrier": True, "mtu": 1500, "mac": MACS[name]}
        return self.put(
            ev.LinkSet,
            netns=name,
            index=ETH0,
            name="eth0",
            kind="veth",
            peer_netns=MACHINE,
            peer_index=PORT[name],
            **{**given, **fields},
        )

    def port(self, name, **fields) -> int:
        given = {"is_up": True, "has_carrier": True, "mtu": 1500, "port_state": "forwarding"}
        return self.put(
            ev.LinkSet,
            netns=MACHINE,
            index=PORT[name],
            name=f"veth-{name}",
            kind="veth",
            mac=f"02:00:00:00:01:0{name}",
            master=BRIDGE,
            peer_netns=name,
            peer_index=ETH0,
            **{**given, **fields},
        )

    def frame(self, netns, index, packet_type, packet) -> int:
        return self.put(
            ev.Frame, netns=netns, index=index, packet_type=packet_type, data=bytes(packet)
        )

    def crossing(self, packet, sender, receiver, hops=4) -> list[int]:
        """A unicast frame from one host to another: the first so many of its four sightings."""
        places = [
            (sender, ETH0, "outgoing"),
            (MACHINE, PORT[sender], "otherhost"),
            (MACHINE, PORT[receiver], "outgoing"),
            (receiver, ETH0, "host"),
        ]
        return [self.frame(*place, packet) for place in places[:hops]]

    def explain(self, **fields):
        case = Case(
            self.recording,
            self.first,
            len(self.recording) - 1,
            source="a",
            target=ADDRESS["b"],
            **fields,
        )
        return explain(case)


def echo(sender="a", receiver="b", kind=8, sequence=1):
    ether = Ether(src=MACS[sender], dst=MACS[receiver])
    ip = IP(src=ADDRESS[sender], dst=ADDRESS[receiver], id=sequence)
    return ether / ip / ICMP(type=kind, id=7, seq=sequence)


def is_at(owner, address, receiver="a"):
    ether = Ether(src=MACS[owner], dst=MACS[receiver])
    return ether / ARP(op=2, hwsrc=MACS[owner], psrc=address, pdst=ADDRESS[receiver])


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_an_answered_ping_has_no_finding(wire: Wire):
    wire.crossing(echo(), "a", "b")
    wire.crossing(echo("b", "a", 0), "b", "a")
    assert wire.explain(answered=True) is None


def test_a_frame_that_a_cable_swallowed(wire: Wire):
    seen = wire.crossing(echo(), "a", "b", hops=1)
    finding = wire.explain()
    assert (finding.verdict, finding.stage) == ("lost-in-cable", "bridge")
    assert seen[0] in finding.evidence
    assert finding.remaining


def test_a_frame_that_a_bridge_kept_leaves_causes_open(wire: Wire):
    seen = wire.crossing(echo(), "a", "b", hops=2)
    finding = wire.explain()
    assert finding.verdict == "lost-in-bridge"
    assert seen[1] in finding.evidence
    assert "veth-b" in finding.text
    assert len(finding.remaining) > 1


def test_frames_that_were_not_captured_are_a_cause_that_remains(wire: Wire):
    wire.crossing(echo(), "a", "b", hops=2)
    lost = wire.put(ev.Lost, what="frames", count=3, netns=MACHINE)
    finding = wire.explain()
    assert lost in finding.evidence
    assert REMAINING["capture-lost"] in finding.remaining


@pytest.mark.parametrize(
    ("port", "verdict"),
    [
        ({"port_state": "blocking"}, "port-blocked"),
        ({"port_state": "learning"}, "port-blocked"),
        ({"is_up": False, "has_carrier": False, "port_state": "disabled"}, "cable-unplugged"),
        ({"mtu": 60}, "mtu"),
    ],
)
def test_what_is_wrong_with_the_way_out_of_a_bridge(port, verdict):
    wire = Wire(ports={"b": port})
    seen = wire.crossing(echo() / (b"x" * 100), "a", "b", hops=2)
    finding = wire.explain()
    assert finding.verdict == verdict
    assert {wire.ports["b"], seen[-1]} <= set(finding.evidence)
    assert finding.remaining == ()


def test_a_port_that_comes_up_a_moment_too_late():
    """On a busy machine the kernel enables a port well after its cable is plugged in."""
    wire = Wire(ports={"b": {"port_state": "disabled"}})
    wire.crossing(echo(), "a", "b", hops=2)
    wire.port("b")
    finding = wire.explain()
    assert finding.verdict == "port-blocked"
    assert wire.ports["b"] in finding.evidence


def test_a_frame_that_is_told_late_does_not_turn_the_tables_back(wire: Wire):
    """The last event before the ping may be a frame that is older than changes told before it."""
    wire.port("b", is_up=False, has_carrier=False, port_state="disabled")
    wire.recording.append(ev.Frame(at=1, netns="c", index=ETH0, packet_type="host", data=bytes(14)))
    wire.first = len(wire.recording)
    wire.put(ev.ProcessStarted, netns="a", job=2, host="a", command="ping")
    wire.crossing(echo(), "a", "b", hops=2)
    assert wire.explain().verdict == "cable-unplugged"


def test_an_answer_that_nobody_took(wire: Wire):
    wire.crossing(echo(), "a", "b")
    reply = wire.crossing(echo("b", "a", 0), "b", "a")
    finding = wire.explain()
    assert (finding.verdict, finding.stage) == ("answer-not-taken", "reply")
    assert reply[-1] in finding.evidence
    assert finding.fine[-1] == "the reply reached a eth0"


def test_a_reply_that_is_lost_is_told_as_a_reply(wire: Wire):
    wire.crossing(echo(), "a", "b")
    wire.crossing(echo("b", "a", 0), "b", "a", hops=2)
    finding = wire.explain()
    assert (finding.verdict, finding.stage) == ("lost-in-bridge", "reply")
    assert "the request reached b eth0" in finding.fine


def test_the_first_request_without_an_answer_is_explained(wire: Wire):
    wire.crossing(echo(sequence=1), "a", "b")
    wire.crossing(echo("b", "a", 0, sequence=1), "b", "a")
    lost = wire.crossing(echo(sequence=2), "a", "b", hops=3)
    finding = wire.explain()
    assert finding.verdict == "lost-in-cable"
    assert lost[-1] in finding.evidence


def test_two_answers_with_two_addresses(wire: Wire):
    wire.put(ev.AddressSet, netns="c", index=ETH0, address="10.0.0.2/24")
    first = wire.crossing(is_at("c", "10.0.0.2"), "c", "a")
    second = wire.crossing(is_at("b", "10.0.0.2"), "b", "a")
    finding = wire.explain(answered=True)
    assert finding.verdict == "duplicate-address"
    assert finding.evidence == (first[0], second[0])
    assert C in finding.text
    assert B in finding.text


def test_a_row_that_moves_to_and_fro(wire: Wire):
    moves = [
        wire.put(ev.FdbSet, netns=MACHINE, bridge=BRIDGE, port=PORT[name], mac=B, kind="learned")
        for name in ("b", "c", "b")
    ]
    finding = wire.explain(answered=True)
    assert finding.verdict == "mac-flapping"
    assert finding.evidence == tuple(moves)
    assert "2 times" in finding.text


def test_a_row_that_moved_once_is_no_fault(wire: Wire):
    for name in ("b", "c"):
        wire.put(ev.FdbSet, netns=MACHINE, bridge=BRIDGE, port=PORT[name], mac=B, kind="learned")
    assert wire.explain(answered=True) is None


def test_nothing_at_all_is_known(wire: Wire):
    """A log in which there is no frame: the finding says so, and is no guess."""
    finding = wire.explain()
    assert finding.verdict == "not-sent"
    assert finding.remaining


def test_every_number_of_the_evidence_is_in_the_log(wire: Wire):
    wire.crossing(echo(), "a", "b", hops=2)
    finding = wire.explain()
    assert list(finding.evidence) == sorted(set(finding.evidence))
    for number in finding.evidence:
        wire.recording.event(number)


RULES = """\
*filter
:INPUT ACCEPT [5:420]
:FORWARD DROP [{policy}:84]
:OUTPUT ACCEPT [0:0]
:GUARD - [0:0]
:UNUSED - [0:0]
[1:84] -A FORWARD -i eth0 -j GUARD
[{rule}:84] -A GUARD -p icmp -m comment --comment "no -j ACCEPT here" -j DROP
[9:84] -A UNUSED -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
[1:60] -A PREROUTING -p tcp -j DNAT --to-destination 10.2.0.1:80
COMMIT
"""


def test_rules_are_read():
    rules = firewall.parse(RULES.format(policy=1, rule=2))
    policy = next(r for r in rules if r.is_policy and r.chain == "FORWARD")
    assert (policy.table, policy.target, policy.packets) == ("filter", "DROP", 1)
    assert policy.text == "-P FORWARD DROP"
    assert [r.target for r in rules if not r.is_policy][-1] == "DNAT"
    assert not any(r.chain == "GUARD" and r.is_policy for r in rules)


@pytest.mark.parametrize(
    ("policy", "rule", "found"),
    [(0, 0, []), (0, 1, ["-A GUARD"]), (1, 0, ["-P FORWARD"]), (1, 1, ["-P FORWARD", "-A GUARD"])],
)
def test_only_rules_that_have_met_packets_meanwhile(policy: int, rule: int, found: list[str]):
    before = RULES.format(policy=0, rule=0)
    hits = firewall.hits(before, RULES.format(policy=policy, rule=rule), "FORWARD")
    assert [" ".join(hit.text.split()[:2]) for hit in hits] == found


def test_lines_that_are_no_rules_are_passed_over():
    assert firewall.parse("# Warning: iptables-legacy tables present\nnonsense\n[x] -A\n") == []


def test_every_sentence_is_whole():
    for text, advice in VERDICTS.values():
        assert text.endswith((".", "}."))
        assert advice.endswith(".")
    for table in (FINE, REMAINING):
        assert not any(text.endswith(".") for text in table.values())


def test_the_documentation_lists_every_verdict():
    text = (Path(__file__).parents[2] / "docs/why.md").read_text()
    table = text[text.index("## Verdicts") : text.index("## What it cannot tell")]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {word for row in rows for word in re.findall(r"`([^`]+)`", row)}
    assert listed == {name.partition(".")[0] for name in VERDICTS}
