"""What is attacked: a notebook kernel that builds, pings, watches and closes, round after round.

``python -m tests.chaos.victim KIND LAUNCHER SEED ROUNDS`` attacks itself where KIND says so, checks
what must hold after each round, and prints a JSON line a round. An exception ends it: a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from labkit import Lab, LabkitError
from labkit.errors import ClosedError
from labkit.widgets import Tables, Topology

LATE = 20
"""Seconds after which a call counts as hanging, on a machine that others use, too."""


def scene(lab: Lab) -> None:
    docker0 = lab.bridge("docker0", "172.17.0.1/16")
    for number in (1, 2):
        host = lab.host(f"nginx-{number}")
        lab.cable(host, docker0, f"172.17.0.{number + 1}/16")


def work(lab: Lab, chance: random.Random, number: int) -> None:
    """One thing that a learner does."""
    one, two, docker0 = lab["nginx-1"], lab["nginx-2"], lab["docker0"]
    match chance.randrange(8):
        case 0:
            with lab.batch():
                for i in range(chance.randrange(1, 12)):
                    host = lab.host(f"h{number}-{i}")
                    lab.cable(host, docker0, f"172.17.{1 + number % 250}.{1 + i}/16")
        case 1:
            host = lab.host(f"h{number}")
            lab.cable(host, docker0)
            host.start("sleep 1000")
        case 2:
            if len(lab.hosts) > 2:
                chance.choice(lab.hosts[2:]).remove()
        case 3:
            ping = one.ping(two, timeout=1)
            str(ping.journey)
        case 4:
            views = (Topology(lab.recording), Tables(lab.recording))
            one.ping(two)
            for view in views:
                view.close()
        case 5:
            cable = chance.choice(lab.cables)
            cable.unplug()
            cable.plug()
        case 6:
            one.serve(8000 + number % 1000).stop()
        case _:
            docker0.flush()
            two.run("setsid sleep 5 & ip neigh flush all")


def check(lab: Lab) -> None:
    """The lab is in order: hosts are as the kernel has them, and two of them talk."""
    names = set(lab.machine.run("ls /run/netns").stdout.split())
    assert names == {host.name for host in lab.hosts}, (names, lab.hosts)
    there = lab.machine.run("ip -o link show type veth").stdout
    ends = [end.interface for cable in lab.cables for end in cable.ends if end.netns == "machine"]
    found = sorted(line.split(": ")[1].split("@")[0] for line in there.splitlines())
    assert sorted(ends) == found, (set(ends) ^ set(found), lab)
    for cable in lab.cables:
        cable.plug()
    for _ in range(
        5
    ):  # what was interrupted in the middle of its way may have left a row to expire
        if lab["nginx-1"].ping(lab["nginx-2"], timeout=2):
            return
    raise AssertionError(f"the hosts talk no more: {lab['nginx-1'].neighbours}")


def children(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except OSError:  # it has ended meanwhile
            continue
    return found[1:]


class Attack(threading.Thread):
    """Does something at a random moment of the next half second, or of a longer time."""

    def __init__(self, chance: random.Random, what, within: float = 0.5) -> None:
        super().__init__(daemon=True)
        self.after = chance.uniform(0, within)
        self.what = what
        self.at = 0.0
        self.start()

    def run(self) -> None:
        time.sleep(self.after)
        self.at = time.monotonic()
        self.what()


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def agent_round(name: str, launcher: str, chance: random.Random) -> None:
    """The agent, or the unshare that started it, is killed: an error in words, and the next works."""
    lab = Lab(name, launcher=launcher)
    outer = chance.random() < 0.3

    def strike() -> None:
        kill(lab.agent_pid if outer else (children(lab.agent_pid) or [lab.agent_pid])[0])

    attack = Attack(chance, strike)
    try:
        scene(lab)
        for number in range(10_000):
            work(lab, chance, number)
    except LabkitError:
        pass
    attack.join()
    assert time.monotonic() - attack.at < LATE
    deadline = time.monotonic() + LATE
    while True:  # a last answer may still have come: then the next call tells
        try:
            lab.host(f"late-{time.monotonic_ns()}")
        except ClosedError:
            break
        assert time.monotonic() < deadline
    with Lab(name, launcher=launcher) as again:
        scene(again)
        check(again)


def issue(pid: int) -> list[int]:
    """A process's own children, whichever of its threads has started them."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def name_of(pid: int) -> str:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe")).name
    except OSError:  # it has ended meanwhile
        return ""


def linux_round(name: str, chance: random.Random) -> None:
    """The small Linux is killed, or its relay or guard: an error in words, and the next works.

    One time in three at any moment of its start, else while it works.
    """
    seen: list[str] = []
    wanted = chance.choice(("linux", "relay", "guard"))

    def strike() -> None:
        deadline = time.monotonic() + LATE
        while time.monotonic() < deadline:  # it may not have been started yet
            guards = issue(os.getpid())
            below = [pid for guard in guards for pid in issue(guard)]
            victims = {
                "guard": guards if below else [],
                "linux": [pid for pid in below if name_of(pid) == "linux.uml"],
                "relay": [pid for pid in below if name_of(pid) != "linux.uml"],
            }[wanted]
            if victims:
                kill(victims[0])
                return

    before = set(Path("/tmp").iterdir())  # noqa: S108
    attack = Attack(chance, strike, 2.5) if chance.random() < 0.33 else None
    try:
        lab = Lab(name, launcher="uml")
        attack = attack or Attack(chance, strike, 1.5)
        scene(lab)
        for number in range(10_000):
            work(lab, chance, number)
    except LabkitError as error:
        seen.append(str(error))
    assert attack is not None, seen
    attack.join()
    assert time.monotonic() - attack.at < LATE
    deadline = time.monotonic() + LATE
    while issue(os.getpid()):
        assert time.monotonic() < deadline, [name_of(pid) for pid in children(os.getpid())]
        time.sleep(0.01)
    assert seen, "nobody was told"
    assert "ended" in seen[0], seen
    assert not (Path.home() / ".uml").exists()
    left = set(Path("/tmp").iterdir()) - before  # noqa: S108
    assert not [path for path in left if path.name.startswith(("uml", "vm_file", "linux"))], left
    with Lab(name, launcher="uml") as again:
        scene(again)
        check(again)


def process_round(lab: Lab, chance: random.Random, number: int) -> None:
    """Any process of a host's is killed, from outside: the lab goes on."""

    def strike() -> None:
        agent = children(lab.agent_pid)[:1]
        victims = children(agent[0]) if agent else []
        if victims:
            kill(chance.choice(victims))

    attacks = [Attack(chance, strike) for _ in range(3)]
    while any(attack.is_alive() for attack in attacks):
        try:
            work(lab, chance, number)
        except ClosedError:
            raise
        except LabkitError:
            pass
        number += 1
    check(lab)


def interrupt_round(lab: Lab, chance: random.Random, number: int) -> None:
    """Jupyter's stop button, at any moment."""
    attack = None
    try:
        attack = Attack(chance, lambda: os.kill(os.getpid(), signal.SIGINT))
        for more in range(10_000):
            work(lab, chance, number + more)
    except KeyboardInterrupt:
        pass
    attack.join()
    check(lab)


def main(kind: str, launcher: str, seed: int, rounds: int) -> None:
    # As in a notebook kernel, also where a background job inherits that interrupts are ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chance = random.Random(seed)
    if kind == "agent":
        for number in range(rounds):
            agent_round(f"chaos{number % 3}", launcher, chance)
            print(json.dumps({"round": number}), flush=True)
        return
    if kind == "linux":
        for number in range(rounds):
            linux_round(f"chaos{number % 3}", chance)
            print(json.dumps({"round": number}), flush=True)
        return
    with Lab("chaos", launcher=launcher) as lab:
        scene(lab)
        print(json.dumps({"ready": True}), flush=True)
        for number in range(rounds):
            if kind == "kernel":  # somebody else ends us
                work(lab, chance, number)
                continue
            before = 20 * number + 10_000 * (number % 7)
            (process_round if kind == "process" else interrupt_round)(lab, chance, before)
            for host in lab.hosts[2:]:
                host.remove()
            print(json.dumps({"round": number}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
