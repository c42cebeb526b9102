"""The events of a time as lanes: one for each host and bridge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.render import chart
from labkit.render.chart import BLUE, GREEN, GREY, PURPLE, RED, Picture

STATES = {
    "INCOMPLETE": (BLUE, "////"),
    "REACHABLE": (GREEN, ""),
    "STALE": (GREY, ""),
    "DELAY": (PURPLE, ""),
    "PROBE": (PURPLE, "////"),
    "FAILED": (RED, "xxxx"),
    "PERMANENT": (GREY, "...."),
    "NOARP": (GREY, "...."),
}
"""Each state of a neighbour: its colour, and a hatch for whoever cannot tell colours apart."""
ROWS = 4
"""Neighbours of a host that are drawn; the rest are counted."""
COLUMNS = 1500
"""Places across: frames that fall into the same one are drawn once, which looks the same."""

Key = tuple[str, int, str]
"""A neighbour: its namespace, interface index and address."""


class Span(msgspec.Struct):
    """A neighbour's row in one of its states."""

    state: str
    begin: int
    end: int


class Lane(msgspec.Struct):
    """What happened at one host or bridge: times, and each neighbour's row."""

    name: str
    kind: str
    sent: list[int] = []
    received: list[int] = []
    learned: list[int] = []
    forgotten: list[int] = []
    neighbours: dict[str, list[Span]] = {}

    @property
    def rows(self) -> int:
        """How many neighbours are drawn."""
        return min(ROWS, len(self.neighbours))

    @property
    def height(self) -> float:
        return 1.0 + 0.5 * self.rows + (0.35 if len(self.neighbours) > ROWS else 0)

    def in_words(self) -> str:
        """What happened there, as text."""
        parts = [f"{len(self.sent)} frames sent", f"{len(self.received)} received"]
        if self.learned or self.forgotten:
            parts.append(f"{len(self.learned)} rows learned, {len(self.forgotten)} forgotten")
        for address, spans in self.neighbours.items():
            parts.append(f"{address} " + ", ".join(span.state for span in spans))
        return f"{self.name}: {'; '.join(parts)}."


def collect(state: State, rows: Sequence[tuple[int, ev.Event]], start: int, end: int) -> list[Lane]:
    """The lanes of a time, given the state at its beginning and its events.

    The first are the bridges and the machine, then the hosts.
    """
    lanes: dict[str, Lane] = {}
    open_rows: dict[Key, Span] = {}

    def lane(name: str, kind: str) -> Lane:
        return lanes.setdefault(f"{kind} {name}", Lane(name, kind))

    def place(netns: str, index: int) -> Lane:
        """Where an interface belongs: a bridge and its ports to the bridge's lane."""
        bridge = chart.bridge_of(state, netns, index)
        return lane(bridge, "bridge") if bridge else stack(netns)

    def stack(netns: str) -> Lane:
        return lane(netns, MACHINE if netns == MACHINE else "host")

    def close(key: Key, at: int) -> None:
        if key in open_rows:
            open_rows.pop(key).end = at

    def begin(event: ev.NeighbourSet, at: int) -> None:
        key = (event.netns, event.index, event.address)
        now = open_rows.get(key)
        if now is not None and now.state == event.state:
            return
        close(key, at)
        span = Span(event.state, at, end)
        stack(event.netns).neighbours.setdefault(event.address, []).append(span)
        open_rows[key] = span

    for space in list(state.namespaces.values()):
        for row in space.neighbours.values():
            begin(row, start)
    for _, event in rows:
        at = max(start, min(end, event.at))
        match event:
            case ev.Frame():
                where = place(event.netns, event.index)
                (where.sent if event.is_outgoing else where.received).append(at)
            case ev.NeighbourSet():
                begin(event, at)
            case ev.NeighbourRemoved():
                close((event.netns, event.index, event.address), at)
            case ev.NamespaceRemoved() | ev.LinkRemoved():
                gone = [
                    key
                    for key in open_rows
                    if key[0] == event.netns
                    and (isinstance(event, ev.NamespaceRemoved) or key[1] == event.index)
                ]
                for key in gone:
                    close(key, at)
            case ev.FdbSet(kind="learned"):
                where = lane(state.space(event.netns).name_of(event.bridge), "bridge")
                row_key = (event.bridge, event.port, event.mac, event.vlan)
                if row_key not in state.space(event.netns).fdb:
                    where.learned.append(at)
            case ev.FdbRemoved():
                held = state.space(event.netns).fdb.get(
                    (event.bridge, event.port, event.mac, event.vlan)
                )
                if held is not None and held.kind == "learned":
                    where = lane(state.space(event.netns).name_of(event.bridge), "bridge")
                    where.forgotten.append(at)
            case _:
                pass
        state.apply(event)
    for host in state.hosts.values():
        if host.netns == host.name and host.name != MACHINE:
            lane(host.name, "host")
    names = list(state.hosts)
    order = {"bridge": -2, MACHINE: -1}  # then the hosts in the order in which they were made
    return sorted(
        lanes.values(),
        key=lambda lane: order.get(
            lane.kind, names.index(lane.name) if lane.name in names else len(names)
        ),
    )


def draw(
    state: State,
    rows: Sequence[tuple[int, ev.Event]],
    start: int,
    end: int,
    *,
    name: str,
    style: str = "both",
) -> Picture:
    """The lanes of a time (nanoseconds since the epoch); `state` is the one before it."""
    look = chart.style_of(style)
    lanes = collect(state, rows, start, end)
    scale = chart.Scale(start, end)
    total = sum(lane.height for lane in lanes)
    figure = chart.paper(11, 1.5 + 0.34 * total, look)
    frames = sum(len(lane.sent) + len(lane.received) for lane in lanes)
    title = f"{name}: {scale(end):.4g} {scale.unit} from {chart.clock(start)}, {frames} frames"
    title += chart.lost(rows)
    axes = chart.axes(figure, look, title)
    ticks, labels, y = [], [], 0.0
    used: set[str] = set()
    for lane in lanes:
        _draw_lane(axes, lane, y, scale, look, used)
        ticks.append(y + 0.5)
        labels.append(lane.name)
        y += lane.height
        axes.axhline(y, color=look.soft, lw=0.5, alpha=0.45)
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.set_ylim(max(y, 1), 0)  # a lane's room, where there is none
    scale.lay(axes, look, f"time, {scale.unit}")
    axes.set_axisbelow(True)
    handles: list[Any] = [
        Line2D([], [], color=BLUE, marker="|", ms=9, mew=2, ls="", label="frame sent (upwards)"),
        Line2D([], [], color=PURPLE, marker="|", ms=9, mew=2, ls="", label="received (downwards)"),
        Line2D([], [], color=GREEN, marker="^", ls="", label="CAM row learned"),
        Line2D([], [], color=RED, marker="x", mew=2, ls="", label="CAM row gone"),
    ]
    handles += [
        Patch(facecolor=_fill(color, hatch), edgecolor=color, hatch=hatch, label=known)
        for known, (color, hatch) in STATES.items()
        if known in used
    ]
    chart.legend(figure, handles, look)
    words = " ".join([f"Lanes of {title}.", *(lane.in_words() for lane in lanes)])
    return Picture(figure, words)


def _fill(color: str, hatch: str) -> Any:
    """A hatched span is not filled: in SVG the hatch has the fill's opacity, and would be lost."""
    return "none" if hatch else (color, 0.85)


def _draw_lane(
    axes: Any, lane: Lane, top: float, scale: chart.Scale, look: chart.Style, used: set[str]
) -> None:
    start, middle = scale.start, top + 0.5
    across = [0, scale(scale.end)]
    axes.plot(across, [middle, middle], color=look.soft, lw=0.6, alpha=0.7)
    column = max(1, scale.length // COLUMNS)
    for times, reach, color in ((lane.sent, -0.38, BLUE), (lane.received, 0.38, PURPLE)):
        places = sorted({(at - start) // column * column + start for at in times})
        lines = [[(scale(at), middle), (scale(at), middle + reach)] for at in places]
        marks = LineCollection(lines, colors=color, linewidths=1.5)
        marks.set_rasterized(len(lines) > 500)
        axes.add_collection(marks)
    for times, offset, form, color in (
        (lane.learned, -0.28, "^", GREEN),
        (lane.forgotten, 0.28, "x", RED),
    ):
        marked = [scale(at) for at in times]
        axes.plot(marked, [middle + offset] * len(marked), form, color=color, ms=7, mew=2, zorder=3)
    for row, (address, spans) in enumerate(lane.neighbours.items()):
        if row >= ROWS:
            rest = f"and {len(lane.neighbours) - ROWS} more neighbours"
            axes.annotate(
                rest, (0, top + 1 + 0.5 * ROWS + 0.15), xytext=(3, 0), va="center",
                textcoords="offset points", fontsize=7.5, color=look.ink,
            )  # fmt: skip
            break
        y = top + 1.02 + 0.5 * row
        _draw_spans(axes, spans, y, scale, used)
        axes.annotate(
            address, (1, y + 0.17), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", fontsize=7.5, va="center", color=look.ink,
        )  # fmt: skip


def _draw_spans(axes: Any, spans: list[Span], y: float, scale: chart.Scale, used: set[str]) -> None:
    for span in spans:
        color, hatch = STATES.get(span.state, (GREY, "...."))
        used.add(span.state)
        axes.broken_barh(
            [(scale(span.begin), max(1, span.end - span.begin) / scale.size)],
            (y, 0.34),
            facecolor=_fill(color, hatch),
            edgecolor=color,
            hatch=hatch,
            lw=1,
        )
