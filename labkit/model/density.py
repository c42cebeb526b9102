"""How much happened when: what a timeline shows above its slider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from labkit.model import events as ev

KINDS = ("frames", "tables", "network")
"""What is told apart: frames; changes of ARP and CAM tables; changes of the network itself."""
_KIND: dict[type, int] = {
    ev.Frame: 0,
    **dict.fromkeys(ev.TABLES, 1),
    **dict.fromkeys(ev.NETWORK, 2),
}
BINS = 4096
"""Bins that are kept at most: each then takes the place of two."""


class Density:
    """Counts of events in bins of equal width; the bins grow as time goes on."""

    def __init__(self) -> None:
        self._begin: int | None = None
        self._width = 1_000_000  # nanoseconds
        self._bins: Counter[tuple[int, int]] = Counter()  # by number, and place among `KINDS`

    def take(self, rows: Iterable[tuple[int, ev.Event]]) -> None:
        """Counts events, given with their times in ascending order."""
        for at, event in rows:
            kind = _KIND.get(type(event))
            if kind is None:
                continue
            if self._begin is None:
                self._begin = at
            while (at - self._begin) // self._width >= BINS:
                self._widen()
            self._bins[(at - self._begin) // self._width, kind] += 1

    def _widen(self) -> None:
        self._width *= 2
        narrow, self._bins = self._bins, Counter()
        for (number, kind), count in narrow.items():
            self._bins[number // 2, kind] += count

    def columns(self, first: int, end: int, count: int) -> list[list[int]]:
        """The counts of `KINDS` in that many equal parts of a time (nanoseconds)."""
        found = [[0] * len(KINDS) for _ in range(count)]
        span = max(1, end - first)
        for (number, kind), value in self._bins.items():
            at = (self._begin or 0) + number * self._width - first
            if at >= -self._width:
                found[max(0, min(count - 1, at * count // span))][kind] += value
        return found
