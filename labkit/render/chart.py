"""What the charts have in common: colours for light and dark pages, and how they are shown.

Figures are made without pyplot, which keeps them all in a state of its own.
"""

from __future__ import annotations

import base64
import html
import io
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from matplotlib.figure import Figure

from labkit.errors import LabkitError
from labkit.model.events import Event, Lost
from labkit.model.operations import MACHINE
from labkit.model.state import State

BLUE, GREEN, RED, PURPLE = "#0072B2", "#009E73", "#D55E00", "#CC79A7"
"""Okabe and Ito's: 3:1 on white and on #212121, and told apart by people who see few colours."""
GREY = "#7a7a7a"


class Style(msgspec.Struct, frozen=True):
    """Ink on paper; no paper lets the page shine through."""

    ink: str
    soft: str
    paper: str | None = None


STYLES = {
    "both": Style(GREY, GREY),
    "light": Style("#1f1f1f", "#5f5f5f", "#ffffff"),
    "dark": Style("#e8e8e8", "#a8a8a8", "#111111"),
}
"""Grey keeps 4:1 on white and on #111111 alike; the others read better, on their page alone."""


class Picture:
    """A chart. Displayed in a notebook it is a drawing with a description; as text, the latter.

    `figure` is matplotlib's own, to be changed at will.
    """

    def __init__(self, figure: Figure, words: str) -> None:
        self.figure = figure
        self.words = words

    def __str__(self) -> str:
        return self.words

    __repr__ = __str__

    def save(self, path: Any, **options: Any) -> None:
        """Writes the picture; the name's ending says in which format (`Figure.savefig`)."""
        self.figure.savefig(path, **options)

    def svg(self) -> str:
        """The picture as SVG."""
        made = io.StringIO()
        self.figure.savefig(made, format="svg", metadata={"Date": None})
        return made.getvalue()

    def png(self) -> bytes:
        """The picture as PNG, for print and for slides."""
        made = io.BytesIO()
        self.figure.savefig(made, format="png", dpi=160)
        return made.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        image = base64.b64encode(self.svg().encode()).decode()
        width = int(self.figure.get_figwidth() * 96)
        markup = (
            f'<img src="data:image/svg+xml;base64,{image}" alt="{html.escape(self.words)}" '
            f'style="width: {width}px; max-width: 100%; height: auto">'
        )
        return {"text/html": markup, "image/png": self.png(), "text/plain": self.words}


def style_of(name: str) -> Style:
    """A style by its name. Raises LabkitError."""
    if name not in STYLES:
        raise LabkitError(
            f"There is no style {name!r}.", hint=f"Choose one of: {', '.join(STYLES)}."
        )
    return STYLES[name]


def paper(width: float, height: float, style: Style) -> Figure:
    """An empty figure, sized in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0 if style.paper is None else 1.0)
    if style.paper is not None:
        figure.patch.set_facecolor(style.paper)
    return figure


def axes(figure: Figure, style: Style, title: str) -> Any:
    """A set of axes without a frame."""
    made = figure.add_subplot()
    made.patch.set_alpha(0.0)
    for spine in made.spines.values():
        spine.set_visible(False)
    made.tick_params(colors=style.ink, length=3, labelsize=9)
    made.set_title(title, loc="left", color=style.ink, fontsize=11, fontweight="bold", pad=10)
    return made


def legend(figure: Figure, handles: list[Any], style: Style) -> None:
    """The legend, below everything else."""
    shown = figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=min(len(handles), 6),
        frameon=False,
        fontsize=8.5,
        handlelength=1.6,
    )
    for text in shown.get_texts():
        text.set_color(style.ink)


class Scale:
    """A time from left to right, in the unit that suits its length."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end, self.length = start, end, end - start
        units = {"s": 10**9, "ms": 10**6, "µs": 1000}
        self.unit = next((name for name in units if self.length >= 2 * units[name]), "ns")
        self.size = units.get(self.unit, 1)

    def __call__(self, at: int) -> float:
        """Where a time is drawn: in units from the start."""
        return (at - self.start) / self.size

    def lay(self, axes: Any, style: Style, label: str) -> None:
        """Makes it the horizontal axis."""
        axes.set_xlim(0, max(1, self.length) / self.size)
        axes.set_xlabel(label, color=style.ink, fontsize=9)
        axes.grid(axis="x", color=style.soft, lw=0.4, alpha=0.35)


def lost(rows: Sequence[tuple[int, Event]]) -> str:
    """How many frames were not captured, for a title; empty where none was lost."""
    counts = [e.count or 1 for _, e in rows if isinstance(e, Lost) and e.what == "frames"]
    return f", {sum(counts)} more were not captured" if counts else ""


def bridge_of(state: State, netns: str, index: int) -> str:
    """The name of the bridge that an interface is, or is a port of; empty for any other."""
    link = state.link(netns, index) if netns == MACHINE else None
    if link is None:
        return ""
    if link.kind == "bridge":
        return link.name
    return "" if link.master is None else state.space(netns).name_of(link.master)


def clock(at: int) -> str:
    """A time of day, local, to the millisecond."""
    return f"{time.strftime('%H:%M:%S', time.localtime(at // 10**9))}.{at // 10**6 % 1000:03d}"
