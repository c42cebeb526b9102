"""What a fault is: a plan of what to plant, how it is found, and what mends it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from labkit.hosts import Host
from labkit.lessons.look import Look
from labkit.lessons.scene import Scene


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, with its details.

    `table` is the command that shows it, in `host`, and `shows` what an expert sees there. The
    commands that plant and mend it run in that host too, unless `planted_in` names another.
    `listen` is where the web server listens ("" for one that does not run). `lingers` says
    whether the cause is still there, for a fault that pings cannot be trusted to show.
    """

    what: str
    host: Host
    table: str
    shows: str
    plant: list[str] = []
    mend: list[str] = []
    planted_in: Host | None = None
    listen: str | None = None
    lingers: Callable[[Look], bool] | None = None

    @property
    def place(self) -> Host:
        """The host in which it is planted and mended."""
        return self.planted_in or self.host


Fault = Callable[[Scene], Plan]
FAULTS: list[Fault] = []
"""In the order in which they were declared, which is part of what a seed means."""
LEVELS: dict[Fault, int] = {}
"""How hard each is to find: 1, 2 or 3."""


def fault(level: int) -> Callable[[Fault], Fault]:
    """Adds the decorated function to the faults."""

    def add(make: Fault) -> Fault:
        FAULTS.append(make)
        LEVELS[make] = level
        return make

    return add
