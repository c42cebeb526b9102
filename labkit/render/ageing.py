"""How the rows of a bridge's forwarding database age: learned, refreshed, aged out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from matplotlib.lines import Line2D

from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.state import State
from labkit.render import chart
from labkit.render.chart import BLUE, GREEN, RED, Picture
from labkit.render.layout import owners_of

MOST = 30
"""MAC addresses that are drawn: those that were seen most; the rest are counted."""
NEAR = 0.9
"""The share of the ageing time from which on a row that goes has aged out: a row is looked at
by a timer, which may come late, and its last frame may be a moment older than what was seen."""


class Life(msgspec.Struct):
    """One stay of a MAC address in the table: when it was heard of, and how it ended."""

    heard: list[int]
    port: int
    end: int | None = None
    how: str = ""


def collect(
    state: State, rows: Sequence[tuple[int, ev.Event]], bridge: int
) -> dict[str, list[Life]]:
    """The lives of each MAC address at a bridge; `state` is the one before the events.

    The kernel tells of a refresh in no event: a frame from that MAC coming in at a port is one.
    """
    found: dict[str, list[Life]] = {}
    current: dict[str, Life] = {}
    last_frame: dict[tuple[str, int], int] = {}

    def begin(row: ev.FdbSet) -> None:
        heard = row.updated if row.updated is not None else row.at
        # The frame that it was learned from came a moment before the kernel's word of it.
        heard = max(heard, last_frame.get((row.mac, row.port), 0))
        now = current.get(row.mac)
        if now is not None and now.port == row.port:
            if heard > now.heard[-1]:
                now.heard.append(heard)
            return
        if now is not None:
            finish(row.mac, row.at, "moved")
        current[row.mac] = Life([heard], row.port)
        found.setdefault(row.mac, []).append(current[row.mac])

    def finish(mac: str, at: int, how: str) -> None:
        life = current.pop(mac, None)
        if life is not None:
            life.end, life.how = at, how

    for row in state.space(op.MACHINE).fdb.values():
        if row.bridge == bridge and row.kind == "learned":
            begin(row)
    for _, event in rows:
        match event:
            case ev.FdbSet(netns=op.MACHINE, kind="learned") if event.bridge == bridge:
                begin(event)
            case ev.FdbRemoved(netns=op.MACHINE) if event.bridge == bridge:
                if event.mac in current and current[event.mac].port == event.port:
                    finish(event.mac, event.at, "removed")
            case ev.LinkRemoved(netns=op.MACHINE):
                for mac in [m for m, life in current.items() if life.port == event.index]:
                    finish(mac, event.at, "removed")
            case ev.Frame(netns=op.MACHINE) if not event.is_outgoing:
                link = state.link(op.MACHINE, event.index)
                if link is not None and link.master == bridge:
                    mac = event.data[6:12].hex(":")
                    last_frame[mac, event.index] = event.at
                    life = current.get(mac)
                    if life is not None and life.port == event.index:
                        life.heard.append(max(event.at, life.heard[-1]))
            case _:
                pass
        state.apply(event)
    return found


def draw(
    state: State,
    rows: Sequence[tuple[int, ev.Event]],
    start: int,
    end: int,
    bridge: int,
    *,
    style: str = "both",
) -> Picture:
    """The ages of a bridge's learned rows as curves; `state` is the one before `start`."""
    look = chart.style_of(style)
    found = collect(state, rows, bridge)
    name = state.space(op.MACHINE).name_of(bridge)
    limit = state.bridges[name].ageing if name in state.bridges else None
    ranked = sorted(found, key=lambda mac: -sum(len(life.heard) for life in found[mac]))
    shown = [mac for mac in found if mac in set(ranked[:MOST])]
    owners = owners_of(state)
    oldest = max(
        (b - a for mac in shown for life in found[mac] for a, b in _gaps(life, end)), default=1
    )
    top = max(oldest / 1e9 * 1.1, 1e-6)
    if limit and oldest / 1e9 >= limit / 2:
        top = limit * 1.15  # near enough for the ageing time to be in the picture
    with_limit = bool(limit and top > limit)
    scale = chart.Scale(start, end)
    figure = chart.paper(11, 1.7 + 0.62 * max(1, len(shown)), look)
    ageing = "no ageing time known" if limit is None else f"ageing time {limit:g} s"
    missed = chart.lost(rows).replace(", ", ", frames: ")
    title = f"{name}: age of the learned rows ({ageing}{missed})"
    axes = chart.axes(figure, look, title)
    words = [f"{title}."]
    for row, mac in enumerate(shown):
        base = row + 1.0
        for life in found[mac]:
            xs, ys = _curve(life, scale)
            heights = [base - 0.85 * min(1, y / top) for y in ys]
            axes.fill_between(xs, base, heights, color=GREEN, alpha=0.3, lw=0)
            axes.plot(xs, heights, color=GREEN, lw=1.6)
            fresh = [scale(at) for at in life.heard if start <= at <= end]
            axes.plot(fresh, [base] * len(fresh), "|", color=BLUE, ms=8, mew=1.6)
            if life.end is not None:
                how = _ending(life, limit)
                x = scale(life.end)
                axes.plot([x], [base], "x", color=RED, ms=8, mew=2.2, zorder=3)
                axes.annotate(
                    how, (x, base), xytext=(6, 3), textcoords="offset points", fontsize=8.5,
                    color=look.ink,
                )  # fmt: skip
        if limit and with_limit:
            y = base - 0.85 * limit / top
            axes.axhline(y, color=RED, lw=0.9, ls=(0, (5, 4)))
        axes.axhline(base, color=look.soft, lw=0.5, alpha=0.6)
        words.append(_in_words(mac, owners.get(mac, ""), found[mac], limit))
    labels = [f"{mac}\n{owners[mac]}" if mac in owners else mac for mac in shown]
    axes.set_yticks([row + 0.6 for row in range(len(shown))], labels)
    axes.tick_params(axis="y", length=0, labelsize=9)
    axes.set_ylim(max(1, len(shown)) + 0.15, 0)
    rest = len(found) - len(shown)
    note = f"; {rest} more MAC addresses are not drawn" if rest else ""
    lowest = f"each row's height is an age of {top:.3g} s"
    scale.lay(axes, look, f"time, {scale.unit} from {chart.clock(start)} ({lowest}{note})")
    if not shown:
        axes.text(
            0.5, 0.5, "Nothing was learned in that time.", transform=axes.transAxes,
            ha="center", color=look.ink,
        )  # fmt: skip
        words.append("Nothing was learned in that time.")
    _legend(figure, look, with_limit)
    return Picture(figure, " ".join(words) + (f" {note[2:]}." if note else ""))


def _legend(figure: Any, look: chart.Style, with_limit: bool) -> None:
    handles = [
        Line2D([], [], color=GREEN, lw=2, label="age: rises until a frame comes"),
        Line2D([], [], color=BLUE, marker="|", ms=9, mew=2, ls="", label="a frame from it"),
        Line2D([], [], color=RED, marker="x", mew=2, ls="", label="the row goes"),
    ]
    if with_limit:
        handles.append(Line2D([], [], color=RED, lw=1, ls=(0, (5, 4)), label="ageing time"))
    chart.legend(figure, handles, look)


def _gaps(life: Life, end: int) -> list[tuple[int, int]]:
    last = life.end if life.end is not None else end
    return list(zip(life.heard, [*life.heard[1:], max(last, life.heard[-1])], strict=True))


def _curve(life: Life, scale: chart.Scale) -> tuple[list[float], list[float]]:
    """The corners of the saw: where their times are drawn, and ages in seconds."""
    xs: list[float] = []
    ys: list[float] = []
    for a, b in _gaps(life, scale.end):
        if b < scale.start:
            continue
        first = max(a, scale.start)
        xs += [scale(first), scale(b)]
        ys += [(first - a) / 1e9, (b - a) / 1e9]
    return xs, ys


def _ending(life: Life, limit: float | None) -> str:
    """How a row ended, as far as its age tells."""
    if life.end is None or life.how != "removed":
        return life.how
    age = (life.end - life.heard[-1]) / 1e9
    return "aged out" if limit and age >= NEAR * limit else "removed"


def _in_words(mac: str, owner: str, lives: list[Life], limit: float | None) -> str:
    frames = sum(len(life.heard) for life in lives)
    ends = [
        f"{_ending(life, limit)} at {chart.clock(life.end)}"
        for life in lives
        if life.end is not None
    ]
    who = f"{mac} ({owner})" if owner else mac
    first = chart.clock(lives[0].heard[0])
    said = "heard of once" if frames == 1 else f"heard of {frames} times"
    return f"{who}: {said} from {first} on" + (f"; {', '.join(ends)}." if ends else ".")
