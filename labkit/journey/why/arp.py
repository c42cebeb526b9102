"""Why a host did not learn the MAC address of its next hop."""

from __future__ import annotations

from labkit.journey.values import Finding, Place
from labkit.journey.weave import Sighting
from labkit.journey.why import link
from labkit.journey.why.findings import THINGS, host_name
from labkit.journey.why.routes import note_route, reverse_path
from labkit.journey.why.trail import Trail, is_at, who_has
from labkit.model.operations import MACHINE


def neighbour(trail: Trail, netns: str, address: str) -> Finding | None:
    """Why a host did not learn its next hop's MAC address; None where it did not ask.

    The question may be older than this packet, which then waits for the same answer.
    """
    case = trail.case
    following = case.next_hop(netns, address)
    match = who_has(following)
    asked = [s for s in case.seen(match, netns=netns, leaving=True) if case.is_end(s.place)]
    row = next(
        (
            row
            for key, row in case.after.space(netns).neighbours.items()
            if key[1] == following and row.state in ("INCOMPLETE", "FAILED")
        ),
        None,
    )
    if not asked and row is None:
        return None
    if asked and case.moment is None:
        case.look_at(asked[0])
    place = asked[0].place if asked or row is None else (netns, row.index)
    note_route(trail, netns, address)
    if asked:
        trail.good("asked", netns, next=following)
    words = {"next": following, "target": address, "interface": case.interface(place)}
    owners = [place for place in case.before.owners(following) if place[0] != netns]
    if not owners:
        verdict = "nobody-has-address"
        if following != address:
            near = case.on_link(netns, following)
            verdict = "gateway-missing" if near else "gateway-outside-subnet"
        lookup = case.lookup(netns, address)
        return trail.found(verdict, "neighbour", netns, lookup, *asked, row, **words)
    ways = [
        (owner, way)
        for owner, index in owners
        if (way := case.reachable(place, owner, index)) is not None
    ]
    if not ways:
        return other_segment(trail, place, following, owners[0], *asked, row)
    if not asked:
        return None
    question = asked[0]
    owner, way = ways[0]
    arrived = link.carried(trail, match, question, way, "neighbour")
    if isinstance(arrived, Finding):
        return arrived
    trail.good("reached", owner, what=THINGS["question"], interface=case.interface(arrived.place))
    answers = case.seen(is_at(following), netns=owner, leaving=True, after=question)
    if not answers:
        return _unanswered(trail, owner, arrived, following)
    trail.good("answered", owner, owner=host_name(owner), next=following)
    back = case.path(answers[0].place, place)
    if back:
        returned = link.carried(trail, is_at(following), answers[0], back, "neighbour")
        if isinstance(returned, Finding):
            return returned
    return None


def other_segment(
    trail: Trail, place: Place, address: str, owner: Place, *evidence: object
) -> Finding:
    """No cable and no bridge leads to the one that has the address."""
    case = trail.case
    netns = place[0]
    addresses = case.before.space(MACHINE).addresses
    loose = None
    for end in (owner, place):
        link = case.link(end)
        peer = case.far_end(link) if link and link.peer_netns == MACHINE else None
        if peer and peer.master is None and not addresses.get(peer.index):
            loose = loose or peer
    kinds = {
        link.kind for space in case.before.namespaces.values() for link in space.links.values()
    } - {"", "veth", "bridge"}
    return trail.found(
        "other-segment.loose" if loose else "other-segment",
        "neighbour",
        netns,
        *evidence,
        case.link(place),
        case.link(owner),
        case.given(owner[0], address),
        loose,
        remaining=() if loose or not kinds else ("tunnel",),
        owner=host_name(owner[0]),
        next=address,
        interface=case.interface(place),
        port=loose.name if loose else "",
    )


def _unanswered(trail: Trail, owner: str, question: Sighting, address: str) -> Finding:
    """Why a host does not answer a question for its own address."""
    case = trail.case
    interface = case.interface(question.place)
    words = {"owner": host_name(owner), "interface": interface, "next": address}
    off = case.setting(owner, f"link/{interface}/arp")
    if off and off.value == "off":
        return trail.found("arp-off", "neighbour", owner, question, off, **words)
    ignoring = case.level(owner, interface, "arp_ignore")
    if ignoring:
        return trail.found(
            "arp-ignored", "neighbour", owner, question, ignoring, value=ignoring.value, **words
        )
    # arp_process (net/ipv4/arp.c) looks for a way as for any packet that comes in.
    filtered = reverse_path(trail, question, counted=False)
    if filtered:
        return filtered
    return trail.found(
        "arp-unanswered",
        "neighbour",
        owner,
        question,
        remaining=("arptables", "address-deleted"),
        **words,
    )
