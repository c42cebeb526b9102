"""From joined sightings to steps: what each host and bridge did with the frame, and why."""

from __future__ import annotations

import msgspec

from labkit.journey.maker import ago
from labkit.journey.packets import BROADCAST
from labkit.journey.sentences import say
from labkit.journey.stack import Stack
from labkit.journey.values import Move, Place, Row, Step
from labkit.journey.weave import Sighting
from labkit.model import events as ev

DEEP = 24
"""Bridges in a row after which a frame is taken to go round in a loop."""


class Teller(Stack):
    """Tells chains of sightings as steps, moving the tables on as it goes."""

    def chain(self, root: Sighting) -> list[Step]:
        """The steps of a frame that a stack has sent, or that came from out of sight."""
        if root.frame.is_outgoing:
            return [*self._sent(root), *self._onward(root)]
        return self._arrival(root, None, 0)

    def claims(self, root: Sighting) -> list[int]:
        """The table changes that a frame of the background made, so that no other is said to."""
        found: list[int | None] = []
        for seen in root.tree():
            bridge = self._where.bridge(seen.place)
            packet, mac = seen.packet, seen.packet.source_mac
            if seen.frame.is_outgoing:
                continue
            if bridge is not None:
                learned = self._tables.learned(bridge, seen.place[1], mac, seen.at)
                found.append(learned[0] if learned else None)
            elif packet.resolves:
                found.append(self._noted(seen))
        return [number for number in found if number is not None]

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
            key = "flood.broadcast" if mac == BROADCAST else "flood.multicast"
            return [self._flood(seen, host, key, words, out, up, depth)]
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
