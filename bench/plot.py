"""The report as a picture: what was measured, beside peers and goals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

Rows = list[dict[str, Any]]
COLOURS = {"labkit": "#0072B2", "C": "#595959", "Mininet": "#D55E00"}
"""Okabe and Ito's; each line has a marker of its own besides."""
MARKERS = {"labkit": "o", "C": "s", "Mininet": "^"}
SHADES = {"median": "#0072B2", "95th": "#56B4E9", "99th": "#B9DDF3"}
MET, MISSED = "#009E73", "#D55E00"


def draw(rows: Rows, path: Path) -> None:
    """Draws what the rows have; a panel for which there is nothing says so."""
    figure = Figure(figsize=(13, 12), layout="constrained", facecolor="white")
    grid = figure.add_gridspec(4, 2, height_ratios=(1, 1, 1, 1.25))
    growth(figure.add_subplot(grid[0, 0]), rows, "build", "Build")
    growth(
        figure.add_subplot(grid[0, 1]), rows, "namespaces gone", "Take down, to the last namespace"
    )
    latency(figure.add_subplot(grid[1, 0]), rows)
    journeys(figure.add_subplot(grid[1, 1]), rows)
    memory(figure.add_subplot(grid[2, 0]), rows)
    lessons(figure.add_subplot(grid[2, 1]), rows)
    goals(figure.add_subplot(grid[3, :]), rows)
    figure.savefig(path, dpi=110)


def found(rows: Rows, pattern: str) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """The rows whose name is of that form, with what its groups are."""
    matches = ((re.fullmatch(pattern, row["what"]), row) for row in rows)
    return [(match.groups(), row) for match, row in matches if match]


def title(axes: Axes, words: str, *, some: bool) -> None:
    axes.set_title(words, loc="left", fontweight="bold", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    if not some:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="#595959")
        axes.set_xticks([])
        axes.set_yticks([])


def growth(axes: Axes, rows: Rows, what: str, words: str) -> None:
    """Seconds against hosts, ours and the peers'."""
    lines: dict[str, dict[int, float]] = {name: {} for name in COLOURS}
    for (hosts,), row in found(rows, rf"{what}, (\d+) hosts"):
        lines["labkit"][int(hosts)] = row["ours"]
        if row["peer"]:
            lines[row["peer"]][int(hosts)] = row["theirs"]
    title(axes, f"{words}: time against hosts", some=bool(lines["labkit"]))
    for name, points in lines.items():
        if points:
            x = sorted(points)
            axes.plot(
                x, [points[n] for n in x], color=COLOURS[name], marker=MARKERS[name], label=name
            )
    if lines["labkit"]:
        axes.set(xscale="log", yscale="log", xlabel="hosts")
        axes.set_xticks(sorted(lines["labkit"]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
        axes.xaxis.minorticks_off()
        axes.yaxis.set_major_formatter(FuncFormatter(seconds))
        axes.legend(frameon=False)


def seconds(value: float, _: object = None) -> str:
    return f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"


def bars(
    axes: Axes, groups: list[str], series: dict[str, list[float]], colours: dict[str, str]
) -> None:
    width = 0.8 / max(1, len(series))
    for number, (name, values) in enumerate(series.items()):
        places = [i + (number - (len(series) - 1) / 2) * width for i in range(len(groups))]
        drawn = axes.bar(places, values, width * 0.94, label=name, color=colours[name])
        axes.bar_label(drawn, fmt="%.0f", fontsize=8, padding=2)
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.15)


def latency(axes: Axes, rows: Rows) -> None:
    """From the kernel's event to the pixel."""
    seen: dict[str, dict[str, float]] = {}
    for (hosts, which), row in found(rows, r"event to pixel, (\d+) hosts?, (\w+)"):
        seen.setdefault(hosts, {})[which] = row["ours"]
    title(axes, "From the kernel's event to the changed pixel", some=bool(seen))
    if seen:
        groups = sorted(seen, key=int)
        series = {which: [seen[hosts].get(which, 0) for hosts in groups] for which in SHADES}
        bars(
            axes, [f"{hosts} host{'' if hosts == '1' else 's'}" for hosts in groups], series, SHADES
        )
        axes.set_ylabel("ms")
        axes.legend(frameon=False, loc="upper left")


def journeys(axes: Axes, rows: Rows) -> None:
    """A journey's time against the length of the recording."""
    points = sorted(
        (int(count.replace(",", "")), row["ours"])
        for (count,), row in found(rows, r"journey, after ([\d,]+) events")
    )
    title(axes, "A journey: time against the length of the recording", some=bool(points))
    if points:
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=COLOURS["labkit"], marker="o")
        axes.set(xscale="log", xlabel="events", ylabel="ms", ylim=(0, max(y) * 1.2))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))


def memory(axes: Axes, rows: Rows) -> None:
    """What kernel, agent and tab take, with a lab."""
    colours = {"notebook kernel": "#0072B2", "agent": "#E69F00", "browser tab": "#009E73"}
    seen: dict[str, dict[str, float]] = {}
    for (who, hosts, _), row in found(rows, r"([\w ]+)'s memory, (\d+) hosts(, views)?"):
        seen.setdefault(hosts, {})[who] = row["ours"]
    title(axes, "Memory with live views open (PSS)", some=bool(seen))
    if seen:
        groups = sorted(seen, key=int)
        series = {who: [seen[hosts].get(who, 0) for hosts in groups] for who in colours}
        bars(axes, [f"{hosts} hosts" for hosts in groups], series, colours)
        axes.set_ylabel("MB")
        axes.margins(y=0.3)
        axes.legend(frameon=False, ncols=3, loc="upper left")


def lessons(axes: Axes, rows: Rows) -> None:
    """The time that each lesson takes."""
    seen = [(number, row["ours"]) for (number,), row in found(rows, r"lesson (\d+), solved")]
    title(axes, "All cells of a lesson, solved", some=bool(seen))
    if seen:
        drawn = axes.bar(
            [number for number, _ in seen], [s for _, s in seen], color=COLOURS["labkit"]
        )
        axes.bar_label(drawn, fmt="%.1f", fontsize=8, padding=2)
        axes.set(xlabel="lesson", ylabel="s")
        axes.grid(axis="x", visible=False)
        axes.margins(y=0.15)


def goals(axes: Axes, rows: Rows) -> None:
    """Each goal's share that is used up: what passes 1 has missed it."""
    judged = [row for row in rows if row["limit"] is not None]
    title(axes, "Goals: share of the limit that is used up", some=bool(judged))
    if not judged:
        return
    names, shares = [], []
    for row in judged:
        measured = row["ratio"] if row["peer"] else row["ours"]
        share = (measured or 0) / row["limit"]
        least = row["met"] is not None and (share >= 1) == row["met"] and share != 1
        shares.append(1 / share if least and share else share)
        names.append(row["what"] + (f", of {row['peer']}'s" if row["peer"] else ""))
    order = sorted(range(len(shares)), key=lambda i: shares[i], reverse=True)[:18][::-1]
    axes.barh(
        [names[i] for i in order],
        [shares[i] for i in order],
        color=[MET if judged[i]["met"] else MISSED for i in order],
    )
    axes.axvline(1, color="#1f1f1f", linewidth=1.2)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("1 is the limit; the 18 nearest to theirs")
