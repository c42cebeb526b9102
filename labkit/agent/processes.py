"""Commands inside namespaces: started, watched, bounded, and ended with their children."""

from __future__ import annotations

import codecs
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from labkit.agent.namespaces import SCRATCH, Namespaces, below
from labkit.agent.syscalls import CLONE_NEWNS, MS_REC, MS_SLAVE, mount, setns, unshare
from labkit.model.wire import LIMIT, CommandResult, Spawn

MARK = "LABKIT_JOB"
"""Environment variable by which a job's children are known, whatever session they moved to."""
STREAMS = ("stdout", "stderr")
OVER = 32 << 20
"""Bytes that ended jobs may take."""
KEPT = 2000
"""Ended jobs that are kept at most: each takes 2 to 3 KB, however little it has printed."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Job:
    """One command: its process, what it has printed, and when it has to end."""

    def __init__(
        self, number: int, process: subprocess.Popen[bytes], *, quiet: bool = False
    ) -> None:
        self.number = number
        self.process = process
        self.quiet = quiet
        self.output = {name: bytearray() for name in STREAMS}
        self._decoders = {
            name: codecs.getincrementaldecoder("utf-8")("replace") for name in STREAMS
        }
        self._size: int | None = None
        self.dropped = 0
        self.timed_out = False
        self.exit_code: int | None = None
        self.deadline: float | None = None
        self.kill_at: float | None = None
        self.waiters: list[Callable[[CommandResult], None]] = []

    def take(self, stream: str, data: bytes) -> None:
        """Keeps what was printed; past `LIMIT` the oldest goes, and is counted."""
        kept = self.output[stream]
        kept += data
        if len(kept) > LIMIT:
            self.dropped += len(kept) - LIMIT
            del kept[: len(kept) - LIMIT]

    @property
    def size(self) -> int:
        """Bytes that it takes, about; what an ended one has printed stays as it is, or goes."""
        if self._size is None:
            self._size = 4096 + sum(map(len, self.output.values()))
        return self._size

    def result(self) -> CommandResult:
        """How it stands now."""
        return CommandResult(
            job=self.number,
            exit_code=self.exit_code,
            stdout=self.output["stdout"].decode(errors="replace"),
            stderr=self.output["stderr"].decode(errors="replace"),
            dropped=self.dropped,
            timed_out=self.timed_out,
        )

    def take_result(self) -> CommandResult:
        """The same, of what was printed since it was last taken; half a character waits."""
        told = {}
        for name, kept in self.output.items():
            told[name] = self._decoders[name].decode(bytes(kept), self.exit_code is not None)
            kept.clear()
        result = msgspec.structs.replace(self.result(), **told)
        self.dropped = 0
        return result


class Processes:
    """The lab's jobs. As process 1 of its PID namespace the agent reaps everybody's children."""

    def __init__(
        self,
        namespaces: Namespaces,
        watch: Callable[[IO[bytes], Callable[[], None]], None],
        unwatch: Callable[[IO[bytes]], None],
        ended: Callable[[Job], None],
    ) -> None:
        self._spaces = namespaces
        self._watch = watch
        self._unwatch = unwatch
        self._ended = ended
        self._jobs: dict[int, Job] = {}
        self._over: dict[int, Job] = {}  # ended, and kept for whoever asks what they printed
        self._kept = 0
        self._last = 0

    def get(self, number: int) -> Job:
        """A job by its number. Raises OSError (ESRCH)."""
        job = self._jobs.get(number) or self._over.get(number)
        if job is None:
            what = f"there is no job {number}"
            if 0 < number <= self._last:
                what = f"job {number} has ended, and so many after it that it is kept no longer"
            raise OSError(errno.ESRCH, what)
        return job

    def forget(self, job: Job) -> None:
        """Lets go of a job that has ended and whose result was delivered."""
        self._jobs.pop(job.number, None)
        if self._over.pop(job.number, None):
            self._kept -= job.size

    def start(self, wanted: Spawn) -> Job:
        """Starts a command in its namespace. Raises OSError where it cannot be started."""
        try:
            space = self._spaces.by_name[wanted.netns]
        except KeyError:
            raise OSError(errno.ENOENT, f"there is no namespace {wanted.netns!r}") from None
        for name, text in wanted.files.items():
            path = below(SCRATCH, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        self._last += 1
        process = subprocess.Popen(
            wanted.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if wanted.merge else subprocess.PIPE,
            start_new_session=True,
            env={
                **os.environ,
                "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}",
                "LABKIT_HOST": wanted.host,
                MARK: str(self._last),
            },
            # A command in the machine is where the agent is: what it mounts stays, as on a real
            # machine, so that `ip netns add` in one cell is there in the next.
            preexec_fn=None  # noqa: PLW1509 (the agent has one thread)
            if space is self._spaces.machine
            else lambda: _enter(space.fd),
        )
        job = Job(self._last, process, quiet=wanted.quiet)
        if wanted.timeout is not None:
            job.deadline = time.monotonic() + wanted.timeout
        self._jobs[job.number] = job
        for name in STREAMS:
            if getattr(process, name):
                self._follow(job, name, getattr(process, name))
        return job

    def _follow(self, job: Job, name: str, stream: IO[bytes]) -> None:
        os.set_blocking(stream.fileno(), False)

        def read() -> None:
            if stream.closed:  # by the reaper, earlier in the same round of the loop
                return
            try:
                data = os.read(stream.fileno(), 1 << 16)
            except BlockingIOError:
                return
            if data:
                job.take(name, data)
                return
            self._close(stream)

        self._watch(stream, read)

    def _close(self, stream: IO[bytes]) -> None:
        self._unwatch(stream)
        stream.close()

    def reap(self) -> None:
        """Takes in every child that has ended, orphans of jobs among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for job in list(self._jobs.values()):
                if job.process.pid == pid and job.exit_code is None:
                    job.exit_code = job.process.returncode = os.waitstatus_to_exitcode(status)
                    # A command is over when its own process is, as in a shell, though what
                    # it left in the background may hold its output open.
                    self._drain(job)
                    self._finish(job)
                    break

    def _drain(self, job: Job) -> None:
        for name in STREAMS:
            stream: IO[bytes] | None = getattr(job.process, name)
            while stream and not stream.closed:
                try:
                    data = os.read(stream.fileno(), 1 << 16)
                except BlockingIOError:
                    break
                if not data:
                    self._close(stream)
                else:
                    job.take(name, data)

    def _finish(self, job: Job) -> None:
        self._ended(job)
        waiters, job.waiters = job.waiters, []
        for waiter in waiters:
            waiter(job.result())

    def stop(self, job: Job, grace: float) -> None:
        """SIGTERM to the job and its children now, SIGKILL after `grace` seconds."""
        _signal(job, signal.SIGTERM if grace > 0 else signal.SIGKILL)
        job.kill_at = time.monotonic() + grace

    def tick(self) -> float | None:
        """Ends what is overdue. The seconds until the next is, or None."""
        now = time.monotonic()
        times = []
        for job in list(self._jobs.values()):
            if job.exit_code is not None and job.kill_at is None:
                self._retire(job)
                continue
            if job.exit_code is None and job.deadline is not None and now >= job.deadline:
                job.deadline = None
                job.timed_out = True
                _signal(job, signal.SIGKILL)
            if job.kill_at is not None and now >= job.kill_at:
                job.kill_at = None
                _signal(job, signal.SIGKILL)
            times += [t for t in (job.deadline, job.kill_at) if t is not None]
        return max(0.0, min(times) - now) if times else None

    def _retire(self, job: Job) -> None:
        """Sets an ended job aside; of those, the oldest go when they take too much room."""
        self._over[job.number] = self._jobs.pop(job.number)
        self._kept += job.size
        while self._kept > OVER or len(self._over) > KEPT:
            self._kept -= self._over.pop(next(iter(self._over))).size

    def kill_in(self, inode: int) -> None:
        """Kills every process in the network namespace with that inode."""
        for pid in _pids():
            with suppress(OSError):
                if os.stat(f"/proc/{pid}/ns/net").st_ino == inode:
                    os.kill(pid, signal.SIGKILL)


def _enter(fd: int) -> None:
    """In the child: into the namespace, with a /sys that shows it, as `ip netns exec` does."""
    setns(fd)
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=MS_REC | MS_SLAVE)
    with suppress(OSError):
        mount("sysfs", "/sys", "sysfs")


def _pids() -> list[int]:
    """Every process of the lab's PID namespace but the agent itself."""
    own = os.getpid()
    return [int(p) for p in os.listdir("/proc") if p.isdecimal() and int(p) != own]


def _signal(job: Job, what: signal.Signals) -> None:
    """Signals the job's session, and by its mark what has left it.

    Both are needed: `setsid(2)` leaves the session, and nginx overwrites its environment.
    """
    mark = f"{MARK}={job.number}".encode()
    for pid in _pids():
        with suppress(OSError):
            if os.getsid(pid) == job.process.pid or mark in _environment(pid):
                os.kill(pid, what)


def _environment(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
