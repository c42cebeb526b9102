"""What goes over the wire between a lab and its agent: one JSON object a line.

To the agent: `Request`s, each with an `id`. From the agent: exactly one `Reply` for
each request, and any number of events in between, in the order in which they happened.
"""

from __future__ import annotations

from typing import Any

import msgspec

from labkit.model.events import Event
from labkit.model.operations import Operation

LIMIT = 1_000_000
"""Bytes kept of each of a command's two output streams: the last ones."""
LONGEST = 64 << 20
"""Bytes that a line has at most: several times the longest that either side ever has to send."""
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are no message; not UTF-8 and too deep come as themselves."""


class _Request(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    id: int


class Numbered(msgspec.Struct, frozen=True):
    """A request of which only the number can be understood: enough to answer that it was not."""

    id: int


class Hello(_Request, frozen=True, kw_only=True, tag=True):
    """Is the agent there? Answered before anything slow is imported."""


class Build(_Request, frozen=True, kw_only=True, tag=True):
    """Carry out all of the operations, or none."""

    operations: tuple[Operation, ...]


class Sync(_Request, frozen=True, kw_only=True, tag=True):
    """Answered when everything that the kernel did before is in the event stream.

    The tables of `netns` (of every namespace, without it) are read again and compared.
    """

    netns: str | None = None


class Spawn(_Request, frozen=True, kw_only=True, tag=True):
    """Start a command in a namespace.

    With `wait` the reply comes when the command has ended (`CommandResult`), else as soon
    as it runs (its job number). `timeout` is in seconds; `files` are written first, below
    the lab's private /run. A `quiet` command is in no event: what it changes is still told.
    With `merge` its errors stand in its output where they happened, as on a terminal.
    """

    netns: str
    host: str
    argv: tuple[str, ...]
    wait: bool = True
    timeout: float | None = None
    files: dict[str, str] = {}
    quiet: bool = False
    merge: bool = False


class Lookup(_Request, frozen=True, kw_only=True, tag=True):
    """Ask a namespace's kernel for the way to an address; answered by a `RouteLookup` event.

    All that has been announced before is told before it.
    """

    netns: str
    destination: str


class Inspect(_Request, frozen=True, kw_only=True, tag=True):
    """Look up what the kernel does not announce: counters, packet filter rules, settings.

    What differs from what was last told comes as events. A namespace that is gone is passed over.
    Settings take the longest to read, and are left out where `settings` is false.
    """

    netns: tuple[str, ...]
    settings: bool = True


class JobOutput(_Request, frozen=True, kw_only=True, tag=True):
    """What a job has printed so far, and whether it still runs.

    With `take` what is told is not kept: the next answer goes on from there, and a job that
    has ended is let go of.
    """

    job: int
    take: bool = False


class StopJob(_Request, frozen=True, kw_only=True, tag=True):
    """End a job and its children: SIGTERM, and SIGKILL for what is left after `grace` seconds."""

    job: int
    grace: float = 1.0


class Cancel(_Request, frozen=True, kw_only=True, tag=True):
    """Give up request `target`: a build is undone, a waited-for command is killed."""

    target: int


Request = Hello | Build | Sync | Spawn | Lookup | Inspect | JobOutput | StopJob | Cancel


class CommandResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a command ended, and what it printed (at most `LIMIT` bytes of each stream).

    `dropped` counts bytes that were left out; `exit_code` is None while it runs, and
    negative for death by a signal.
    """

    job: int
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""
    dropped: int = 0
    timed_out: bool = False


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request failed: what the kernel said (`code` is its errno), and where."""

    message: str
    code: int | None = None
    operation: int | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """The answer to request `id`: a result, or a fault."""

    id: int
    result: Any = None
    fault: Fault | None = None


Message = Reply | Event
