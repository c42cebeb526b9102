"""Process 1 of a User Mode Linux: makes it habitable, runs one command, powers it off.

The root file system is the machine's own, read-only (hostfs). The command comes over the
serial line (see `labkit.model.serial`), which is its input and output from then on.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
import tty
from contextlib import suppress
from pathlib import Path
from typing import Any

from labkit.agent.syscalls import CLONE_NEWNS, CLONE_NEWPID, MS_BIND, mount, setns, unshare
from labkit.model.serial import ACK, END, READY, STEP

POWER_OFF = 0x4321FEDC  # reboot(2), LINUX_REBOOT_CMD_POWER_OFF
OWN = ("/run", "/tmp", "/var/tmp", "/var/log", "/dev/shm")  # noqa: S108 (they are made here)
"""Folders that are empty and writable inside, in memory."""
SIZE = "32m"
FIRST = ("ipv6", "bridge", "veth")
DEV = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


class Line:
    """The serial line, raw. What is read from it is acknowledged."""

    def __init__(self, path: str = "/dev/ttyS0") -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)
        self._read = 0
        os.write(self.fd, READY)

    def read(self) -> bytes:
        """Some input; nothing when the other end is gone."""
        try:
            data = os.read(self.fd, 4096)
        except OSError:  # EIO: hung up
            return b""
        steps = (self._read + len(data)) // STEP - self._read // STEP
        self._read += len(data)
        os.write(self.fd, ACK * steps)
        return data


def settle(modules: str, kept: list[str]) -> None:
    """Mounts what a Linux has besides its root; makes kernel modules load by themselves.

    `kept` are folders that stay visible although a folder above them becomes empty.
    """
    held = {}
    for path in kept:
        if os.path.isdir(path) and path.startswith(tuple(f"{folder}/" for folder in OWN)):
            held[path] = os.open(path, os.O_PATH)
    mount("proc", "/proc", "proc")
    with suppress(OSError):
        mount("sysfs", "/sys", "sysfs")
    for name, target in DEV.items():
        os.symlink(target, f"/dev/{name}")
    os.mkdir("/dev/shm")  # noqa: S108
    for folder in OWN:
        with suppress(OSError):  # not every machine has all of them
            mount("tmpfs", folder, "tmpfs", options=f"size={SIZE},mode=1777")
    for path, fd in held.items():
        os.makedirs(path, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", path, flags=MS_BIND)
        os.close(fd)
    os.makedirs("/run/uml/lib")
    os.symlink(modules, "/run/uml/lib/modules")
    loader = Path("/run/uml/modprobe")  # the kernel starts it when it lacks something
    loader.write_text('#!/bin/sh\nPATH=/usr/sbin:/sbin:/usr/bin:/bin exec modprobe -d /run/uml "$@"\n')
    loader.chmod(0o755)
    Path("/proc/sys/kernel/modprobe").write_text(str(loader))
    with suppress(OSError):  # what every lab needs; IPv6 before it can be switched off
        subprocess.run([loader, "-a", *FIRST], check=False)


def become(argv: list[str], python: str) -> None:
    """Runs the command in this process: Python's own `-m` without starting Python anew."""
    if argv[:2] == [python, "-m"]:
        sys.argv = argv[2:]
        runpy.run_module(argv[2], run_name="__main__", alter_sys=True)
    else:
        os.execvp(argv[0], argv)


def start(wanted: dict[str, Any], line: Line) -> tuple[int, int]:
    """Starts the command as process 1 of a PID namespace; its pid, and where its input goes."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWPID)
    pid = os.fork()
    if pid:
        setns(home, CLONE_NEWPID)  # else this process could start no thread
        os.close(home)
        os.close(reading)
        return pid, writing
    status = 1
    try:
        os.setsid()
        unshare(CLONE_NEWNS)
        mount("proc", "/proc", "proc")
        os.dup2(reading, 0)
        os.dup2(line.fd, 1)
        for fd in (reading, writing, line.fd):
            os.close(fd)
        become(wanted["argv"], wanted["python"])
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 (said, and told by the exit status)
        traceback.print_exc()
    finally:
        os._exit(status)


def feed(line: Line, data: bytes, fd: int) -> None:
    """Passes input on to the command; when the other end is gone, so is all this."""
    while True:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BrokenPipeError:
                break
        data = line.read()
        if not data:
            power_off()


def power_off() -> None:
    """Ends this Linux at once."""
    ctypes.CDLL(None).reboot(POWER_OFF)


def main() -> None:
    """Never returns: the kernel panics when its process 1 does."""
    try:
        line = Line()
        data = b""
        while b"\n" not in data:
            data += line.read() or power_off() or b""
        first, _, rest = data.partition(b"\n")
        wanted = json.loads(first)
        sys.path[:] = wanted["path"]
        settle(wanted["modules"], [*wanted["path"], wanted["cwd"], *wanted["kept"]])
        os.environ.clear()
        os.environ.update(wanted["env"])
        with suppress(OSError):
            os.chdir(wanted["cwd"])
        pid, fd = start(wanted, line)
        threading.Thread(target=feed, args=(line, rest, fd), daemon=True).start()
        while True:
            ended, status = os.wait()
            if ended == pid:
                break
        code = os.waitstatus_to_exitcode(status)
        os.write(line.fd, END + b"%d\n" % code)
        tty.tcdrain(line.fd)
    except BaseException:  # noqa: BLE001 (process 1 must not end by it)
        traceback.print_exc()
    finally:
        power_off()


if __name__ == "__main__":
    main()
