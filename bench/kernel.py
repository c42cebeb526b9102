"""What the kernel itself holds: namespaces that are really gone, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
SLACK = 50
"""Namespaces: the slab counters see whole slabs, so they are right to within a few dozen."""

_CANARY = """
import socket, subprocess, sys, time
HOLDER = '''
import socket, time
held = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
held.bind((0, 0))
print(flush=True)
time.sleep(600)
'''
for line in sys.stdin:
    if line == "arm\\n":
        inner = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-Sc", HOLDER], stdout=subprocess.PIPE
        )
        inner.stdout.readline()
        veth = "link add near type veth peer name far netns " + str(inner.pid)
        subprocess.run(["ip", *veth.split()], check=True)
    else:
        inner.kill()
        inner.wait()
        while any(name == "near" for _, name in socket.if_nameindex()):
            time.sleep(0.001)
    print(flush=True)
"""


class Canary:
    """Tells when the kernel has dismantled every namespace that nobody holds any more.

    The kernel does that in the order in which they were let go. So one more is let go, that has
    one end of a veth pair; when the other end, in a namespace of the canary's own, has
    disappeared, all before it are gone. It too is held by a netlink socket, which the kernel
    drops a moment after its process, so that it does not overtake. Where the slab counters can
    be read (as root), what they say has the last word.
    """

    def __init__(self) -> None:
        command = ["unshare", *USER, "--net", sys.executable, "-c", _CANARY]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        self._stdout = cast("IO[str]", self._process.stdout)
        self._calm = 1 << 30
        self.settle()
        self._calm = namespaces()

    def _say(self, word: str) -> None:
        self._stdin.write(word + "\n")
        self._stdin.flush()
        if not self._stdout.readline():
            raise RuntimeError("the canary has died")

    def arm(self) -> None:
        """Makes the canary, so that only waiting is left to do."""
        self._say("arm")

    def wait(self) -> None:
        """Returns when every namespace let go before is gone."""
        self._say("go")
        while namespaces() > self._calm + SLACK:
            self.arm()
            self._say("go")

    def settle(self) -> None:
        """The same, of a canary made here."""
        self.arm()
        self.wait()

    def close(self) -> None:
        """Ends the canary's process."""
        self._stdin.close()
        self._process.wait(10)
        self._stdout.close()


def namespaces() -> int:
    """Network namespaces in the kernel, by its slab counters; 0 where only root may look."""
    try:
        lines = Path("/proc/slabinfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("net_namespace ")), 0)


def held() -> float:
    """Megabytes that the kernel holds for itself: slabs, per-CPU areas, stacks and page tables."""
    wanted = ("Slab", "Percpu", "KernelStack", "PageTables")
    rows = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(row[1]) for row in rows if row[0].rstrip(":") in wanted) / 1024


def resident(pid: int) -> tuple[float, float]:
    """A process's memory, megabytes: all that is resident, and its proportional share."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (int(text.split(f"\n{key}:")[1].split()[0]) / 1024 for key in ("Rss", "Pss"))
    return rss, pss
