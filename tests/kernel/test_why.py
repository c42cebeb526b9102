"""Each fault of `faults` gets its verdict: the table of fault and verdict.

The faults are made by `ip`, `bridge`, `sysctl` and `iptables`; what explains them reads netlink,
AF_PACKET, /proc and iptables-save.
"""

from __future__ import annotations

import re

import pytest

from labkit import Lab, Recording
from labkit.hosts import Host, _address_of
from labkit.journey.values import Finding
from labkit.journey.why import Case, Evidence, explain
from tests.kernel import faults
from tests.kernel.conftest import Scene

# What is wrong: the verdict, the stage, and words that the sentence has to hold.
TABLE = {
    "no_route": ("no-route", "route", "a has no route to 10.9.9.9"),
    "blackhole": ("blackhole-route", "route", "blackhole"),
    "unreachable": ("unreachable-route", "route", "unreachable"),
    "prohibit": ("prohibit-route", "route", "prohibit"),
    "interface_down": ("interface-down", "route", "eth0 of a is down"),
    "output_drop": ("firewall-output", "route", "-A OUTPUT -p icmp -j DROP"),
    "source_unplugged": ("cable-unplugged", "route", "a eth0"),
    "mtu_of_source": ("mtu", "route", "eth0 of a takes at most 1500"),
    "nobody": ("nobody-has-address", "neighbour", "10.0.0.99"),
    "gateway_outside": ("gateway-outside-subnet", "neighbour", "192.0.2.1"),
    "gateway_missing": ("gateway-missing", "neighbour", "10.0.0.77"),
    "unplugged": ("cable-unplugged", "neighbour", "b eth0"),
    "target_down": ("interface-down", "neighbour", "eth0 of b is down"),
    "isolated": ("port-isolated", "neighbour", "isolated"),
    "root_guard": ("port-blocked", "neighbour", "listening"),
    "stp_listening": ("port-blocked", "neighbour", "listening"),
    "disabled": ("port-blocked", "neighbour", "disabled"),
    "not_plugged_in": ("other-segment", "neighbour", "plugged into no bridge"),
    "other_segment": ("other-segment", "neighbour", "d has the address 10.0.0.4"),
    "bridge_down": ("bridge-down", "neighbour", "br0 is down"),
    "arp_off": ("arp-off", "neighbour", "b got the question"),
    "arp_ignored": ("arp-ignored", "neighbour", "arp_ignore = 8"),
    "arp_of_another_interface": ("arp-ignored", "neighbour", "arp_ignore = 1"),
    "reverse_path": ("reverse-path", "neighbour", "out of eth1"),
    "wrong_neighbour": ("wrong-neighbour", "neighbour", "02:00:00:00:00:99"),
    "neighbour_of_another": ("wrong-neighbour", "neighbour", "PERMANENT"),
    "duplicate_address": ("duplicate-address", "neighbour", "10.0.0.2"),
    "wrong_answer": ("duplicate-address", "neighbour", "c (02:42:0a:00:00:03)"),
    "wrong_fdb": ("wrong-fdb", "bridge", "02:42:0a:00:00:02"),
    "stale_fdb": ("stale-fdb", "bridge", "still has a row"),
    "duplicate_mac": ("duplicate-mac", "bridge", "b eth0 and c eth0"),
    "flapping": ("mac-flapping", "bridge", "02:42:0a:00:00:02"),
    "bridge_netfilter": ("bridge-netfilter", "bridge", "-P FORWARD DROP"),
    "mtu_black_hole": ("mtu", "bridge", "takes at most 1000"),
    "forwarding_off": ("forwarding-off", "forward", "r got the packet"),
    "machine_is_no_router": ("forwarding-off", "forward", "The machine got the packet"),
    "forward_policy": ("firewall-forward", "forward", "-P FORWARD DROP"),
    "forward_policy_legacy": ("firewall-forward", "forward", "-P FORWARD DROP"),
    "forward_rule": ("firewall-forward", "forward", "-A GUARD -p icmp -j DROP"),
    "forward_reject": ("firewall-forward", "forward", "REJECT"),
    "router_has_no_route": ("no-route", "forward", "r has no route to 10.9.9.9"),
    "router_blackhole": ("blackhole-route", "forward", "r has a blackhole route"),
    "router_prohibits": ("prohibit-route", "forward", "r has a prohibit route"),
    "nobody_behind_router": ("nobody-has-address", "neighbour", "r asked everyone"),
    "far_unplugged": ("interface-down", "neighbour", "eth0 of b is down"),
    "loop": ("routing-loop", "forward", "between r and r2"),
    "ttl": ("ttl-exceeded", "forward", "sent with 1"),
    "mtu": ("mtu", "forward", "eth1 of r takes at most 1000"),
    "input_drop": ("firewall-input", "deliver", "-A INPUT -p icmp -j DROP"),
    "echo_ignored": ("echo-ignored", "deliver", "icmp_echo_ignore_all"),
    "target_reverse_path": ("reverse-path", "deliver", "out of v0"),
    "port_refused": ("port-refused", "deliver", "port 81 (a TCP reset)"),
    "udp_port_refused": ("port-refused", "deliver", "port 99 (ICMP)"),
    "gateway_drops": ("firewall-input", "deliver", "The machine got the packet"),
    "own_address_dropped": ("firewall-input", "deliver", "a got the packet"),
    "from_the_machine": ("firewall-input", "deliver", "-P INPUT DROP"),
    "direct_cable_unplugged": ("cable-unplugged", "route", "b eth0"),
    "two_interfaces_drop": ("firewall-input", "deliver", "b got the packet"),
    "proxied_drop": ("firewall-input", "deliver", "b got the packet"),
    "proxy_claims": ("duplicate-address", "neighbour", "c does not have it"),
    "proxy_off": ("other-segment", "neighbour", "b has the address 10.2.0.1"),
    "machine_forward_drop": ("firewall-forward", "forward", "The machine got the packet"),
    "published_port_refused": ("port-refused", "deliver", "b is there"),
    "published_host_gone": ("interface-down", "neighbour", "eth0 of b is down"),
    "published_host_drops": ("firewall-input", "deliver", "b got the packet"),
    "masqueraded_reply_drop": ("firewall-forward", "reply", "-A FORWARD"),
    "no_return_route": ("no-return-route", "reply", "b got the request"),
    "wrong_prefix": ("wrong-prefix", "reply", "10.0.0.130/25"),
    "reply_output_drop": ("firewall-output", "reply", "-A OUTPUT"),
    "reply_forward_drop": ("firewall-forward", "reply", "-A FORWARD"),
    "reply_input_drop": ("firewall-input", "reply", "-A INPUT"),
    "reply_neighbour": ("wrong-neighbour", "reply", "10.0.0.1 is at"),
    "router_has_no_way_back": ("no-return-route", "reply", "r got the reply"),
}
ANSWERED = {"duplicate_address", "wrong_answer", "flapping"}
"""Faults in spite of which there is an answer."""


LUCK = {"proxy_claims"}
"""Faults with which it is not certain who answers first."""
UNCERTAIN = {"published_host_drops"}
"""b is behind a translated address, so nobody knew beforehand to read its counters."""


def test_the_table_names_every_fault():
    assert set(TABLE) == set(faults.FAULTS)
    assert len(TABLE) >= 20


def found_by(ping: faults.Ping, lab: Lab, *, answered: bool | None = False) -> Finding | None:
    """The finding of a ping; of another command where the fault needs one."""
    if ping.command is None:
        result = ping.source.ping(ping.target, timeout=0.5)
        assert answered in (None, bool(result)), result.output
        print(result.journey)  # for whoever reads a failure
        return result.journey.finding
    address = _address_of(ping.target, ping.source)
    evidence = Evidence(lab._request, lab.recording, ping.source.netns, address)
    evidence.before()
    output = ping.source.run(ping.command)
    assert answered in (None, bool(output)), output
    evidence.after()
    case = Case(
        lab.recording,
        evidence.first,
        len(lab.recording) - 1,
        source=ping.source.netns,
        target=address,
        output=str(output),
        answered=bool(output),
        named=ping.target.netns if isinstance(ping.target, Host) else None,
    )
    for s in case.sightings:
        print(s.number, s.place, s.frame.packet_type, s.packet.summary)
    return explain(case)


@pytest.mark.parametrize("name", faults.FAULTS)
def test_the_fault_is_found(lab: Lab, name: str):
    verdict, stage, words = TABLE[name]
    ping = faults.FAULTS[name](lab)
    finding = found_by(ping, lab, answered=None if name in LUCK else name in ANSWERED)
    assert finding is not None
    assert (finding.verdict, finding.stage) == (verdict, stage), finding
    assert words in finding.text
    assert finding.advice
    assert not re.search(r"[{}]|None", finding.text + finding.advice + " ".join(finding.fine))
    assert finding.evidence, "a verdict rests on events"
    for number in finding.evidence:
        lab.recording.event(number)
    assert bool(finding.remaining) is (name in UNCERTAIN)


@pytest.mark.parametrize("warm", [False, True])
def test_a_ping_that_is_answered_has_no_finding(scene: Scene, warm: bool):
    if warm:
        assert scene.nginx1.ping(scene.nginx2)
    for target in (scene.nginx2, scene.lab.machine):
        ping = scene.nginx1.ping(target)
        assert ping
        assert ping.journey.finding is None


def test_what_was_in_order_is_told_in_its_order(lab: Lab):
    ping = faults.no_return_route(lab)
    finding = ping.source.ping(ping.target).journey.finding
    assert finding is not None
    assert finding.fine == (
        "a has a route to 10.2.0.1 (default)",
        "a knows the MAC address of 10.1.0.254",
        "the request reached r eth0",
        "r forwarded the request",
        "r has a route to 10.2.0.1 (10.2.0.0/24)",
        "r knows the MAC address of 10.2.0.1",
        "the request reached b eth0",
    )


def test_a_question_that_is_under_way_already_counts(lab: Lab):
    """A packet that waits for an older question sends none of its own."""
    host, switch = lab.host("waits"), lab.bridge("sw")
    lab.cable(host, switch, "10.9.0.1/24")
    host.run("ping -c 1 -W 0.2 10.9.0.77")
    finding = host.ping("10.9.0.77", timeout=0.2).journey.finding
    assert finding is not None
    assert (finding.verdict, finding.remaining) == ("nobody-has-address", ())


def test_causes_that_are_not_told_apart_remain(lab: Lab):
    """nftables' own tables are not shown by iptables-save: the verdict then leaves causes open."""
    s = faults.Small(lab)
    faults.sh(
        s.b,
        "nft add table ip own",
        "nft add chain ip own in '{ type filter hook input priority 0; policy drop; }'",
    )
    finding = s.a.ping(s.b).journey.finding
    assert finding is not None
    assert finding.verdict == "no-answer"
    assert any("nftables" in cause for cause in finding.remaining)


def test_the_evidence_is_what_iptables_says(lab: Lab):
    """The rules that were read are those that iptables-save prints, old and new kind."""
    s = faults.Small(lab)
    faults.sh(s.b, "iptables-legacy -A INPUT -p tcp -j DROP", "iptables -P FORWARD DROP")
    evidence = Evidence(lab._request, lab.recording, "b", "10.0.0.1")
    evidence.before()
    told = lab.recording.state().space("b").firewall
    assert told is not None
    for program in ("iptables-legacy-save -c", "iptables-nft-save -c"):
        for line in s.b.run(program).stdout.splitlines():
            assert line.startswith("#") or line in told.rules.splitlines()
    faults.sh(s.b, "iptables-legacy -F", "iptables -P FORWARD ACCEPT")
    evidence.before()
    told = lab.recording.state().space("b").firewall
    assert told is not None
    assert "DROP" not in told.rules


@pytest.mark.parametrize(
    ("command", "where", "verdict"),
    [
        ("ip link set eth0 down", "b", "interface-down"),
        ("ip route flush dev eth0", "a", "no-route"),
        ("iptables -A INPUT -p icmp -j DROP", "b", "firewall-input"),
        ("iptables -A INPUT -p icmp -j DROP", "a", "firewall-input"),
    ],
)
def test_what_breaks_in_the_middle(lab: Lab, command: str, where: str, verdict: str):
    s = faults.Small(lab)
    assert s.a.ping(s.b)
    lab[where].start(f"sleep 0.5; {command}")
    ping = s.a.ping("10.0.0.2", count=10, timeout=0.5)
    assert 0 < ping.received < ping.sent
    finding = ping.journey.finding
    assert finding is not None
    assert finding.verdict == verdict, f"{finding}\n{ping.journey}"


def test_a_recording_that_was_loaded_explains_the_same(lab: Lab, tmp_path):
    ping = faults.forward_rule(lab)
    first = len(lab.recording)
    result = ping.source.ping(ping.target)
    loaded = Recording.load(lab.recording.save(tmp_path / "failed.labkit"))
    case = Case(
        loaded,
        first,
        len(loaded) - 1,
        source="a",
        target="10.2.0.1",
        output=result.output,
        sent=result.sent,
    )
    assert explain(case) == result.journey.finding
