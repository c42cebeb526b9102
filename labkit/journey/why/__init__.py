"""Why a ping failed, from evidence: how far the packet came, and what stopped it there.

`explain` follows the request from host to host, and the reply back (`follow`). From one host to
the next it knows the way that a frame has to take through cables and bridges, and looks for the
first place of that way at which it was not seen (`link`). Inside a host it asks routes, ARP,
firewall, settings and counters (`stack`, `routes`, `arp`). docs/why.md lists the verdicts.
"""

from __future__ import annotations

from labkit.journey.values import Finding
from labkit.journey.why import stack
from labkit.journey.why.case import Case
from labkit.journey.why.disorder import duplicate_address, flapping
from labkit.journey.why.evidence import Evidence
from labkit.journey.why.follow import answers, follow, matches_reply, matches_request, requests_of
from labkit.journey.why.refusals import icmp_error, refused_by_target
from labkit.journey.why.trail import Trail

__all__ = ["Case", "Evidence", "explain"]


def explain(case: Case) -> Finding | None:
    """Why the exchange failed; for one that did not, what is out of order all the same.

    None where nothing is.
    """
    trail = Trail(case)
    twice = duplicate_address(trail)
    if case.answered:
        return twice or flapping(trail)
    found = _failure(trail)
    return twice if twice and found.verdict != "duplicate-mac" else found


def _failure(trail: Trail) -> Finding:
    """Follows the request, and then its reply, to where it was lost."""
    case = trail.case
    requests = requests_of(case)
    lost = [request for request in requests if not answers(case, request)]
    if not requests or (not lost and len(requests) < case.sent):
        return stack.not_sent(trail, case.source, case.target)
    request = (lost or requests)[0]
    case.look_at(request)
    refused = refused_by_target(trail, request)
    if refused:
        return refused
    reported = icmp_error(trail, request)
    if reported:
        return reported
    arrived = follow(trail, matches_request(request), case.target, request)
    if isinstance(arrived, Finding):
        return arrived
    target = arrived.frame.netns
    match = matches_reply(request)
    sent = case.seen(match, netns=target, leaving=True, after=arrived)
    if not sent:
        translated = trail.translated(target)
        if translated and not case.holds(target, translated):
            return stack.not_forwarded(trail, translated, arrived)
        return stack.not_answered(trail, arrived)
    trail.back = True
    back = follow(trail, match, arrived.packet.source, sent[0])
    if isinstance(back, Finding):
        return back
    if back.frame.netns != case.source:  # a router that should have translated it back
        return stack.not_forwarded(trail, request.packet.source, back)
    return stack.not_taken(trail, back, request)
