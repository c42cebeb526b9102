"""Which captured frame is the consequence of which.

A frame is captured at every interface that it passes. Here these sightings are joined:
through a cable (the same bytes at its two ends), through a bridge (the same bytes in at one
port and out at others), through a router (the same IP packet, one hop less to live).
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import groupby

from labkit.journey.packets import decode
from labkit.journey.values import Place
from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State

CROWD = 64
"""Sightings of one instant whose order is looked into: beyond, they stay as they were read."""
JITTER = 1_000_000
"""Nanoseconds by which the clocks of two processors, or the clock itself, may be off."""
ETHERNET = 14
"""Bytes of the Ethernet header, which the MTU does not count."""
NO_LINK = ev.LinkSet(at=0, netns="", index=0, name="?")


BACKGROUND = {"STP", "ICMPv6", "IGMP"}


class Topology:
    """Where things are: as they were before, or have become since."""

    def __init__(self, before: State, after: State) -> None:
        self.before = before
        self.after = after
        self._titles = {
            host.netns: host.name
            for state in (before, after)
            for host in reversed(state.hosts.values())
        }
        self._titles[MACHINE] = MACHINE
        self._macs: dict[str, str] = {}
        for state in (before, after):
            for netns, space in state.namespaces.items():
                for link in space.links.values():
                    if link.name != "lo":
                        owner = link.name if link.kind == "bridge" else self.title(netns)
                        self._macs.setdefault(link.mac, owner)
        self._addresses: dict[str, set[str]] = {}

    def link(self, place: Place) -> ev.LinkSet:
        """The interface; one named "?" for an interface that nobody has heard of."""
        link = self.before.link(*place)
        if link is None or link.peer is None:
            link = self.after.link(*place) or link
        return link or NO_LINK

    def name(self, place: Place) -> str:
        """The interface's name."""
        return self.link(place).name

    def title(self, netns: str) -> str:
        """The name of the host whose namespace that is."""
        return self._titles.get(netns, netns)

    def bridge(self, place: Place) -> Place | None:
        """The bridge that an interface is a port of, or None."""
        for state in (self.before, self.after):
            link = state.link(*place)
            if link is not None and link.master is not None:
                return place[0], link.master
        return None

    def is_bridge(self, place: Place) -> bool:
        """Whether it is a bridge's own interface."""
        return self.link(place).kind == "bridge"

    def peer(self, place: Place) -> Place | None:
        """The other end of its cable, or None; a loopback is its own."""
        link = self.link(place)
        return place if link.name == "lo" else link.peer

    def addresses(self, netns: str) -> set[str]:
        """A namespace's own addresses."""
        found = self._addresses.get(netns)
        if found is None:
            found = self._addresses[netns] = {
                address.partition("/")[0]
                for state in (self.before, self.after)
                for many in state.space(netns).addresses.values()
                for address in many
            }
        return found

    def owner(self, address: str) -> str | None:
        """The namespace that has an address, or None."""
        for netns in dict.fromkeys([*self.after.namespaces, *self.before.namespaces]):
            if address in self.addresses(netns):
                return netns
        return None

    def whose(self, mac: str) -> str:
        """The name of the host or bridge that has a MAC, or an empty string."""
        return self._macs.get(mac, "")


class Sighting:
    """One frame at one interface, with what it follows from and what follows from it."""

    def __init__(self, number: int, frame: ev.Frame) -> None:
        self.number = number
        self.frame = frame
        self.packet = decode(frame.data)
        self.place: Place = (frame.netns, frame.index)
        self.cause: Sighting | None = None
        self.how = ""
        self.copies: list[Sighting] = []
        self.is_answered = False

    @property
    def at(self) -> int:
        """When, nanoseconds since the epoch."""
        return self.frame.at

    @property
    def is_background(self) -> bool:
        """Whether it is housekeeping that goes on whether or not anybody talks."""
        packet = self.packet
        if packet.resolves:
            asked = self.cause.packet if self.cause is not None else packet
            if asked.source == "::" or (asked.protocol != "ARP" and asked.answers):
                return True  # IPv6 sees whether an address is free, and announces it (RFC 4862)
            return asked.asks and not asked.is_broadcast
        is_echo = packet.operation in ("echo-request", "echo-reply")
        return packet.protocol in BACKGROUND and not is_echo

    @property
    def size(self) -> int:
        """The packet's bytes, as an MTU counts them."""
        return (self.frame.length or len(self.frame.data)) - ETHERNET

    def follows(self, other: Sighting) -> bool:
        """Whether it was not seen before another, as far as clocks can tell."""
        return self.at >= other.at - JITTER

    def comes_of(self, cause: Sighting, how: str) -> None:
        """Notes that this is a consequence of another: by "cable", "bridge", "router", "reply"."""
        self.cause, self.how = cause, how
        if how in ("cable", "bridge"):
            cause.copies.append(self)
        else:
            cause.is_answered = True

    def tree(self) -> Iterable[Sighting]:
        """This and all that came of it through cables and bridges."""
        stack = [self]
        while stack:
            one = stack.pop()
            yield one
            stack.extend(reversed(one.copies))


def sightings(frames: Iterable[tuple[int, ev.Frame]], topology: Topology) -> list[Sighting]:
    """The frames in the order of the kernel's clock, joined."""
    found = [Sighting(number, frame) for number, frame in frames]
    # A frame that a bridge hands to its own stack keeps the timestamp of its port.
    found.sort(key=lambda s: (s.at, topology.is_bridge(s.place), s.number))
    found = [
        seen for _, alike in groupby(found, lambda s: s.at) for seen in _ordered(alike, topology)
    ]
    _Weaver(topology).weave(found)
    return found


def _ordered(alike: Iterable[Sighting], topology: Topology) -> list[Sighting]:
    """Sightings of one instant, with each after what it can come of.

    A clock may have coarse ticks: User Mode Linux's has 256 ns, in which a frame passes a cable.
    """
    waiting = list(alike)
    if not 1 < len(waiting) <= CROWD:
        return waiting
    done = []
    while waiting:
        first = next((s for s in waiting if not _comes_of_any(s, waiting, topology)), waiting[0])
        waiting.remove(first)
        done.append(first)
    return done


def _comes_of_any(seen: Sighting, others: Sequence[Sighting], topology: Topology) -> bool:
    """Whether this frame came out of a cable, or of a bridge, that one of the others went into."""
    place, is_out = seen.place, seen.frame.is_outgoing
    peer, bridge = topology.peer(place), topology.bridge(place)
    if topology.is_bridge(place):
        bridge = place
    for other in others:
        if other is seen or other.frame.data != seen.frame.data:
            continue
        if other.frame.is_outgoing:  # into a cable, or from the machine's stack into its bridge
            if (not is_out and other.place == peer) or (is_out and other.place == bridge != place):
                return True
        elif (
            is_out == (place != bridge)  # a bridge gives to its other ports, and to its own stack
            and bridge is not None
            and topology.bridge(other.place) == bridge
            and other.place != place
        ):
            return True
    return False


class _Weaver:
    def __init__(self, topology: Topology) -> None:
        self._where = topology
        self._in_cable: dict[tuple[Place, bytes], deque[Sighting]] = defaultdict(deque)
        self._in_bridge: dict[tuple[Place, bytes], list[Sighting]] = defaultdict(list)
        self._in_router: dict[tuple[str, object], Sighting] = {}
        self._asked: dict[tuple[object, ...], Sighting] = {}

    def weave(self, found: list[Sighting]) -> None:
        """Joins sightings, which are in order."""
        for seen in found:
            if seen.frame.is_outgoing:
                self._out(seen)
            else:
                self._in(seen)

    def _out(self, seen: Sighting) -> None:
        place, data = seen.place, seen.frame.data
        peer = self._where.peer(place)
        bridge = self._where.bridge(place)
        if bridge is not None:
            self._through(seen, bridge)
        if seen.cause is None:  # a stack may send out of a port, too
            self._from_stack(seen)
        if peer is not None:
            self._in_cable[peer, data].append(seen)
        if self._where.is_bridge(place):
            self._in_bridge[place, data].append(seen)

    def _in(self, seen: Sighting) -> None:
        place, data = seen.place, seen.frame.data
        waiting = self._in_cable.get((place, data))
        if waiting:
            seen.comes_of(waiting.popleft(), "cable")
        if self._where.is_bridge(place):
            self._through(seen, place)
        bridge = self._where.bridge(place)
        if bridge is not None:
            self._in_bridge[bridge, data].append(seen)
        else:
            self._to_stack(seen)

    def _through(self, seen: Sighting, bridge: Place) -> None:
        """Joins a copy to the frame at a bridge: the latest that has none at this place yet."""
        for cause in reversed(self._in_bridge.get((bridge, seen.frame.data), ())):
            if cause.place != seen.place and all(c.place != seen.place for c in cause.copies):
                seen.comes_of(cause, "bridge")
                return

    def _to_stack(self, seen: Sighting) -> None:
        """Remembers what a stack has received, for what it may send because of it."""
        netns, packet = seen.place[0], seen.packet
        if seen.frame.packet_type == "otherhost":
            return
        if packet.resolves:
            self._asked[netns, "MAC", packet.target, packet.source] = seen
        elif packet.operation == "echo-request":
            self._asked[netns, packet.target, packet.source, packet.ident, packet.sequence] = seen
        if packet.identity:  # also of one for an own address: NAT may send it on
            self._in_router[netns, packet.identity] = seen
        if packet.source and packet.target:
            self._asked[netns, "error", packet.source, packet.target] = seen

    def _from_stack(self, seen: Sighting) -> None:
        """Finds the reason for which a stack has sent this."""
        netns, packet = seen.place[0], seen.packet
        passed = self._in_router.get((netns, packet.identity)) if packet.identity else None
        if passed is not None and passed.packet.ttl == (packet.ttl or 0) + 1:
            seen.comes_of(passed, "router")
            return
        key: tuple[object, ...] = ()
        if packet.answers:
            key = (netns, "MAC", packet.source, packet.target)
        elif packet.operation == "echo-reply":
            key = (netns, packet.source, packet.target, packet.ident, packet.sequence)
        elif packet.quoted is not None:
            key = (netns, "error", packet.quoted.source, packet.quoted.target)
        cause = self._asked.get(key)
        if cause is not None:
            seen.comes_of(cause, "reply")
