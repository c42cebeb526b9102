"""From joined sightings to steps: what each host and bridge did with the frame, and why."""

from __future__ import annotations

import msgspec

from labkit.journey.maker import Maker, ago
from labkit.journey.packets import BROADCAST
from labkit.journey.sentences import say
from labkit.journey.tables import Tables
from labkit.journey.values import Move, Place, Row, Step
from labkit.journey.weave import Sighting, Topology
from labkit.model import events as ev

DEEP = 24
"""Bridges in a row after which a frame is taken to go round in a loop."""
USABLE = {"REACHABLE", "STALE", "DELAY", "PROBE", "PERMANENT", "NOARP"}


class Teller(Maker):
    """Tells chains of sightings as steps, moving the tables on as it goes."""

    def __init__(self, topology: Topology, tables: Tables) -> None:
        super().__init__(topology)
        self._tables = tables
        self._looked: set[tuple[str, str]] = set()
        self._asking: set[tuple[str, str]] = set()
        self._asked: set[tuple[str, str]] = set()
        self._known: set[tuple[str, str, str]] = set()

    # What a stack sends

    def chain(self, root: Sighting) -> list[Step]:
        """The steps of a frame that a stack has sent, or that came from out of sight."""
        if root.frame.is_outgoing:
            return [*self._sent(root), *self._onward(root)]
        return self._arrival(root, None, 0)

    def _sent(self, seen: Sighting) -> list[Step]:
        packet, netns = seen.packet, seen.place[0]
        steps: list[Step] = []
        words = self._words(seen)
        if packet.protocol == "ARP":
            return [*self._before_arp(seen), self._arp(seen, words)]
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

    def way(self, netns: str, target: str, at: int) -> list[Step]:
        """The look-up of the way to an address, once a journey for each host."""
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
        row = Row("route", host, way.matched) if way.matched else None
        return [
            Step(
                kind="route",
                host=host,
                interface=self._where.name((netns, way.index)) if way.index else None,
                text=say(key, **values),
                evidence=() if number is None else (number,),
                at=at,
                protocol="IPv4",
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
        return [
            self._bare(
                "neighbour-hit", seen, host, text, (number,), (Row("neighbour", host, target),)
            )
        ]

    def _before_arp(self, seen: Sighting) -> list[Step]:
        """Why a host asks: the way it looked up, and the row that it lacks."""
        packet, netns = seen.packet, seen.place[0]
        if packet.operation != "who-has" or packet.target_mac != BROADCAST:
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

    def _arp(self, seen: Sighting, words: dict[str, object]) -> Step:
        packet, netns = seen.packet, seen.place[0]
        host = self._where.title(netns)
        if packet.operation == "is-at":
            return self._step("arp-reply", seen, "arp-reply", words | {"target": packet.target})
        if packet.source == packet.target:
            return self._step("arp-request", seen, "arp-announce", words)
        key = "arp-request" if packet.target_mac == BROADCAST else "arp-request.probe"
        if key == "arp-request" and (netns, packet.target) in self._asked:
            key = "arp-request.again"
        self._asked.add((netns, packet.target))
        rows = (Row("neighbour", host, packet.target),)
        return self._step("arp-request", seen, key, words, rows=rows)

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

    # Through cables and bridges

    def _onward(self, seen: Sighting, depth: int = 0) -> list[Step]:
        """What became of a frame that an interface has sent."""
        if self._where.is_bridge(seen.place):
            return self._decision(seen, seen.place, depth)
        if seen.copies:
            return self._arrival(seen.copies[0], self._move(seen), depth)
        if self._where.peer(seen.place) is None:
            return []
        words = self._words(seen)
        text = say("drop.cable", **words)
        host = self._where.title(seen.place[0])
        moves = (self._move(seen),)
        return [self._bare("drop", seen, host, text, (), inferred=True, moves=moves)]

    def _arrival(self, seen: Sighting, move: Move | None, depth: int) -> list[Step]:
        moves = (move,) if move else ()
        bridge = self._where.bridge(seen.place)
        if bridge is None:
            return self._delivered(seen, moves)
        words = self._words(seen) | {"host": self._where.name(bridge)}
        steps = [self._step("enter-port", seen, "enter-port", words, moves=moves)]
        steps += self._learn(seen, bridge)
        return steps + self._decision(seen, bridge, depth)

    def _learn(self, seen: Sighting, bridge: Place) -> list[Step]:
        mac = seen.packet.source_mac
        learned = self._tables.learned(bridge, seen.place[1], mac, seen.at)
        if learned is None:
            return []
        number, before = learned
        host = self._where.name(bridge)
        words: dict[str, object] = {
            "host": host,
            "mac": mac,
            "owner": self._owner(mac),
            "interface": self._where.name(seen.place),
        }
        key = "learn"
        if before is not None:
            key = "learn.moved"
            words["before"] = self._where.name((bridge[0], before.port))
        rows = (Row("fdb", host, mac, written=True),)
        text = say(key, **words)
        return [self._bare("learn", seen, host, text, (number,), rows)]

    def _decision(self, seen: Sighting, bridge: Place, depth: int) -> list[Step]:
        """What a bridge did with a frame: a flood, one port, its own stack, or nothing."""
        up = [s for s in seen.copies if self._where.is_bridge(s.place)]
        out = [s for s in seen.copies if not self._where.is_bridge(s.place)]
        host, mac = self._where.name(bridge), seen.packet.target_mac
        words = self._words(seen) | {"host": host, "mac": mac, "owner": self._owner(mac)}
        if depth >= DEEP and out:
            rest = [s.number for one in seen.copies for s in one.tree()]
            text = say("loop", count=len(rest))
            return [self._bare("loop", seen, host, text, rest)]
        held = self._tables.fdb(bridge, mac)
        if seen.packet.is_broadcast:
            return [self._flood(seen, host, "flood.broadcast", words, out, up, depth)]
        if not out:
            if up:
                key = "to-bridge-stack.own"
                return [self._step("to-bridge-stack", up[0], key, words), *self._taken(up[0])]
            key = "drop.bridge"
            rows: tuple[Row, ...] = ()
            evidence: tuple[int | None, ...] = ()
            if held is not None and held[0].port == seen.place[1]:
                key = "drop.same-port"
                rows = (Row("fdb", host, mac),)
                evidence = (held[1],)
            text = say(key, **words)
            return [self._bare("drop", seen, host, text, evidence, rows, inferred=True)]
        learned = held is not None and any(s.place[1] == held[0].port for s in out)
        if held is None or not learned or len(out) > 1:
            return [self._flood(seen, host, "flood.unknown", words, out, up, depth)]
        return self._forward(seen, host, words, out[0], held, depth)

    def _forward(
        self,
        seen: Sighting,
        host: str,
        words: dict[str, object],
        out: Sighting,
        held: tuple[ev.FdbSet, int | None],
        depth: int,
    ) -> list[Step]:
        row, number = held
        since = ""
        if row.updated is not None and row.kind == "learned":
            since = f": a frame from it came in there {ago(seen.at - row.updated)}"
        words = words | {"interface": self._where.name(out.place), "since": since}
        text = say("forward", **words)
        rows = (Row("fdb", host, row.mac),)
        move = self._move(out)
        evidence = (out.number, number)
        step = self._bare("forward", out, host, text, evidence, rows, moves=(move,))
        return [step, *self._far(out, depth)]

    def _flood(
        self,
        seen: Sighting,
        host: str,
        key: str,
        words: dict[str, object],
        out: list[Sighting],
        up: list[Sighting],
        depth: int,
    ) -> Step:
        names = ", ".join(self._where.name(s.place) for s in out)
        branches = [step for s in out for step in self._far(s, depth)]
        for s in up:
            branches.append(self._step("to-bridge-stack", s, "to-bridge-stack.copy", words))
            branches += self._taken(s)
        if not out:
            key = "flood.nobody"
        evidence = [s.number for s in out]
        step = self._bare(
            "flood",
            seen,
            host,
            say(key, **words, ports=names),
            evidence,
            moves=tuple(self._move(s) for s in out),
            inferred=not out,
        )
        return msgspec.structs.replace(step, branches=tuple(branches))

    def _far(self, out: Sighting, depth: int) -> list[Step]:
        """What happened at the far end of the cable that a port has sent a frame into."""
        if out.copies:
            return self._arrival(out.copies[0], None, depth + 1)
        words = self._words(out)
        host = self._where.name(self._where.bridge(out.place) or out.place)
        return [self._bare("drop", out, host, say("drop.cable", **words), (), inferred=True)]

    # What a stack does with what it gets

    def _delivered(self, seen: Sighting, moves: tuple[Move, ...]) -> list[Step]:
        packet, netns = seen.packet, seen.place[0]
        words = self._words(seen)
        if seen.frame.packet_type == "otherhost":
            return [self._step("ignore", seen, "ignore.mac", words, moves=moves)]
        if packet.protocol == "ARP" and packet.operation == "who-has":
            if packet.target not in self._where.addresses(netns):
                return [self._step("ignore", seen, "ignore.arp", words, moves=moves)]
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
        if packet.ttl is not None and not packet.is_broadcast and not seen.is_answered:
            if packet.target in self._where.addresses(netns):
                return []
            host = self._where.title(netns)
            text = say("drop.stack", host=host, target=packet.target)
            return [self._bare("drop", seen, host, text, (), inferred=True)]
        if packet.protocol != "ARP" or packet.source == "0.0.0.0":  # noqa: S104 (a probe, RFC 5227)
            return []
        if packet.operation == "who-has" and packet.target not in self._where.addresses(netns):
            return []
        number = self._tables.noted(netns, packet.source, packet.sender_mac, seen.at)
        if number is None:
            return []
        host = self._where.title(netns)
        key = "neighbour-learn.reply" if packet.operation == "is-at" else "neighbour-learn.request"
        interface = self._where.name(seen.place)
        words = {"address": packet.source, "mac": packet.sender_mac, "interface": interface}
        text = say(key, host=host, **words)
        rows = (Row("neighbour", host, packet.source, written=True),)
        return [self._bare("neighbour-learn", seen, host, text, (number,), rows)]

    def change(self, number: int, event: ev.NeighbourSet) -> Step:
        """A neighbour row that changed by itself: it aged, or nobody answered."""
        host = self._where.title(event.netns)
        key = "neighbour-change.failed" if event.state == "FAILED" else "neighbour-change"
        return Step(
            kind="neighbour-change",
            host=host,
            interface=self._where.name((event.netns, event.index)),
            text=say(key, host=host, address=event.address, state=event.state),
            evidence=(number,),
            at=event.at,
            protocol="ARP",
            rows=(Row("neighbour", host, event.address, written=True),),
        )
