"""One journey as a sequence chart: time goes down, interfaces are side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.render import chart
from labkit.render.chart import BLUE, GREEN, PURPLE, RED, Picture

if TYPE_CHECKING:
    from labkit.journey.values import Place, Step

WIDE = 9
"""Interfaces side by side; with more, hosts that only look on share one line."""
STEP = 0.8
"""Between two arrows of one step; steps are 1 apart."""
LINE = 26
"""Letters of a remark in one line."""
MARKS = {
    "route": ("looks for the way: {key}", BLUE),
    "neighbour-miss": ("MAC of {key} not known", RED),
    "neighbour-hit": ("knows the MAC of {key}", GREEN),
    "neighbour-learn": ("notes {key} in its ARP cache", GREEN),
    "learn": ("learns {key}", GREEN),
    "flood": ("flood", PURPLE),
    "forward": ("row found: {key}", BLUE),
    "ignore": ("drops it: not meant", None),
    "receive": ("takes it in", None),
    "to-bridge-stack": ("a copy for the machine itself", None),
    "route-forward": ("forwards it as a router", BLUE),
    "drop": ("drop", RED),
    "timeout": ("no answer in time", RED),
}
"""The remark of a step's kind, and its colour; of others, the kind itself."""


class Row(msgspec.Struct, frozen=True):
    """A step of a journey, with what its frame says in a few words."""

    step: Step
    label: str


class _Columns:
    """Which line an interface is drawn at: those of a host or bridge are neighbours."""

    def __init__(self, rows: Sequence[Row], state: State) -> None:
        self.state = state
        groups: dict[str, dict[str, None]] = {}  # the names of each owner, in order
        acting = set()
        for row in rows:
            step = row.step
            for place in [p for m in step.moves for p in (m.start, m.end)]:
                groups.setdefault(self._owner(place), {}).setdefault(self._name(place))
            if step.interface:
                groups.setdefault(step.host, {}).setdefault(step.interface)
            if step.kind not in ("ignore", "flood", "receive", "to-bridge-stack"):
                acting.add((step.host, step.interface))
        total = sum(map(len, groups.values()))
        self.lines: list[tuple[str, str]] = []
        self.folded: set[tuple[str, str]] = set()
        for owner, names in groups.items():
            for name in names:
                one = (owner, name)
                idle = one not in acting and not self._faces(one, acting)
                if total > WIDE and idle:
                    self.folded.add(one)
                else:
                    self.lines.append(one)
        self.bystanders = {owner for owner, _ in self.folded} - {owner for owner, _ in self.lines}
        if self.folded:
            self.lines.append(("others", f"{len(self.bystanders)} hosts"))

    def _name(self, place: Place) -> str:
        return self.state.space(place[0]).name_of(place[1])

    def _owner(self, place: Place) -> str:
        return chart.bridge_of(self.state, *place) or place[0]

    def _faces(self, one: tuple[str, str], acting: set[tuple[str, str | None]]) -> bool:
        """Whether its cable's other end acts."""
        owner, name = one
        netns = owner if owner in self.state.hosts else MACHINE
        link = self.state.space(netns).link_named(name)
        far = link.peer if link else None
        return far is not None and (self._owner(far), self._name(far)) in acting

    def looks_on(self, step: Step) -> bool:
        """Whether a step is not drawn: it is of one of those that share a line."""
        idle = step.kind in ("ignore", "receive", "to-bridge-stack")
        return idle and (step.host, step.interface) in self.folded

    def of(self, place: Place) -> int:
        """The line of an interface."""
        return self.at(self._owner(place), self._name(place))

    def at(self, owner: str, name: str | None) -> int:
        """The line of an interface by its names."""
        one = (owner, name or "")
        if one in self.lines:
            return self.lines.index(one)
        own = [i for i, (whose, _) in enumerate(self.lines) if whose == owner]
        return own[0] if own and one not in self.folded else len(self.lines) - 1


def draw(
    rows: Sequence[Row], state: State, begins: int, *, title: str, style: str = "both"
) -> Picture:
    """The steps as a chart. Rows are in order, not to scale; each says its time after `begins`."""
    look = chart.style_of(style)
    columns = _Columns(rows, state)
    shown = [row for row in rows if not columns.looks_on(row.step)]
    shown.sort(key=lambda row: row.step.at)  # branches go on side by side
    left_out = len(rows) - len(shown)
    count = max(1, len(columns.lines))
    ways = [_ways(row.step, columns) for row in shown]
    bottom = sum(max(1.0, STEP * len(way)) for way in ways)
    figure = chart.paper(1.6 + 1.75 * count, 1.6 + 0.46 * bottom, look)
    axes = chart.axes(figure, look, title or "journey")
    for x, (owner, name) in enumerate(columns.lines):
        axes.plot([x, x], [-0.2, bottom], color=look.soft, lw=1, alpha=0.55, zorder=0)
        above = "machine" if owner == name else owner  # a bridge's own interface is the machine's
        axes.text(
            x, -0.3, f"{above}\n{name}", ha="center", va="bottom", color=look.ink, fontsize=9.5,
            fontweight="bold",
        )  # fmt: skip
    inside: dict[str, int] = {}
    before, y = None, 0.5
    for row, way in zip(shown, ways, strict=True):
        at = f"{(row.step.at - begins) / 1e6:.3f} ms"
        if at != before:
            axes.text(-0.55, y, at, ha="right", va="center", color=look.ink, fontsize=8.5)
        before = at
        if way:
            _draw_moves(axes, row, way, y, inside, look)
            if row.step.kind == "enter-port":
                inside[row.step.host] = way[0].end
        else:
            _draw_mark(axes, row, columns, y, look)
        y += max(1.0, STEP * len(way))
    axes.set_xlim(-0.55, count - 0.2)
    axes.set_ylim(bottom + 0.1, -1.2)
    axes.set_xticks([])
    axes.set_yticks([])
    note = f"{left_out} steps of those that only look on are not drawn." if left_out else ""
    axes.set_xlabel(note, color=look.ink, fontsize=9)
    words = "; ".join(f"{row.step.kind} at {row.step.host}" for row in shown)
    return Picture(figure, f"Sequence of {title or 'a journey'}: {words}. {note}".strip())


class _Way(msgspec.Struct):
    """An arrow: from line to line, standing for so many moves."""

    start: int
    end: int
    arrived: bool
    count: int = 1


def _ways(step: Step, columns: _Columns) -> list[_Way]:
    """The arrows of a step; those that would look the same are one."""
    found: list[_Way] = []
    for move in step.moves:
        start, end = columns.of(move.start), columns.of(move.end)
        same = [w for w in found if (w.start, w.end, w.arrived) == (start, end, move.arrived)]
        if same:
            same[0].count += 1
        else:
            found.append(_Way(start, end, move.arrived))
    return found


def _draw_moves(
    axes: Any, row: Row, ways: list[_Way], y: float, inside: dict[str, int], look: chart.Style
) -> None:
    """The arrows of a step, and the way of the frame through the bridge, dotted."""
    step = row.step
    crossing = inside.get(step.host) if step.kind in ("forward", "flood") else None
    text, _ = _remark(row)
    for number, way in enumerate(ways):
        at = y + STEP * number
        start = way.start
        if crossing is not None and start != way.end:
            axes.plot([crossing, start], [at, at], color=look.ink, lw=1.2, ls=(0, (1, 2)))
        elif crossing is not None:
            start = crossing  # to those that share one line
        color = BLUE if way.arrived else RED
        axes.annotate(
            "", (way.end, at), xytext=(start, at),
            arrowprops={"arrowstyle": "-|>", "color": color, "lw": 1.6, "shrinkA": 1, "shrinkB": 1},
        )  # fmt: skip
        if not way.arrived:
            axes.plot([(start + way.end) / 2], [at], "x", color=RED, ms=9, mew=2)
        copies = f"{row.label} ({way.count} copies)" if way.count > 1 else row.label
        axes.text(
            (start + way.end) / 2, at - 0.1, copies or text, ha="center", va="bottom", fontsize=8,
            color=look.ink,
        )  # fmt: skip
    if crossing is not None and text:
        far = ways[0].start if ways[0].start != ways[0].end else ways[0].end
        axes.text(
            (crossing + far) / 2, y + 0.1, text, ha="center", va="top", fontsize=7.5,
            color=look.ink,
        )  # fmt: skip


def _draw_mark(axes: Any, row: Row, columns: _Columns, y: float, look: chart.Style) -> None:
    """A step at one place: a mark on its line, and a remark."""
    step = row.step
    here = columns.at(step.host, step.interface)
    text, color = _remark(row)
    axes.plot(
        [here], [y], "D" if step.inferred else "o", ms=6, zorder=3, color=color or look.ink,
        fillstyle="none" if step.inferred else "full", mew=1.5,
    )  # fmt: skip
    wrapped = "\n".join(textwrap.wrap(text + (" (inferred)" if step.inferred else ""), LINE))
    last = here == len(columns.lines) - 1 and here > 0
    axes.annotate(
        wrapped, (here, y), xytext=(-7 if last else 7, 0), textcoords="offset points",
        ha="right" if last else "left", va="center", fontsize=8, color=look.ink, linespacing=0.95,
    )  # fmt: skip


def _remark(row: Row) -> tuple[str, str | None]:
    """What is said of a step, and in which colour it is marked."""
    step = row.step
    form, color = MARKS.get(step.kind, (step.kind.replace("-", " "), BLUE))
    if step.kind in ("arp-request", "arp-reply", "echo-request", "echo-reply", "transmit"):
        return row.label or form, PURPLE
    key = step.rows[0].key if step.rows else ""
    return form.format(key=key).rstrip(": "), color
