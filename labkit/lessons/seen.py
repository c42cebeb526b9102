"""What checks and predictions see of the packets themselves: captured frames, decoded."""

from __future__ import annotations

import msgspec

from labkit.journey.packets import Packet, decode
from labkit.lessons.look import Look
from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State


class Sight(msgspec.Struct, frozen=True):
    """A captured frame: its number in the log, where it was seen, and what it says.

    `host` is the name of the host whose stack sent or got it; for a bridge's port, which has
    no stack of its own, it is empty.
    """

    number: int
    frame: ev.Frame
    packet: Packet
    host: str

    @property
    def is_sent(self) -> bool:
        """Whether the interface sent it."""
        return self.frame.is_outgoing


def sights(
    look: Look, *, host: str | None = None, sent: bool | None = None, **says: object
) -> list[Sight]:
    """The frames since the time that counts, in the order of the kernel's clock.

    Given a host, its own; given `sent`, those that it sent, or else got. `says` are fields of
    their packets with the values that these must have: ``protocol="ARP"``.
    """
    frames = list(look.numbered(ev.Frame))
    state = look.recording.state()
    found = []
    for number, frame in frames:
        sight = Sight(number, frame, decode(frame.data), _host(state, frame))
        if (
            host in (None, sight.host)
            and sent in (None, sight.is_sent)
            and all(getattr(sight.packet, field) == value for field, value in says.items())
        ):
            found.append(sight)
    return sorted(found, key=lambda sight: sight.frame.at)


def _host(state: State, frame: ev.Frame) -> str:
    link = state.link(frame.netns, frame.index)
    if link is not None and link.master is not None:
        return ""
    if frame.netns == MACHINE:
        return MACHINE
    return next((h.name for h in state.hosts.values() if h.netns == frame.netns), frame.netns)


def conversations(look: Look, source: str, target: str) -> list[tuple[Sight, Sight]]:
    """The echo requests that a host sent to an address, each with the answer that it got."""
    sent: dict[tuple[int | None, int | None], Sight] = {}
    answered = []
    for sight in sights(look, host=source, protocol="ICMP"):
        key = (sight.packet.ident, sight.packet.sequence)
        if sight.is_sent and sight.packet.operation == "echo-request":
            if sight.packet.target == target:
                sent[key] = sight
        elif sight.packet.operation == "echo-reply" and key in sent:
            answered.append((sent.pop(key), sight))
    return answered
