"""What a journey is made of: steps, each with the evidence that it rests on."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

Place = tuple[str, int]
"""An interface: the namespace it is in, and its index there."""


class Move(msgspec.Struct, frozen=True):
    """A frame's way through a cable, from one of its ends to the other.

    `arrived` is False where nothing was seen to come out.
    """

    start: Place
    end: Place
    arrived: bool = True


class Row(msgspec.Struct, frozen=True):
    """A row of a table that a step read, or wrote.

    `table` is "neighbour", "fdb" or "route"; `owner` the host's name, or the bridge's
    interface; `key` the address, the MAC, or the destination ("… via …" through a gateway).
    """

    table: str
    owner: str
    key: str
    written: bool = False


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a packet.

    `host` is where: a host's name or a bridge's; `interface` one of its interfaces. `evidence`
    are the numbers of the log's events that it rests on (`Recording.event`); `frame` the one
    that is the frame in hand. `inferred` is true where no event tells it, and it follows from
    others. `at` is nanoseconds since the epoch. A flood's copies go on in its `branches`.
    """

    kind: str
    host: str
    interface: str | None = None
    text: str
    evidence: tuple[int, ...] = ()
    at: int
    frame: int | None = None
    protocol: str = ""
    inferred: bool = False
    moves: tuple[Move, ...] = ()
    rows: tuple[Row, ...] = ()
    branches: tuple[Step, ...] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Step]]:
        """This step and those of its branches, each with its depth, in order."""
        yield depth, self
        for branch in self.branches:
            yield from branch.walk(depth + 1)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Why a packet got no further: what the evidence says, and what it leaves open.

    `verdict` is a short name of the fault ("no-route", "neighbour-failed", …) and `stage` of
    the part of the way in which it happened ("route", "neighbour", "bridge", "forward",
    "deliver", "reply"); `text` says it in words, `fine` what was in order before it, and
    `remaining` which causes the evidence does not tell apart (empty when it is certain).
    """

    verdict: str
    stage: str
    text: str
    evidence: tuple[int, ...] = ()
    fine: tuple[str, ...] = ()
    remaining: tuple[str, ...] = ()
    advice: str = ""
