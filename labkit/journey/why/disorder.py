"""What is out of order even where there is an answer: addresses that two hosts have."""

from __future__ import annotations

from labkit.journey.values import Finding
from labkit.journey.weave import Sighting
from labkit.journey.why.case import Case
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
    for asker, address in _next_hops(case):
        answers: dict[str, Sighting] = {}
        for s in case.seen(is_at(address), netns=asker, leaving=False):
            if case.is_end(s.place):
                answers.setdefault(s.packet.sender_mac, s)
        if len(answers) > 1:
            return _two_answers(trail, asker, address, list(answers)[:2])
    return _another_host(trail)


def _next_hops(case: Case) -> list[tuple[str, str]]:
    """Who has to ask for whose MAC address on the way there and back."""
    found = [
        (event.netns, event.gateway or event.destination)
        for event in case.events
        if isinstance(event, ev.RouteLookup) and event.error is None
    ]
    return list(dict.fromkeys([*found, (case.source, case.next_hop(case.source, case.target))]))


def _two_answers(trail: Trail, asker: str, address: str, macs: list[str]) -> Finding:
    case = trail.case
    evidence, names, claims = [], [], []
    for mac in macs:
        sent = next(s for s in case.seen(is_at(address)) if s.packet.sender_mac == mac)
        evidence.append(sent)
        names.append(host_name(sent.frame.netns))
        if not case.holds(sent.frame.netns, address):
            claims.append(host_name(sent.frame.netns))
    verdict = "duplicate-address.claimed" if claims else "duplicate-address"
    return trail.found(
        verdict,
        "neighbour",
        asker,
        *evidence,
        next=address,
        first=names[0],
        first_mac=macs[0],
        second=names[1],
        second_mac=macs[1],
        claims=" and ".join(claims),
    )


def _another_host(trail: Trail) -> Finding | None:
    """Who got the requests though ARP was warm, and who else on that network has the address."""
    case = trail.case
    owners = dict(reversed(case.before.owners(case.target)))
    if len(owners) < 2:
        return None
    got = [
        s
        for request in requests_of(case)
        for s in case.taken(matches_request(request))
        if s.frame.netns in owners
    ]
    others = [
        netns
        for netns in owners
        if got and netns != got[0].frame.netns and case.reachable(got[0].place, netns)
    ]
    if not others:
        return None
    reached = got[0].frame.netns
    other = case.named if case.named in others else others[0]
    given = [case.given(netns, case.target) for netns in (reached, other)]
    return trail.found(
        "duplicate-address",
        "neighbour",
        case.source,
        got[0],
        *given,
        next=case.target,
        first=host_name(reached),
        first_mac=mac_of(case, (reached, owners[reached])),
        second=host_name(other),
        second_mac=mac_of(case, (other, owners[other])),
    )


def flapping(trail: Trail) -> Finding | None:
    """Whether a row of a CAM table moved to and fro."""
    case = trail.case
    known = {
        (row.bridge, row.mac): [row]
        for row in case.before.space(MACHINE).fdb.values()
        if row.kind == "learned"
    }
    rows: dict[tuple[int, str], list[ev.FdbSet]] = {}
    for event in case.events:
        if isinstance(event, ev.FdbSet) and event.kind == "learned":
            key = (event.bridge, event.mac)
            seen = rows.setdefault(key, known.get(key, []))
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
