"""Making steps of sightings: who, where, in which words."""

from __future__ import annotations

from collections.abc import Iterable

from labkit.journey.sentences import say
from labkit.journey.values import Move, Row, Step
from labkit.journey.weave import Sighting, Topology

NOUNS = {"IPv4": "packet", "IPv6": "packet", "UDP": "datagram", "TCP": "segment", "802.1Q": "frame"}


class Maker:
    """Knows who is where, and what a frame says."""

    def __init__(self, topology: Topology) -> None:
        self._where = topology

    def _step(
        self,
        kind: str,
        seen: Sighting,
        key: str,
        words: dict[str, object],
        *,
        moves: tuple[Move, ...] = (),
        rows: tuple[Row, ...] = (),
    ) -> Step:
        """A step whose evidence is the frame itself."""
        host = str(words["host"])
        return self._bare(kind, seen, host, say(key, **words), (seen.number,), rows, moves=moves)

    def _bare(
        self,
        kind: str,
        seen: Sighting,
        host: str,
        text: str,
        evidence: Iterable[int | None],
        rows: tuple[Row, ...] = (),
        *,
        moves: tuple[Move, ...] = (),
        inferred: bool = False,
    ) -> Step:
        return Step(
            kind=kind,
            host=host,
            interface=self._where.name(seen.place),
            text=text,
            evidence=tuple(number for number in evidence if number is not None),
            at=seen.at,
            frame=seen.number,
            protocol=seen.packet.protocol,
            inferred=inferred,
            moves=moves,
            rows=rows,
        )

    def _move(self, out: Sighting) -> Move:
        return Move(out.place, self._where.peer(out.place) or out.place, arrived=bool(out.copies))

    def _words(self, seen: Sighting) -> dict[str, object]:
        packet = seen.packet
        return {
            "host": self._where.title(seen.place[0]),
            "interface": self._where.name(seen.place),
            "source": packet.source,
            "target": packet.target,
            "target_mac": packet.target_mac,
            "sender_mac": packet.sender_mac,
            "owner": self._owner(packet.target_mac),
            "sequence": packet.sequence,
            "operation": packet.operation,
            "ttl": packet.ttl,
            "what": what(seen),
        }

    def _owner(self, mac: str) -> str:
        name = self._where.whose(mac)
        return f" ({name})" if name else ""


def what(seen: Sighting) -> str:
    """A packet in two or three words: "a TCP SYN", "a DNS message"."""
    packet = seen.packet
    kind = f"{packet.protocol} {packet.operation or NOUNS.get(packet.protocol, 'message')}"
    return f"{'an' if kind[:1] in 'AEIO8' else 'a'} {kind}"


def ago(nanoseconds: int) -> str:
    """How long ago, in words."""
    seconds = nanoseconds / 1e9
    if seconds < 1:
        return "a moment ago"
    return f"{seconds:.0f} s ago" if seconds < 90 else f"{seconds / 60:.0f} min ago"
