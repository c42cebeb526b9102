"""Runs a command inside a User Mode Linux, as if it ran here: same input, output and end.

Two processes. The *guard* starts the small Linux and, when the *relay* has ended, kills what is
left of it. The relay carries bytes between it and the notebook; it ends with the notebook
kernel, and when the guard dies it kills in its place. A Linux whose serial line is hung up, as
by the death of both, powers itself off. So no death of any of them leaves a process.

And there is no file: UML unlinks its memory file as it makes it, and is given no place for
its pid file and socket.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn, cast

from labkit.model.serial import ACK, END, READY, STEP, TIME, WINDOW

PACKAGE = Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36
KERNEL = (
    *("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
    *("ssl=null", "ssl0=fd:0,fd:1", "con=null", "con0=null,fd:2", "quiet", "loglevel=2"),
    "uml_dir=/dev/null/",  # where nothing can be made: no pid file, no mconsole socket
    # A second that nothing here needs: timing loops for RAID and for delays, and SELinux.
    *("initcall_blacklist=raid6_select_algo,calibrate_xor_blocks", "lpj=10000000"),
    *("selinux=0", "audit=0"),
)
"""The kernel's command line; what a later kernel does not know it passes over."""
NOISE = (b"remove_umid_dir", b"reboot: ")
PANIC = b"Kernel panic"
LOST = 120
"""The relay's exit status when the small Linux ended without a word."""


def start(options: argparse.Namespace) -> subprocess.Popen[bytes]:
    """The small Linux, leader of a process group with all of its processes in it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file either
    return subprocess.Popen(
        [
            options.kernel,
            f"mem={options.memory}",
            *KERNEL,
            f'PYTHONPATH="{PACKAGE}"',
            f'init="{sys.executable}"',
            *("--", "-S", "-m", "labkit.agent.guest"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        env={**os.environ, "TMPDIR": options.folder},
    )


def wish(options: argparse.Namespace) -> bytes:
    """What process 1 inside is asked to do: the first message that it gets."""
    wanted = {
        "argv": options.command,
        "env": {k: v for k, v in os.environ.items() if k not in ("TMPDIR", "TMP", "TEMP")},
        "cwd": os.getcwd(),
        "python": sys.executable,
        "path": [path for path in sys.path if path],
        "kept": [sys.prefix, sys.base_prefix],
        "modules": options.modules,
    }
    data = json.dumps(wanted).encode()
    return b"%d\n" % len(data) + data


class Relay:
    """Both directions of the serial line, and the console."""

    def __init__(self, linux: subprocess.Popen[bytes], first: bytes) -> None:
        self._line_in, self._line_out, self._console = (
            cast("IO[bytes]", stream).fileno()
            for stream in (linux.stdin, linux.stdout, linux.stderr)
        )
        self._linux = os.pidfd_open(linux.pid)  # for helpers of a dead one hold its pipes open
        self._input = bytearray(first)  # for the inside, not sent yet
        self._is_ready = False
        self._room = 0
        self._output = bytearray()  # for the notebook, not written yet
        self._rest = b""  # from END on, while its line is not whole
        self._status: int | None = None
        self.panic = b""

    def run(self, guard: int, watch: int | None) -> int:
        """Carries bytes until the command has ended, or the notebook kernel; the exit status."""
        os.set_blocking(1, False)
        watched = {guard} if watch is None else {guard, watch}
        while True:
            sources = {*watched, self._console, self._linux}
            if not self._output:
                if self._status is not None:
                    return self._status
                sources.add(self._line_out)
            if not self._input and watch is not None:
                sources.add(0)
            ready, writable, _ = select.select(sources, {1} if self._output else (), ())
            if watched.intersection(ready):
                return 0
            if self._console in ready:
                self._listen()
            if 0 in ready:
                self._input += os.read(0, 1 << 16)
                if not self._input:
                    return 0
            if self._line_out in ready:
                self._hear()
            elif ready == [self._linux]:
                raise EOFError
            if writable:
                del self._output[: os.write(1, self._output)]
            self._send()

    def _hear(self) -> None:
        """Takes in what came from inside. Raises EOFError when there is nobody any more."""
        data = os.read(self._line_out, 1 << 16)
        if not data:
            raise EOFError
        if READY in data:
            self._is_ready = True
            self._room = WINDOW
        if TIME in data and not self._is_ready:
            os.write(self._line_in, b"%d\n" % time.time_ns())
        self._room += STEP * data.count(ACK)
        data, mark, end = (self._rest + data.translate(None, ACK + READY + TIME)).partition(END)
        if not mark or end.endswith(b"\n"):
            self._output += data
            self._status = int(end) if mark else None
        else:
            self._rest = data + mark + end

    def _send(self) -> None:
        """Sends what there is room for."""
        if self._input and self._room:
            sent = os.write(self._line_in, self._input[: self._room])
            self._room -= sent
            del self._input[:sent]

    def _listen(self) -> None:
        """Passes on what the console shows: the command's errors, and the kernel's panic."""
        data = os.read(self._console, 1 << 16)
        if not data:
            raise EOFError
        for line in data.replace(b"\r", b"").splitlines(keepends=True):
            if PANIC in line:
                self.panic = line.strip()
            elif not any(noise in line for noise in NOISE):
                os.write(2, line)


def relay(linux: subprocess.Popen[bytes], first: bytes, guard: int, watch: int | None) -> NoReturn:
    """The relay's process."""
    status = LOST
    relay = Relay(linux, first)
    try:
        status = relay.run(guard, watch)
    except (EOFError, BrokenPipeError):  # by the Linux's end, or the notebook kernel's
        with suppress(EOFError, OSError):
            os.set_blocking(relay._console, False)
            while True:
                relay._listen()
        if relay.panic:
            os.write(2, relay.panic + b"; ")  # and the guard goes on
    finally:
        with suppress(OSError):
            os.killpg(linux.pid, signal.SIGKILL)
        os._exit(status)


def guard(linux: subprocess.Popen[bytes], relay: int) -> int:
    """Waits for the relay's end, kills what is left, and says how it was; the exit status."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):  # the relay's alone, so that its end is seen at the other end
        os.dup2(null, fd)
    for stream in (linux.stdin, linux.stdout, linux.stderr):
        cast("IO[bytes]", stream).close()
    status = os.waitstatus_to_exitcode(os.waitpid(relay, 0)[1])
    with suppress(OSError):
        os.killpg(linux.pid, signal.SIGKILL)
    end = linux.wait()
    with suppress(ChildProcessError):  # orphans of the small Linux, which come to the subreaper
        while True:
            os.wait()
    if status == LOST:
        how = f"was killed by signal {-end}" if end < 0 else f"ended by itself ({end})"
        print(f"the small Linux (User Mode Linux) {how}", file=sys.stderr)
    elif status < 0:
        print(f"its relay was killed by signal {-status}", file=sys.stderr)
    return status if status >= 0 else 128 - status


def main() -> int:
    """Becomes guard and relay; the command's exit status."""
    parser = argparse.ArgumentParser(prog="labkit.launch.relay")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--modules", required=True)
    parser.add_argument("--memory", required=True)
    parser.add_argument("--folder", required=True, help="where the memory file is made")
    parser.add_argument("--watch", type=int, help="a pidfd: with its end, or input's, all ends")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    reading, writing = os.pipe()
    linux = start(options)
    pid = os.fork()
    if not pid:
        os.close(writing)
        relay(linux, wish(options), reading, options.watch)
    os.close(reading)
    return guard(linux, pid)


if __name__ == "__main__":
    sys.exit(main())
