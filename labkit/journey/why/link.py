"""Where a frame was lost between two interfaces: cables, ports, and the tables of bridges."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import msgspec

from labkit.journey.values import Finding
from labkit.journey.weave import Sighting
from labkit.journey.why.case import Case, Hop, Match
from labkit.journey.why.findings import MTU_NOTES, host_name
from labkit.journey.why.trail import Trail
from labkit.model import events as ev
from labkit.model.operations import MACHINE


class Gap(msgspec.Struct, frozen=True):
    """A frame was last seen `here`, and not at the next place of its way, `there`."""

    trail: Trail
    match: Match
    here: Hop
    there: Hop
    last: Sighting
    stage: str

    def found(
        self,
        verdict: str,
        netns: str,
        *evidence: object,
        remaining: Iterable[str] = (),
        **words: object,
    ) -> Finding:
        """The finding, which rests on where the frame was seen last, too."""
        rests = (self.last, *evidence)
        return self.trail.found(verdict, self.stage, netns, *rests, remaining=remaining, **words)


def carried(
    trail: Trail, match: Match, sent: Sighting, way: list[Hop], stage: str
) -> Sighting | Finding:
    """Follows a frame along a way: where it came out at the end, or why it did not."""
    last = sent
    for here, there in itertools.pairwise(way):
        came = trail.case.seen(match, place=there.place, leaving=there.leaving, after=sent)
        found = [s for s in came if s.packet.ttl == sent.packet.ttl]
        if not found:
            gap = Gap(trail, match, here, there, last, stage)
            # A cable leads from what leaves one interface to what comes in at another.
            if here.leaving and not there.leaving:
                return _lost_in_cable(gap)
            return _lost_in_bridge(gap)
        last = found[0]
    return last


# Cables


def _lost_in_cable(gap: Gap) -> Finding:
    case = gap.trail.case
    ends = (case.link(gap.here.place), case.link(gap.there.place))
    for end in ends:
        if end and not end.is_up:
            words = {"interface": end.name}
            return gap.trail.found("interface-down", gap.stage, end.netns, end, **words)
    return _too_big(gap) or gap.found(
        "lost-in-cable",
        gap.here.place[0],
        *ends,
        remaining=("overrun",),
        interface=case.interface(gap.here.place),
        other_host=host_name(gap.there.place[0]),
        other=case.interface(gap.there.place),
    )


def _too_big(gap: Gap) -> Finding | None:
    """Whether an interface's MTU is too small: it then drops the frame without a word."""
    link = gap.trail.case.link(gap.there.place)
    if link is None or not link.mtu or gap.last.size <= link.mtu:
        return None
    return gap.found(
        "mtu",
        link.netns,
        link,
        size=gap.last.size,
        interface=link.name,
        mtu=link.mtu,
        note=MTU_NOTES["silent"],
    )


# Bridges


def _lost_in_bridge(gap: Gap) -> Finding:
    """Why a bridge did not pass a frame on to where it should have gone."""
    case = gap.trail.case
    entry, leave = case.link(gap.here.place), case.link(gap.there.place)
    bridge = _bridge(case, entry)
    if bridge is None or entry is None or leave is None:
        return _in_bridge(gap, "a bridge")
    if not bridge.is_up:
        return gap.found("bridge-down", MACHINE, bridge, bridge=bridge.name)
    for link in (*case.links(gap.here.place), *case.links(gap.there.place)):
        if link.index != bridge.index and (trouble := _port_trouble(gap, link, bridge)):
            return trouble
    if entry.isolated and leave.isolated:
        words = {"port": entry.name, "other": leave.name, "bridge": bridge.name}
        return gap.found("port-isolated", MACHINE, entry, leave, **words)
    return (
        _too_big(gap)
        or _astray(gap, bridge)
        or _filtered(gap, bridge)
        or _in_bridge(gap, bridge.name)
    )


def _bridge(case: Case, entry: ev.LinkSet | None) -> ev.LinkSet | None:
    """The bridge that an interface is, or is a port of."""
    if entry is None or entry.kind == "bridge":
        return entry
    return case.link((entry.netns, entry.master)) if entry.master is not None else None


def _filtered(gap: Gap, bridge: ev.LinkSet) -> Finding | None:
    """Whether iptables dropped what the bridge should pass on (br_netfilter)."""
    setting = gap.trail.case.setting(MACHINE, "net/bridge/bridge-nf-call-iptables")
    rule = gap.trail.refused(MACHINE, "FORWARD")
    is_ip = gap.last.packet.protocol != "ARP"
    if not (setting and setting.value == "1" and rule and is_ip):
        return None
    words = {"bridge": bridge.name, "rule": rule.text}
    return gap.found("bridge-netfilter", MACHINE, setting, *gap.trail.rules(MACHINE), **words)


def _in_bridge(gap: Gap, bridge: str) -> Finding:
    case = gap.trail.case
    return gap.found(
        "lost-in-bridge",
        MACHINE,
        case.link(gap.here.place),
        case.link(gap.there.place),
        remaining=("bridge-rules", "bridge-vlan", "hook-rules"),
        bridge=bridge,
        port=case.interface(gap.here.place),
        other=case.interface(gap.there.place),
    )


def _port_trouble(gap: Gap, link: ev.LinkSet, bridge: ev.LinkSet) -> Finding | None:
    """Whether a port lets nothing through: it, or its cable's other end, or STP's state."""
    peer = gap.trail.case.far_end(link)
    if peer and not link.is_up:
        words = {"interface": peer.name, "other_host": host_name(link.netns), "other": link.name}
        return gap.found("cable-unplugged", peer.netns, link, peer, **words)
    if peer and not peer.is_up:  # the port's own carrier may go a moment later
        return gap.found("interface-down", peer.netns, peer, link, interface=peer.name)
    if link.port_state not in (None, "forwarding"):
        words = {"port": link.name, "bridge": bridge.name, "state": link.port_state}
        return gap.found("port-blocked", MACHINE, link, **words)
    return None


def _astray(gap: Gap, bridge: ev.LinkSet) -> Finding | None:
    """Whether the bridge's table sent a frame to another port than the right one."""
    case = gap.trail.case
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
    port = (MACHINE, row.port)
    evidence = (row, *case.seen(gap.match, place=port, leaving=True, after=gap.last)[:1])
    words = {
        "bridge": bridge.name,
        "mac": mac,
        "port": case.interface(port),
        "right": case.interface(right),
    }
    if row.kind == "permanent":
        return gap.found("wrong-fdb", MACHINE, *evidence, **words)
    twins = [
        link
        for space in case.before.namespaces.values()
        for link in space.links.values()
        if link.mac == mac and link.master is None
    ]
    if len(twins) < 2:
        return gap.found("stale-fdb", MACHINE, *evidence, **words)
    first, second = (f"{host_name(twin.netns)} {twin.name}" for twin in twins[:2])
    words |= {"first": first, "second": second}
    return gap.found("duplicate-mac", MACHINE, *evidence, *twins[:2], **words)
