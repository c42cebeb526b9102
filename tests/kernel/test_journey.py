"""Journeys of real packets: which steps, in which order, resting on what."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from labkit import Lab, Recording
from labkit.hosts import Host
from labkit.journey import Journey
from labkit.model import events as ev
from tests.kernel.conftest import ask, wait_for
from tests.kernel.journeys import Witness, check, shared, steps_of, told


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


ARP = """\
arp-request h1
enter-port sw
learn sw
flood sw
  ignore h3
  receive h2
  neighbour-learn h2
  to-bridge-stack sw
arp-reply h2
enter-port sw
learn sw
forward sw
receive h1
neighbour-learn h1"""
ECHO = """\
echo-request h1
enter-port sw
forward sw
receive h2
{back}echo-reply h2
enter-port sw
forward sw
receive h1"""
BACK = "route h2\nneighbour-hit h2\n"


def test_a_cold_ping(lab: Lab):
    (h1, h2, _), _ = shared(lab)
    journey = h1.ping(h2).journey
    expected = f"route h1\nneighbour-miss h1\n{ARP}\n{ECHO.format(back=BACK)}"
    assert told(journey) == lines(expected)
    check(journey)


def test_a_warm_ping(lab: Lab):
    (h1, h2, _), _ = shared(lab)
    h1.ping(h2)
    journey = h1.ping(h2).journey
    assert told(journey) == lines(f"route h1\nneighbour-hit h1\n{ECHO.format(back=BACK)}")
    check(journey)
    hit = steps_of(journey)[1]
    row = journey.recording.event(hit.evidence[0])
    [kernels] = [n for n in ask(h1, "ip -j neigh") if n["dst"] == "10.0.0.2"]
    assert (row.address, row.mac) == ("10.0.0.2", kernels["lladdr"])


def test_three_pings_in_one(lab: Lab):
    (h1, h2, _), _ = shared(lab)
    h1.ping(h2)
    journey = h1.ping(h2, count=3).journey
    once = ECHO.format(back="")
    assert told(journey) == lines(
        f"route h1\nneighbour-hit h1\n{ECHO.format(back=BACK)}\n{once}\n{once}"
    )
    texts = [s.text for s in steps_of(journey) if s.kind == "echo-request"]
    assert [f"(ping {number})" in text for number, text in enumerate(texts, 1)] == [True] * 3
    check(journey)


@pytest.mark.parametrize("tick", [256, 1000])
def test_a_clock_with_coarse_ticks(lab: Lab, tick: int):
    """As User Mode Linux's: what happens in one tick is told in the order in which it must be."""
    (h1, h2, _), _ = shared(lab)
    start = lab.recording.now()
    assert h1.ping(h2, count=3)
    end = lab.recording.state().at
    exact = lab.recording.journey(start, end)
    coarse = Recording("coarse")
    for event in lab.recording.events:
        at = event.at // tick * tick if isinstance(event, ev.Frame) else event.at
        coarse.append(msgspec.structs.replace(event, at=at))
    again = coarse.journey(start - tick, end)
    assert told(again) == told(exact)
    check(again)


def test_an_address_that_nobody_has(lab: Lab):
    (h1, *_), _ = shared(lab)
    ping = h1.ping("10.0.0.99", timeout=2.5)
    assert not ping
    journey = ping.journey
    question = """\
enter-port sw
{learn}flood sw
  ignore h3
  ignore h2
  to-bridge-stack sw
"""
    first = f"route h1\nneighbour-miss h1\narp-request h1\n{question.format(learn='learn sw' + chr(10))}"
    again = f"arp-request h1\n{question.format(learn='')}"
    told_steps = told(journey)
    asked = told_steps.count("arp-request h1")
    assert asked in (2, 3), "one question a second"
    assert told_steps[: len(lines(first))] == lines(first)
    assert told_steps[len(lines(first)) :] == [*lines(again) * (asked - 1), "timeout h1"]
    check(journey)
    miss = steps_of(journey)[1]
    assert not miss.inferred
    assert journey.recording.event(miss.evidence[0]).state == "INCOMPLETE"


def test_through_the_gateway_to_the_machine(lab: Lab):
    docker0 = lab.bridge("docker0", "172.17.0.1/16")
    one, two = lab.host("h1"), lab.host("h2")
    lab.cable(one, docker0, "172.17.0.2/16")
    lab.cable(two, docker0, "172.17.0.3/16")
    journey = one.ping("172.17.0.1").journey
    assert told(journey) == lines("""\
route h1
neighbour-miss h1
arp-request h1
enter-port docker0
learn docker0
flood docker0
  ignore h2
  to-bridge-stack docker0
  neighbour-learn machine
arp-reply machine
forward docker0
receive h1
neighbour-learn h1
echo-request h1
enter-port docker0
to-bridge-stack docker0
route machine
neighbour-hit machine
echo-reply machine
forward docker0
receive h1""")
    check(journey)


def test_cam_table_flushed_and_arp_warm(lab: Lab, tmp_path: Path):
    """The bystander gets exactly one echo request, and not the reply."""
    (h1, h2, h3), sw = shared(lab)
    h1.ping(h2)
    witness = Witness(h3, "eth0", tmp_path / "bystander.pcap")
    sw.flush()
    journey = h1.ping(h2).journey
    assert told(journey) == lines("""\
route h1
neighbour-hit h1
echo-request h1
enter-port sw
learn sw
flood sw
  ignore h3
  receive h2
route h2
neighbour-hit h2
echo-reply h2
enter-port sw
learn sw
forward sw
receive h1""")
    check(journey)
    assert "has no row for" in steps_of(journey)[5].text
    seen = [data for _, data in witness.frames(1) if data[12:14] == b"\x08\0" and data[23] == 1]
    assert [data[34] for data in seen] == [8]
    ours = [
        s for s in steps_of(journey) if s.host == "h3" and journey.recording.event(s.frame).data
    ]
    assert [(s.kind, journey.recording.event(s.frame).data) for s in ours] == [("ignore", seen[0])]


def test_two_bridges_in_a_row(lab: Lab):
    one, two = lab.bridge("sw1"), lab.bridge("sw2")
    h1, h2 = lab.host("h1"), lab.host("h2")
    lab.cable(h1, one, "10.0.0.1/24")
    lab.cable(h2, two, "10.0.0.2/24")
    lab.cable(one, two)
    journey = h1.ping(h2).journey
    assert told(journey) == lines("""\
route h1
neighbour-miss h1
arp-request h1
enter-port sw1
learn sw1
flood sw1
  enter-port sw2
  learn sw2
  flood sw2
    receive h2
    neighbour-learn h2
    to-bridge-stack sw2
  to-bridge-stack sw1
arp-reply h2
enter-port sw2
learn sw2
forward sw2
enter-port sw1
learn sw1
forward sw1
receive h1
neighbour-learn h1
echo-request h1
enter-port sw1
forward sw1
enter-port sw2
forward sw2
receive h2
route h2
neighbour-hit h2
echo-reply h2
enter-port sw2
forward sw2
enter-port sw1
forward sw1
receive h1""")
    check(journey)


def routed(lab: Lab) -> tuple[Host, Host, Host]:
    one, two = lab.bridge("sw1"), lab.bridge("sw2")
    h1, h2, r = lab.host("h1"), lab.host("h2"), lab.host("r", forwarding=True)
    lab.cable(h1, one, "10.0.1.2/24")
    lab.cable(r, one, "10.0.1.1/24")
    lab.cable(h2, two, "10.0.2.2/24")
    lab.cable(r, two, "10.0.2.1/24")
    h1.add_route("default", via="10.0.1.1")
    h2.add_route("default", via="10.0.2.1")
    return h1, h2, r


HOP = """\
enter-port {sw}
forward {sw}
receive {to}
"""


def test_a_router_between_two_bridges(lab: Lab):
    h1, h2, r = routed(lab)
    before = counter(r, "Ip", "ForwDatagrams")
    cold = h1.ping(h2).journey
    check(cold)
    assert counter(r, "Ip", "ForwDatagrams") - before == 2
    assert told(cold).count("route-forward r") == 2
    asks = [(s.host, s.kind) for s in steps_of(cold) if s.kind in ("neighbour-miss", "arp-reply")]
    assert asks == [
        ("h1", "neighbour-miss"), ("r", "arp-reply"), ("r", "neighbour-miss"), ("h2", "arp-reply"),
    ]  # fmt: skip
    warm = h1.ping(h2).journey
    there = HOP.format(sw="sw1", to="r")
    assert told(warm) == lines(f"""\
route h1
neighbour-hit h1
echo-request h1
{there}route r
neighbour-hit r
route-forward r
{HOP.format(sw="sw2", to="h2")}route h2
neighbour-hit h2
echo-reply h2
{HOP.format(sw="sw2", to="r")}route r
neighbour-hit r
route-forward r
{HOP.format(sw="sw1", to="h1")}""")
    check(warm)
    routes = [s for s in steps_of(warm) if s.kind == "route"]
    for step, target in zip(routes, ("10.0.2.2", "10.0.2.2", "10.0.1.2", "10.0.1.2"), strict=True):
        [kernels] = ask(lab[step.host], f"ip -j route get fibmatch {target}")
        via = f" via {kernels['gateway']}" if "gateway" in kernels else ""
        assert step.rows[0].key == kernels["dst"] + via
        assert step.interface == kernels["dev"]
        assert f" {kernels['gateway']}," in step.text if "gateway" in kernels else True
    lives = [journey_ttl(warm, s.frame) for s in steps_of(warm) if s.kind == "route-forward"]
    assert lives == [63, 63]


def counter(host: Host, group: str, name: str) -> int:
    names, values = host.run(f"grep ^{group}: /proc/net/snmp").stdout.splitlines()
    return int(values.split()[names.split().index(name)])


def journey_ttl(journey: Journey, number: int) -> int:
    return journey.recording.event(number).data[22]


def test_what_waits_for_arp_in_a_router_is_not_dropped(lab: Lab):
    h1, h2, _ = routed(lab)
    h1.ping(h2)
    journey = h1.ping("10.0.2.77").journey
    assert told(journey)[3:10] == lines("""\
enter-port sw1
forward sw1
receive r
route r
neighbour-miss r
arp-request r
enter-port sw2""")
    assert told(journey)[-1] == "timeout h1"
    check(journey)


def test_no_way_on_from_a_router(lab: Lab):
    h1, h2, r = routed(lab)
    h1.ping(h2)
    ping = h1.ping("10.0.3.1")
    assert "Net Unreachable" in ping.output
    assert told(ping.journey) == lines(f"""\
route h1
neighbour-hit h1
echo-request h1
{HOP.format(sw="sw1", to="r")}route r
neighbour-hit r
transmit r
{HOP.format(sw="sw1", to="h1")}timeout h1""")
    *_, error, _, _, _, end = steps_of(ping.journey)
    assert "network-unreachable" in error.text
    assert "error message" in end.text
    check(ping.journey)


def test_nat(lab: Lab):
    h1, h2, r = routed(lab)
    h1.ping(h2)
    made = r.run("iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE")
    if made.exit_code:
        pytest.skip(f"no NAT here: {made.stderr.strip()}")
    journey = h1.ping(h2).journey
    check(journey)
    assert told(journey) == lines(f"""\
route h1
neighbour-hit h1
echo-request h1
{HOP.format(sw="sw1", to="r")}route r
neighbour-hit r
route-forward r
nat r
{HOP.format(sw="sw2", to="h2")}route h2
neighbour-hit h2
echo-reply h2
{HOP.format(sw="sw2", to="r")}route r
neighbour-hit r
route-forward r
nat r
{HOP.format(sw="sw1", to="h1")}""")
    there, back = (s.text for s in steps_of(journey) if s.kind == "nat")
    assert "10.0.1.2 → 10.0.2.2 becomes 10.0.2.1 → 10.0.2.2" in there
    assert "10.0.2.2 → 10.0.2.1 becomes 10.0.2.2 → 10.0.1.2" in back
    rules = r.run("iptables -t nat -nvxL POSTROUTING").stdout
    assert re.search(r"^\s*1\s+84\s+MASQUERADE", rules, re.MULTILINE), rules


def test_a_mac_that_two_hosts_have(lab: Lab):
    sw = lab.bridge("sw")
    hosts = [lab.host(f"h{number}") for number in (1, 2, 3)]
    for number, host in enumerate(hosts, 1):
        mac = "02:00:00:00:00:01" if number < 3 else None
        lab.cable(host, sw, f"10.0.0.{number}/24", mac=mac)
    h1, h2, h3 = hosts
    for host in (h1, h2):
        host.ping(h3)
    journey = h1.ping(h3).journey
    assert told(journey)[:7] == lines("""\
route h1
neighbour-hit h1
echo-request h1
enter-port sw
learn sw
forward sw
receive h3""")
    learn = steps_of(journey)[4]
    assert "the row moves" in learn.text
    check(journey)
    rows = ask(lab.machine, "bridge -j fdb show br sw")
    assert [r["ifname"] for r in rows if r["mac"] == "02:00:00:00:00:01"] == [learn.interface]
    lost = h1.ping(h2).journey  # the answer comes in where its own address is
    assert told(lost)[-2:] == ["drop sw", "timeout h1"]
    check(lost)


def test_its_own_address(lab: Lab):
    (h1, *_), _ = shared(lab, 1)
    journey = h1.ping(h1).journey
    assert told(journey) == lines(
        "route h1\necho-request h1\nreceive h1\necho-reply h1\nreceive h1"
    )
    assert {s.interface for s in journey} == {"lo"}
    check(journey)


def test_from_host_to_host(lab: Lab):
    h1, h2 = lab.host("h1"), lab.host("h2")
    lab.cable(h1, h2, "10.0.0.1/24", "10.0.0.2/24")
    journey = h1.ping(h2).journey
    assert told(journey) == lines("""\
route h1
neighbour-miss h1
arp-request h1
receive h2
neighbour-learn h2
arp-reply h2
receive h1
neighbour-learn h1
echo-request h1
receive h2
route h2
neighbour-hit h2
echo-reply h2
receive h1""")
    check(journey)


def test_a_question_that_cannot_leave(lab: Lab):
    h1, h2 = lab.host("h1"), lab.host("h2")
    lab.cable(h1, h2, "10.0.0.1/24", "10.0.0.2/24")
    h2.run("ip link set eth0 down")
    journey = h1.ping("10.0.0.2").journey
    assert told(journey) == ["route h1", "neighbour-miss h1", "timeout h1"]
    assert journey.after(steps_of(journey)[-1]) < 60_000
    check(journey)


def test_a_host_in_the_machines_network(lab: Lab):
    docker0 = lab.bridge("docker0", "172.17.0.1/16")
    h1 = lab.host("h1")
    lab.cable(h1, docker0, "172.17.0.2/16")
    web = lab.host("web", network="machine")
    web.ping(h1)
    journey = web.ping(h1).journey
    assert told(journey) == lines("""\
route machine
neighbour-hit machine
echo-request machine
forward docker0
receive h1
route h1
neighbour-hit h1
echo-reply h1
enter-port docker0
to-bridge-stack docker0""")
    check(journey)


def test_ipv6(lab: Lab):
    sw = lab.bridge("sw")
    hosts = [lab.host(f"h{number}", ipv6=True) for number in (1, 2, 3)]
    for number, host in enumerate(hosts, 1):
        lab.cable(host, sw, f"fd00::{number}/64")
    h1, h2, _ = hosts
    for host in hosts:  # a new address is not used before the host knows that nobody has it
        wait_for(lambda host=host: "tentative" not in host.run("ip -6 addr show dev eth0").stdout)
    journey = h1.ping("fd00::2").journey
    check(journey)
    assert [line for line in told(journey) if not line.strip().startswith("learn")] == lines(f"""\
route h1
neighbour-miss h1
neighbour-solicitation h1
enter-port sw
flood sw
  ignore h3
  receive h2
  neighbour-learn h2
  to-bridge-stack sw
neighbour-advertisement h2
enter-port sw
forward sw
receive h1
neighbour-learn h1
{ECHO.format(back=BACK)}""")
    assert not any("ARP cache" in step.text for step in steps_of(journey))


def test_tcp(lab: Lab):
    (h1, h2), _ = shared(lab, 2)
    h2.serve()
    with lab.journey() as seen:
        assert "Hello from h2" in h1.run("curl -s http://10.0.0.2/").stdout
    check(seen)
    sent = [
        (s.host, re.search(r"a TCP ([A-Z ]+) for", s.text)) for s in seen if s.kind == "transmit"
    ]
    assert [(host, match[1]) for host, match in sent if match][:3] == [
        ("h1", "SYN"), ("h2", "SYN ACK"), ("h1", "ACK"),
    ]  # fmt: skip
    assert told(seen)[:3] == ["route h1", "neighbour-miss h1", "arp-request h1"]


def test_a_port_on_which_nobody_listens(lab: Lab):
    (h1, h2), _ = shared(lab, 2)
    h1.ping(h2)
    with lab.journey() as seen:
        h1.run("bash -c 'echo hi > /dev/udp/10.0.0.2/9999'")
    assert told(seen) == lines("""\
route h1
neighbour-hit h1
transmit h1
enter-port sw
forward sw
receive h2
route h2
neighbour-hit h2
transmit h2
enter-port sw
forward sw
receive h1""")
    there, back = (s.text for s in seen if s.kind == "transmit")
    assert "a UDP datagram" in there
    assert "port-unreachable" in back
    check(seen)


def test_nothing_is_told_before_the_way(lab: Lab):
    """Of a question that never left there is no frame: the look-up still comes first."""
    one, two = lab.host("h1"), lab.host("h2")
    cable = lab.cable(one, two, "10.0.0.1/24", "10.0.0.2/24")
    assert one.ping(two)
    cable.unplug()
    steps = steps_of(one.ping(two).journey)
    assert steps[0].kind == "route"
    assert [s.at for s in steps] == sorted(s.at for s in steps)
