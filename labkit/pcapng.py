"""A recording's frames as a pcapng file, for Wireshark.

The format is draft-ietf-opsawg-pcapng. scapy's writer keeps microseconds only, and its times
pass through a float, so these are the four kinds of block that are needed.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from labkit.archive import written
from labkit.model.events import Event, Frame, LinkSet, Lost
from labkit.model.state import State

SECTION, INTERFACE, PACKET, STATISTICS = 0x0A0D0D0A, 1, 6, 5
ORDER = 0x1A2B3C4D
ETHERNET = 1
"""LINKTYPE_ETHERNET."""
COMMENT, USER_APPLICATION = 1, 4
IF_NAME, IF_TSRESOL = 2, 9
NANOSECONDS = 9
"""if_tsresol: times are counted in 10^-9 s."""
EPB_FLAGS = 2
IFDROP = 5
DIRECTION = {"host": 0b00101, "multicast": 0b01001, "broadcast": 0b01101, "otherhost": 0b10001}
"""epb_flags of what came in: direction 1, and how it was addressed. What went out has 2."""
OUTGOING = 2
LONGEST = 0xFFFF
"""Bytes of an option's value, at most."""


class Log:
    """What is written: a part of a log, and the state that it begins with."""

    def __init__(
        self,
        name: str,
        base: State,
        events: Sequence[tuple[int, Event]],
        remarks: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.remarks = remarks
        self.base = base
        self.events = events
        self.forgotten = events[0][0] if events else 0


def write(path: Path, log: Log, comments: Mapping[int, Sequence[str]]) -> None:
    """Writes every frame, whole or not at all; `comments` are by event number.

    Interfaces are named "namespace:interface". What was lost is told in the section's comment
    and in a statistics block. Raises LabkitError where the file cannot be written.
    """
    lost: Counter[str | None] = Counter()
    for _, event in log.events:
        if isinstance(event, Lost) and event.what == "frames":
            lost[event.netns] += event.count or 1
    told = [f"labkit recording of {log.name}", *log.remarks]
    told += [
        f"{count} frames were not captured in {netns or 'the lab'}: they came too fast"
        for netns, count in lost.items()
    ]
    if log.forgotten:
        told.append(f"{log.forgotten} older events are forgotten, and the frames among them")
    frames = sorted(_named(log), key=lambda row: (row[1].at, row[0]))
    numbers: dict[tuple[str, str], int] = {}
    with written(path, "The frames") as file:
        options = [*((COMMENT, _text(line)) for line in told), (USER_APPLICATION, b"labkit")]
        file.write(_block(SECTION, struct.pack("<IHHq", ORDER, 1, 0, -1), options))
        for number, frame, name in frames:
            place = (frame.netns, name)
            if place not in numbers:
                numbers[place] = len(numbers)
                file.write(_interface(f"{frame.netns}:{name}"))
            file.write(_packet(frame, numbers[place], comments.get(number, ())))
        last = frames[-1][1].at if frames else 0
        for netns, count in lost.items():
            # The kernel counts for a namespace, a block is for an interface: its first one.
            first = next((n for (where, _), n in numbers.items() if netns in (where, None)), None)
            if first is not None:
                fixed = struct.pack("<III", first, last >> 32, last & 0xFFFFFFFF)
                file.write(_block(STATISTICS, fixed, [(IFDROP, struct.pack("<Q", count))]))


def _named(log: Log) -> Iterator[tuple[int, Frame, str]]:
    """Every frame with its number and the name that its interface had at that moment."""
    names = {
        (netns, index): link.name
        for netns, space in log.base.namespaces.items()
        for index, link in space.links.items()
    }
    # A frame may be told a moment before its interface is: then the name that comes is meant.
    for _, event in log.events:
        if isinstance(event, LinkSet):
            names.setdefault((event.netns, event.index), event.name)
    for number, event in log.events:
        if isinstance(event, LinkSet):
            names[event.netns, event.index] = event.name
        elif isinstance(event, Frame):
            yield number, event, names.get((event.netns, event.index), f"if{event.index}")


def _interface(name: str) -> bytes:
    options = [(IF_NAME, _text(name)), (IF_TSRESOL, bytes([NANOSECONDS]))]
    return _block(INTERFACE, struct.pack("<HHI", ETHERNET, 0, 0), options)


def _packet(frame: Frame, interface: int, comments: Sequence[str]) -> bytes:
    size = len(frame.data)
    fixed = struct.pack(
        "<IIIII", interface, frame.at >> 32, frame.at & 0xFFFFFFFF, size, frame.length or size
    )
    flags = DIRECTION.get(frame.packet_type, OUTGOING)
    options = [(EPB_FLAGS, struct.pack("<I", flags)), *((COMMENT, _text(c)) for c in comments)]
    return _block(PACKET, fixed + _padded(frame.data), options)


def _block(kind: int, body: bytes, options: Iterable[tuple[int, bytes]]) -> bytes:
    written = [struct.pack("<HH", code, len(value)) + _padded(value) for code, value in options]
    content = body + b"".join(written) + bytes(4)  # opt_endofopt
    length = struct.pack("<I", len(content) + 12)
    return struct.pack("<I", kind) + length + content + length


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(words: str) -> bytes:
    """UTF-8, cut at a character where it is longer than an option may be."""
    return words.encode()[:LONGEST].decode(errors="ignore").encode()
