"""From joined sightings to steps: what each host and bridge did with the frame, and why."""

from __future__ import annotations

import msgspec

from labkit.journey.maker import ago
from labkit.journey.packets import BROADCAST
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
        return self._arrival(root, 0)

    def noise(self, root: Sighting) -> Step:
        """Everything that came of a frame of the background, as one step."""
        packet = root.packet
        key = f"noise.{packet.protocol}"
        if packet.resolves and root.is_background and not packet.is_broadcast:
            key = "noise.arp-probe" if packet.asks else "noise.arp-reply"
        bridge = self._where.bridge(root.place)
        return self._step(
            root,
            key,
            evidence=sorted([*(s.number for s in root.tree()), *self._claims(root)]),
            host=self._where.name(bridge) if bridge else self._where.title(root.place[0]),
            target=packet.target or packet.target_mac,
            operation=packet.operation or packet.summary,
        )

    def _claims(self, root: Sighting) -> list[int]:
        """The table changes that a frame of the background made, so that no other is said to."""
        found: list[int | None] = []
        for seen in root.tree():
            bridge = self._where.bridge(seen.place)
            if seen.frame.is_outgoing:
                continue
            if bridge is not None:
                mac = seen.packet.source_mac
                learned = self._tables.learned(bridge, seen.place[1], mac, seen.at)
                found.append(learned[0] if learned else None)
            else:
                found.append(self._noted(seen))
        return [number for number in found if number is not None]

    # Through cables and bridges

    def _onward(self, seen: Sighting, depth: int = 0) -> list[Step]:
        """What became of a frame that an interface has sent."""
        if self._where.is_bridge(seen.place):
            return self._decision(seen, seen.place, depth)
        moves = (self._move(seen),)
        if seen.copies:
            return self._arrival(seen.copies[0], depth, moves)
        if self._where.peer(seen.place) is None:
            return []
        return [self._step(seen, "drop.cable", evidence=(), moves=moves)]

    def _arrival(self, seen: Sighting, depth: int, moves: tuple[Move, ...] = ()) -> list[Step]:
        bridge = self._where.bridge(seen.place)
        if bridge is None:
            return self._delivered(seen, moves)
        host = self._where.name(bridge)
        return [
            self._step(seen, "enter-port", moves=moves, host=host),
            *self._learn(seen, bridge),
            *self._decision(seen, bridge, depth),
        ]

    def _learn(self, seen: Sighting, bridge: Place) -> list[Step]:
        mac = seen.packet.source_mac
        learned = self._tables.learned(bridge, seen.place[1], mac, seen.at)
        if learned is None:
            return []
        number, before = learned
        host = self._where.name(bridge)
        key, left = "learn", ""
        if before is not None:
            key, left = "learn.moved", self._where.name((bridge[0], before.port))
        step = self._step(
            seen,
            key,
            evidence=(number,),
            row=Row("fdb", host, mac, written=True),
            host=host,
            mac=mac,
            owner=self._owner(mac),
            before=left,
        )
        return [step]

    def _copies(self, seen: Sighting) -> tuple[list[Sighting], list[Sighting]]:
        """What a bridge made of a frame: for its own stack, and out of its ports."""
        up = [s for s in seen.copies if self._where.is_bridge(s.place)]
        return up, [s for s in seen.copies if s not in up]

    def _decision(self, seen: Sighting, bridge: Place, depth: int) -> list[Step]:
        """What a bridge did with a frame: a flood, one port, its own stack, or nothing."""
        up, out = self._copies(seen)
        host, mac = self._where.name(bridge), seen.packet.target_mac
        if depth >= DEEP and out:
            rest = [s.number for one in seen.copies for s in one.tree()]
            return [self._step(seen, "loop", evidence=rest, host=host, count=len(rest))]
        held = self._tables.fdb(bridge, mac)
        if seen.packet.is_broadcast:
            key = "flood.broadcast" if mac == BROADCAST else "flood.multicast"
            return [self._flood(seen, host, key, depth)]
        if up and not out:
            own = self._step(up[0], "to-bridge-stack.own", host=host)
            return [own, *self._taken(up[0])]
        if not out:
            return [self._kept(seen, host, held)]
        learned = held is not None and any(s.place[1] == held.port for s in out)
        if held is None or not learned or len(out) > 1:
            return [self._flood(seen, host, "flood.unknown", depth)]
        return self._forward(seen, host, out[0], held, depth)

    def _kept(self, seen: Sighting, host: str, held: ev.FdbSet | None) -> Step:
        """A bridge sent a frame nowhere, maybe back to where it came from."""
        if held is None or held.port != seen.place[1]:
            return self._step(seen, "drop.bridge", evidence=(), host=host)
        key, row = "drop.same-port", Row("fdb", host, held.mac)
        evidence = (self._tables.number(held),)
        return self._step(seen, key, evidence=evidence, row=row, inferred=True, host=host)

    def _forward(
        self, seen: Sighting, host: str, out: Sighting, row: ev.FdbSet, depth: int
    ) -> list[Step]:
        since = ""
        if row.updated is not None and row.kind == "learned":
            since = f": a frame from it came in there {ago(seen.at - row.updated)}"
        step = self._step(
            out,
            "forward",
            evidence=(out.number, self._tables.number(row)),
            row=Row("fdb", host, row.mac),
            moves=(self._move(out),),
            host=host,
            since=since,
        )
        return [step, *self._far(out, depth)]

    def _flood(self, seen: Sighting, host: str, key: str, depth: int) -> Step:
        up, out = self._copies(seen)
        names = ", ".join(self._where.name(s.place) for s in out)
        branches = [step for s in out for step in self._far(s, depth)]
        for s in up:
            branches.append(self._step(s, "to-bridge-stack.copy", host=host))
            branches += self._taken(s)
        step = self._step(
            seen,
            key if out else "flood.nobody",
            evidence=[s.number for s in out],
            moves=tuple(self._move(s) for s in out),
            host=host,
            ports=names,
        )
        return msgspec.structs.replace(step, branches=tuple(branches))

    def _far(self, out: Sighting, depth: int) -> list[Step]:
        """What happened at the far end of the cable that a port has sent a frame into."""
        if out.copies:
            return self._arrival(out.copies[0], depth + 1)
        host = self._where.name(self._where.bridge(out.place) or out.place)
        return [self._step(out, "drop.cable", evidence=(), host=host)]
