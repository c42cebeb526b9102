"""A journey made of a part of a recording."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from labkit.journey import Journey
from labkit.journey.sentences import say
from labkit.journey.tables import LAG, LATE, Numbered, Tables
from labkit.journey.tell import Teller
from labkit.journey.values import Step
from labkit.journey.weave import Sighting, Topology, sightings
from labkit.model import events as ev

if TYPE_CHECKING:
    from labkit.recording import Recording

MOST = 4000
"""Frames that a journey explains one by one: the first ones."""
TELLING = 500_000_000
"""The same as `LAG` for frames that were dropped: their word waits for those taken before."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The ping that a journey is about: from a namespace, to an address, and how it went."""

    host: str
    netns: str
    target: str
    sent: int
    received: int


def build(
    recording: Recording,
    start: int | None = None,
    end: int | None = None,
    *,
    first: int = 0,
    question: Question | None = None,
    title: str = "",
) -> Journey:
    """The journey of the packets between two times, in nanoseconds since the epoch.

    Events before number `first` are left out: the log's order holds where a clock was set back.
    With a `question` it is about that ping alone, and all else is noise. Raises LabkitError for
    a time that the log has forgotten.
    """
    start = start if start is not None else recording.begins
    recording.check_kept(start)
    end = end if end is not None else recording.now()
    before, after = recording.state(start - 1), recording.state(end)
    window = recording.between(start, end + LAG)
    frames = [
        (number, event)
        for number, event in recording.between(start, end + LATE)
        if isinstance(event, ev.Frame) and number >= first and start <= event.at <= end
    ]
    frames.sort(key=lambda one: one[1].at)
    topology = Topology(before, after)
    left_out = len(frames) - MOST
    if left_out > 0 and question is not None:  # then those that name one of the two come first
        own = {ipaddress.ip_address(one).packed for one in topology.addresses(question.netns)}
        names = {ipaddress.ip_address(question.target).packed, *own}
        frames.sort(key=lambda one: not any(name in one[1].data for name in names))
    seen = sightings(frames[:MOST], topology)
    tables = Tables(recording, before, window)
    roots = [s for s in seen if s.how not in ("cable", "bridge")]
    wanted = _wanted(roots, topology, question)
    steps, noise = _tell(roots, wanted, Teller(topology, tables, roots), tables, question)
    if question is not None and question.received < question.sent:
        refused = any(root.packet.quoted and root.number in wanted for root in roots)
        steps.append(_unanswered(question, window, end, "timeout.error" if refused else "timeout"))
    return Journey(
        recording,
        steps,
        begins=start,
        ends=end,
        title=title or f"{len(seen)} sightings of frames",
        noise=noise,
        lost=sum(
            event.count or 0
            for _, event in recording.between(start, end + TELLING)
            if isinstance(event, ev.Lost) and event.what == "frames"
        ),
        left_out=max(left_out, 0),
    )


def _tell(
    roots: Sequence[Sighting],
    wanted: set[int],
    teller: Teller,
    tables: Tables,
    question: Question | None,
) -> tuple[list[Step], list[Step]]:
    """The steps, and the noise, in the order in which they began."""
    steps: list[Step] = []
    noise: list[Step] = []
    spaces = {s.place[0] for root in roots if root.number in wanted for s in root.tree()}
    if question is not None:
        spaces.add(question.netns)

    def pass_until(at: int) -> None:
        for number, event in tables.pass_until(at):
            matters = event.state in ("INCOMPLETE", "FAILED") and event.netns in spaces
            (steps if matters else noise).append(teller.change(number, event))

    if question is not None:
        first = next((root.at for root in roots if root.number in wanted), None)
        steps += teller.way(question.netns, question.target, first)
    for root in roots:
        pass_until(root.at)
        if root.number in wanted:
            steps += teller.chain(root)
        else:
            noise.append(teller.noise(root))
    pass_until(1 << 63)
    return steps, noise


def _wanted(roots: Sequence[Sighting], topology: Topology, question: Question | None) -> set[int]:
    """The numbers of the roots that the journey is about."""
    if question is None:
        return {root.number for root in roots if not root.is_background}
    root_of = {s.number: root for root in roots for s in root.tree()}
    own = topology.addresses(question.netns)
    found: set[int] = set()

    def follows(root: Sighting) -> bool:
        return root.cause is not None and root_of[root.cause.number].number in found

    for root in roots:
        packet = root.packet
        asks = (
            packet.operation == "echo-request"
            and root.place[0] == question.netns
            and packet.target == question.target
        )
        quotes = packet.quoted is not None and packet.quoted.target == question.target
        if asks or quotes or (not packet.resolves and follows(root)):
            found.add(root.number)
    spaces = {question.netns, topology.owner(question.target) or question.netns}
    for number in found:
        for s in root_of[number].tree():
            if s.frame.packet_type in ("host", "outgoing") and topology.bridge(s.place) is None:
                spaces.add(s.place[0])
    hops = {question.target, *own}
    for netns in spaces:
        hops |= topology.addresses(netns)
        for state in (topology.before, topology.after):
            hops |= {row.gateway for row in state.space(netns).routes.values() if row.gateway}
    for root in roots:
        packet = root.packet
        if not packet.resolves or root.is_background:
            continue
        asks = packet.asks and root.place[0] in spaces and packet.target in hops
        if asks or follows(root):
            found.add(root.number)
    return found


def _unanswered(question: Question, window: Iterable[Numbered], end: int, key: str) -> Step:
    """The end of a ping that has waited for nothing."""
    ended = [number for number, event in window if isinstance(event, ev.ProcessEnded)]
    return Step(
        kind="timeout",
        host=question.host,
        text=say(key, host=question.host, target=question.target),
        evidence=tuple(ended[-1:]),
        at=end,
        protocol="ICMP",
    )
