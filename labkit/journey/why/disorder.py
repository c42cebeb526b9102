"""What is out of order even where there is an answer: addresses that two hosts have."""

from __future__ import annotations

from labkit.journey.values import Finding
from labkit.journey.why.case import Sighting
from labkit.journey.why.findings import host_name
from labkit.journey.why.follow import mac_of, matches_request, requests_of
from labkit.journey.why.trail import Trail, is_at
from labkit.model import events as ev
from labkit.model.operations import MACHINE

FLAPS = 2
"""Moves of an FDB row during one ping that are no accident."""


def duplicate_address(trail: Trail) -> Finding | None:
    """Whether two hosts answered for one address, or another one than was meant."""
    case = trail.case
    following = case.next_hop(case.source, case.target)
    answers: dict[str, Sighting] = {}
    for s in case.seen(is_at(following), leaving=True):
        if case.is_end(s.place):
            answers.setdefault(s.packet.sender_mac, s)
    owners = case.owners(following)
    if len(answers) > 1:
        first, second = list(answers.values())[:2]
        return trail.found(
            "duplicate-address",
            "neighbour",
            case.source,
            first,
            second,
            next=following,
            first=host_name(first.frame.netns),
            first_mac=first.packet.sender_mac,
            second=host_name(second.frame.netns),
            second_mac=second.packet.sender_mac,
        )
    holders = list(dict.fromkeys(netns for netns, _ in owners))
    if len(holders) < 2 or following != case.target:
        return None
    # ARP was warm, or one of the two was not reached: who got the requests?
    got = [
        s
        for r in requests_of(case)
        for s in case.seen(matches_request(r), leaving=False)
        if s.frame.netns in holders and s.frame.packet_type == "host"
    ]
    if not got:
        return None
    reached = got[0].frame.netns
    other = case.named if case.named not in (None, reached) else None
    other = other or next(netns for netns in holders if netns != reached)
    places = {netns: place for place in reversed(owners) for netns in place[:1]}
    return trail.found(
        "duplicate-address",
        "neighbour",
        case.source,
        got[0],
        case.link(places[reached]),
        case.link(places[other]) if other in places else None,
        next=following,
        first=host_name(reached),
        first_mac=mac_of(case, places[reached]),
        second=host_name(other),
        second_mac=mac_of(case, places[other]) if other in places else "?",
    )


def flapping(trail: Trail) -> Finding | None:
    """Whether a row of a CAM table moved to and fro."""
    case = trail.case
    rows: dict[tuple[int, str], list[ev.FdbSet]] = {}
    for event in case.log[case.first : case.last + 1]:
        if isinstance(event, ev.FdbSet) and event.kind == "learned":
            seen = rows.setdefault((event.bridge, event.mac), [])
            if not seen:
                seen += [
                    row
                    for row in case.before.space(MACHINE).fdb.values()
                    if (row.bridge, row.mac, row.kind) == (event.bridge, event.mac, "learned")
                ]
            if not seen or seen[-1].port != event.port:
                seen.append(event)
    for (bridge, mac), seen in rows.items():
        if len(seen) > FLAPS:
            return trail.found(
                "mac-flapping",
                "bridge",
                MACHINE,
                *seen,
                bridge=case.interface((MACHINE, bridge)),
                mac=mac,
                first=case.interface((MACHINE, seen[-2].port)),
                second=case.interface((MACHINE, seen[-1].port)),
                count=len(seen) - 1,
            )
    return None
