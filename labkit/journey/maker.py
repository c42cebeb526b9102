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
        seen: Sighting,
        key: str,
        *,
        evidence: Iterable[int | None] | None = None,
        moves: tuple[Move, ...] = (),
        row: Row | None = None,
        inferred: bool = False,
        **more: object,
    ) -> Step:
        """A step told by the sentence `key`, in the words of the frame and in `more`.

        Its kind is the key's part before a dot. Where no other evidence is named, it is the
        frame itself; what no event tells is inferred.
        """
        words = self._words(seen) | more
        told = (seen.number,) if evidence is None else evidence
        numbers = tuple(number for number in told if number is not None)
        return Step(
            kind=key.partition(".")[0],
            host=str(words["host"]),
            interface=self._where.name(seen.place),
            text=say(key, **words),
            evidence=numbers,
            at=seen.at,
            frame=seen.number,
            protocol=seen.packet.protocol,
            inferred=inferred or not numbers,
            moves=moves,
            rows=() if row is None else (row,),
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
            "mac": packet.target_mac,
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
