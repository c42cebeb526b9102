"""A failed ping as the log has it: the frames, and the tables before and after."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence

import msgspec

from labkit.journey import packets
from labkit.journey.packets import Packet
from labkit.journey.values import Place, Step
from labkit.journey.why.log import Log
from labkit.model import events as ev
from labkit.model.state import Namespace, State
from labkit.recording import Recording

MOST = 4000
"""Frames that are looked at."""
LAG = 50_000_000
"""Nanoseconds by which the word of a change may come after the change."""
JITTER = 1_000_000
"""Nanoseconds by which the clocks of two processors, or the clock itself, may be off."""
ARP = b"\x08\x06"

Match = Callable[[Packet], bool]


class Sighting(msgspec.Struct, frozen=True):
    """A frame at an interface: its event's number, the event, and what it says."""

    number: int
    frame: ev.Frame
    packet: Packet

    @property
    def place(self) -> Place:
        """The interface that it was seen at."""
        return self.frame.netns, self.frame.index

    def follows(self, other: Sighting) -> bool:
        """Whether it was not seen before another, as far as clocks can tell."""
        return self.frame.at >= other.frame.at - JITTER

    @property
    def leaving(self) -> bool:
        """Whether the interface sent it."""
        return self.frame.is_outgoing


class Hop(msgspec.Struct, frozen=True):
    """A place on the way of a frame through cables and bridges."""

    place: Place
    leaving: bool


class Case:
    """A ping (or another exchange) from namespace `source` to address `target`.

    `log` holds all events, of which those from number `first` to `last` are about it;
    `before` and `after` are the states at its start and its end; `sightings` its frames in the
    order of the kernel's clock. `named` is the namespace that was meant, where a host was
    named; `output` what the program printed, `sent` how many requests it counted; `answered`
    whether it had all its answers.
    """

    def __init__(
        self,
        *,
        log: Sequence[ev.Event],
        first: int,
        last: int,
        source: str,
        target: str,
        before: State,
        after: State,
        sightings: Iterable[Sighting],
        named: str | None = None,
        output: str = "",
        answered: bool = False,
        sent: int = 0,
        steps: Sequence[Step] = (),
    ) -> None:
        self.log = log
        self.first = first
        self.last = last
        self.source = source
        self.target = target
        self.before = before
        self.after = after
        self.sightings = sorted(sightings, key=lambda s: (s.frame.at, s.number))
        self.named = named
        self.output = output
        self.answered = answered
        self.sent = sent
        self.steps = steps
        self.moment: int | None = None
        self._changes: dict[Place, list[ev.LinkSet | ev.LinkRemoved]] = {}
        self._lookups: dict[tuple[str, str], list[ev.RouteLookup]] = {}
        for event in log[first : last + 1]:
            if isinstance(event, ev.RouteLookup):
                self._lookups.setdefault((event.netns, event.destination), []).append(event)
            elif isinstance(event, ev.LinkSet | ev.LinkRemoved):
                self._changes.setdefault((event.netns, event.index), []).append(event)

    def look_at(self, request: Sighting) -> None:
        """The time that counts is a request's; without it, it is the end."""
        self.moment = request.frame.at + LAG

    @classmethod
    def of(
        cls,
        recording: Recording,
        first: int,
        last: int,
        *,
        source: str,
        target: str,
        sightings: Iterable[Sighting] | None = None,
        named: str | None = None,
        output: str = "",
        answered: bool = False,
        sent: int = 0,
        steps: Sequence[Step] = (),
    ) -> Case:
        """The case of a part of a recording: its events from number `first` to `last`.

        The tables of `before` are those when the program started. Frames are decoded, unless
        they are given: at most `MOST`, and if there are more, those that name one of the two.
        """
        log = Log(recording, last)
        started = next(
            (
                number
                for number in range(first, last + 1)
                if isinstance(event := log[number], ev.ProcessStarted) and event.netns == source
            ),
            next((n for n in range(first, last + 1) if isinstance(log[n], ev.Frame)), last + 1),
        )
        at = max((e.at for e in log[max(0, first - 1) : first]), default=None)
        before = State() if at is None else recording.state(at)
        for event in log[first:started]:
            before.apply(event)
        after = before.copy()
        for event in log[started:]:
            after.apply(event)
        if sightings is None:
            sightings = _decoded(log, first, before, source, target)
        return cls(
            log=log,
            first=first,
            last=last,
            source=source,
            target=target,
            before=before,
            after=after,
            sightings=sightings,
            named=named,
            output=output,
            answered=answered,
            sent=sent,
            steps=steps,
        )

    # Frames

    def seen(
        self,
        match: Match,
        *,
        netns: str | None = None,
        place: Place | None = None,
        leaving: bool | None = None,
    ) -> list[Sighting]:
        """The frames that match, at an interface or anywhere in a namespace."""
        return [
            s
            for s in self.sightings
            if (netns is None or s.frame.netns == netns)
            and (place is None or s.place == place)
            and (leaving is None or s.leaving == leaving)
            and match(s.packet)
        ]

    # Evidence

    def numbers(self, *things: object) -> tuple[int, ...]:
        """The numbers in the log of events and sightings; what is not in it is left out."""
        wanted = [thing for thing in things if thing is not None]
        found = [thing.number for thing in wanted if isinstance(thing, Sighting)]
        looked_for = {id(t) for t in wanted if not isinstance(t, Sighting)}
        for number in range(len(self.log) - 1, -1, -1):
            if not looked_for:
                break
            if id(self.log[number]) in looked_for:
                looked_for.discard(id(self.log[number]))
                found.append(number)
        return tuple(sorted(set(found)))

    def lookup(self, netns: str, address: str) -> ev.RouteLookup | None:
        """What the namespace's kernel answered when asked for the way, at the time that counts."""
        found = self._lookups.get((netns, address), [])
        earlier = [e for e in found if self.moment is None or e.at <= self.moment]
        return (earlier[-1] if earlier else found[0]) if found else None

    def setting(self, netns: str, name: str) -> ev.SettingSet | None:
        """A setting as it was looked up last."""
        return self._space(self.after, netns).settings.get(name)

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
        before = self._space(self.before, netns).counters
        after = self._space(self.after, netns).counters
        if not before or not after:
            return None
        return after.counters.get(counter, 0) - before.counters.get(counter, 0)

    def grown(self, netns: str, counter: str) -> ev.CountersSet | None:
        """The later reading of a counter that has grown meanwhile, else None."""
        grew = self.counted(netns, counter)
        return self._space(self.after, netns).counters if grew else None

    # The network

    @staticmethod
    def _space(state: State, netns: str) -> Namespace:
        return state.namespaces.get(netns) or Namespace()

    def space(self, netns: str) -> Namespace:
        """A namespace's tables at the start."""
        return self._space(self.before, netns)

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

    def is_end(self, place: Place) -> bool:
        """Whether an interface belongs to a host's stack, and is not a bridge's port."""
        link = self.link(place)
        return link is not None and link.master is None

    def owners(self, address: str) -> list[Place]:
        """The interfaces that have an address."""
        return [
            (netns, index)
            for netns, space in self.before.namespaces.items()
            for index, held in space.addresses.items()
            if any(a.split("/")[0] == address for a in held)
        ]

    def holds(self, netns: str, address: str) -> bool:
        """Whether a namespace has an address."""
        return any(owner == netns for owner, _ in self.owners(address))

    def with_mac(self, netns: str, mac: str) -> int | None:
        """The interface of a namespace that has a MAC address, and is no port."""
        for index, link in self.space(netns).links.items():
            if link.mac == mac and link.master is None:
                return index
        return None

    def given(self, netns: str, address: str) -> ev.AddressSet | None:
        """The event that gave an address to a namespace."""
        for number in range(len(self.log) - 1, -1, -1):
            event = self.log[number]
            if (
                isinstance(event, ev.AddressSet)
                and event.netns == netns
                and event.address.split("/")[0] == address
            ):
                return event
        return None

    def on_link(self, netns: str, address: str) -> bool:
        """Whether an address is in a network of one of the namespace's interfaces."""
        ip = ipaddress.ip_address(address)
        return any(
            ip in ipaddress.ip_interface(a).network
            for held in self.space(netns).addresses.values()
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
            elif link.peer_netns is not None and link.peer_index is not None:
                yield Hop((link.peer_netns, link.peer_index), leaving=False)
        elif link.master is not None:
            yield Hop((netns, link.master), leaving=False)
            yield from self._ports(netns, link.master, but=index)

    def _ports(self, netns: str, bridge: int, *, but: int | None) -> Iterable[Hop]:
        for index, link in self.space(netns).links.items():
            if link.master == bridge and index != but:
                yield Hop((netns, index), leaving=True)

    def reachable(self, start: Place, netns: str, index: int | None = None) -> list[Hop] | None:
        """The way to an interface of a namespace: that one if there is a way, else any."""
        if index is not None and (way := self.path(start, (netns, index))):
            return way
        ways = [
            way
            for other, link in self.space(netns).links.items()
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
        ip = ipaddress.ip_address(address)
        best, gateway = -1, None
        for row in self.space(netns).routes.values():
            given = row.destination
            network = ipaddress.ip_network("0.0.0.0/0" if given == "default" else given)
            if ip in network and network.prefixlen > best:
                best, gateway = network.prefixlen, row.gateway
        return gateway or address

    # Names

    def interface(self, place: Place) -> str:
        """An interface's name."""
        return self.space(place[0]).name_of(place[1])


def _decoded(
    log: Sequence[ev.Event], first: int, before: State, source: str, target: str
) -> list[Sighting]:
    """The frames that may be about the two, and what they say."""
    held = before.namespaces[source].addresses if source in before.namespaces else {}
    ours = (ipaddress.ip_interface(a) for row in held.values() for a in row)
    names = {one.ip.packed for one in ours if not one.is_loopback}
    names.add(ipaddress.ip_address(target).packed)
    found = [
        (number, event)
        for number, event in enumerate(log[first:], first)
        if isinstance(event, ev.Frame)
    ]
    if len(found) > MOST:
        found = [
            (number, event)
            for number, event in found
            if ARP in event.data[12:18] or any(name in event.data for name in names)
        ]
    return [Sighting(number, event, packets.decode(event.data)) for number, event in found[:MOST]]
