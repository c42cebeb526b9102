"""Where a packet was lost inside a host: its firewall, its settings, its routes, its ARP."""

from __future__ import annotations

from labkit.journey.values import Finding
from labkit.journey.why.arp import neighbour
from labkit.journey.why.case import Sighting
from labkit.journey.why.findings import MTU_NOTES
from labkit.journey.why.routes import dropped, link_trouble, note_route, refusal, reverse_path
from labkit.journey.why.trail import Trail
from labkit.model import events as ev


def not_sent(trail: Trail, netns: str, address: str) -> Finding:
    """Why a host has sent nothing for an address."""
    case = trail.case
    refused_way = refusal(trail, netns, address)
    if refused_way:
        return refused_way
    note_route(trail, netns, address)
    lookup = case.lookup(netns, address)
    refused = trail.refused("OUTPUT", netns)
    if refused:
        return dropped(trail, "firewall-output", "route", netns, refused)
    if lookup and lookup.index:
        link = case.link((netns, lookup.index))
        trouble = link_trouble(trail, (netns, lookup.index), "route")
        if trouble:
            return trouble
        if "message too long" in case.output.lower() and link:
            return _too_long(trail, netns, link)
    found = neighbour(trail, netns, address)
    if found:
        return found
    return trail.found(
        "not-sent", "route", netns, lookup, remaining=_unseen(address), target=address
    )


def _unseen(address: str) -> tuple[str, ...]:
    """What may have kept a packet in that leaves no trace in the log."""
    return ("hook-rules", "discovery") if ":" in address else ("hook-rules",)


def _too_long(trail: Trail, netns: str, link: ev.LinkSet) -> Finding:
    """The kernel itself refused a packet that may not be cut up (EMSGSIZE)."""
    wanted = trail.case.output.partition("(")[2].partition("(")[2].partition(")")[0]
    return trail.found(
        "mtu",
        "route",
        netns,
        link,
        size=wanted or f"more than {link.mtu}",
        interface=link.name,
        mtu=link.mtu,
        note=MTU_NOTES["own"],
    )


def not_forwarded(trail: Trail, netns: str, address: str, arrived: Sighting) -> Finding:
    """Why a host took a packet in that is not for it, and did not send it on."""
    case = trail.case
    source = arrived.packet.source
    filtered = reverse_path(trail, netns, arrived, source)
    if filtered:
        return filtered
    interface = case.interface(arrived.place)
    off = case.setting(netns, f"net/ipv4/conf/{interface}/forwarding")
    if off and off.value == "0":
        counted = case.grown(netns, "Ip.InAddrErrors")
        return trail.found(
            "forwarding-off", "forward", netns, arrived, off, counted, target=address
        )
    refused_way = refusal(trail, netns, address, arrived)
    if refused_way:
        return refused_way
    note_route(trail, netns, address)
    refused = trail.refused("FORWARD", netns) or trail.refused("PREROUTING", netns)
    if refused:
        return dropped(trail, "firewall-forward", "forward", netns, refused, arrived)
    found = neighbour(trail, netns, address)
    if found:
        return found
    lookup = case.lookup(netns, address)
    if lookup and lookup.index:
        trouble = link_trouble(trail, (netns, lookup.index), "forward")
        if trouble:
            return trouble
    return trail.found(
        "lost-in-stack",
        "forward",
        netns,
        arrived,
        remaining=("hook-rules", "overrun"),
        interface=interface,
        target=address,
    )


def not_answered(trail: Trail, arrived: Sighting) -> Finding:
    """Why the host that a request is for sent no answer."""
    case = trail.case
    netns, source = arrived.frame.netns, arrived.packet.source
    if not _heard_all(trail, netns, arrived):
        refused = trail.refused("INPUT", netns) or trail.refused("PREROUTING", netns)
        if refused:
            return dropped(trail, "firewall-input", "deliver", netns, refused, arrived)
        filtered = reverse_path(trail, netns, arrived, source)
        if filtered:
            return filtered
    ignoring = case.setting(netns, "net/ipv4/icmp_echo_ignore_all")
    if ignoring and ignoring.value == "1" and arrived.packet.operation == "echo-request":
        counted = case.grown(netns, "Icmp.InEchos")
        return trail.found("echo-ignored", "deliver", netns, arrived, ignoring, counted)
    trail.back = True
    refused = trail.refused("OUTPUT", netns)
    if refused:
        return dropped(trail, "firewall-output", "reply", netns, refused, arrived)
    refused_way = refusal(trail, netns, source, arrived)
    if refused_way:
        return refused_way
    found = neighbour(trail, netns, source)
    if found:
        return found
    lookup = case.lookup(netns, source)
    if lookup and lookup.index:
        trouble = link_trouble(trail, (netns, lookup.index), "reply")
        if trouble:
            return trouble
    trail.back = False
    # Whether the packet came as far as the ICMP layer (RFC 1213, icmpInEchos).
    counted = case.grown(netns, "Icmp.InEchos")
    is_echo = arrived.packet.operation == "echo-request"
    remaining = ("hook-rules",) if is_echo else ("hook-rules", "socket-gone")
    return trail.found("no-answer", "deliver", netns, arrived, counted, remaining=remaining)


def _heard_all(trail: Trail, netns: str, arrived: Sighting) -> bool:
    """Whether every echo request that came in reached the ICMP layer (icmpInEchos, RFC 1213).

    Then neither the packet filter's INPUT nor the reverse-path filter has dropped one.
    """
    heard = trail.case.counted(netns, "Icmp.InEchos")
    if heard is None or arrived.packet.operation != "echo-request":
        return False
    came = [
        s
        for s in trail.case.seen(
            lambda p: p.operation == "echo-request", netns=netns, leaving=False
        )
        if s.frame.packet_type == "host" and trail.case.is_end(s.place)
    ]
    return heard >= len(came)


def not_taken(trail: Trail, arrived: Sighting, sent: Sighting) -> Finding:
    """Why an answer that came back did not reach the program that waited for it."""
    case = trail.case
    netns = arrived.frame.netns
    refused = trail.refused("INPUT", netns) or trail.refused("PREROUTING", netns)
    if refused:
        return dropped(trail, "firewall-input", "reply", netns, refused, arrived)
    filtered = reverse_path(trail, netns, arrived, arrived.packet.source)
    if filtered:
        return filtered
    interface = case.interface(arrived.place)
    ended = max(
        (e.at for e in case.log[case.first : case.last + 1] if isinstance(e, ev.ProcessEnded)),
        default=None,
    )
    if ended is not None and arrived.frame.at > ended - 1_000_000:
        passed = (arrived.frame.at - sent.frame.at) / 1e6
        return trail.found(
            "answered-late",
            "reply",
            netns,
            sent,
            arrived,
            interface=interface,
            milliseconds=f"{passed:.0f}",
        )
    return trail.found(
        "answer-not-taken",
        "reply",
        netns,
        arrived,
        remaining=("hook-rules", "socket-gone"),
        interface=interface,
    )
