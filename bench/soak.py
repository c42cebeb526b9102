"""What a lab costs while nothing happens, and what it gathers while much does.

``python -m bench.soak [MINUTES]``: a hundred hosts and two live views, left alone; then steady
traffic, with memory, descriptors and threads counted all along. Fails where a limit is passed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from labkit import Lab
from labkit.lab import Lab as AnyLab
from labkit.widgets import Tables, Topology

IDLE_SHARE = 0.01
"""Of a core: what notebook kernel and agent may take together while nothing happens."""
TICKS = os.sysconf("SC_CLK_TCK")


def scene(hosts: int) -> AnyLab:
    lab = Lab("soak")
    docker0 = lab.bridge("docker0", "172.17.0.1/16")
    with lab.batch():
        for i in range(hosts):
            lab.cable(lab.host(f"h{i}"), docker0, f"172.17.{1 + i // 250}.{1 + i % 250}/16")
    return lab


def agent_of(lab: AnyLab) -> int:
    """The agent itself, the child of what started it."""
    pid = lab.agent_pid
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def spent(pid: int) -> float:
    """Seconds of a core that a process has taken so far."""
    cells = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(cells[11]) + int(cells[12])) / TICKS


def holds(pid: int) -> dict[str, float]:
    """What a process holds: memory in megabytes, descriptors, threads."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {
        "mb": int(status["VmRSS"].split()[0]) / 1024,
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
    }


def idle(lab: AnyLab, seconds: float) -> dict[str, float]:
    """The share of a core that agent and notebook kernel take while nothing is asked or sent."""
    pids = {"agent": agent_of(lab), "kernel": os.getpid()}
    before = {who: spent(pid) for who, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    passed = time.monotonic() - began
    return {who: (spent(pid) - before[who]) / passed for who, pid in pids.items()}


def rest(lab: AnyLab, seconds: float = 60) -> None:
    """Waits until the kernel's own work after building (neighbours, timers) has ended."""
    deadline = time.monotonic() + seconds
    count = -1
    while count != len(lab.recording) and time.monotonic() < deadline:
        count = len(lab.recording)
        time.sleep(3)


def steady(lab: AnyLab, seconds: float, samples: int) -> list[dict[str, float]]:
    """Traffic all the time: ten streams of 20 pings a second; each second a job and commands."""
    pids = {"agent": agent_of(lab), "kernel": os.getpid()}
    streams = [lab.hosts[i].start(f"ping -q -i 0.05 172.17.1.{i + 2}") for i in range(0, 20, 2)]
    rows = []
    began = time.monotonic()
    for sample in range(1, samples + 1):
        while time.monotonic() < began + sample * seconds / samples:
            assert lab.hosts[0].ping(lab.hosts[1])
            job = lab.hosts[2].start("sleep 0.1")
            lab.hosts[3].run("ip neigh flush all; echo")
            job.stop()
            time.sleep(1)
        log = lab.recording
        row: dict[str, float] = {"at": time.monotonic() - began, "events": len(log)}
        row["forgotten"] = log.forgotten
        for who, pid in pids.items():
            row |= {f"{who}_{what}": value for what, value in holds(pid).items()}
        state = lab.recording.state()
        row["lost"] = state.lost + state.frames_lost
        rows.append(row)
        print("  ".join(f"{what} {value:.0f}" for what, value in row.items()), flush=True)
    for stream in streams:
        stream.stop()
    return rows


def grown(rows: list[dict[str, float]]) -> list[str]:
    """What has grown, from the second quarter of the samples to the last: nothing, if all is well.

    A quarter is given for warming up. The notebook kernel's memory is judged from the time on when
    the log is full. Memory may vary by a tenth, or 5 MB; counts not at all.
    """
    found = []
    for who in ("agent", "kernel"):
        for what in ("mb", "fds", "threads"):
            name = f"{who}_{what}"
            judged = [row for row in rows if row["forgotten"] or name != "kernel_mb"]
            quarter = max(1, len(judged) // 4)
            early, late = judged[quarter : 2 * quarter], judged[-quarter:]
            if not early:
                continue  # the log is not full yet
            first, last = max(row[name] for row in early), min(row[name] for row in late)
            slack = max(5, first / 10) if what == "mb" else 0
            if last > first + slack:
                found.append(f"{name} has grown from {first:.0f} to {last:.0f}")
    return found


def main(minutes: float) -> int:
    lab = scene(100)
    views = (Topology(lab.recording), Tables(lab.recording))
    rest(lab)
    shares = idle(lab, min(60.0, 10 + minutes * 10))
    print(
        "idle, 100 hosts, two live views: " + ", ".join(f"{w} {s:.2%}" for w, s in shares.items())
    )
    rows = steady(lab, minutes * 60, samples=max(8, int(minutes * 2)))
    for view in views:
        view.close()
    lab.close()
    wrong = grown(rows)
    if sum(shares.values()) > IDLE_SHARE:
        wrong.append(f"an idle lab takes {sum(shares.values()):.2%} of a core")
    Path("bench-soak.json").write_text(json.dumps({"idle": shares, "steady": rows}, indent=1))
    if not rows[-1]["forgotten"]:
        print("The log is not full yet: the notebook kernel's memory was not judged.")
    print("\n".join(wrong) or "An idle lab costs less than 1 % of a core; nothing has grown.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5))
