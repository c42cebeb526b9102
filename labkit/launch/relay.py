"""Runs a command inside a User Mode Linux, as if it ran here: same input, output and end.

Two processes. The *guard* waits for the other and then kills whatever is left of the small
Linux; the *relay* starts that and carries bytes between it and the notebook. Each ends all
when the other dies, both end when the notebook kernel does, and a Linux whose serial line is
hung up powers itself off. So no death of any of them leaves a process, and there is no file:
UML unlinks its memory file as it makes it, and is given no place for its pid file and socket.
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
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn, cast

from labkit.model.serial import ACK, END, READY, STEP, WINDOW

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
NOISE = b"remove_umid_dir"


class Relay:
    """The small Linux's process, and the two directions of its serial line."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no file either
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a panicking kernel's to its group
        self._process = subprocess.Popen(
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
            env={**os.environ, "TMPDIR": options.folder},
        )
        self._line_in, self._line_out, self._console = (
            cast("IO[bytes]", stream).fileno()
            for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        self._input = bytearray(self._first())  # for the inside, not sent yet
        self._room = 0
        self._output = bytearray()  # for the notebook, not written yet
        self._rest = b""  # from END on, while its line is not whole
        self._status: int | None = None

    def _first(self) -> bytes:
        env = {k: v for k, v in os.environ.items() if k not in ("TMPDIR", "TMP", "TEMP")}
        wanted = {
            "argv": self._options.command,
            "env": env,
            "cwd": os.getcwd(),
            "python": sys.executable,
            "path": [path for path in sys.path if path],
            "kept": [sys.prefix, sys.base_prefix],
            "modules": self._options.modules,
        }
        return json.dumps(wanted).encode() + b"\n"

    def run(self, guard: int) -> int:
        """Carries bytes until the command has ended; its exit status."""
        os.set_blocking(1, False)
        watched = {guard} if self._options.watch is None else {guard, self._options.watch}
        try:
            while True:
                sources = {*watched, self._console}
                if not self._output:
                    if self._status is not None:
                        return self._status
                    sources.add(self._line_out)
                if not self._input and self._options.watch is not None:
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
                if writable:
                    del self._output[: os.write(1, self._output)]
                self._send()
        except BrokenPipeError:  # by the notebook kernel's end, or by that of the Linux
            pass
        except EOFError:
            pass
        return self._lost()

    def _hear(self) -> None:
        """Takes in what came from inside. Raises EOFError when nothing is there any more."""
        data = os.read(self._line_out, 1 << 16)
        if not data:
            raise EOFError
        if READY in data:
            self._room = WINDOW
        self._room += STEP * data.count(ACK)
        data, _, end = (self._rest + data.translate(None, ACK + READY)).partition(END)
        if not _:
            self._output += data
        elif end.endswith(b"\n"):
            self._output += data
            self._status = int(end)
        else:
            self._rest = data + _ + end

    def _send(self) -> None:
        """Sends what there is room for."""
        if self._input and self._room:
            sent = os.write(self._line_in, self._input[: self._room])
            self._room -= sent
            del self._input[:sent]

    def _listen(self) -> None:
        """Passes on what the kernel's console shows: the command's errors, and a panic."""
        data = os.read(self._console, 1 << 16)
        if not data:
            raise EOFError
        for line in data.replace(b"\r", b"").splitlines(keepends=True):
            if NOISE not in line:
                os.write(2, line)

    def _lost(self) -> int:
        """Says how the small Linux died."""
        with suppress(EOFError, OSError):
            while True:
                self._listen()
        status = self._process.wait()
        how = f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
        print(f"the small Linux (User Mode Linux) {how}", file=sys.stderr)
        return 1


def guard(relay: int) -> NoReturn:
    """Waits for the relay's end, kills what it left, and ends as it did."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):  # the relay's alone, so that the end of either is the notebook's to see
        os.dup2(null, fd)
    os.waitid(os.P_PID, relay, os.WEXITED | os.WNOWAIT)
    with suppress(ProcessLookupError):
        os.killpg(relay, signal.SIGKILL)
    _, status = os.waitpid(relay, 0)
    with suppress(ChildProcessError):  # orphans of the small Linux, which come to the subreaper
        while True:
            os.wait()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        print(f"the relay was killed by signal {-code}", file=sys.stderr, flush=True)
    os._exit(code if code >= 0 else 128 - code)


def main() -> None:
    """Becomes guard and relay."""
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
    pid = os.fork()
    if pid:
        os.close(reading)
        os.setpgid(pid, pid)
        guard(pid)
    os.close(writing)
    os.setpgid(0, 0)
    status = Relay(options).run(reading)
    os._exit(status)
