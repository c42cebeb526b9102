"""Answers that say no: TCP resets and ICMP errors (RFC 792, RFC 9293), and why they were sent."""

from __future__ import annotations

from labkit.journey import packets
from labkit.journey.packets import Packet
from labkit.journey.values import Finding
from labkit.journey.weave import Sighting
from labkit.journey.why.arp import neighbour
from labkit.journey.why.case import Case, Match
from labkit.journey.why.findings import MTU_NOTES, host_name
from labkit.journey.why.follow import answers, follow, matches_reply, matches_request
from labkit.journey.why.routes import refusal
from labkit.journey.why.trail import Trail

ERRORS = {*packets.UNREACHABLE.values(), "destination-unreachable", "time-exceeded"}


def refused_by_target(trail: Trail, request: Sighting) -> Finding | None:
    """Whether the target itself refused a TCP connection or a UDP datagram."""
    case = trail.case
    ports = request.packet.ports
    if ports is None:
        return None
    resets = [(s, "a TCP reset") for s in answers(case, request) if "RST" in s.packet.operation]
    closed = [(s, "ICMP") for s in errors_about(case, request, "port-unreachable")]
    for sighting, how in [*resets, *closed]:
        owner = _sender(case, sighting)
        reached = case.seen(matches_request(request), netns=owner, leaving=False) if owner else []
        # It may have been a packet filter that said no, and not the stack.
        if owner is None or not reached or trail.refused(owner, "INPUT", "FORWARD"):
            continue
        _retrace(trail, request, back=False)
        port = (reached[0].packet.ports or ports)[1]
        return trail.found(
            "port-refused", "deliver", owner, reached[0], sighting, port=port, how=how
        )
    return None


def _sender(case: Case, sighting: Sighting) -> str | None:
    """The namespace that a packet was first seen to leave."""
    identity = sighting.packet.identity
    left = case.seen(lambda p: p.identity == identity, leaving=True)
    return left[0].frame.netns if left else None


def errors_about(case: Case, request: Sighting, *operations: str) -> list[Sighting]:
    """ICMP errors about a request, or about its reply, as they first left."""
    wanted = request.packet
    kinds = set(operations) or ERRORS

    def match(packet: Packet) -> bool:
        quoted = packet.quoted
        if quoted is None or packet.operation not in kinds:
            return False
        if wanted.ident is not None and quoted.ident is not None:
            return bool((quoted.ident, quoted.sequence) == (wanted.ident, wanted.sequence))
        return bool({quoted.source, quoted.target} == {wanted.source, wanted.target})

    return case.seen(match, leaving=True)


def icmp_error(trail: Trail, request: Sighting) -> Finding | None:
    """What an ICMP error says, and why its sender sent it."""
    case = trail.case
    errors = [s for s in errors_about(case, request) if case.is_end(s.place)]
    if not errors:
        return None
    error = errors[0]
    netns = error.frame.netns
    quoted = error.packet.quoted
    # An error about the reply goes to the target.
    back = bool(quoted and quoted.source == request.packet.target)
    address = request.packet.source if back else request.packet.target
    operation = error.packet.operation
    _retrace(trail, request, back=back)
    match = matches_reply(request) if back else matches_request(request)
    arrivals = case.seen(match, netns=netns, leaving=False)
    evidence = (*arrivals[:1], error)
    if operation == "time-exceeded":
        return _expired(trail, error, address, match, evidence)
    if netns != case.source:
        verdict, stage, hook = "firewall-forward", "forward", "FORWARD"
        if case.holds(netns, address):
            verdict, stage, hook = "firewall-input", "deliver", "INPUT"
        filtered = trail.dropped(verdict, stage, netns, (hook,), *evidence)
        if filtered:
            return filtered
    if operation == "fragmentation-needed":
        return _too_big(trail, netns, address, evidence, request)
    lookup = case.lookup(netns, address)
    found = refusal(trail, netns, address, *evidence)
    if found is None and operation == "host-unreachable":
        found = neighbour(trail, netns, address)
    if found:
        return found
    if operation == "network-unreachable":
        verdict = "no-return-route.router" if trail.back else "no-route"
        return trail.found(verdict, "forward", netns, *evidence, lookup, target=address)
    return trail.found(
        "refused-by-router",
        "forward",
        netns,
        *evidence,
        remaining=("hook-rules",),
        operation=operation.replace("-", " "),
        target=address,
    )


def _retrace(trail: Trail, request: Sighting, *, back: bool) -> None:
    """Notes how far a packet came about whose end an answer tells."""
    case = trail.case
    arrived = follow(trail, matches_request(request), case.target, request)
    trail.back = back
    if back and isinstance(arrived, Sighting):
        match = matches_reply(request)
        for answer in case.seen(match, netns=arrived.frame.netns, leaving=True)[:1]:
            follow(trail, match, arrived.packet.source, answer)


def _expired(
    trail: Trail, error: Sighting, address: str, match: Match, evidence: tuple[object, ...]
) -> Finding:
    """A time to live that was used up: by a loop, or because it was too small."""
    case = trail.case
    netns = error.frame.netns
    passed = case.taken(match)
    places = [s.place for s in passed]
    again = next((s for i, s in enumerate(passed) if s.place in places[:i]), None)
    if again is None:
        return trail.found(
            "ttl-exceeded", "forward", netns, *evidence, ttl=case.seen(match)[0].packet.ttl
        )
    circle = [s for s in passed if places.count(s.place) > 1]
    inside = {s.frame.netns for s in circle}
    hosts = list(dict.fromkeys(host_name(n) for s in passed if (n := s.frame.netns) in inside))
    return trail.found(
        "routing-loop",
        "forward",
        netns,
        circle[0],
        again,
        *evidence,
        *(case.lookup(s, address) for s in dict.fromkeys(c.frame.netns for c in circle)),
        hosts=" and ".join(hosts),
        target=address,
    )


def _too_big(
    trail: Trail, netns: str, address: str, evidence: tuple[object, ...], request: Sighting
) -> Finding:
    case = trail.case
    lookup = case.lookup(netns, address)
    link = case.link((netns, lookup.index)) if lookup and lookup.index else None
    return trail.found(
        "mtu",
        "forward",
        netns,
        *evidence,
        link,
        size=request.size,
        interface=link.name if link else "an interface",
        mtu=link.mtu if link else "less",
        note=MTU_NOTES["told"].format(host=host_name(netns)),
    )
