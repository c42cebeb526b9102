"""Faults of routes, and of the settings of a host's stack."""

from __future__ import annotations

import ipaddress

from labkit.lessons.faults.plan import Plan, fault
from labkit.lessons.scene import Scene

# Routes


@fault(1)
def no_default_route(s: Scene) -> Plan:
    host = s.client()
    return Plan(
        what=f"{host.name} lost its default route.",
        host=host,
        table="ip route",
        shows="no line that begins with default; ping says Network is unreachable",
        plant=["ip route del default"],
        mend=[f"ip route add default via {s.router_near}"],
    )


@fault(2)
def no_way_back(s: Scene) -> Plan:
    return Plan(
        what=f"{s.server.name} lost its default route: requests come, answers have no way back.",
        host=s.server,
        table="ip route",
        shows="no line that begins with default; `ip -s link` counts requests in, hardly an "
        "answer out",
        plant=["ip route del default"],
        mend=[f"ip route add default via {s.router_far}"],
    )


@fault(1)
def gateway_nobody_has(s: Scene) -> Plan:
    host, nobody = s.client(), s.free()
    return Plan(
        what=f"{host.name}'s default route leads to {nobody}, which nobody has.",
        host=host,
        table="ip route",
        shows=f"default via {nobody}; and `ip neigh` says FAILED for it",
        plant=[f"ip route replace default via {nobody}"],
        mend=[f"ip route replace default via {s.router_near}"],
    )


@fault(2)
def gateway_is_a_client(s: Scene) -> Plan:
    host = s.client()
    twin = s.other(host)
    return Plan(
        what=f"{host.name}'s default route leads to {twin.name}, which is no router.",
        host=host,
        table="ip route",
        shows=f"default via {s.at(twin)}: {twin.name} gets the frames and drops the packets",
        plant=[f"ip route replace default via {s.at(twin)}"],
        mend=[f"ip route replace default via {s.router_near}"],
    )


@fault(2)
def more_specific_route(s: Scene) -> Plan:
    host = s.client()
    twin = s.other(host)
    target = s.at(s.server)
    length = s.draw.choice((32, 31, 30))
    network = _around(target, length)
    return Plan(
        what=f"{host.name} has a route for {network} through {twin.name}, which is no router; it "
        "wins over the default route, being more specific.",
        host=host,
        table=f"ip route get {target}",
        shows=f"via {s.at(twin)} instead of {s.router_near}",
        plant=[f"ip route add {network} via {s.at(twin)}"],
        mend=[f"ip route del {network}"],
    )


@fault(2)
def blackhole(s: Scene) -> Plan:
    network = _around(s.at(s.server), s.draw.choice((32, 31, 30)))
    return Plan(
        what=f"{s.router.name} has a blackhole route for {network}: what goes there vanishes.",
        host=s.router,
        table="ip route",
        shows=f"blackhole {network}",
        plant=[f"ip route add blackhole {network}"],
        mend=[f"ip route del blackhole {network}"],
    )


@fault(1)
def unreachable(s: Scene) -> Plan:
    host = s.client()
    target = s.at(s.other(host))
    return Plan(
        what=f"{host.name} has an unreachable route for {target}.",
        host=host,
        table="ip route",
        shows=f"unreachable {target}; ping says No route to host, and no frame leaves",
        plant=[f"ip route add unreachable {target}"],
        mend=[f"ip route del unreachable {target}"],
    )


@fault(2)
def prohibit(s: Scene) -> Plan:
    host = s.client()
    return Plan(
        what=f"{s.router.name} has a prohibit route for {s.at(host)}.",
        host=s.router,
        table="ip route",
        shows=f"prohibit {s.at(host)}; it answers with ICMP Packet filtered",
        plant=[f"ip route add prohibit {s.at(host)}"],
        mend=[f"ip route del prohibit {s.at(host)}"],
    )


@fault(3)
def rule_before_the_routes(s: Scene) -> Plan:
    host, priority = s.client(), s.draw.randrange(100, 30000)
    rule = f"from {s.at(host)} priority {priority} blackhole"
    return Plan(
        what=f"{s.router.name} has a rule before all its routes that drops what comes from "
        f"{s.at(host)}.",
        host=s.router,
        table="ip rule",
        shows=f"{priority}: from {s.at(host)} blackhole; `ip route` alone looks healthy",
        plant=[f"ip rule add {rule}"],
        mend=[f"ip rule del {rule}"],
    )


# Settings of a stack


@fault(1)
def forwarding_is_off(s: Scene) -> Plan:
    return Plan(
        what=f"{s.router.name} does not forward: net.ipv4.ip_forward is 0.",
        host=s.router,
        table="sysctl net.ipv4.ip_forward",
        shows="0; both of its networks reach it, and nothing goes through",
        plant=["sysctl -qw net.ipv4.ip_forward=0"],
        mend=["sysctl -qw net.ipv4.ip_forward=1"],
    )


@fault(2)
def answers_no_echo(s: Scene) -> Plan:
    host = s.draw.choice((s.first, s.second, s.server))
    return Plan(
        what=f"{host.name} ignores echo requests: net.ipv4.icmp_echo_ignore_all is 1.",
        host=host,
        table="sysctl net.ipv4.icmp_echo_ignore_all",
        shows="1; ARP and TCP with it work, and its own pings are answered",
        plant=["sysctl -qw net.ipv4.icmp_echo_ignore_all=1"],
        mend=["sysctl -qw net.ipv4.icmp_echo_ignore_all=0"],
    )


@fault(3)
def answers_no_arp(s: Scene) -> Plan:
    host = s.client()
    return Plan(
        what=f"{host.name} answers no ARP request: net.ipv4.conf.eth0.arp_ignore is 8.",
        host=host,
        table="sysctl -a -r arp_ignore",
        shows="8 for eth0; who-has frames reach it, and no answer leaves",
        plant=["sysctl -qw net.ipv4.conf.eth0.arp_ignore=8"],
        mend=["sysctl -qw net.ipv4.conf.eth0.arp_ignore=0"],
    )


@fault(2)
def one_hop_only(s: Scene) -> Plan:
    host = s.client()
    return Plan(
        what=f"{host.name} sends its packets with a TTL of 1: net.ipv4.ip_default_ttl.",
        host=host,
        table="sysctl net.ipv4.ip_default_ttl",
        shows="1; ping beyond the router says Time to live exceeded",
        plant=["sysctl -qw net.ipv4.ip_default_ttl=1"],
        mend=["sysctl -qw net.ipv4.ip_default_ttl=64"],
    )


@fault(2)
def wrong_neighbour(s: Scene) -> Plan:
    host = s.client()
    target = s.draw.choice((s.other(host), s.router))
    mac = "02:" + ":".join(f"{s.draw.randrange(256):02x}" for _ in range(5))
    return Plan(
        what=f"{host.name} has a PERMANENT neighbour row for {target.name} with a MAC that "
        f"nobody has, {mac}.",
        host=host,
        table="ip neigh",
        shows=f"{s.at(target)} lladdr {mac} PERMANENT; {target.name}'s own MAC is "
        f"{s.macs[target.name]}",
        plant=[f"ip neigh replace {s.at(target)} lladdr {mac} nud permanent dev eth0"],
        mend=[f"ip neigh del {s.at(target)} dev eth0"],
    )


def _around(address: str, length: int) -> str:
    return str(ipaddress.ip_network(f"{address}/{length}", strict=False))
