"""A class on one machine: many notebook kernels at once, each with a lab of the same addresses.

``python -m bench.classroom [STUDENTS]``: all are started, then all do the experiment of the lesson
on ARP at the same moment: the scene, live views, the first ping into empty caches, its journey step
by step. Each student's frames carry the student's own number, by which a stranger's would be known.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager

LATE = 600
"""Seconds after which a student counts as stuck."""

EXPERIMENT = """
import json, time
begin = time.perf_counter()
from labkit import Lab
from labkit.model import events as ev
lab = Lab("docker0")
docker0 = lab.bridge("docker0", "172.17.0.1/16")
nginx1, nginx2 = lab.host("nginx-1"), lab.host("nginx-2")
lab.cable(nginx1, docker0, "172.17.0.2/16")
lab.cable(nginx2, docker0, "172.17.0.3/16")
view, tables = lab._repr_mimebundle_(), lab.watch()
built = time.perf_counter()
ping = nginx1.ping(nginx2)
journey = ping.journey
steps = [(step.kind, step.host) for _, step in journey.walk()]
done = time.perf_counter()
own = bytes.fromhex(f"{STUDENT:08x}")
marked = nginx1.run(f"ping -c 3 -i 0.1 -s 32 -p {own.hex()} 172.17.0.3")
lab.machine.interfaces  # what was captured so far is told
frames = [e.data for e in lab.recording.events if isinstance(e, ev.Frame)]
echoes = [d for d in frames if d[12:14] == b"\\x08\\x00" and d[23] == 1 and len(d) == 74]
print(json.dumps({
    "student": STUDENT, "ping": bool(ping), "steps": steps, "finding": str(journey.finding or ""),
    "lost": journey.lost, "learned": sorted((row.mac, row.port) for row in docker0.fdb
                                            if row.kind == "learned"),
    "neighbours": sorted((row.address, row.mac) for row in nginx1.neighbours),
    "marked": bool(marked), "echoes": len(echoes),
    "strangers": sum(own * 3 not in d for d in echoes),
    "namespace": nginx1.run("readlink /proc/self/ns/net").stdout.strip(),
    "built_s": built - begin, "journey_s": done - built, "whole_s": time.perf_counter() - begin,
    "agent": lab.agent_pid,
}))
"""


async def ask(client: Any, code: str) -> dict[str, Any]:
    """Runs a cell; what it printed, decoded."""
    printed = []

    def hear(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            printed.append(content["text"])
        elif message["msg_type"] == "error":
            printed.append("\n".join(content["traceback"]))

    reply = await client.execute_interactive(
        code, output_hook=hear, timeout=LATE, store_history=False
    )
    text = "".join(printed)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(text)
    return json.loads(text.splitlines()[-1])


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def memory(pids: list[int]) -> float:
    """Megabytes that these processes take; a shared page is divided among its sharers (PSS)."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


async def school(students: int) -> dict[str, Any]:
    """The class; what was found."""
    managers = [AsyncKernelManager(kernel_name="python3") for _ in range(students)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    clients = []
    begin = time.perf_counter()
    try:
        await asyncio.gather(*(manager.start_kernel(env=env) for manager in managers))
        for manager in managers:
            client = manager.client()
            client.start_channels()
            clients.append(client)
        await asyncio.gather(*(client.wait_for_ready(timeout=LATE) for client in clients))
        ready = time.perf_counter()
        work = (ask(c, f"STUDENT = {0x1AB00000 + n}\n{EXPERIMENT}") for n, c in enumerate(clients))
        told = await asyncio.gather(*work)
        ended = time.perf_counter()
        kernels = [manager.provisioner.pid for manager in managers]
        labs = [memory(family(one["agent"])) for one in told]
        whole = [memory(family(pid)) for pid in kernels]
        return {
            "students": students,
            "kernels_s": ready - begin,
            "experiment_s": ended - ready,
            "told": told,
            "lab_mb": labs,
            "student_mb": whole,
        }
    finally:
        for client in clients:
            client.stop_channels()
        await asyncio.gather(*(manager.shutdown_kernel(now=True) for manager in managers))


def problems(found: dict[str, Any]) -> list[str]:
    """What is not as it must be: nothing, if all is well."""
    wrong = []
    told = found["told"]
    if len({one["namespace"] for one in told}) != len(told):
        wrong.append("two students share a network namespace")
    shapes = {json.dumps(one["steps"]) for one in told}
    if len(shapes) != 1:
        wrong.append(f"{len(shapes)} different journeys of the same ping")
    for one in told:
        who = f"student {one['student']:x}"
        if not (one["ping"] and one["marked"]):
            wrong.append(f"{who}: the ping was not answered")
        if one["finding"] or not one["steps"]:
            wrong.append(f"{who}: the journey says {one['finding'] or 'nothing'}")
        if len(one["learned"]) != 2 or len(one["neighbours"]) != 1:
            wrong.append(f"{who}: tables {one['learned']} {one['neighbours']}")
        # Three requests and three replies, each seen at both ends of both cables.
        if one["echoes"] < 24 or one["strangers"]:
            wrong.append(f"{who}: {one['echoes']} echoes, {one['strangers']} of somebody else's")
    return wrong


def report(found: dict[str, Any]) -> str:
    told = found["told"]

    def row(name: str, values: list[float], unit: str) -> str:
        return f"{name:<44}{statistics.median(values):9.2f} {max(values):9.2f} {unit}"

    return "\n".join(
        [
            f"{found['students']} students at once on {os.cpu_count()} cores",
            f"{'':<44}{'median':>9} {'most':>9}",
            row("the scene and two live views", [one["built_s"] for one in told], "s"),
            row("the first ping and its journey", [one["journey_s"] for one in told], "s"),
            row("the whole experiment", [one["whole_s"] for one in told], "s"),
            row("memory of a student (PSS)", found["student_mb"], "MB"),
            row("of which the lab", found["lab_mb"], "MB"),
            f"{'memory of the class (PSS)':<44}{sum(found['student_mb']):9.0f}{'':10} MB",
            f"{'all kernels started':<44}{found['kernels_s']:9.2f}{'':10} s",
            f"{'all experiments done':<44}{found['experiment_s']:9.2f}{'':10} s",
        ]
    )


def main(students: int) -> int:
    found = asyncio.run(school(students))
    print(report(found))
    Path("bench-class.json").write_text(json.dumps(found, indent=1))
    wrong = problems(found)
    print("\n".join(wrong) or "All correct; none saw another's frames.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
