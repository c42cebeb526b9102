"""A failed ping as the log has it: the frames, and the tables before and after."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from labkit.journey.packets import Packet
from labkit.journey.tables import LAG, matching
from labkit.journey.values import Place
from labkit.journey.weave import Sighting
from labkit.model import events as ev
from labkit.model.state import State
from labkit.recording import Recording

MOST = 4000
"""Frames that are looked at."""
ARP = b"\x08\x06"

Match = Callable[[Packet], bool]


class Hop(msgspec.Struct, frozen=True):
    """A place on the way of a frame through cables and bridges."""

    place: Place
    leaving: bool


class Case:
    """A ping (or another exchange) from namespace `source` to address `target`.

    `events` are those of a recording from number `first` to `last`. `before` and `after` are
    the states when the program started and at the end; `sightings` the frames in the order of
    the kernel's clock: at most `MOST`, and if there are more, those that name one of the two.
    `named` is the namespace that was meant, where a host was named; `output` what the program
    printed, `sent` how many requests it counted; `answered` whether it had all its answers.
    """

    def __init__(
        self,
        recording: Recording,
        first: int,
        last: int,
        *,
        source: str,
        target: str,
        named: str | None = None,
        output: str = "",
        answered: bool = False,
        sent: int = 0,
    ) -> None:
        self.source = source
        self.target = target
        self.named = named
        self.output = output
        self.answered = answered
        self.sent = sent
        self.moment: int | None = None
        self._recording = recording
        self._last = last
        kept, rows = recording.since(max(0, first - 1))
        numbered = [(n, event) for n, (_, event) in enumerate(rows, kept) if first <= n <= last]
        self.events = [event for _, event in numbered]
        # The log's times: an event's own may be older than what was told before it.
        self.before = recording.state(rows[0][0] if kept < first else 0)
        start = _start(self.events, source)
        for event in self.events[:start]:
            self.before.apply(event)
        self.after = self.before.copy()
        for event in self.events[start:]:
            self.after.apply(event)
        self.sightings = _decoded(numbered, self.before, source, target)
        self._changes: dict[Place, list[ev.LinkSet | ev.LinkRemoved]] = defaultdict(list)
        for event in self.events:
            if isinstance(event, ev.LinkSet | ev.LinkRemoved):
                self._changes[event.netns, event.index].append(event)

    def look_at(self, request: Sighting) -> None:
        """The time that counts is a request's; without it, it is the end."""
        self.moment = request.at + LAG

    # Frames

    def seen(
        self,
        match: Match,
        *,
        netns: str | None = None,
        place: Place | None = None,
        leaving: bool | None = None,
        after: Sighting | None = None,
    ) -> list[Sighting]:
        """The frames that match, at an interface or anywhere in a namespace, after another."""
        return [
            s
            for s in self.sightings
            if (netns is None or s.frame.netns == netns)
            and (place is None or s.place == place)
            and (leaving is None or s.frame.is_outgoing == leaving)
            and (after is None or s.follows(after))
            and match(s.packet)
        ]

    def taken(self, match: Match, *, netns: str | None = None) -> list[Sighting]:
        """The frames that match, where the stack that they are for took them in."""
        came = self.seen(match, netns=netns, leaving=False)
        return [s for s in came if s.frame.packet_type == "host" and self.is_end(s.place)]

    # Evidence

    def numbers(self, *things: object) -> tuple[int, ...]:
        """The numbers in the log of events and sightings; what is not in it is left out."""
        found = {
            thing.number if isinstance(thing, Sighting) else self._recording.number_of(thing)
            for thing in things
            if thing is not None
        }
        return tuple(sorted(number for number in found if number is not None))

    def lookup(self, netns: str, address: str) -> ev.RouteLookup | None:
        """What the namespace's kernel answered when asked for the way, at the time that counts."""
        found = [
            event
            for event in self.events
            if isinstance(event, ev.RouteLookup)
            and (event.netns, event.destination) == (netns, address)
        ]
        earlier = [e for e in found if self.moment is None or e.at <= self.moment]
        return (earlier[-1] if earlier else found[0]) if found else None

    def setting(self, netns: str, name: str) -> ev.SettingSet | None:
        """A setting as it was looked up last."""
        return self.after.space(netns).settings.get(name)

    def level(self, netns: str, interface: str, name: str) -> ev.SettingSet | None:
        """A setting of which the higher of "all" and the interface's own counts, if not 0."""
        found = [
            setting
            for which in ("all", interface)
            if (setting := self.setting(netns, f"net/ipv4/conf/{which}/{name}"))
            and setting.value.isdigit()
        ]
        highest = max(found, key=lambda s: int(s.value), default=None)
        return highest if highest and highest.value != "0" else None

    def counted(self, netns: str, counter: str) -> int | None:
        """By how much a counter has grown meanwhile; None where it was not read."""
        before = self.before.space(netns).counters
        after = self.after.space(netns).counters
        if not before or not after:
            return None
        return after.counters.get(counter, 0) - before.counters.get(counter, 0)

    def grown(self, netns: str, counter: str) -> ev.CountersSet | None:
        """The later reading of a counter that has grown meanwhile, else None."""
        return self.after.space(netns).counters if self.counted(netns, counter) else None

    # The network

    def link(self, place: Place) -> ev.LinkSet | None:
        """An interface, as it was at the time that counts."""
        found = self.before.link(*place)
        for change in self._changes.get(place, ()):
            if self.moment is None or change.at <= self.moment:
                found = change if isinstance(change, ev.LinkSet) else None
        return found

    def links(self, place: Place) -> list[ev.LinkSet]:
        """An interface as it was at the time that counts, and just before and after it.

        The kernel brings a port up some time after its cable, and tells of it later still.
        """
        found = [self.before.link(*place)]
        for change in self._changes.get(place, ()):
            if not isinstance(change, ev.LinkSet):
                continue
            if self.moment is None or change.at <= self.moment - 2 * LAG:
                found = [change]
            elif change.at <= self.moment:
                found.append(change)
        return [link for link in reversed(found) if link is not None]

    def far_end(self, link: ev.LinkSet) -> ev.LinkSet | None:
        """The other end of an interface's cable, as it was at the time that counts."""
        return self.link(link.peer) if link.peer else None

    def is_end(self, place: Place) -> bool:
        """Whether an interface belongs to a host's stack, and is not a bridge's port."""
        link = self.link(place)
        return link is not None and link.master is None

    def holds(self, netns: str, address: str) -> bool:
        """Whether a namespace has an address."""
        return any(owner == netns for owner, _ in self.before.owners(address))

    def with_mac(self, netns: str, mac: str) -> int | None:
        """The interface of a namespace that has a MAC address, and is no port."""
        links = self.before.space(netns).links.items()
        return next((i for i, link in links if link.mac == mac and link.master is None), None)

    def given(self, netns: str, address: str) -> ev.AddressSet | None:
        """The event that gave an address to a namespace, maybe long before."""
        kept, rows = self._recording.since(0)
        found = [
            event
            for number, (_, event) in enumerate(rows, kept)
            if number <= self._last
            and isinstance(event, ev.AddressSet)
            and (event.netns, event.address.partition("/")[0]) == (netns, address)
        ]
        return found[-1] if found else None

    def on_link(self, netns: str, address: str, only: int | None = None) -> bool:
        """Whether an address is in a network of one of the namespace's interfaces, or of `only`."""
        ip = ipaddress.ip_address(address)
        return any(
            ip in ipaddress.ip_interface(a).network
            for index, held in self.before.space(netns).addresses.items()
            if only in (None, index)
            for a in held
        )

    def path(self, start: Place, goal: Place) -> list[Hop] | None:
        """The shortest way of a frame through cables and bridges, whatever their state."""
        todo = [[Hop(start, leaving=True)]]
        been = {todo[0][0]}
        for way in todo:  # it grows as it is gone through
            if way[-1].place == goal and not way[-1].leaving:
                return way
            for hop in self._next(way[-1]):
                if hop not in been:
                    been.add(hop)
                    todo.append([*way, hop])
        return None

    def _next(self, hop: Hop) -> Iterable[Hop]:
        link = self.link(hop.place)
        if link is None:
            return
        netns, index = hop.place
        if hop.leaving:
            if link.kind == "bridge":
                yield from self._ports(netns, index, but=None)
            elif link.peer is not None:
                yield Hop(link.peer, leaving=False)
        elif link.master is not None:
            yield Hop((netns, link.master), leaving=False)
            yield from self._ports(netns, link.master, but=index)

    def _ports(self, netns: str, bridge: int, *, but: int | None) -> Iterable[Hop]:
        for index, link in self.before.space(netns).links.items():
            if link.master == bridge and index != but:
                yield Hop((netns, index), leaving=True)

    def reachable(self, start: Place, netns: str, index: int | None = None) -> list[Hop] | None:
        """The way to an interface of a namespace: that one if there is a way, else any."""
        if index is not None and (way := self.path(start, (netns, index))):
            return way
        ways = [
            way
            for other, link in self.before.space(netns).links.items()
            if other != index and link.master is None and (way := self.path(start, (netns, other)))
        ]
        return min(ways, key=len, default=None)

    def next_hop(self, netns: str, address: str) -> str:
        """Whom a namespace hands packets for an address to: a gateway, or the address itself.

        As its kernel said when asked; where it was not asked, as its routing table says.
        """
        found = self.lookup(netns, address)
        if found is not None:
            return found.gateway or address
        row = matching(self.before.space(netns).routes.values(), address)
        return (row and row.gateway) or address

    # Names

    def interface(self, place: Place) -> str:
        """An interface's name."""
        return self.before.space(place[0]).name_of(place[1])


def _start(events: Sequence[ev.Event], source: str) -> int:
    """How many of the events come before the program's start, or else before the first frame."""
    for number, event in enumerate(events):
        if isinstance(event, ev.ProcessStarted) and event.netns == source:
            return number
    return next((n for n, event in enumerate(events) if isinstance(event, ev.Frame)), len(events))


def _decoded(
    events: Iterable[tuple[int, ev.Event]], before: State, source: str, target: str
) -> list[Sighting]:
    """The frames that may be about the two, and what they say."""
    held = before.space(source).addresses
    ours = (ipaddress.ip_interface(a) for row in held.values() for a in row)
    names = {one.ip.packed for one in ours if not one.is_loopback}
    names.add(ipaddress.ip_address(target).packed)
    found = [(number, event) for number, event in events if isinstance(event, ev.Frame)]
    if len(found) > MOST:
        found = [
            (number, event)
            for number, event in found
            if ARP in event.data[12:18] or any(name in event.data for name in names)
        ]
    seen = [Sighting(number, event) for number, event in found[:MOST]]
    return sorted(seen, key=lambda s: (s.at, s.number))
