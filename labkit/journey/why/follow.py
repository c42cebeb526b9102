"""Following a packet from host to host, through every cable and bridge on its way."""

from __future__ import annotations

from labkit.journey.values import Finding, Place
from labkit.journey.weave import Sighting
from labkit.journey.why import link, stack
from labkit.journey.why.arp import other_segment
from labkit.journey.why.case import Case, Match
from labkit.journey.why.routes import note_route
from labkit.journey.why.trail import Trail
from labkit.model import events as ev

MOST = 70
"""Hosts on a way at most; a time to live of 64 ends it before."""


def requests_of(case: Case) -> list[Sighting]:
    """What the source sent to the target, once each, without ARP and errors."""
    sent = case.seen(
        lambda p: p.target == case.target and p.operation != "echo-reply" and p.quoted is None,
        netns=case.source,
        leaving=True,
    )
    found: list[Sighting] = []
    for s in sent:
        if s.packet.protocol == "ARP" or not case.is_end(s.place):
            continue
        if case.sent and s.packet.operation != "echo-request":
            continue  # of another program: a ping is asked about
        if s.packet.ports is not None and "RST" in s.packet.operation:
            continue
        if not any(_key(s) == _key(other) for other in found):
            found.append(s)
    return found


def _key(sighting: Sighting) -> tuple[object, ...]:
    packet = sighting.packet
    return packet.protocol, packet.ident, packet.sequence, packet.ports


def matches_request(request: Sighting) -> Match:
    """Matches a request wherever it is seen, behind a router's address translation too."""
    wanted = request.packet
    if wanted.operation == "echo-request":
        return lambda p: (
            p.operation == "echo-request"
            and (p.ident, p.sequence) == (wanted.ident, wanted.sequence)
        )
    return lambda p: (
        p.identity == wanted.identity and (p.ports or (None,))[0] == (wanted.ports or (None,))[0]
    )


def matches_reply(request: Sighting) -> Match:
    """Matches the answers to a request."""
    wanted = request.packet
    if wanted.protocol in ("ICMP", "ICMPv6"):
        return lambda p: (
            p.operation == "echo-reply"
            and (p.ident, p.sequence) == (wanted.ident, wanted.sequence)
            and p.quoted is None
        )
    return lambda p: (
        p.protocol == wanted.protocol
        and p.ports is not None
        and wanted.ports is not None
        and p.ports[1] == wanted.ports[0]
    )


def answers(case: Case, request: Sighting) -> list[Sighting]:
    """The answers to a request that came in at the source."""
    return case.seen(matches_reply(request), netns=case.source, leaving=False)


def follow(trail: Trail, match: Match, address: str, sent: Sighting) -> Sighting | Finding:
    """Follows a packet from host to host: where it came in at the end, or why it did not."""
    case = trail.case
    for _ in range(MOST):
        note_route(trail, sent.frame.netns, address)
        arrived = _cross(trail, match, address, sent)
        if isinstance(arrived, Finding):
            return arrived
        netns = arrived.frame.netns
        trail.good("reached", netns, what=trail.what, interface=case.interface(arrived.place))
        onward = [
            s
            for s in case.seen(match, netns=netns, leaving=True, after=arrived)
            if (s.packet.ttl or 0) < (arrived.packet.ttl or 0) and case.is_end(s.place)
        ]
        if not onward:
            if case.holds(netns, address):
                return arrived
            return stack.not_forwarded(trail, address, arrived)
        sent = onward[0]
        address = sent.packet.target  # it is another one where the router translates addresses
        trail.good("forwarded", netns, what=trail.what)
    netns = sent.frame.netns
    return trail.found("routing-loop", "forward", netns, sent, hosts=netns, target=address)


def _cross(trail: Trail, match: Match, address: str, sent: Sighting) -> Sighting | Finding:
    """Follows a frame from a host to the next one."""
    case, netns = trail.case, sent.frame.netns
    if case.holds(netns, address):  # it stays inside, on the loopback
        return next(iter(case.seen(match, netns=netns, leaving=False)), sent)
    following = case.next_hop(netns, address)
    mac = sent.packet.target_mac
    row = case.after.space(netns).neighbours.get((sent.frame.index, following))
    owners = [place for place in case.before.owners(following) if place[0] != netns]
    # The MAC may be that of another interface of the same host.
    ends = [(owner, case.with_mac(owner, mac) or index) for owner, index in owners]
    ways = [way for end in ends if (way := case.reachable(sent.place, *end)) is not None]
    right = [way for way in ways if mac_of(case, way[-1].place) == mac]
    if not right:
        taken = _taken(case, match, sent, {owner for owner, _ in owners})
        if taken:
            return taken
        if not owners:
            return trail.found(
                "nobody-has-address", "neighbour", netns, sent, row, target=address, next=following
            )
        if not ways:
            return other_segment(trail, sent.place, following, owners[0], sent)
        return _wrong_neighbour(trail, following, sent, row, ways[0][-1].place)
    way = right[0]
    trail.good("neighbour", netns, next=following)
    arrived = link.carried(trail, match, sent, way, "bridge")
    if isinstance(arrived, Sighting) and arrived.frame.packet_type == "otherhost":
        return _wrong_neighbour(trail, following, sent, row, arrived.place)
    return arrived


def _taken(case: Case, match: Match, sent: Sighting, owners: set[str]) -> Sighting | None:
    """Where a frame came in all the same.

    At its owner by a way that is not followed (a tunnel), or at a host that passes it on for the
    owner (proxy ARP, RFC 1027).
    """
    for s in case.taken(match):
        if not s.follows(sent) or s.packet.ttl != sent.packet.ttl:
            continue
        if s.frame.netns in owners or any(
            (o.packet.ttl or 0) < (s.packet.ttl or 0)
            for o in case.seen(match, netns=s.frame.netns, leaving=True)
        ):
            return s
    return None


def mac_of(case: Case, place: Place) -> str | None:
    """An interface's MAC address."""
    found = case.link(place)
    return found.mac if found else None


def _wrong_neighbour(
    trail: Trail,
    following: str,
    sent: Sighting,
    row: ev.NeighbourSet | None,
    place: Place,
) -> Finding:
    case = trail.case
    right = case.link(place)
    elsewhere = [
        s
        for s in case.seen(lambda p: p.identity == sent.packet.identity, leaving=False)
        if case.is_end(s.place)
    ]
    return trail.found(
        "wrong-neighbour",
        "neighbour",
        sent.frame.netns,
        sent,
        row,
        right,
        *elsewhere,
        next=following,
        mac=sent.packet.target_mac,
        state=row.state if row else "row gone",
        right=right.mac if right else "another",
        interface=case.interface(sent.place),
    )
