"""What a host's stack does: looks the way up, asks, sends, takes in, answers, forwards."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.journey.maker import Maker
from labkit.journey.packets import Packet
from labkit.journey.sentences import say
from labkit.journey.tables import Tables
from labkit.journey.values import Move, Row, Step
from labkit.journey.weave import Sighting, Topology
from labkit.model import events as ev

UNSPECIFIED = ("0.0.0.0", "::")  # noqa: S104
"""Who asks from there only sees whether an address is free (RFC 5227, RFC 4862)."""
USABLE = {"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"}


class Stack(Maker):
    """Tells what a stack does with a packet, moving its tables on."""

    def __init__(self, topology: Topology, tables: Tables, roots: Iterable[Sighting]) -> None:
        super().__init__(topology)
        self._tables = tables
        self._questions = {
            (root.place[0], root.packet.target): root.at for root in roots if root.packet.asks
        }
        self._looked: set[tuple[str, str]] = set()
        self._asking: set[tuple[str, str]] = set()
        self._asked: set[tuple[str, str]] = set()
        self._known: set[tuple[str, str, str]] = set()

    # What it sends

    def _sent(self, seen: Sighting) -> list[Step]:
        packet, netns = seen.packet, seen.place[0]
        if packet.resolves:
            return [*self._before_asking(seen), self._resolving(seen)]
        if seen.how == "router" and seen.cause is not None:
            return self._forwarded(seen, seen.cause.packet)
        steps: list[Step] = []
        if packet.target and not packet.is_broadcast:
            steps = [*self.way(netns, packet.target, seen.at), *self._next_hop(seen)]
        key = packet.operation
        if key not in ("echo-request", "echo-reply"):
            key = "transmit" if packet.quoted is None else "transmit.error"
        return [*steps, self._step(seen, key)]

    def way(self, netns: str, target: str, at: int | None) -> list[Step]:
        """The look-up of the way to an address, once a journey for each host.

        Without a time it is that at which the kernel was asked.
        """
        if (netns, target) in self._looked:
            return []
        self._looked.add((netns, target))
        found = self._tables.way(netns, target)
        if found is None:
            return []
        way, number, asked = found
        host, interface = self._where.title(netns), self._where.name((netns, way.index))
        if way.error is not None:
            key = "route.none"
        elif way.kind == "local":
            key = "route.local"
        elif way.kind not in ("unicast", "broadcast", "multicast"):
            key = "route.refused"
        else:
            key = "route.gateway" if way.gateway else "route.direct"
        text = say(
            key,
            host=host,
            target=target,
            row=way.matched or "default",
            gateway=way.gateway,
            interface=interface,
            what=way.kind,
        )
        via = f" via {way.gateway}" if way.gateway else ""
        step = Step(
            kind="route",
            host=host,
            interface=interface if way.index else None,
            text=text,
            evidence=() if number is None else (number,),
            at=way.at if at is None else at,
            protocol="IPv6" if ":" in target else "IPv4",
            inferred=not asked,
            rows=(Row("route", host, way.matched + via),) if way.matched else (),
        )
        return [step]

    def _hop(self, netns: str, target: str) -> str:
        """Whom a stack hands packets for an address to: a gateway, or the address itself."""
        found = self._tables.way(netns, target)
        return (found[0].gateway if found else None) or target

    def _next_hop(self, seen: Sighting) -> list[Step]:
        """The row of the ARP cache that a packet is sent by, unless it has just been told."""
        netns, mac = seen.place[0], seen.packet.target_mac
        target = self._hop(netns, seen.packet.target)
        if (netns, target) in self._asking:
            self._asking.discard((netns, target))
            self._known.add((netns, target, mac))
        if (netns, target, mac) in self._known:
            return []
        self._known.add((netns, target, mac))
        row = self._tables.neighbour(netns, target)
        if row is None or row.state not in USABLE or row.mac != mac:
            return []
        hit = self._step(
            seen,
            "neighbour-hit",
            evidence=(self._tables.number(row),),
            row=Row("neighbour", self._where.title(netns), target),
            target=target,
            state=row.state,
        )
        return [hit]

    def _before_asking(self, seen: Sighting) -> list[Step]:
        """Why a host asks: the way it looked up, and the row that it lacks."""
        packet, netns = seen.packet, seen.place[0]
        if not packet.asks or not packet.is_broadcast:
            return []
        if (netns, packet.target) in self._asking or packet.source == packet.target:
            return []
        self._asking.add((netns, packet.target))
        steps = self._way_through(netns, packet.target, seen.at)
        # The kernel does not announce INCOMPLETE: only a question that waits long is seen so.
        number = self._tables.incomplete(netns, packet.target, seen.at)
        host = self._where.title(netns)
        row = Row("neighbour", host, packet.target, written=number is not None)
        return [*steps, self._step(seen, "neighbour-miss", evidence=(number,), row=row)]

    def _way_through(self, netns: str, hop: str, at: int) -> list[Step]:
        """The look-up for which a host asks for the next hop: of the hop, or beyond it."""
        beyond = self._tables.targets_through(netns, hop)
        if not beyond:
            return self.way(netns, hop, at)
        return [step for target in beyond for step in self.way(netns, target, at)]

    def _resolving(self, seen: Sighting) -> Step:
        packet, netns = seen.packet, seen.place[0]
        asks, answers = "neighbour-solicitation", "neighbour-advertisement"
        if packet.protocol == "ARP":
            asks, answers = "arp-request", "arp-reply"
        if not packet.asks:
            return self._step(seen, answers)
        if packet.source == packet.target:
            return self._step(seen, f"{asks}.announce")
        key = asks if packet.is_broadcast else f"{asks}.probe"
        if key == asks and (netns, packet.target) in self._asked:
            key = f"{asks}.again"
        self._asked.add((netns, packet.target))
        row = Row("neighbour", self._where.title(netns), packet.target)
        return self._step(seen, key, row=row)

    def _forwarded(self, seen: Sighting, before: Packet) -> list[Step]:
        netns, packet = seen.place[0], seen.packet
        steps = [*self.way(netns, packet.target, seen.at), *self._next_hop(seen)]
        if (before.source, before.target) == (packet.source, packet.target):
            return [*steps, self._step(seen, "route-forward")]
        found = self._tables.way(netns, packet.target)
        evidence = (found[1],) if found else ()
        was, now = f"{before.source} → {before.target}", f"{packet.source} → {packet.target}"
        return [
            *steps,
            self._step(seen, "route-forward", evidence=evidence),
            self._step(seen, "nat", before=was, after=now),
        ]

    # What it does with what it gets

    def _delivered(self, seen: Sighting, moves: tuple[Move, ...]) -> list[Step]:
        packet, netns = seen.packet, seen.place[0]
        if seen.frame.packet_type == "otherhost":
            return [self._step(seen, "ignore.mac", moves=moves)]
        if packet.asks and packet.target not in self._where.addresses(netns):
            key = "ignore.arp" if packet.protocol == "ARP" else "ignore.solicitation"
            return [self._step(seen, key, moves=moves)]
        key = "receive"
        if self._where.peer(seen.place) == seen.place and not packet.asks:
            key = "receive.self"
        elif packet.is_broadcast:
            key = "receive.broadcast" if packet.asks else "receive.all"
        return [self._step(seen, key, moves=moves), *self._taken(seen)]

    def _taken(self, seen: Sighting) -> list[Step]:
        """What a stack makes of what it has received, beside answering or forwarding it."""
        packet, netns = seen.packet, seen.place[0]
        if not packet.resolves:
            if packet.ttl is None or packet.is_broadcast or seen.is_answered:
                return []
            if packet.target in self._where.addresses(netns):
                return []
            if self._is_asking(netns, packet.target, seen.at):
                return []  # it waits
            return [self._step(seen, "drop.stack", evidence=())]
        number = self._noted(seen)
        if number is None:
            return []
        learned = self._step(
            seen,
            "neighbour-learn.reply" if packet.answers else "neighbour-learn.request",
            evidence=(number,),
            row=Row("neighbour", self._where.title(netns), packet.source, written=True),
            address=packet.source,
            mac=packet.sender_mac,
        )
        return [learned]

    def _noted(self, seen: Sighting) -> int | None:
        """Takes the change by which a stack notes who has sent this, if it does."""
        packet, netns = seen.packet, seen.place[0]
        if not packet.resolves or packet.source in UNSPECIFIED:
            return None
        if packet.asks and packet.target not in self._where.addresses(netns):
            return None
        return self._tables.noted(netns, packet.source, packet.sender_mac, seen.at)

    def _is_asking(self, netns: str, target: str, since: int) -> bool:
        """Whether a stack asks, after that time, for the MAC address of the way to an address."""
        return self._questions.get((netns, self._hop(netns, target)), 0) >= since

    def change(self, number: int, event: ev.NeighbourSet) -> Step:
        """A neighbour row that changed by itself: it aged, or nobody answered."""
        host = self._where.title(event.netns)
        key = "neighbour-change"
        if event.state == "FAILED":
            key = "neighbour-change.failed"
        elif event.state == "INCOMPLETE" and (event.netns, event.address) in self._asked:
            key = "neighbour-change.waits"
        elif event.state == "INCOMPLETE":
            key = "neighbour-miss.unseen"
        return Step(
            kind=key.partition(".")[0],
            host=host,
            interface=self._where.name((event.netns, event.index)),
            text=say(key, host=host, address=event.address, state=event.state),
            evidence=(number,),
            at=event.at,
            protocol="ICMPv6" if ":" in event.address else "ARP",
            rows=(Row("neighbour", host, event.address, written=True),),
        )
