"""Where a frame was lost between two interfaces: cables, ports, and the tables of bridges."""

from __future__ import annotations

import itertools

import msgspec

from labkit.journey.values import Finding
from labkit.journey.why.case import Case, Hop, Match, Sighting
from labkit.journey.why.findings import MTU_NOTES, host_name
from labkit.journey.why.routes import link_trouble
from labkit.journey.why.trail import Trail
from labkit.model import events as ev
from labkit.model.operations import MACHINE

ETHERNET = 14
"""Bytes of the Ethernet header, which the MTU does not count."""


class Gap(msgspec.Struct, frozen=True):
    """A frame was last seen `here`, and not at the next place of its way, `there`."""

    match: Match
    here: Hop
    there: Hop
    last: Sighting
    stage: str

    @property
    def size(self) -> int:
        """The packet's bytes, as an MTU counts them."""
        return (self.last.frame.length or len(self.last.frame.data)) - ETHERNET


def carried(
    trail: Trail, match: Match, sent: Sighting, way: list[Hop], stage: str
) -> Sighting | Finding:
    """Follows a frame along a way: where it came out at the end, or why it did not."""
    last = sent
    for here, there in itertools.pairwise(way):
        found = [
            s
            for s in trail.case.seen(match, place=there.place, leaving=there.leaving)
            if s.follows(sent) and s.packet.ttl == sent.packet.ttl
        ]
        if not found:
            gap = Gap(match, here, there, last, stage)
            # A cable leads from what leaves one interface to what comes in at another.
            if here.leaving and not there.leaving:
                return _lost_in_cable(trail, gap)
            return _lost_in_bridge(trail, gap)
        last = found[0]
    return last


# Cables


def _lost_in_cable(trail: Trail, gap: Gap) -> Finding:
    case = trail.case
    ends = (case.link(gap.here.place), case.link(gap.there.place))
    for end, place in zip(ends, (gap.here.place, gap.there.place), strict=True):
        trouble = link_trouble(trail, place, gap.stage) if end and not end.is_up else None
        if trouble:
            return trouble
    return _too_big(trail, gap) or trail.found(
        "lost-in-cable",
        gap.stage,
        gap.here.place[0],
        gap.last,
        *ends,
        remaining=("overrun",),
        interface=case.interface(gap.here.place),
        other_host=host_name(gap.there.place[0]),
        other=case.interface(gap.there.place),
    )


def _too_big(trail: Trail, gap: Gap) -> Finding | None:
    """Whether an interface's MTU is too small: it then drops the frame without a word."""
    netns = gap.there.place[0]
    link = trail.case.link(gap.there.place)
    if link is None or not link.mtu or gap.size <= link.mtu:
        return None
    return trail.found(
        "mtu",
        gap.stage,
        netns,
        gap.last,
        link,
        size=gap.size,
        interface=link.name,
        mtu=link.mtu,
        note=MTU_NOTES["silent"],
    )


# Bridges


def _lost_in_bridge(trail: Trail, gap: Gap) -> Finding:
    """Why a bridge did not pass a frame on to where it should have gone."""
    case = trail.case
    entry, leave = case.link(gap.here.place), case.link(gap.there.place)
    bridge = _bridge(case, entry)
    if bridge is None or entry is None or leave is None:
        return _in_bridge(trail, gap, "a bridge")
    if not bridge.is_up:
        words = {"bridge": bridge.name}
        return trail.found("bridge-down", gap.stage, MACHINE, bridge, gap.last, **words)
    for link in (*case.links(gap.here.place), *case.links(gap.there.place)):
        if link.index != bridge.index and (trouble := _port_trouble(trail, gap, link, bridge)):
            return trouble
    if entry.isolated and leave.isolated:
        return trail.found(
            "port-isolated",
            gap.stage,
            MACHINE,
            gap.last,
            entry,
            leave,
            port=entry.name,
            other=leave.name,
            bridge=bridge.name,
        )
    return (
        _too_big(trail, gap)
        or _astray(trail, gap, bridge)
        or _filtered(trail, gap, bridge)
        or _in_bridge(trail, gap, bridge.name)
    )


def _bridge(case: Case, entry: ev.LinkSet | None) -> ev.LinkSet | None:
    """The bridge that an interface is, or is a port of."""
    if entry is None or entry.kind == "bridge":
        return entry
    return case.link((entry.netns, entry.master)) if entry.master is not None else None


def _filtered(trail: Trail, gap: Gap, bridge: ev.LinkSet) -> Finding | None:
    """Whether iptables dropped what the bridge should pass on (br_netfilter)."""
    setting = trail.case.setting(MACHINE, "net/bridge/bridge-nf-call-iptables")
    rule = trail.refused(MACHINE, "FORWARD")
    is_ip = gap.last.packet.protocol != "ARP"
    if not (setting and setting.value == "1" and rule and is_ip):
        return None
    evidence = (gap.last, setting, *trail.rules(MACHINE))
    words = {"bridge": bridge.name, "rule": rule.text}
    return trail.found("bridge-netfilter", gap.stage, MACHINE, *evidence, **words)


def _in_bridge(trail: Trail, gap: Gap, bridge: str) -> Finding:
    case = trail.case
    return trail.found(
        "lost-in-bridge",
        gap.stage,
        MACHINE,
        gap.last,
        case.link(gap.here.place),
        case.link(gap.there.place),
        remaining=("bridge-rules", "bridge-vlan", "hook-rules"),
        bridge=bridge,
        port=case.interface(gap.here.place),
        other=case.interface(gap.there.place),
    )


def _port_trouble(trail: Trail, gap: Gap, link: ev.LinkSet, bridge: ev.LinkSet) -> Finding | None:
    """Whether a port lets nothing through: it, or its cable's other end, or STP's state."""
    peer = trail.case.far_end(link)
    if peer and not link.is_up:
        return trail.found(
            "cable-unplugged",
            gap.stage,
            peer.netns,
            gap.last,
            link,
            peer,
            interface=peer.name,
            other_host=host_name(link.netns),
            other=link.name,
        )
    if peer and not peer.is_up:  # the port's own carrier may go a moment later
        return trail.found(
            "interface-down", gap.stage, peer.netns, gap.last, peer, link, interface=peer.name
        )
    if link.port_state not in (None, "forwarding"):
        return trail.found(
            "port-blocked",
            gap.stage,
            MACHINE,
            gap.last,
            link,
            port=link.name,
            bridge=bridge.name,
            state=link.port_state,
        )
    return None


def _astray(trail: Trail, gap: Gap, bridge: ev.LinkSet) -> Finding | None:
    """Whether the bridge's table sent a frame to another port than the right one."""
    case = trail.case
    mac, right = gap.last.packet.target_mac, gap.there.place
    rows = [
        row
        for state in (case.before, case.after)
        for row in state.space(MACHINE).fdb.values()
        if (row.bridge, row.mac) == (bridge.index, mac) and row.port not in (right[1], bridge.index)
    ]
    if not rows or gap.last.packet.is_broadcast:
        return None
    row = rows[0]
    elsewhere = [
        s
        for s in case.seen(gap.match, place=(MACHINE, row.port), leaving=True)
        if s.follows(gap.last)
    ]
    evidence = (gap.last, row, *elsewhere[:1])
    words = {
        "bridge": bridge.name,
        "mac": mac,
        "port": case.interface((MACHINE, row.port)),
        "right": case.interface(right),
    }
    if row.kind == "permanent":
        return trail.found("wrong-fdb", gap.stage, MACHINE, *evidence, **words)
    twins = [
        link
        for space in case.before.namespaces.values()
        for link in space.links.values()
        if link.mac == mac and link.master is None
    ]
    if len(twins) < 2:
        return trail.found("stale-fdb", gap.stage, MACHINE, *evidence, **words)
    first, second = (f"{host_name(twin.netns)} {twin.name}" for twin in twins[:2])
    return trail.found(
        "duplicate-mac",
        gap.stage,
        MACHINE,
        *evidence,
        *twins[:2],
        first=first,
        second=second,
        **words,
    )
