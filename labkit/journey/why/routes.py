"""Routes and interfaces of a host: whether it has a way, and whether it may be used."""

from __future__ import annotations

import errno

from labkit.journey.values import Finding
from labkit.journey.weave import Sighting
from labkit.journey.why.findings import WAYS, host_name
from labkit.journey.why.trail import Trail
from labkit.model import events as ev

REFUSALS = {
    errno.ENETUNREACH: "no-route",
    errno.EINVAL: "blackhole-route",
    errno.EHOSTUNREACH: "unreachable-route",
    errno.EACCES: "prohibit-route",
}
"""What the kernel answers for each type of route (fib_props, net/ipv4/fib_semantics.c)."""


def note_route(trail: Trail, netns: str, address: str) -> None:
    """Notes that a host has a way to an address."""
    lookup = trail.case.lookup(netns, address)
    if lookup and lookup.matched:
        trail.good("route", netns, target=address, row=lookup.matched)


def refusal(trail: Trail, netns: str, address: str, *evidence: object) -> Finding | None:
    """Whether the kernel has no way to an address, or a row that refuses it."""
    case = trail.case
    lookup = case.lookup(netns, address)
    if lookup is None or lookup.error is None:
        return None
    verdict = REFUSALS.get(lookup.error, "no-route")
    stage = "route" if netns == case.source and not trail.back else "forward"
    if verdict == "no-route":
        # The kernel takes an interface's routes away when it goes down.
        links = [link for link in case.before.space(netns).links.values() if link.name != "lo"]
        down = [
            link
            for link in links
            if not link.is_up
            and (
                not any(other.is_up for other in links) or case.on_link(netns, address, link.index)
            )
        ]
        if down:
            return trail.found(
                "interface-down", stage, netns, *evidence, down[0], lookup, interface=down[0].name
            )
        if trail.back:
            return _no_return(trail, netns, address, lookup, *evidence)
    return trail.found(verdict, stage, netns, *evidence, lookup, target=address)


def _no_return(
    trail: Trail, netns: str, address: str, lookup: ev.RouteLookup, *evidence: object
) -> Finding:
    case = trail.case
    there = case.lookup(case.source, case.target)
    if there and not there.gateway and case.holds(netns, case.target):
        held = [
            a
            for row in case.before.space(netns).addresses.values()
            for a in row
            if a.split("/")[0] == case.target
        ]
        given = case.given(netns, case.target)
        return trail.found(
            "wrong-prefix",
            "reply",
            netns,
            *evidence,
            lookup,
            there,
            given,
            target=address,
            address=held[0],
        )
    verdict = "no-return-route" if case.holds(netns, case.target) else "no-return-route.router"
    return trail.found(verdict, "reply", netns, *evidence, lookup, target=address)


def way_trouble(trail: Trail, netns: str, address: str, stage: str) -> Finding | None:
    """Whether the interface to an address cannot send: it is down, or has no carrier."""
    case = trail.case
    lookup = case.lookup(netns, address)
    link = case.link((netns, lookup.index)) if lookup else None
    if link is None:
        return None
    if not link.is_up:
        return trail.found("interface-down", stage, netns, link, interface=link.name)
    if link.has_carrier:
        return None
    peer = case.far_end(link)
    if peer is None:
        return trail.found("no-cable", stage, netns, link, interface=link.name)
    return trail.found(
        "cable-unplugged",
        stage,
        netns,
        link,
        peer,
        interface=link.name,
        other_host=host_name(peer.netns),
        other=peer.name,
    )


def reverse_path(trail: Trail, arrived: Sighting, *, counted: bool = True) -> Finding | None:
    """Whether a host's reverse-path filter dropped what came in (RFC 3704)."""
    case, netns, source = trail.case, arrived.frame.netns, arrived.packet.source
    interface = case.interface(arrived.place)
    setting = case.level(netns, interface, "rp_filter")
    grown = case.grown(netns, "TcpExt.IPReversePathFilter")
    if not setting or (counted and not grown):
        return None
    lookup = case.lookup(netns, source)
    wrong = lookup and (lookup.error or lookup.index != arrived.frame.index)
    if not wrong and not counted:
        return None
    way = WAYS["none"]
    if lookup and not lookup.error:
        way = WAYS["out"].format(interface=case.interface((netns, lookup.index)))
    stage = "deliver" if case.holds(netns, case.target) else "forward"
    return trail.found(
        "reverse-path" if counted else "reverse-path.arp",
        stage if counted else "neighbour",
        netns,
        arrived,
        setting,
        grown,
        lookup,
        interface=interface,
        source=source,
        way=way,
        next=arrived.packet.target,
    )
