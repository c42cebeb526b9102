"""Frames a second captured without loss: ours beside tcpdump, on the same traffic."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.report import Report
from bench.subjects import OWN
from labkit import Lab
from labkit.agent.capture import BURST
from labkit.model import events as ev

RATES = (10, 20, 30, 45, 60, 80, 100, 130, 160, 200, 250, 300, 400, 500)
"""Thousands of frames a second that are asked for. Each is captured at both ends of the cable."""
COUNT = BURST * 45 // 100
"""Frames sent at each rate: with both ends, what the agent takes at any speed."""
SIZE = 100
TRIES = 3
KIND = bytes.fromhex("88b5")

Run = Callable[[str, int], tuple[bool, float]]
"""Sends with that program at that rate; whether nothing was lost, and the rate it came to."""


def frames(report: Report) -> None:
    """The highest rate at which two of three tries lose nothing, in turns, both on one machine."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(__file__).with_name("sender.c"), f"{folder}/sender"
        subprocess.run(["cc", "-O2", "-o", program, str(source)], check=True)
        best = {"labkit": 0.0, "tcpdump": 0.0}
        going = dict.fromkeys(best, True)
        for rate in RATES:
            done: dict[str, list[tuple[bool, float]]] = {name: [] for name in best}
            for _ in range(TRIES):
                for name, run in (("labkit", labkit), ("tcpdump", tcpdump)):
                    if going[name]:
                        done[name].append(run(program, rate * 1000))
            for name, tries in done.items():
                whole = [reached for good, reached in tries if good]
                if len(whole) * 2 > TRIES:
                    best[name] = max(best[name], 2 * sum(whole) / len(whole))
                else:
                    going[name] = False
            if not any(going.values()):
                break
    words = "frames a second without loss"
    report.add(words, best["labkit"], "/s", "tcpdump", best["tcpdump"])


def labkit(program: str, rate: int) -> tuple[bool, float]:
    """A lab of ours; what is lost is told, or the bench fails."""
    with Lab("bench") as lab:
        one, two = lab.host("one"), lab.host("two")
        lab.cable(one, two)
        done = one.run([program, "eth0", str(COUNT), str(SIZE), str(rate)])
        deadline = time.monotonic() + 30
        while True:
            two.run("true")  # all that has happened so far is told
            events = lab.recording.events
            seen = sum(isinstance(e, ev.Frame) and e.data[12:14] == KIND for e in events)
            lost = sum(
                e.count or 0 for e in events if isinstance(e, ev.Lost) and e.what == "frames"
            )
            if seen + lost >= 2 * COUNT:
                return lost == 0, COUNT / float(done.stdout)
            if time.monotonic() > deadline:
                raise RuntimeError(f"{seen} captured, {lost} told as lost, of {2 * COUNT}")


_TCPDUMP = """
set -e
ip link add near type veth peer name far
ip link set near up
ip link set far up
tcpdump -n -Z root -i any -s 1600 -w "$1/capture.pcap" ether proto 0x88b5 2> "$1/words" &
until grep -q listening "$1/words"; do sleep 0.01; done
"$2" near "$3" "$4" "$5"
sleep 1
kill -TERM $!
wait $! || true
"""


def tcpdump(program: str, rate: int) -> tuple[bool, float]:
    """tcpdump on both ends of a cable like ours, in namespaces of its own, as it comes."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["sh", "-c", _TCPDUMP, "sh", folder, program, str(COUNT), str(SIZE), str(rate)]
        done = subprocess.run([*OWN, *command], capture_output=True, text=True, check=True)
        words = Path(folder, "words").read_text()
    captured = int(re.search(r"(\d+) packets? captured", words)[1])  # type: ignore[index]
    return captured == 2 * COUNT, COUNT / float(done.stdout)


if __name__ == "__main__":  # these alone: `python -m bench.frames`
    frames(Report())
