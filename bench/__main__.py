"""`python -m bench`: medians and ratios, ours beside peers, in one run; see `--help` for parts."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from bench import busy, frames, history, journeys, lesson, memory, paint, plot, subjects
from bench.kernel import Canary
from bench.report import Report
from bench.subjects import Run, Subject
from labkit.launch.launchers import LAUNCHERS

PLAN = {2: (7, 3), 10: (7, 3), 100: (9, 3), 1000: (3, 1)}
"""Hosts: in how many rounds all are measured, and in how many of these Mininet, which is slow."""
QUICK = {2: (3, 1), 10: (3, 1), 100: (3, 1)}
PARTS = (
    "start", "launchers", "networks", "recordings", "journeys", "frames", "views", "busy", "memory",
    "lessons",
)  # fmt: skip
BUSY = (1000, 1000, 20)
"""Hosts, rows of the CAM table, and seconds for which it is watched."""


def main() -> None:
    """Measures everything, or the parts asked for, and prints it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, no 1,000 hosts")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; can be repeated")
    parser.add_argument("--hosts", type=int, action="append", help="only with so many hosts")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the rows as JSON")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="also draw it (PNG or SVG)")
    parser.add_argument("--from", dest="rows", metavar="FILE", type=Path, help="draw these rows")
    options = parser.parse_args()
    if options.rows:
        plot.draw(
            json.loads(options.rows.read_text()), options.plot or options.rows.with_suffix(".png")
        )
        return
    parts = options.only or PARTS
    plan = QUICK if options.quick else PLAN
    wanted = options.hosts or plan
    report = Report()
    if "start" in parts:
        start(report, 5 if options.quick else 15)
    if "launchers" in parts:
        launchers(report, 3 if options.quick else 7)
    if "networks" in parts:
        networks(report, {count: rounds for count, rounds in plan.items() if count in wanted})
    if "recordings" in parts:
        for hosts in (2, 100):
            if hosts in wanted:
                recordings(report, hosts, 3 if options.quick else 7)
    if "journeys" in parts:
        journeys.journeys(report, 10 if options.quick else 30)
        journeys.cost(report, 3 if options.quick else 7)
    if "frames" in parts:
        frames.frames(report)
    if "views" in parts:
        for hosts in options.hosts or ((1, 100) if options.quick else (1, 100, 1000)):
            views(report, hosts, 40 if options.quick else 200)
    if "busy" in parts:
        busy.busy(report, *((100, 100, 5) if options.quick else BUSY))
    if "memory" in parts:
        for hosts in options.hosts or ((100,) if options.quick else (2, 100, 1000)):
            memory.memory(report, hosts)
    if "lessons" in parts:
        lesson.lessons(report, 1 if options.quick else 3)
    if options.json:
        report.save(options.json)
    if options.plot or options.json:
        plot.draw(report.as_json(), options.plot or options.json.with_suffix(".png"))


def start(report: Report, rounds: int) -> None:
    """What `import labkit` adds to a bare Python, beside one of its own requirements."""
    subjects.imports()
    runs = [subjects.imports() for _ in range(rounds)]
    bare = middle(runs, "bare")
    ours, theirs = middle(runs, "labkit") - bare, middle(runs, "msgspec") - bare
    report.add("import labkit", ours, "s")
    report.add("import labkit", ours, "s", "msgspec", theirs)


def launchers(report: Report, rounds: int) -> None:
    """Each launcher that works here: how soon there is a lab, and how quick it is then."""
    found: dict[str, list[Run]] = {}
    for launcher in LAUNCHERS:
        problem = launcher.probe()
        if problem:
            print(f"(launcher {launcher.name}: {problem.reason})")
        else:
            found[launcher.name] = []
    for _ in range(rounds):  # in turn, so that drift falls on all
        for name, runs in found.items():
            runs.append(subjects.launched(name))
    for name, runs in found.items():
        report.add(f"Lab() returns, {name}", middle(runs, "ready"), "s")
        report.add(f"and its first command, {name}", middle(runs, "answers"), "s")
        report.add(f"a later command, {name}", middle(runs, "command"), "s")
        report.add(f"build, 100 hosts, {name}", middle(runs, "build"), "s")


def networks(report: Report, plan: dict[int, tuple[int, int]]) -> None:
    """Networks of as many hosts as the plan says."""
    canary = Canary()
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, program = Path(subjects.__file__).with_name("floor.c"), f"{folder}/floor"
            subprocess.run(["cc", "-O2", "-o", program, str(source)], check=True)
            floor = subjects.floor(program)
            subjects.labkit(2, canary)
            floor(2, canary)
            for count, (rounds, slow) in plan.items():
                network(report, canary, floor, count, rounds, slow)
    finally:
        canary.close()


def network(
    report: Report, canary: Canary, floor: Subject, count: int, rounds: int, slow: int
) -> None:
    """Networks of `count` hosts: each subject in turn, A B C A B C, so that drift falls on all."""
    there = {"labkit": subjects.labkit, "C": floor}
    if shutil.which("mn") and os.geteuid() == 0:
        there["Mininet"] = subjects.mininet
    found: dict[str, list[Run]] = {name: [] for name in there}
    for number in range(rounds):
        for name, subject in there.items():
            if name != "Mininet" or number < slow:
                canary.settle()  # what the run before left for the kernel is not this one's
                found[name].append(subject(count, canary))
    mine = found.pop("labkit")
    if count == 2:
        report.add("Lab() returns", middle(mine, "ready"), "s")
        report.add("Lab() and its first command", middle(mine, "answers"), "s")
    report.add(f"close, {count} hosts", middle(mine, "close"), "s")
    for what, key in (
        ("build", "build"),
        ("close", "close"),
        ("processes gone", "processes"),
        ("namespaces gone", "kernel"),
    ):
        for peer, runs in found.items():
            if (key, peer) != ("close", "C"):  # C's end is its close: "processes gone" tells it
                words = f"{what}, {count} hosts"
                report.add(words, middle(mine, key), "s", peer, middle(runs, key))
    if count in (10, 1000):
        report.add(f"agent's memory (RSS), {count} hosts", middle(mine, "rss"), "MB")
        report.add(f"agent's memory (PSS), {count} hosts", middle(mine, "pss"), "MB")
    if count == 100:
        report.add("kernel memory for each host", middle(mine, "held"), "MB")


def views(report: Report, hosts: int, changes: int) -> None:
    """From the kernel's change to the changed pixel."""
    found = paint.latencies(hosts, changes)
    where = "1 host" if hosts == 1 else f"{hosts} hosts"
    for part, words in (("agent", "event to agent"), ("pixel", "event to pixel")):
        times = [latency[part] for latency in found]
        report.add(f"{words}, {where}, median", statistics.median(times), "ms")
        parts = statistics.quantiles(times, n=100)
        report.add(f"{words}, {where}, 95th", parts[94], "ms")
        report.add(f"{words}, {where}, 99th", parts[98], "ms")


def recordings(report: Report, hosts: int, rounds: int) -> None:
    """A recording of 100,000 events: it grows, loads, and is scrubbed."""
    found = history.measured(hosts, rounds)
    what = f"100,000 events, {hosts} hosts"
    report.add(f"log: frames taken, {hosts} hosts", found["frames"], "/s")
    report.add(f"load {what}", found["load"], "s")
    report.add(f"size of {what}", found["size"], "MB")
    report.add(f"state at an instant, {hosts} hosts", found["state"] * 1000, "ms")
    report.add(f"timeline at an instant, {hosts} hosts", found["shown"] * 1000, "ms")


def middle(runs: list[Run], key: str) -> float:
    return statistics.median(run[key] for run in runs)


if __name__ == "__main__":
    main()
