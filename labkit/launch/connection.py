"""A running agent as the notebook's side sees it: requests, replies, events."""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from labkit.errors import ClosedError, LabkitError, LauncherError
from labkit.launch.machine import Launcher
from labkit.model import events as ev
from labkit.model import wire

GRACE = 2.0
"""Seconds after which an agent that has not ended by itself is killed."""
LAB = "LABKIT_LAB"
"""Environment variable by which the processes of a lab tell its name, to `labkit shell` for one."""
PACKAGE = Path(__file__).resolve().parents[2]


def _cannot_start(error: Exception) -> LauncherError:
    words = getattr(error, "strerror", None) or str(error)
    return LauncherError(
        f"The lab's agent could not be started: {words}.",
        hint="If too much is open or running, close labs and notebooks that are no longer used; "
        "`ulimit -a` tells the limits.",
    )


def gone(reason: str | None) -> ClosedError:
    """What is raised for a request to a lab that has ended."""
    return ClosedError(
        f"The lab has ended: {reason or 'its agent has stopped'}.",
        hint="Make a new one: run the cell with Lab(...) again.",
    )


class Fault(Exception):
    """The agent's answer to a request was a fault."""

    def __init__(self, fault: wire.Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Connection:
    """One agent process. Events go to `on_event`, in order, from a reader thread."""

    def __init__(
        self,
        launcher: Launcher,
        on_event: Callable[[ev.Event], None],
        name: str = "lab",
        tap: Callable[[wire.Request | wire.Message], None] | None = None,
    ) -> None:
        self._on_event = on_event
        self._tap = tap or (lambda _: None)  # hears all that is said, in order
        self._numbers = itertools.count(1)
        self._encoder = msgspec.json.Encoder()
        self._replies: dict[int, queue.SimpleQueue[wire.Reply | None]] = {}
        self._lock = threading.Lock()  # of the replies that are waited for
        self._writing = threading.Lock()  # apart: a write may wait for the reader thread
        self._errors = bytearray()
        self._holding = self._interrupted = False
        self._awaited: int | None = None  # the request that the main thread waits for
        self.closed: str | None = None
        # A pidfd tells the agent of this process's death even where a forked child keeps
        # the pipe open; it crosses into the new PID namespace as a file descriptor.
        try:
            watched = os.pidfd_open(os.getpid())
        except OSError as error:
            raise _cannot_start(error) from None
        try:
            agent = [sys.executable, "-m", "labkit.agent"]
            paths = [str(PACKAGE), os.environ.get("PYTHONPATH", "")]
            self.process = subprocess.Popen(
                launcher.argv(agent, watched),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(watched,),
                start_new_session=True,  # the terminal's Ctrl-C is for the notebook, not the lab
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), LAB: name},
            )
        except OSError as error:
            raise _cannot_start(error) from None
        finally:
            os.close(watched)
        self._stdin, self._stdout, self._stderr = cast(
            "tuple[IO[bytes], IO[bytes], IO[bytes]]",
            (self.process.stdin, self.process.stdout, self.process.stderr),
        )
        self._readers = [
            threading.Thread(target=target, name=f"labkit {target.__name__}", daemon=True)
            for target in (self._read, self._read_errors)
        ]
        try:
            for reader in self._readers:
                reader.start()
        except RuntimeError as error:  # the limit on processes counts threads, too
            self._kill()
            self.process.wait()
            raise _cannot_start(error) from None

    def request(self, kind: type[wire.Request], **fields: Any) -> Any:
        """Sends a request and waits for its reply's result.

        Raises Fault for the agent's refusal, ClosedError when the agent has ended. An
        interrupt cancels the request, and goes on when its end is known.
        """
        with self.interrupts_held():
            number, replies = self._send(kind, fields)
            try:
                self._awaited = number
                if self._interrupted:  # while it was being sent
                    self._cancel(number)
                reply = replies.get()
            finally:
                self._awaited = None
                self._forget(number)
        if reply is None:
            raise self._gone()
        if reply.fault:
            raise Fault(reply.fault)
        return reply.result

    @contextlib.contextmanager
    def interrupts_held(self) -> Iterator[None]:
        """Holds an interrupt back until the block has ended, so that its outcome is known.

        The request that is waited for is cancelled meanwhile. A second interrupt goes through.
        """
        here = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGINT)
        if self._holding or not here or before is None:
            yield
            return
        self._holding, self._interrupted = True, False
        signal.signal(signal.SIGINT, self._hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
            interrupted = self._interrupted
            self._holding = self._interrupted = False
            if interrupted:
                raise KeyboardInterrupt from None

    def _hear(self, *_: object) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        if self._awaited is not None:
            self._cancel(self._awaited)

    def _cancel(self, number: int) -> None:
        with contextlib.suppress(ClosedError):
            self._forget(self._send(wire.Cancel, {"target": number})[0])  # needs no answer

    def _send(
        self, kind: type[wire.Request], fields: dict[str, Any]
    ) -> tuple[int, queue.SimpleQueue[wire.Reply | None]]:
        replies: queue.SimpleQueue[wire.Reply | None] = queue.SimpleQueue()
        with self._lock:
            if self.closed:
                raise self._gone()
            number = next(self._numbers)
            self._replies[number] = replies
        try:
            request = kind(id=number, **fields)
            line = self._encoder.encode(request) + b"\n"
            if len(line) > wire.LONGEST:
                raise ValueError(f"{len(line)} bytes are too many")
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            self._forget(number)
            raise LabkitError(
                f"What was asked cannot be told to the lab: {error}.",
                hint="Text must be valid Unicode; large things are better kept in a file.",
            ) from None
        with self._writing:
            self._tap(request)
            try:
                self._stdin.write(line)
                self._stdin.flush()
            except (OSError, ValueError):
                self._forget(number)
                raise self._gone() from None
        return number, replies

    def _forget(self, number: int) -> None:
        """Waits no more for that request's reply."""
        with self._lock:
            self._replies.pop(number, None)

    def _gone(self) -> ClosedError:
        return gone(self.closed)

    def close(self, reason: str = "it was closed") -> None:
        """Ends the agent, and with it everything in the lab. Does not wait for the kernel."""
        with self._lock:
            if self.closed is None:
                self.closed = reason
        # The agent ends with its input, all in its PID namespace with it, and unshare reaps it.
        with contextlib.suppress(OSError, ValueError):
            self._stdin.close()
        last = threading.Timer(GRACE, self._kill)
        last.daemon = True
        last.start()

    def _kill(self) -> None:
        with contextlib.suppress(PermissionError):  # sudo is root's; it ends with its command
            self.process.kill()

    def _read(self) -> None:
        decoder = msgspec.json.Decoder(wire.Message)
        while line := self._stdout.readline(wire.LONGEST):
            if len(line) < wire.LONGEST and not line.endswith(b"\n"):
                break  # the agent ended in the middle of it
            try:
                message = decoder.decode(line)
            except wire.UNREADABLE as error:
                # It may have been the answer that somebody waits for: nothing can be relied on.
                with self._lock:
                    self.closed = self.closed or f"its agent said what is no message ({error})"
                self._kill()
                break
            self._tap(message)
            if isinstance(message, wire.Reply):
                with self._lock:
                    waiting = self._replies.get(message.id)
                if waiting:
                    waiting.put(message)
            else:
                self._tell(message)
        self._stdout.close()
        with contextlib.suppress(OSError):  # what could not be delivered any more
            self._stdin.close()
        status = self.process.wait()
        self._readers[1].join(GRACE)  # its last words may be on their way
        with self._lock:
            if self.closed is None:
                words = self._errors.decode(errors="replace").strip().rsplit("\n", 1)[-1]
                how = f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
                self.closed = f"its agent {how}" + (f": {words}" if words else "")
            waiting_for = list(self._replies.values())
        for replies in waiting_for:
            replies.put(None)
        self._tell(ev.Closed(at=time.time_ns(), reason=self.closed))

    def _tell(self, event: ev.Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # noqa: BLE001 (a listener's fault must not end the reading for all)
            traceback.print_exc()

    def _read_errors(self) -> None:
        for line in self._stderr:
            self._errors += line
            del self._errors[:-4000]
        self._stderr.close()
