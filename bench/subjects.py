"""What is measured: labkit, and its peers, each doing the same work in namespaces of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Protocol, cast

from bench.kernel import USER, Canary, held, resident

HERE = Path(__file__).parent
OWN = ["unshare", *USER, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]

Run = dict[str, float]
"""One run's figures by name: seconds and megabytes."""


class Subject(Protocol):
    """Builds, proves by a ping, and takes down a network of that many hosts."""

    def __call__(self, count: int, canary: Canary, /) -> Run: ...


def labkit(count: int, canary: Canary) -> Run:
    """A lab of ours."""
    from labkit import Lab

    t0 = time.perf_counter()
    lab = Lab("bench")
    t1 = time.perf_counter()
    lab.machine.run("true")  # the agent has finished starting: the build is measured alone
    t2 = time.perf_counter()
    before = held()
    t3 = time.perf_counter()
    switch = lab.bridge("sw", "10.0.0.1/16")
    with lab.batch():
        hosts = [lab.host(f"h{i}") for i in range(count)]
        for i, host in enumerate(hosts):
            lab.cable(host, switch, f"10.0.{1 + i // 250}.{i % 250 + 1}/16")
    t4 = time.perf_counter()
    if not hosts[0].ping(hosts[-1], timeout=5):
        raise RuntimeError(f"labkit, {count} hosts: the first does not reach the last")
    after = held()
    launcher = lab.agent_pid
    agent = int(Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()[0])
    rss, pss = resident(agent)
    canary.arm()
    t5 = time.perf_counter()
    lab.close()
    t6 = time.perf_counter()
    while Path(f"/proc/{agent}").exists():
        time.sleep(0.001)
    t7 = time.perf_counter()
    canary.wait()
    t8 = time.perf_counter()
    return {
        "ready": t1 - t0, "answers": t2 - t0, "build": t4 - t3, "close": t6 - t5,
        "processes": t7 - t5, "kernel": t8 - t5, "rss": rss, "pss": pss,
        "held": (after - before) / count,
    }  # fmt: skip


def launched(launcher: str) -> Run:
    """A lab of ours, by that launcher."""
    from labkit import Lab

    t0 = time.perf_counter()
    lab = Lab("bench", launcher=launcher)
    t1 = time.perf_counter()
    lab.machine.run("true")
    t2 = time.perf_counter()
    lab.machine.run("true")
    t3 = time.perf_counter()
    switch = lab.bridge("sw", "10.0.0.1/16")
    with lab.batch():
        for i in range(100):
            lab.cable(lab.host(f"h{i}"), switch, f"10.0.1.{i + 1}/16")
    t4 = time.perf_counter()
    lab.close()
    lab._connection.process.wait()
    return {"ready": t1 - t0, "answers": t2 - t0, "command": t3 - t2, "build": t4 - t3}


def floor(program: str) -> Subject:
    """The C program: it builds, prints, and ends with its input."""

    def run(count: int, canary: Canary) -> Run:
        canary.arm()
        with subprocess.Popen(
            [*OWN, program, str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            words = cast("IO[str]", process.stdout).readline()
            if not words:
                raise RuntimeError(f"bench/floor.c, {count} hosts: failed")
            t0 = time.perf_counter()
            cast("IO[str]", process.stdin).close()
            process.wait()
            t1 = time.perf_counter()
        canary.wait()
        t2 = time.perf_counter()
        return {"build": float(words), "close": t1 - t0, "processes": t1 - t0, "kernel": t2 - t0}

    return run


def mininet(count: int, canary: Canary) -> Run:
    """Mininet, by the python3 of the system. Its clock is ours: CLOCK_MONOTONIC."""
    canary.arm()
    script = f"ip link set lo up; exec /usr/bin/python3 {HERE / 'mininet_peer.py'} {count}"
    done = subprocess.run([*OWN, "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Mininet, {count} hosts: {done.stderr.strip()}")
    t1 = time.perf_counter()
    canary.wait()
    t2 = time.perf_counter()
    build, began, stopped = (float(word) for word in done.stdout.split()[-3:])
    return {"build": build, "close": stopped - began, "processes": t1 - began, "kernel": t2 - began}


def imports() -> Run:
    """Seconds until a fresh Python has imported something, and ended."""
    times = {}
    for name, code in (
        ("bare", "pass"),
        ("msgspec", "import msgspec"),
        ("labkit", "import labkit; labkit.Lab"),
    ):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times[name] = time.perf_counter() - began
    return times
