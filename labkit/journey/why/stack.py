"""Where a packet was lost inside a host: its firewall, its settings, its routes, its ARP."""

from __future__ import annotations

from labkit.journey.values import Finding
from labkit.journey.weave import Sighting
from labkit.journey.why.arp import neighbour
from labkit.journey.why.findings import MTU_NOTES
from labkit.journey.why.routes import note_route, refusal, reverse_path, way_trouble
from labkit.journey.why.trail import Trail
from labkit.model import events as ev


def not_sent(trail: Trail, netns: str, address: str) -> Finding:
    """Why a host has sent nothing for an address."""
    lookup = trail.case.lookup(netns, address)
    refused_way = refusal(trail, netns, address)
    if refused_way:
        return refused_way
    note_route(trail, netns, address)
    unseen = ("hook-rules", "discovery") if ":" in address else ("hook-rules",)
    return (
        trail.dropped("firewall-output", "route", netns, ("OUTPUT",))
        or way_trouble(trail, netns, address, "route")
        or _too_long(trail, netns, lookup)
        or neighbour(trail, netns, address)
        or trail.found("not-sent", "route", netns, lookup, remaining=unseen, target=address)
    )


def _too_long(trail: Trail, netns: str, lookup: ev.RouteLookup | None) -> Finding | None:
    """Whether the kernel itself refused a packet that may not be cut up (EMSGSIZE)."""
    link = trail.case.link((netns, lookup.index)) if lookup else None
    if link is None or "message too long" not in trail.case.output.lower():
        return None
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


def not_forwarded(trail: Trail, address: str, arrived: Sighting) -> Finding:
    """Why a host took a packet in that is not for it, and did not send it on."""
    netns = arrived.frame.netns
    not_allowed = (
        reverse_path(trail, arrived)
        or _forwarding_off(trail, address, arrived)
        or refusal(trail, netns, address, arrived)
    )
    if not_allowed:
        return not_allowed
    note_route(trail, netns, address)
    return (
        trail.dropped("firewall-forward", "forward", netns, ("FORWARD", "PREROUTING"), arrived)
        or neighbour(trail, netns, address)
        or way_trouble(trail, netns, address, "forward")
        or trail.found(
            "lost-in-stack",
            "forward",
            netns,
            arrived,
            remaining=("hook-rules", "overrun"),
            interface=trail.case.interface(arrived.place),
            target=address,
        )
    )


def _forwarding_off(trail: Trail, address: str, arrived: Sighting) -> Finding | None:
    case, netns = trail.case, arrived.frame.netns
    interface = case.interface(arrived.place)
    off = case.setting(netns, f"net/ipv4/conf/{interface}/forwarding")
    if off is None or off.value != "0":
        return None
    counted = case.grown(netns, "Ip.InAddrErrors")
    return trail.found("forwarding-off", "forward", netns, arrived, off, counted, target=address)


def not_answered(trail: Trail, arrived: Sighting) -> Finding:
    """Why the host that a request is for sent no answer."""
    netns, source = arrived.frame.netns, arrived.packet.source
    found = None if _heard_all(trail, arrived) else _kept_out(trail, "deliver", arrived)
    found = found or _echo_ignored(trail, arrived)
    if found:
        return found
    trail.back = True
    found = (
        trail.dropped("firewall-output", "reply", netns, ("OUTPUT",), arrived)
        or refusal(trail, netns, source, arrived)
        or neighbour(trail, netns, source)
        or way_trouble(trail, netns, source, "reply")
    )
    if found:
        return found
    trail.back = False
    # Whether the packet came as far as the ICMP layer (RFC 1213, icmpInEchos).
    counted = trail.case.grown(netns, "Icmp.InEchos")
    is_echo = arrived.packet.operation == "echo-request"
    remaining = ("hook-rules",) if is_echo else ("hook-rules", "socket-gone")
    return trail.found("no-answer", "deliver", netns, arrived, counted, remaining=remaining)


def _kept_out(trail: Trail, stage: str, arrived: Sighting) -> Finding | None:
    """Whether the packet filter or the reverse-path filter dropped what was for this host."""
    hooks = ("INPUT", "PREROUTING")
    refused = trail.dropped("firewall-input", stage, arrived.frame.netns, hooks, arrived)
    return refused or reverse_path(trail, arrived)


def _echo_ignored(trail: Trail, arrived: Sighting) -> Finding | None:
    netns = arrived.frame.netns
    ignoring = trail.case.setting(netns, "net/ipv4/icmp_echo_ignore_all")
    is_echo = arrived.packet.operation == "echo-request"
    if ignoring is None or ignoring.value != "1" or not is_echo:
        return None
    counted = trail.case.grown(netns, "Icmp.InEchos")
    return trail.found("echo-ignored", "deliver", netns, arrived, ignoring, counted)


def _heard_all(trail: Trail, arrived: Sighting) -> bool:
    """Whether every echo request that came in reached the ICMP layer (icmpInEchos, RFC 1213).

    Then neither the packet filter's INPUT nor the reverse-path filter has dropped one.
    """
    netns = arrived.frame.netns
    heard = trail.case.counted(netns, "Icmp.InEchos")
    if heard is None or arrived.packet.operation != "echo-request":
        return False
    came = trail.case.taken(lambda p: p.operation == "echo-request", netns=netns)
    return heard >= len(came)


def not_taken(trail: Trail, arrived: Sighting, sent: Sighting) -> Finding:
    """Why an answer that came back did not reach the program that waited for it."""
    case = trail.case
    netns = arrived.frame.netns
    found = _kept_out(trail, "reply", arrived)
    if found:
        return found
    interface = case.interface(arrived.place)
    ended = max((e.at for e in case.events if isinstance(e, ev.ProcessEnded)), default=None)
    if ended is not None and arrived.at > ended - 1_000_000:
        passed = (arrived.at - sent.at) / 1e6
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
