"""What a host's stack does: looks the way up, asks, sends, takes in, answers, forwards."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.journey.maker import Maker
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
        steps: list[Step] = []
        words = self._words(seen)
        if packet.resolves:
            return [*self._before_asking(seen), self._resolving(seen, words)]
        if seen.how == "router" and seen.cause is not None:
            return self._forwarded(seen, words)
        if packet.target and not packet.is_broadcast:
            steps += self.way(netns, packet.target, seen.at)
            steps += self._next_hop(seen)
        if packet.operation in ("echo-request", "echo-reply"):
            kind = packet.operation
        elif packet.quoted is not None:
            return [*steps, self._step("transmit", seen, "icmp-error", words)]
        else:
            kind = "transmit"
        return [*steps, self._step(kind, seen, kind, words)]

    def way(self, netns: str, target: str, at: int | None) -> list[Step]:
        """The look-up of the way to an address, once a journey for each host.

        Without a time it is that at which the kernel was asked.
        """
        if (netns, target) in self._looked:
            return []
        self._looked.add((netns, target))
        found = self._tables.way(netns, target)
        host = self._where.title(netns)
        if found is None:
            return []
        way, number, asked = found
        values = {
            "host": host,
            "target": target,
            "row": way.matched or "default",
            "gateway": way.gateway,
            "interface": self._where.name((netns, way.index)),
            "what": way.kind,
        }
        if way.error is not None:
            key = "route.none"
        elif way.kind == "local":
            key = "route.local"
        elif way.kind not in ("unicast", "broadcast", "multicast"):
            key = "route.refused"
        else:
            key = "route.gateway" if way.gateway else "route.direct"
        via = f" via {way.gateway}" if way.gateway else ""
        row = Row("route", host, way.matched + via) if way.matched else None
        return [
            Step(
                kind="route",
                host=host,
                interface=self._where.name((netns, way.index)) if way.index else None,
                text=say(key, **values),
                evidence=() if number is None else (number,),
                at=way.at if at is None else at,
                protocol="IPv6" if ":" in target else "IPv4",
                inferred=not asked,
                rows=(row,) if row else (),
            )
        ]

    def _next_hop(self, seen: Sighting) -> list[Step]:
        """The row of the ARP cache that a packet is sent by, unless it has just been told."""
        netns, packet = seen.place[0], seen.packet
        found = self._tables.way(netns, packet.target)
        target = (found[0].gateway if found else None) or packet.target
        if (netns, target) in self._asking:
            self._asking.discard((netns, target))
            self._known.add((netns, target, packet.target_mac))
        if (netns, target, packet.target_mac) in self._known:
            return []
        self._known.add((netns, target, packet.target_mac))
        held = self._tables.neighbour(netns, target)
        if held is None or held[0].state not in USABLE or held[0].mac != packet.target_mac:
            return []
        host = self._where.title(netns)
        row, number = held
        text = say("neighbour-hit", host=host, target=target, mac=row.mac, state=row.state)
        rows = (Row("neighbour", host, target),)
        inferred = number is None  # where the log has forgotten by which event the row came
        return [self._bare("neighbour-hit", seen, host, text, (number,), rows, inferred=inferred)]

    def _before_asking(self, seen: Sighting) -> list[Step]:
        """Why a host asks: the way it looked up, and the row that it lacks."""
        packet, netns = seen.packet, seen.place[0]
        if not packet.asks or not packet.is_broadcast:
            return []
        if (netns, packet.target) in self._asking or packet.source == packet.target:
            return []
        self._asking.add((netns, packet.target))
        steps = self._way_through(netns, packet.target, seen.at)
        host = self._where.title(netns)
        number = self._tables.incomplete(netns, packet.target, seen.at)
        text = say("neighbour-miss", host=host, target=packet.target)
        rows = (Row("neighbour", host, packet.target, written=number is not None),)
        # The kernel does not announce INCOMPLETE: only a question that waits long is seen so.
        inferred = number is None
        steps.append(
            self._bare("neighbour-miss", seen, host, text, (number,), rows, inferred=inferred)
        )
        return steps

    def _way_through(self, netns: str, hop: str, at: int) -> list[Step]:
        """The look-up for which a host asks for the next hop: of the hop, or beyond it."""
        beyond = [
            target
            for (space, target), gateway in self._tables.gateways()
            if (space, gateway) == (netns, hop)
        ]
        if not beyond:
            return self.way(netns, hop, at)
        return [step for target in beyond for step in self.way(netns, target, at)]

    def _resolving(self, seen: Sighting, words: dict[str, object]) -> Step:
        packet, netns = seen.packet, seen.place[0]
        host = self._where.title(netns)
        kinds = ("arp-request", "arp-reply", "arp-announce")
        if packet.protocol != "ARP":
            kinds = ("neighbour-solicitation", "neighbour-advertisement", "neighbour-announce")
        asks, answers, announces = kinds
        if not packet.asks:
            return self._step(answers, seen, answers, words)
        if packet.source == packet.target:
            return self._step(asks, seen, announces, words)
        key = asks if packet.is_broadcast else f"{asks}.probe"
        if key == asks and (netns, packet.target) in self._asked:
            key = f"{asks}.again"
        self._asked.add((netns, packet.target))
        rows = (Row("neighbour", host, packet.target),)
        return self._step(asks, seen, key, words, rows=rows)

    def _forwarded(self, seen: Sighting, words: dict[str, object]) -> list[Step]:
        cause = seen.cause
        assert cause is not None  # noqa: S101 (its caller has looked)
        netns, packet, before = seen.place[0], seen.packet, cause.packet
        host = self._where.title(netns)
        steps = self.way(netns, packet.target, seen.at)
        steps += self._next_hop(seen)
        changed = (before.source, before.target) != (packet.source, packet.target)
        if not changed:
            return [*steps, self._step("route-forward", seen, "route-forward", words)]
        text = say("route-forward", **words)
        found = self._tables.way(netns, packet.target)
        evidence = (found[1],) if found else ()
        steps.append(self._bare("route-forward", seen, host, text, evidence, inferred=not found))
        words = words | {
            "before": f"{before.source} → {before.target}",
            "after": f"{packet.source} → {packet.target}",
        }
        return [*steps, self._step("nat", seen, "nat", words)]

    # What it does with what it gets

    def _delivered(self, seen: Sighting, moves: tuple[Move, ...]) -> list[Step]:
        packet, netns = seen.packet, seen.place[0]
        words = self._words(seen)
        if seen.frame.packet_type == "otherhost":
            return [self._step("ignore", seen, "ignore.mac", words, moves=moves)]
        if packet.asks:
            if packet.target not in self._where.addresses(netns):
                key = "ignore.arp" if packet.protocol == "ARP" else "ignore.solicitation"
                return [self._step("ignore", seen, key, words, moves=moves)]
            key = "receive.broadcast" if packet.is_broadcast else "receive"
        elif self._where.peer(seen.place) == seen.place:
            key = "receive.self"
        else:
            key = "receive.all" if packet.is_broadcast else "receive"
        step = self._step("receive", seen, key, words, moves=moves)
        return [step, *self._taken(seen)]

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
            host = self._where.title(netns)
            text = say("drop.stack", host=host, target=packet.target)
            return [self._bare("drop", seen, host, text, (), inferred=True)]
        number = self._noted(seen)
        if number is None:
            return []
        host = self._where.title(netns)
        key = "neighbour-learn.reply" if packet.answers else "neighbour-learn.request"
        interface = self._where.name(seen.place)
        words = {"address": packet.source, "mac": packet.sender_mac, "interface": interface}
        text = say(key, host=host, **words)
        rows = (Row("neighbour", host, packet.source, written=True),)
        return [self._bare("neighbour-learn", seen, host, text, (number,), rows)]

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
        found = self._tables.way(netns, target)
        hop = (found[0].gateway if found else None) or target
        return self._questions.get((netns, hop), 0) >= since

    def change(self, number: int, event: ev.NeighbourSet) -> Step:
        """A neighbour row that changed by itself: it aged, or nobody answered."""
        host = self._where.title(event.netns)
        kind = "neighbour-change"
        key = f"{kind}.failed" if event.state == "FAILED" else kind
        if event.state == "INCOMPLETE":
            asked = (event.netns, event.address) in self._asked
            kind, key = (
                (kind, f"{kind}.waits") if asked else ("neighbour-miss", "neighbour-miss.unseen")
            )
        return Step(
            kind=kind,
            host=host,
            interface=self._where.name((event.netns, event.index)),
            text=say(key, host=host, address=event.address, state=event.state),
            evidence=(number,),
            at=event.at,
            protocol="ICMPv6" if ":" in event.address else "ARP",
            rows=(Row("neighbour", host, event.address, written=True),),
        )
