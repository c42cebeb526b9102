"""The agent's loop: requests in, replies and events out.

Started as ``python -m labkit.agent [FD]`` inside fresh net, mount and PID namespaces. FD is a
pidfd of the notebook kernel: readable when that has ended, however it ended.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import select
import selectors
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

import msgspec

from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model import wire

TICK = 0.2
"""Seconds between two readings of what the kernel does not announce."""
FLUSHED = 16384
"""Frames that are read at most before an answer: more than may wait at a socket."""


PIPE = 1 << 20
"""Bytes that the pipe to the notebook holds: what is given without special rights, pipe(7)."""
F_SETPIPE_SZ = 1031
M_MMAP_THRESHOLD = -3


WAITING = 16 << 20
"""Bytes of messages that may wait for a notebook that is behind: some 70,000 frames of a ping."""


def _keep_memory_whole() -> None:
    """Has large blocks go back to the kernel when they are freed.

    By itself glibc raises the limit for that (mallopt(3)), and then the output, as it grows and is
    written, leaves holes: up to 102 MB after a flood, and 53 MB so.
    """
    import ctypes

    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 128 << 10)


class Output:
    """Standard output as a stream of JSON lines, written at the end of each round.

    A notebook that is behind does not keep the agent from reading what the kernel has for it,
    until so much is waiting that it must.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)
        with contextlib.suppress(OSError):  # not a pipe, or there are too many: as it is, then
            fcntl.fcntl(fd, F_SETPIPE_SZ, PIPE)
        self._encoder = msgspec.json.Encoder()
        self._buffer = bytearray()

    def fileno(self) -> int:
        """Writable when the notebook has caught up."""
        return self._fd

    @property
    def is_waiting(self) -> bool:
        """Whether messages wait to be written."""
        return bool(self._buffer)

    def put(self, message: Any) -> None:
        """Queues a message; blocks while too many wait."""
        self._buffer += self._encoder.encode(message)
        self._buffer += b"\n"
        if len(self._buffer) > WAITING:
            select.select([], [self._fd], [])
            self.flush()

    def flush(self) -> None:
        """Writes what can be written at once."""
        while self._buffer:
            with memoryview(self._buffer) as view:
                try:
                    count = os.write(self._fd, view[:PIPE])
                except BlockingIOError:
                    return
            del self._buffer[:count]


class Agent:
    """Owns the lab's namespaces and answers requests one at a time."""

    def __init__(self, watched: int | None) -> None:
        self._selector = selectors.DefaultSelector()
        self._decoder = msgspec.json.Decoder(wire.Request)
        self._output = Output(os.dup(1))
        os.dup2(2, 1)  # nothing else may write into the stream of messages
        self._input = bytearray()
        self._requests: list[wire.Request] = []
        self._waiting: dict[int, int] = {}  # request -> the job whose end it waits for
        os.set_blocking(0, False)
        self._selector.register(0, selectors.EVENT_READ, self._read)
        if watched is not None:
            self._selector.register(watched, selectors.EVENT_READ, self.end)
        self._ready = self._heeding = self._writing = False

    def _start(self) -> None:
        """The slow part (importing pyroute2), after the first request has been answered."""
        from labkit.agent.inspector import Inspector
        from labkit.agent.links import Builder
        from labkit.agent.monitor import Monitor
        from labkit.agent.namespaces import Namespaces
        from labkit.agent.processes import Processes

        self._spaces = Namespaces(self._output.put)
        self._capture = self._spaces.capture
        self._inspector = Inspector(self._spaces, self._output.put)
        self._monitor = Monitor(self._spaces, self._output.put, self._capture.tell)
        self._selector.register(self._monitor.socket, selectors.EVENT_READ, self._monitor.flush)
        self._processes = Processes(self._spaces, self._watch, self._unwatch, self._ended)
        self._builder = Builder(self._spaces, self._processes.kill_in)
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

        def reap() -> None:
            os.read(reading, 4096)
            self._processes.reap()

        self._selector.register(reading, selectors.EVENT_READ, reap)
        self._monitor.read_all()
        _keep_memory_whole()
        gc.freeze()  # what was imported stays; and few of the agent's objects are in cycles
        gc.set_threshold(50_000)
        self._ready = True

    def run(self) -> None:
        """Serves until standard input ends."""
        next_tick = time.monotonic() + TICK
        while True:
            self._write()
            wait = max(0.0, next_tick - time.monotonic())
            if self._ready:
                self._heed()
                due = self._processes.tick()
                wait = wait if due is None else min(wait, due)
                if self._capture.is_behind:
                    wait = 0
            for key, _ in self._selector.select(0 if self._requests else wait):
                key.data()
            if self._ready and self._capture.is_behind:
                self._capture.catch_up()
            while self._requests:
                self._serve(self._requests.pop(0))
            if self._ready and time.monotonic() >= next_tick:
                self._capture.tick()
                self._monitor.tick()
                next_tick = time.monotonic() + TICK

    def _write(self) -> None:
        """Writes what there is to say, and listens to when the rest can be said."""
        self._output.flush()
        if self._output.is_waiting != self._writing:
            self._writing = not self._writing
            if self._writing:
                self._selector.register(self._output, selectors.EVENT_WRITE, self._output.flush)
            else:
                self._selector.unregister(self._output)

    def _heed(self) -> None:
        """Listens to the capture while it has a budget: what it may not read would wake us on."""
        if self._capture.is_spent == self._heeding:
            self._heeding = not self._heeding
            if self._heeding:
                self._selector.register(self._capture, selectors.EVENT_READ, self._capture.read)
            else:
                self._selector.unregister(self._capture)

    def _flush(self) -> None:
        """Everything that the kernel has done so far is told."""
        self._monitor.flush()
        self._capture.flush(FLUSHED)

    def end(self) -> None:
        """Ends the agent, and with it the lab and all in it."""
        if self._ready:
            self._capture.close()
        os._exit(0)

    # Input

    def _read(self) -> None:
        while True:
            try:
                data = os.read(0, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                self.end()  # the notebook kernel is gone: so is the lab
            *lines, rest = data.split(b"\n")
            for line in lines:
                self._keep(line)
                self._understand()
                self._input.clear()
            self._keep(rest)

    def _keep(self, part: bytes) -> None:
        if len(self._input) <= wire.LONGEST:  # of one that is too long no more than shows it
            self._input += part

    def _understand(self) -> None:
        """Takes in a request. One that is none is answered too: somebody may wait for it."""
        try:
            if len(self._input) > wire.LONGEST:
                raise msgspec.DecodeError("it is too long")
            self._requests.append(self._decoder.decode(self._input))
        except wire.UNREADABLE as error:
            number = -1
            with suppress(*wire.UNREADABLE):
                number = msgspec.json.decode(self._input, type=wire.Numbered).id
            self._fail(number, wire.Fault(message=f"not a request: {error}"))

    def _watch(self, stream: IO[bytes], callback: Callable[[], None]) -> None:
        self._selector.register(stream, selectors.EVENT_READ, callback)

    def _unwatch(self, stream: IO[bytes]) -> None:
        self._selector.unregister(stream)

    # Requests

    def _serve(self, request: wire.Request) -> None:
        try:
            if isinstance(request, wire.Hello):
                self._reply(request.id)
                self._output.flush()
                if not self._ready:
                    self._start()
                return
            if not self._ready:
                self._start()
            result = self._handle(request)
        except OSError as error:
            words = error.strerror or str(error)
            self._fail(request.id, wire.Fault(message=words, code=error.errno))
        except Exception as error:  # noqa: BLE001 (a fault in one request must not end the lab)
            self._fail(request.id, wire.Fault(message=f"{type(error).__name__}: {error}"))
        else:
            if result is not Ellipsis:
                self._reply(request.id, result)

    def _reply(self, number: int, result: Any = None) -> None:
        self._output.put(wire.Reply(id=number, result=result))

    def _fail(self, number: int, fault: wire.Fault) -> None:
        self._output.put(wire.Reply(id=number, fault=fault))

    def _handle(self, request: wire.Request) -> Any:
        """The result of a request; Ellipsis where the reply comes later."""
        match request:
            case wire.Build():
                return self._build(request)
            case wire.Sync():
                self._flush()
                self._monitor.tick()
                if request.netns:
                    self._monitor.read(request.netns)
                else:
                    self._monitor.read_all()
                return None
            case wire.Spawn():
                return self._spawn(request)
            case wire.Lookup():
                self._flush()  # what led to the answer comes before it
                self._inspector.lookup(request.netns, request.destination)
                return None
            case wire.Inspect():
                self._inspector.inspect(request.netns, settings=request.settings)
                return None
            case wire.JobOutput():
                self._processes.reap()
                job = self._processes.get(request.job)
                if not request.take:
                    return job.result()
                if job.exit_code is not None:
                    self._processes.forget(job)
                return job.take_result()
            case wire.StopJob():
                job = self._processes.get(request.job)
                if job.exit_code is None:
                    job.waiters.append(lambda result: self._reply(request.id, result))
                    self._processes.stop(job, request.grace)
                    return ...
                return job.result()
            case wire.Cancel():
                number = self._waiting.get(request.target)
                if number is not None:
                    self._processes.stop(self._processes.get(number), 0)
                return None
            case _:
                raise OSError(None, f"unknown request {type(request).__name__}")

    def _build(self, request: wire.Build) -> Any:
        from labkit.agent.links import BuildFault

        def between() -> bool:
            self._monitor.relieve()
            self._read()
            return any(
                isinstance(other, wire.Cancel) and other.target == request.id
                for other in self._requests
            )

        try:
            self._builder.apply(request.operations, between)
        except BuildFault as fault:
            self._monitor.flush()
            self._fail(request.id, fault.fault)
            return ...
        at = time.time_ns()
        for operation in request.operations:
            self._output.put(ev.Applied(at=at, operation=operation))
            if isinstance(operation, op.RemoveHost) and operation.netns != op.MACHINE:
                self._monitor.forget(operation.netns)
                self._inspector.forget(operation.netns)
            elif isinstance(operation, op.AddHost):
                self._monitor.wake(operation.netns)
        return None

    def _spawn(self, request: wire.Spawn) -> Any:
        self._monitor.wake(request.netns)
        job = self._processes.start(request)
        if not request.quiet:
            self._output.put(
                ev.ProcessStarted(
                    at=time.time_ns(),
                    netns=request.netns,
                    job=job.number,
                    host=request.host,
                    command=" ".join(request.argv),
                )
            )
        if not request.wait:
            return job.result()

        def done(result: wire.CommandResult) -> None:
            self._waiting.pop(request.id, None)
            self._reply(request.id, result)
            self._processes.forget(job)

        job.waiters.append(done)
        self._waiting[request.id] = job.number
        return ...

    def _ended(self, job: Any) -> None:
        self._flush()  # what it did comes before its end
        if not job.quiet:
            self._output.put(
                ev.ProcessEnded(at=time.time_ns(), job=job.number, exit_code=job.exit_code)
            )


def main() -> None:
    """Runs the agent until its standard input ends or the notebook kernel does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the kernel's interrupt is not for the lab
    os.umask(0o022)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every host holds two descriptors
    agent = Agent(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    try:
        agent.run()
    except BrokenPipeError:
        agent.end()


if __name__ == "__main__":
    main()
