"""What went over the wire between a notebook's labs and their agents, as a file.

One file is of one lesson, run once on a real kernel: gzip, and in it a JSON object a line. The
first is a `Header`; then come, lab after lab, its requests, replies and events, each with the time
at which it was said and the mark of the cell that asked.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import threading
import time
import weakref
import zlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from labkit.errors import LabkitError
from labkit.model import wire
from labkit.model.events import Closed, Event

FORMAT, VERSION = "labkit lesson", 1
SUFFIX = ".lesson.gz"
RECORD = "LABKIT_RECORD"
"""Environment variable: a folder in which each lab keeps what goes over its wire."""
LONGEST = 256 << 20
"""Bytes of a file, unpacked, beyond which it is no lesson's."""
DAMAGED = (OSError, EOFError, ValueError, zlib.error, RecursionError)


class Said(msgspec.Struct, frozen=True, array_like=True):
    """A request, a reply or an event, and when it was said: nanoseconds since the epoch."""

    at: int
    cell: str
    message: wire.Request | wire.Reply | Event


class Opened(msgspec.Struct, frozen=True):
    """A lab of the lesson: its name, the mark of the cell that made it, how many lines it has."""

    name: str
    cell: str
    lines: int


class Header(msgspec.Struct, kw_only=True):
    """The first line. `fingerprint` is of the lesson's code, `launcher` by what it was run."""

    format: str = ""
    version: int = 0
    lesson: str = ""
    fingerprint: str = ""
    launcher: str = ""
    labs: tuple[Opened, ...] = ()


class Exchange(msgspec.Struct, kw_only=True):
    """A request with its reply, and the events before it and while it was waited for."""

    cell: str
    request: wire.Request
    sent: int
    before: list[Said]
    during: list[Said]
    reply: wire.Reply
    ended: int


class Transcript(msgspec.Struct, kw_only=True):
    """A lab from its first request to its last; `after` is what happened then."""

    name: str
    cell: str
    exchanges: list[Exchange]
    after: list[Said]


def mark(source: str) -> str:
    """What tells a cell from the lesson's others: a digest of its text."""
    return hashlib.sha256(source.strip().encode()).hexdigest()[:16]


def running_cell() -> tuple[int, str]:
    """The number and the mark of the notebook cell that runs now, or ran last; else 0 and ""."""
    # IPython's own variable in the notebook's namespace: nothing has to be imported for it.
    shell = getattr(sys.modules.get("__main__"), "get_ipython", lambda: None)()
    inputs = getattr(getattr(shell, "history_manager", None), "input_hist_raw", None)
    return (len(inputs), mark(inputs[-1])) if inputs else (0, "")


class Tap:
    """Keeps what is said, line by line, in a file of its own in a folder."""

    def __init__(self, folder: str, name: str) -> None:
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        try:
            path = Path(folder) / f"{time.time_ns()}-{os.getpid()}"
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise LabkitError(
                f"The lab cannot be recorded in {folder}: {error.strerror}.",
                hint=f"Name a folder that is yours to write in, or unset {RECORD}.",
            ) from error
        weakref.finalize(self, self._file.close)
        self._problem: LabkitError | None = None
        self._write(name)

    def __call__(self, message: wire.Request | wire.Message) -> None:
        """Notes a message. Raises LabkitError, to who asks, when that was not possible."""
        if not isinstance(message, Closed):  # a replay ends when its own notebook does
            self._write(Said(time.time_ns(), running_cell()[1], message))
        if self._problem and isinstance(message, wire.Request):
            raise self._problem

    def _write(self, line: object) -> None:
        text = self._encoder.encode(line) + b"\n"
        with self._lock:
            if self._problem:
                return
            try:
                written = self._file.write(text)
                words = "" if written == len(text) else "no space left"
            except OSError as error:
                words = error.strerror or str(error)
            if words:
                self._problem = LabkitError(
                    f"The lab is recorded no further: {words}.",
                    hint=f"Make room in the folder that {RECORD} names, and start anew.",
                )


def packed(folder: Path, header: Header) -> bytes:
    """All that the labs of a lesson have kept in a folder, as one file's content."""
    said = msgspec.json.Decoder(Said)
    labs, lines = [], []
    for path in sorted(folder.iterdir()):
        first, *rest = path.read_bytes().splitlines()
        if rest:
            labs.append(Opened(msgspec.json.decode(first), said.decode(rest[0]).cell, len(rest)))
            lines += rest
    header.format, header.version, header.labs = FORMAT, VERSION, tuple(labs)
    whole = b"\n".join([msgspec.json.encode(header), *lines, b""])
    return gzip.compress(whole, compresslevel=9, mtime=0)


def read_header(path: Path) -> Header:
    """The header of a lesson's recording. Raises LabkitError where it is damaged or another's."""
    try:
        with gzip.open(path, "rb") as file:
            return _header(file.readline(1 << 20))
    except DAMAGED as error:
        raise _unreadable(path, error) from error


def read(path: Path) -> list[Transcript]:
    """The labs of a lesson's recording. Raises LabkitError where it is damaged or another's."""
    try:
        with gzip.open(path, "rb") as file:
            header = _header(file.readline(1 << 20))
            rest = file.read(LONGEST)
        lines = msgspec.json.Decoder(Said).decode_lines(rest)
        if len(lines) != sum(lab.lines for lab in header.labs):
            raise ValueError("lines are missing")
        labs, first = [], 0
        for lab in header.labs:
            labs.append(_transcript(lab, lines[first : first + lab.lines]))
            first += lab.lines
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    return labs


def _header(line: bytes) -> Header:
    header = msgspec.json.decode(line, type=Header)
    if header.format != FORMAT:
        raise ValueError("it is not a lesson's recording")
    if header.version != VERSION:
        raise ValueError(f"it is of version {header.version}; this labkit reads {VERSION}")
    return header


def _transcript(lab: Opened, lines: Iterable[Said]) -> Transcript:
    exchanges: list[Exchange] = []
    asked: dict[int, Exchange] = {}
    events: list[Said] = []
    for said in lines:
        message = said.message
        if isinstance(message, wire.Reply):
            exchange = asked.pop(message.id, None)
            if exchange is not None:
                exchange.during, exchange.reply, exchange.ended = events, message, said.at
                exchanges.append(exchange)
                events = []
        elif isinstance(message, wire.Request):
            asked[message.id] = Exchange(
                cell=said.cell, request=message, sent=said.at, before=events, during=[],
                reply=wire.Reply(id=message.id), ended=said.at,
            )  # fmt: skip
            events = []
        else:
            events.append(said)
    return Transcript(name=lab.name, cell=lab.cell, exchanges=exchanges, after=events)


def _unreadable(path: Path, error: Exception) -> LabkitError:
    said = getattr(error, "strerror", None) or error
    return LabkitError(
        f"The lesson's recording {path} could not be read: {said}.",
        hint="Get the file again, or make it anew where a live lab is possible: make recordings",
    )
