"""`python -m bench [--quick] [--json FILE]`: medians and ratios, ours beside peers, in one run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import paint

HERE = Path(__file__).parent
OWN = [
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "--propagation",
    "private",
    "--mount-proc",
]


def ours(count: int) -> dict[str, float]:
    """One lab of ours: ready, built, closed as the caller sees it, gone as the kernel sees it."""
    from labkit import Lab

    t0 = time.perf_counter()
    lab = Lab("bench")
    t1 = time.perf_counter()
    lab.machine.run("true")  # the agent has finished starting: the build is measured alone
    t2 = time.perf_counter()
    switch = lab.bridge("sw", "10.0.0.1/16")
    with lab.batch():
        hosts = [lab.host(f"h{i}") for i in range(count)]
        for i, host in enumerate(hosts):
            lab.cable(host, switch, f"10.0.{1 + i // 250}.{i % 250 + 1}/16")
    t3 = time.perf_counter()
    assert hosts[0].ping(hosts[-1], timeout=3), "the first host does not reach the last"
    agent = agent_of(lab.agent_pid)
    memory = resident(agent)
    t4 = time.perf_counter()
    lab.close()
    t5 = time.perf_counter()
    while Path(f"/proc/{agent}").exists():
        time.sleep(0.001)
    t6 = time.perf_counter()
    return {"ready": t1 - t0, "build": t3 - t2, "close": t5 - t4, "gone": t6 - t4, "memory": memory}


def agent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def resident(pid: int) -> float:
    """Megabytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def floor(program: str) -> Callable[[int], dict[str, float]]:
    def run(count: int) -> dict[str, float]:
        done = subprocess.run(
            [*OWN, "--", program, str(count)], capture_output=True, text=True, check=True
        )
        return {"build": float(done.stdout)}

    return run


def mininet(count: int) -> dict[str, float]:
    script = f"ip link set lo up; exec /usr/bin/python3 {HERE / 'mininet_peer.py'} {count}"
    done = subprocess.run(
        [*OWN, "--", "sh", "-c", script], capture_output=True, text=True, check=True
    )
    build, stop = (float(word) for word in done.stdout.split()[-2:])
    return {"build": build, "close": stop}


def imports() -> dict[str, float]:
    """Seconds by which `import labkit` makes a bare Python slower."""
    times = {}
    for name, code in (("bare", "pass"), ("labkit", "import labkit; labkit.Lab")):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times[name] = time.perf_counter() - began
    return {"import": times["labkit"] - times["bare"]}


def median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def interleaved(runs: int, *what: Callable[[], dict[str, float]]) -> list[list[dict[str, float]]]:
    """Each in turn, A B C A B C, so that the machine's drift falls on all alike."""
    rounds = [[one() for one in what] for _ in range(runs)]
    return [list(column) for column in zip(*rounds, strict=True)]


class Report:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        limit: float | None = None,
        peer: str = "",
        beside: float | None = None,
        ratio_limit: float | None = None,
    ) -> None:
        ratio = None if beside is None else value / beside
        verdicts = []
        if limit is not None:
            verdicts.append(value <= limit)
        if ratio_limit is not None and ratio is not None:
            verdicts.append(ratio <= ratio_limit)
        goal = f"≤ {limit:g} {unit}" if limit is not None else ""
        if ratio_limit is not None:
            goal = f"≤ {ratio_limit:g} of {peer}"
        row = {
            "what": what, "value": value, "unit": unit, "peer": peer, "beside": beside,
            "ratio": ratio, "goal": goal, "met": all(verdicts) if verdicts else None,
        }  # fmt: skip
        self.rows.append(row)
        print(self.line(row), flush=True)

    @staticmethod
    def line(row: dict[str, Any]) -> str:
        beside = "" if row["beside"] is None else f"{row['peer']} {row['beside']:.3f} {row['unit']}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        met = {True: "yes", False: "NO", None: ""}[row["met"]]
        value = f"{row['value']:.3f} {row['unit']}"
        cells = f"| {row['what']:<34} | {value:>12} | {beside:<20} | {ratio:>6} "
        return cells + f"| {row['goal']:<18} | {met:<3} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, no 1,000 hosts")
    parser.add_argument("--json", metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args()
    report = Report()
    print(f"| {'what':<34} | {'ours':>12} | {'peer':<20} | {'ratio':>6} | {'goal':<18} | met |")
    print(f"|{'-' * 36}|{'-' * 13}:|{'-' * 22}|{'-' * 7}:|{'-' * 20}|-----|")
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/floor"
        subprocess.run(["cc", "-O2", "-o", program, str(HERE / "floor.c")], check=True)
        measure(report, floor(program), options.quick)
    for hosts in (2,) if options.quick else (2, 100):
        middle, high = paint.percentiles(hosts, 40 if options.quick else 100)
        report.add(f"event to pixel, {hosts} hosts, median", middle, "ms")
        report.add(f"event to pixel, {hosts} hosts, 95th", high, "ms", limit=50)
    if options.json:
        Path(options.json).write_text(json.dumps(report.rows, indent=1))


def measure(report: Report, c: Callable[[int], dict[str, float]], quick: bool) -> None:
    times = [imports() for _ in range(3 if quick else 9)]
    report.add("import labkit (and Lab)", median(times, "import"), "s", limit=0.15)
    has_mininet = shutil.which("mn") is not None and os.geteuid() == 0
    ours(2), c(2)  # warm
    for count in (2, 10, 100) if quick else (2, 10, 100, 1000):
        runs = 3 if quick or count == 1000 else 7
        mine, low = interleaved(runs, lambda n=count: ours(n), lambda n=count: c(n))
        if count == 2:
            report.add("Lab() ready", median(mine, "ready"), "s", limit=0.2)
        goal = 1.3 if count == 100 else None
        report.add(
            f"build, {count} hosts",
            median(mine, "build"),
            "s",
            peer="C",
            beside=median(low, "build"),
            ratio_limit=goal,
        )
        if has_mininet:
            with_mininet = [mininet(count) for _ in range(1 if count == 1000 or quick else 3)]
            report.add(
                f"build, {count} hosts",
                median(mine, "build"),
                "s",
                peer="Mininet",
                beside=median(with_mininet, "build"),
                ratio_limit=0.1 if count == 100 else None,
            )
            report.add(
                f"close, {count} hosts",
                median(mine, "close"),
                "s",
                peer="Mininet",
                beside=median(with_mininet, "close"),
            )
        report.add(f"close as the caller sees it, {count}", median(mine, "close"), "s", limit=0.05)
        report.add(f"all processes gone, {count} hosts", median(mine, "gone"), "s")
        if count == 10:
            report.add("agent's memory, 10 hosts", median(mine, "memory"), "MB", limit=40)


if __name__ == "__main__":
    main()
