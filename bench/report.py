"""The goals, as data; the rows, and the table they make."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIMITS = {
    "import labkit": 0.15,
    "Lab() returns": 0.2,
    "Lab() and its first command": 0.2,
    "Lab() returns, uml": 5,
    "and its first command, uml": 5,
    "close, 2 hosts": 0.05,
    "close, 10 hosts": 0.05,
    "close, 100 hosts": 0.05,
    "close, 1000 hosts": 0.05,
    "agent's memory (RSS), 10 hosts": 40,
    "load 100,000 events, 2 hosts": 1,
    "load 100,000 events, 100 hosts": 1,
    "state at an instant, 2 hosts": 33,
    "state at an instant, 100 hosts": 33,
    "timeline at an instant, 2 hosts": 33,
    "timeline at an instant, 100 hosts": 33,
    "first journey, after 1 s": 50,
    "journey of a cold ping, 95th": 50,
    "journey of a warm ping, 95th": 50,
    "event to pixel, 1 host, 95th": 50,
    "event to pixel, 100 hosts, 95th": 50,
    "event to pixel, 1000 hosts, 95th": 50,
    "1000 hosts: browser's thread busy": 50,
    "agent's memory, 100 hosts, views": 40,
}
"""The most that a row may be, in its unit."""
LEAST = {
    ("frames a second without loss", "tcpdump"): 0.5,
    ("1000 hosts: updates painted", None): 18,
}
"""The least that a row must be of a peer's, or of itself: where more is better."""
RATIOS = {("build, 100 hosts", "C"): 1.3, ("build, 100 hosts", "Mininet"): 0.1}
"""The most that a row may be of a peer's."""

WIDTHS = (33, 11, 17, 6, 16, 3)
TITLES = ("what", "ours", "peer", "ratio", "goal", "met")


@dataclass(frozen=True)
class Row:
    """One figure of ours, beside a peer's where there is one."""

    what: str
    ours: float
    unit: str
    peer: str | None = None
    theirs: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.ours / self.theirs if self.theirs else None

    @property
    def limit(self) -> float | None:
        """The goal: of the ratio where there is a peer, else of the figure."""
        if self.peer is None:
            return LEAST.get((self.what, None), LIMITS.get(self.what))
        return LEAST.get((self.what, self.peer), RATIOS.get((self.what, self.peer)))

    @property
    def is_least(self) -> bool:
        """Whether the goal is a lower bound."""
        return (self.what, self.peer) in LEAST

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        measured = self.ratio if self.peer else self.ours
        if measured is None:
            return False
        return measured >= self.limit if self.is_least else measured <= self.limit

    def cells(self) -> tuple[str, ...]:
        goal = ""
        if self.limit is not None:
            goal = f"{'≥' if self.is_least else '≤'} {self.limit:g} " + (
                f"of {self.peer}" if self.peer else self.unit
            )
        return (
            self.what,
            _figure(self.ours, self.unit),
            f"{self.peer} {_figure(self.theirs or 0, self.unit)}" if self.peer else "",
            "" if self.ratio is None else f"{self.ratio:.2f}",
            goal,
            {True: "yes", False: "NO", None: ""}[self.met],
        )


def _figure(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.2f} s"
    if unit == "/s":
        return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s"
    return f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"


def line(cells: tuple[str, ...]) -> str:
    """One line of the table, as Markdown."""
    first, *rest = zip(cells, WIDTHS, strict=True)
    ends = [f"{text:>{w}}" if n in (0, 2) else f"{text:<{w}}" for n, (text, w) in enumerate(rest)]
    return "| " + " | ".join([f"{first[0]:<{first[1]}}", *ends]) + " |"


class Report:
    """Rows, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        print(line(TITLES))
        rules = ["-" * (w + 1) + (":" if n in (1, 3) else "-") for n, w in enumerate(WIDTHS)]
        print("|" + "|".join(rules) + "|", flush=True)

    def add(
        self, what: str, ours: float, unit: str, peer: str | None = None, theirs: float = 0
    ) -> None:
        row = Row(what, ours, unit, peer, theirs if peer else None)
        self.rows.append(row)
        print(line(row.cells()), flush=True)

    def as_json(self) -> list[dict[str, Any]]:
        """The rows as values."""
        return [
            asdict(row) | {"ratio": row.ratio, "limit": row.limit, "met": row.met}
            for row in self.rows
        ]

    def save(self, path: Path) -> None:
        """The rows as JSON."""
        path.write_text(json.dumps(self.as_json(), indent=1) + "\n")
