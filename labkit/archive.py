"""A recording as a file: gzip, and in it a JSON object a line: a header, then the events.

gzip's own checksum tells a damaged file, and the header's counts a file that was cut and mended.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from labkit.errors import LabkitError
from labkit.model.events import Event

FORMAT = "labkit recording"
VERSION = 2
READABLE = (1, 2)
"""Version 1 had neither counts nor a kept state: its log was never shortened."""
CHUNK = 10_000
"""Events that are encoded at once."""
LEVEL = 4
"""gzip's: twice as quick as the default, for a file a tenth larger."""


class Header(msgspec.Struct, kw_only=True):
    """The first line. The first `base` events lead to the state `at` which the log begins.

    `forgotten` is how many older events the log had let go of, and so the first one's number.
    `launcher` is by what the lab ran; files of before it was told have none.
    """

    format: str = ""
    version: int = 0
    name: str = "lab"
    launcher: str = ""
    forgotten: int = 0
    base: int = 0
    at: int = 0
    events: int | None = None


@contextmanager
def written(path: Path, what: str) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when the block has ended, whole or not at all.

    Raises LabkitError where it cannot be written.
    """
    partial = path.with_name(path.name + ".part")
    try:
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LabkitError(
            f"{what} could not be saved as {path}: {error.strerror or error}.",
            hint="Choose a folder that exists, is yours to write in and has room.",
        ) from error


def write(path: Path, header: Header, base: Sequence[Event], events: Sequence[Event]) -> None:
    """Writes a recording, whole or not at all. Raises LabkitError."""
    header.format, header.version = FORMAT, VERSION
    header.base, header.events = len(base), len(events)
    encoder = msgspec.json.Encoder()
    with (
        written(path, "The recording") as raw,
        gzip.GzipFile(fileobj=raw, filename="", mode="wb", compresslevel=LEVEL, mtime=0) as file,
    ):
        file.write(encoder.encode_lines([header, *base]))
        for start in range(0, len(events), CHUNK):
            file.write(encoder.encode_lines(events[start : start + CHUNK]))


def read(path: Path) -> tuple[Header, list[Event], list[Event]]:
    """A recording's header, the events that lead to the state it begins with, and its events.

    Raises LabkitError for a file that is missing, damaged, or of another kind or version.
    """
    try:
        with gzip.open(path, "rb") as file:
            first = file.readline()
            rest = file.read()
        header = msgspec.json.decode(first, type=Header)
        if header.format != FORMAT:
            raise ValueError("it is not a labkit recording")
        if header.version not in READABLE:
            known = " and ".join(map(str, READABLE))
            raise ValueError(f"it is of version {header.version}; this labkit reads {known}")
        events: list[Event] = msgspec.json.Decoder(Event).decode_lines(rest)
        if header.events is not None and len(events) != header.base + header.events:
            raise ValueError(
                f"it should hold {header.base + header.events} events and holds {len(events)}"
            )
        if not 0 <= header.base <= len(events) or header.forgotten < 0:
            raise ValueError("its header contradicts itself")
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        said = getattr(error, "strerror", None) or error
        raise LabkitError(
            f"The recording {path} could not be read: {said}.",
            hint="Check the path; a damaged file has to be recorded again.",
        ) from error
    return header, events[: header.base], events[header.base :]
