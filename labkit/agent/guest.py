"""Process 1 of a User Mode Linux: makes it habitable, and becomes the agent.

The root file system is the machine's own, read-only (hostfs). A first message over the serial
line says what to run; the line is its input and output (see `labkit.model.serial`). When it has
ended, this Linux is powered off: the kernel panics when its process 1 returns.
"""

from __future__ import annotations

import os
import sys
import termios
import time
import tty
from typing import Any

from labkit.agent.syscalls import MS_BIND, mount, power_off
from labkit.model.serial import ACK, END, READY, STEP, TIME

OWN = ("/run", "/tmp", "/var/tmp", "/var/log", "/dev/shm")  # noqa: S108 (they are made here)
"""Folders that are empty and writable inside, in memory."""
SIZE = "32m"
DEV = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
FIRST = ("ipv6", "bridge", "veth")
"""What every lab needs, and IPv6 before it can be switched off."""
LEGACY, NFT = "/usr/sbin/xtables-legacy-multi", "/usr/sbin/xtables-nft-multi"
"""Debian's iptables in two kinds: its small Linux has no nf_tables for IPv4, but the older kind."""
ASKED = 50
"""Times that the machine is asked for its time, at most."""
QUICK = 2_000_000
"""Nanoseconds in which an answer is quick enough: its time is wrong by half of that at most."""
HOME = "/dev/uml"  # not below /run, which the agent makes its own
LOADER = f"{HOME}/modprobe"


def set_clock(line: int) -> None:
    """Sets the clock by the machine's, whose time journeys are cut by: it begins some ms behind.

    An answer is taken for the time halfway between question and answer, and is wrong by half of
    what it took at most; on a busy machine the quickest of many.
    """
    found: list[tuple[int, int]] = []
    while len(found) < ASKED and (not found or min(found)[0] > QUICK):
        began, answer = time.monotonic_ns(), b""
        os.write(line, TIME)
        while not answer.endswith(b"\n"):
            answer += os.read(line, 64)
        took = time.monotonic_ns() - began
        found.append((took, int(answer) - began - took // 2))
    _, ahead = min(found)
    for _ in range(ASKED):  # what comes between reading one clock and setting the other is late
        time.clock_settime_ns(time.CLOCK_REALTIME, time.monotonic_ns() + ahead)
        if abs(time.time_ns() - time.monotonic_ns() - ahead) < QUICK // 10:
            break


def feed(line: int, fd: int) -> None:
    """Passes input on, and acknowledges it; when the other end is gone, all this is over."""
    total = 0
    while True:
        try:
            data = os.read(line, 4096)
        except OSError:  # EIO: hung up
            data = b""
        if not data:
            power_off()
        steps = (total + len(data)) // STEP - total // STEP
        total += len(data)
        os.write(line, ACK * steps)
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]


def receive() -> dict[str, Any]:
    """The first message: its length in decimal and a line feed, then JSON."""
    import json

    head = b""
    while not head.endswith(b"\n"):
        head += os.read(0, 1)
    length, data = int(head), b""
    while len(data) < length:
        data += os.read(0, length - len(data))
    wanted: dict[str, Any] = json.loads(data)
    return wanted


def settle(modules: str, kept: list[str]) -> None:
    """Mounts what a Linux has besides its root; makes kernel modules load by themselves.

    `kept` are folders that stay visible although a folder above them becomes empty.
    """
    import subprocess

    held = {}
    for path in kept:
        if os.path.isdir(path) and path.startswith(tuple(f"{folder}/" for folder in OWN)):
            held[path] = os.open(path, os.O_PATH)
    mount("proc", "/proc", "proc")
    mount("sysfs", "/sys", "sysfs")
    for name, target in DEV.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm")  # noqa: S108
    for folder in OWN:
        if os.path.isdir(folder):  # not every machine has all of them
            mount("tmpfs", folder, "tmpfs", options=f"size={SIZE},mode=1777")
    for path, fd in held.items():
        os.makedirs(path, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", path, flags=MS_BIND)
        os.close(fd)
    if os.path.exists(LEGACY) and os.path.exists(NFT):
        mount(LEGACY, NFT, flags=MS_BIND)
    os.makedirs(f"{HOME}/lib")
    os.symlink(modules, f"{HOME}/lib/modules")
    os.environ["MODPROBE_OPTIONS"] = f"-d {HOME}"  # for a learner's own modprobe
    with open(LOADER, "w") as file:  # the kernel starts it when it lacks something
        file.write(f'#!/bin/sh\nexec modprobe -d {HOME} "$@"\n')
    os.chmod(LOADER, 0o755)  # noqa: S103 (a program)
    with open("/proc/sys/kernel/modprobe", "w") as file:
        file.write(LOADER)
    subprocess.run(["modprobe", "-a", *FIRST], check=False)


def run(argv: list[str], python: str) -> int:
    """Runs the command; its exit status. Python's own `-m` runs here, without another Python."""
    import runpy
    import subprocess

    if argv[:2] != [python, "-m"]:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode
    sys.argv = argv[2:]
    try:
        runpy.run_module(argv[2], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def begin() -> int:
    """Splits off the feeder, then does as it is told; the exit status."""
    line = os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    set_clock(line)
    reading, writing = os.pipe2(os.O_CLOEXEC)
    feeder = os.fork()
    if not feeder:
        os.close(reading)
        os.close(line)
        # Opened anew: the agent makes its own end non-blocking, and a shared one would be, too.
        line = os.open("/dev/ttyS0", os.O_RDWR | os.O_NOCTTY)
        os.write(line, READY)
        feed(line, writing)
    os.dup2(reading, 0)
    os.dup2(line, 1)
    for fd in (reading, writing, line):
        os.close(fd)
    wanted = receive()
    sys.path[:] = wanted["path"]
    os.environ.clear()
    os.environ.update(wanted["env"])
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
    settle(wanted["modules"], [*wanted["path"], wanted["cwd"], *wanted["kept"]])
    with open(f"/proc/{feeder}/oom_score_adj", "w") as file:
        file.write("-1000")  # when memory runs out, it is not the line that is cut
    if os.path.isdir(wanted["cwd"]):
        os.chdir(wanted["cwd"])
    return run(wanted["argv"], wanted["python"])


def main() -> None:
    """Never returns."""
    status = 1
    try:
        status = begin()
    except BaseException:  # noqa: BLE001 (process 1 must not end by it)
        import traceback

        traceback.print_exc()
    finally:
        os.write(1, END + b"%d\n" % status)
        termios.tcdrain(1)
        power_off()


if __name__ == "__main__":
    main()
