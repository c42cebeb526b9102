"""The tables as a journey goes along: which row stands where, and which event put it there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from labkit.journey.values import Place
from labkit.model import events as ev
from labkit.model.state import State

if TYPE_CHECKING:
    from labkit.recording import Recording

Numbered = tuple[int, ev.Event]
LAG = 50_000_000
"""Nanoseconds by which the kernel's word of a change comes after it, if the machine is not busy."""
LATE = 1_000_000_000
"""Nanoseconds by which the kernel's word of a change may come after the frame, at most."""


class Tables:
    """Bridges' and hosts' rows: a state, moved on by the events of a journey's time.

    The kernel's events come a moment after the frames that made them. So a change is taken
    when the step that it belongs to is told (`learned`, `noted`), not when it was read.
    """

    def __init__(self, recording: Recording, before: State, window: Sequence[Numbered]) -> None:
        self._recording = recording
        self._state = before.copy()
        kinds = (*ev.TABLES, ev.RouteSet, ev.RouteRemoved)
        self._coming = [one for one in window if isinstance(one[1], kinds)]
        self._lookups = [
            (number, event) for number, event in window if isinstance(event, ev.RouteLookup)
        ]
        self._used: set[int] = set()

    def _claim(self, kind: type[ev.Event], at: int, /, **fields: object) -> int | None:
        """Takes the change with those fields that was told soon after a time: its number."""
        for number, event in self._coming:
            if (
                isinstance(event, kind)
                and number not in self._used
                and at <= event.at < at + LATE
                and all(getattr(event, name) == value for name, value in fields.items())
            ):
                self._used.add(number)
                self._state.apply(event)
                return number
        return None

    def number(self, row: ev.Event) -> int | None:
        """The number of the event that a row came by; None where the log has forgotten it."""
        return self._recording.number_of(row)

    # Bridges

    def fdb(self, bridge: Place, mac: str) -> ev.FdbSet | None:
        """A bridge's row for a MAC."""
        netns, index = bridge
        rows = self._state.space(netns).fdb.values()
        return next((row for row in rows if (row.mac, row.bridge) == (mac, index)), None)

    def learned(
        self, bridge: Place, port: int, mac: str, at: int
    ) -> tuple[int, ev.FdbSet | None] | None:
        """Takes the event by which a bridge noted a MAC at a port: its number, and the row before.

        None where it had noted that already, or notes nothing.
        """
        held = self.fdb(bridge, mac)
        if held is not None and (held.port == port or held.kind != "learned"):
            return None
        netns, index = bridge
        number = self._claim(
            ev.FdbSet, at, netns=netns, bridge=index, port=port, mac=mac, kind="learned"
        )
        return None if number is None else (number, held)

    # Hosts

    def neighbour(self, netns: str, address: str) -> ev.NeighbourSet | None:
        """A host's row for an address."""
        rows = self._state.space(netns).neighbours.values()
        return next((row for row in rows if row.address == address), None)

    def noted(self, netns: str, address: str, mac: str, at: int) -> int | None:
        """Takes the event by which a host noted an address, and gives its number, if it did."""
        return self._claim(ev.NeighbourSet, at, netns=netns, address=address, mac=mac)

    def incomplete(self, netns: str, address: str, at: int) -> int | None:
        """Takes the event that tells of a question still unanswered, and gives its number."""
        return self._claim(ev.NeighbourSet, at, netns=netns, address=address, state="INCOMPLETE")

    def pass_until(self, at: int) -> list[tuple[int, ev.NeighbourSet]]:
        """Takes the changes that no step has claimed until then; gives the neighbours' ones.

        The kernel's word comes after the frame: what was read before a frame is not its doing.
        """
        coming = [one for one in self._coming if one[0] not in self._used]
        passed = [one for one in coming if one[1].at < at]
        self._coming = [one for one in coming if one[1].at >= at]
        for _, event in passed:
            self._state.apply(event)
        return [(number, event) for number, event in passed if isinstance(event, ev.NeighbourSet)]

    # Ways

    def targets_through(self, netns: str, gateway: str) -> list[str]:
        """The addresses to which the kernel was asked for the way, and named that gateway."""
        return [
            event.destination
            for _, event in self._lookups
            if (event.netns, event.gateway) == (netns, gateway)
        ]

    def way(self, netns: str, target: str) -> tuple[ev.RouteLookup, int | None, bool] | None:
        """The way to an address: as the kernel told it, or else as its table says.

        Gives it with the event's number and whether the kernel itself was asked.
        """
        for number, event in self._lookups:
            if (event.netns, event.destination) == (netns, target):
                return event, number, True
        row = matching(self._state.space(netns).routes.values(), target)
        if row is None:
            return None
        found = ev.RouteLookup(
            at=row.at, netns=netns, destination=target, matched=row.destination,
            gateway=row.gateway, index=row.index,
        )  # fmt: skip
        return found, self._recording.number_of(row), False


def matching(routes: Iterable[ev.RouteSet], target: str) -> ev.RouteSet | None:
    """The row of a routing table for an address: of the longest prefix, of the least metric."""
    address = ipaddress.ip_address(target)
    everything = "::/0" if address.version == 6 else "0.0.0.0/0"

    def network(row: ev.RouteSet) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        given = row.destination
        return ipaddress.ip_network(everything if given == "default" else given)

    return max(
        (row for row in routes if address in network(row)),
        key=lambda row: (network(row).prefixlen, -row.metric),
        default=None,
    )
