"""How long a ping's journey takes, and what the capture costs."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time

import msgspec

from bench.report import Report
from bench.subjects import OWN
from labkit import Lab, Recording
from labkit.model import events as ev

LENGTHS = (1_000, 10_000, 100_000)
HOSTS = 100
PINGS = ["ping", "-n", "-q", "-c", "300", "-i", "0.002"]

_FIRST = """
import sys, time
from labkit import Lab
with Lab("bench") as lab:
    sw = lab.bridge("sw")
    one, two = lab.host("one"), lab.host("two")
    lab.cable(one, sw, "10.0.0.1/24")
    lab.cable(two, sw, "10.0.0.2/24")
    ping = one.ping(two)
    assert ping
    time.sleep(float(sys.argv[1]))
    start = time.perf_counter()
    journey = ping.journey
    print(time.perf_counter() - start)
    assert len(journey) > 15
"""


def journeys(report: Report, rounds: int) -> None:
    """From the reply until the journey is made."""
    for words, pause in (("at once", 0), ("after 1 s", 1)):
        first = [float(alone(_FIRST, str(pause))) for _ in range(max(3, rounds // 6))]
        report.add(f"first journey, {words}", statistics.median(first) * 1000, "ms")
    with Lab("bench") as lab:
        sw = lab.bridge("sw")
        one, two = lab.host("one"), lab.host("two")
        lab.cable(one, sw, "10.0.0.1/24")
        lab.cable(two, sw, "10.0.0.2/24")
        one.ping(two).journey  # scapy is imported  # noqa: B018
        for words, before in (("cold", "ip neigh flush all"), ("warm", "true")):
            times = []
            for _ in range(rounds):
                if words == "cold":
                    sw.flush()
                for host in (one, two):
                    host.run(before)
                ping = one.ping(two)
                start = time.perf_counter()
                steps = len(ping.journey)
                times.append((time.perf_counter() - start) * 1000)
                assert steps > (15 if words == "cold" else 8)
            report.add(f"journey of a {words} ping, median", statistics.median(times), "ms")
            high = statistics.quantiles(times, n=20)[18]
            report.add(f"journey of a {words} ping, 95th", high, "ms")
        for length in LENGTHS:
            lengthen(lab.recording, length)
            times = []
            for _ in range(rounds):
                ping = one.ping(two)
                start = time.perf_counter()
                ping.journey  # noqa: B018
                times.append((time.perf_counter() - start) * 1000)
            words = f"journey, after {length:,} events"
            report.add(words, statistics.median(times), "ms")


def alone(code: str, *arguments: str) -> str:
    """What a fresh Python prints."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def lengthen(recording: Recording, length: int) -> None:
    """Makes a log as long as a session's that has seen so much: traffic, ages and neighbours."""
    state = recording.state()
    rows = [row for space in state.namespaces.values() for row in space.neighbours.values()]
    while len(recording) < length:
        n = len(recording)
        row = rows[n % len(rows)]
        state_now = "STALE" if n % 4 else "REACHABLE"
        at = time.time_ns()
        recording.append(ev.Traffic(at=at, netns="machine", index=2, received=n, sent=n))
        recording.append(msgspec.structs.replace(row, at=at, state=state_now))


_PLAIN = """
set -e
unshare --net sleep 60 & one=$!
unshare --net sleep 60 & two=$!
until [ "$(readlink /proc/$one/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
until [ "$(readlink /proc/$two/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
ip link add sw type bridge
ip link set sw up
for n in 1 2; do
    eval "pid=\\$$([ $n = 1 ] && echo one || echo two)"
    ip link add port$n type veth peer name eth0 netns $pid
    ip link set port$n master sw up
    nsenter -t $pid -n ip addr add 10.0.0.$n/24 dev eth0
    nsenter -t $pid -n ip link set eth0 up
done
nsenter -t $one -n "$@" 10.0.0.2
kill $one $two
"""


def cost(report: Report, rounds: int) -> None:
    """A ping's round trip with and without the capture, and the sockets that it takes."""
    ours, plain = [], []
    with Lab("bench") as lab:
        sw = lab.bridge("sw")
        one, two = lab.host("one"), lab.host("two")
        lab.cable(one, sw, "10.0.0.1/24")
        lab.cable(two, sw, "10.0.0.2/24")
        for _ in range(rounds):
            ours.append(average(one.run([*PINGS, "10.0.0.2"]).stdout))
            command = [*OWN, "sh", "-c", _PLAIN, "sh", *PINGS]
            plain.append(
                average(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            )
    middle = statistics.median
    report.add("ping's round trip", middle(ours), "ms", "without capture", middle(plain))
    opened, closed = [], []
    for _ in range(rounds):
        words = subprocess.run(
            [*OWN, sys.executable, "-c", _SOCKETS, str(HOSTS)],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        opened.append(float(words[0]) * 1000)
        closed.append(float(words[1]) * 1000)
    report.add(f"{HOSTS} packet sockets: opening", middle(opened), "ms")
    report.add(f"{HOSTS} packet sockets: closing", middle(closed), "ms")


def average(output: str) -> float:
    """The mean round trip that ping tells, milliseconds; raises where replies are missing."""
    if " 0% packet loss" not in output:
        raise RuntimeError(output)
    return float(re.search(r"= [\d.]+/([\d.]+)/", output)[1])  # type: ignore[index]


_SOCKETS = """
import ctypes, os, sys, time
from labkit.agent.capture import Capture, close_all
libc = ctypes.CDLL(None, use_errno=True)
held = []
for _ in range(int(sys.argv[1])):
    assert libc.unshare(0x40000000) == 0  # CLONE_NEWNET
    held.append(os.open("/proc/self/ns/net", os.O_RDONLY))
capture = Capture(lambda event: None)
spent = 0
for n, fd in enumerate(held):
    libc.setns(fd, 0x40000000)
    start = time.perf_counter()
    capture.add(f"h{n}")
    spent += time.perf_counter() - start
start = time.perf_counter()
capture.close()
print(spent, time.perf_counter() - start)
"""


def main() -> None:
    """These alone: `python -m bench.journeys`."""
    report = Report()
    journeys(report, 30)
    cost(report, 5)


if __name__ == "__main__":
    main()
