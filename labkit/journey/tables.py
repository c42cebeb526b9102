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
LATE = 1_000_000_000
"""Nanoseconds by which the kernel's word of a change may come after the frame, at most."""


class Tables:
    """Bridges' and hosts' rows, moved on by the events of a journey's time.

    The kernel's events come a moment after the frames that made them. So a change is taken
    when the step that it belongs to is told (`learned`, `noted`), not when it was read.
    """

    def __init__(self, recording: Recording, before: State, window: Sequence[Numbered]) -> None:
        self._recording = recording
        self._fdb: dict[tuple[Place, str], tuple[ev.FdbSet, int | None]] = {}
        self._neighbours: dict[tuple[str, str], tuple[ev.NeighbourSet, int | None]] = {}
        self._routes = {netns: dict(space.routes) for netns, space in before.namespaces.items()}
        for netns, space in before.namespaces.items():
            for row in space.fdb.values():
                self._fdb[(netns, row.bridge), row.mac] = row, None
            for entry in space.neighbours.values():
                self._neighbours[netns, entry.address] = entry, None
        kinds = (
            ev.FdbSet, ev.FdbRemoved, ev.NeighbourSet, ev.NeighbourRemoved, ev.RouteSet,
            ev.RouteRemoved,
        )  # fmt: skip
        self._coming = [one for one in window if isinstance(one[1], kinds)]
        self._lookups = [
            (number, event) for number, event in window if isinstance(event, ev.RouteLookup)
        ]
        self.used: set[int] = set()

    def number(self, event: ev.Event, known: int | None) -> int | None:
        """The number of an event that was there before the journey."""
        return known if known is not None else self._recording.number_of(event)

    # Bridges

    def fdb(self, bridge: Place, mac: str) -> tuple[ev.FdbSet, int | None] | None:
        """A bridge's row for a MAC, and its event's number."""
        found = self._fdb.get((bridge, mac))
        return None if found is None else (found[0], self.number(*found))

    def learned(
        self, bridge: Place, port: int, mac: str, at: int
    ) -> tuple[int, ev.FdbSet | None] | None:
        """Takes the event by which a bridge noted a MAC at a port: its number, and the row before.

        None where it had noted that already, or notes nothing.
        """
        held = self._fdb.get((bridge, mac))
        if held is not None and (held[0].port == port or held[0].kind != "learned"):
            return None
        for number, event in self._coming:
            if (
                isinstance(event, ev.FdbSet)
                and number not in self.used
                and (event.netns, event.bridge, event.port, event.mac) == (*bridge, port, mac)
                and event.kind == "learned"
                and at <= event.at < at + LATE
            ):
                self.used.add(number)
                self._fdb[bridge, mac] = event, number
                return number, held[0] if held else None
        return None

    # Hosts

    def neighbour(self, netns: str, address: str) -> tuple[ev.NeighbourSet, int | None] | None:
        """A host's row for an address, and its event's number."""
        found = self._neighbours.get((netns, address))
        return None if found is None else (found[0], self.number(*found))

    def noted(self, netns: str, address: str, mac: str, at: int) -> int | None:
        """Takes the event by which a host noted an address, and gives its number, if it did."""
        for number, event in self._coming:
            if (
                isinstance(event, ev.NeighbourSet)
                and number not in self.used
                and (event.netns, event.address, event.mac) == (netns, address, mac)
                and at <= event.at < at + LATE
            ):
                self.used.add(number)
                self._neighbours[netns, address] = event, number
                return number
        return None

    def incomplete(self, netns: str, address: str, at: int) -> int | None:
        """Takes the event that tells of a question still unanswered, and gives its number."""
        for number, event in self._coming:
            if (
                isinstance(event, ev.NeighbourSet)
                and number not in self.used
                and (event.netns, event.address) == (netns, address)
                and event.state == "INCOMPLETE"
                and at <= event.at < at + LATE
            ):
                self.used.add(number)
                self._neighbours[netns, address] = event, number
                return number
        return None

    def pass_until(self, at: int) -> list[tuple[int, ev.NeighbourSet]]:
        """Takes the changes that no step has claimed until then; gives the neighbours' ones.

        The kernel's word comes after the frame: what was read before a frame is not its doing.
        """
        taken = []
        rest = []
        for number, event in self._coming:
            if number in self.used:
                continue
            if event.at >= at:
                rest.append((number, event))
                continue
            match event:
                case ev.FdbRemoved():
                    self._fdb.pop(((event.netns, event.bridge), event.mac), None)
                case ev.NeighbourRemoved():
                    self._neighbours.pop((event.netns, event.address), None)
                case ev.NeighbourSet():
                    self._neighbours[event.netns, event.address] = event, number
                    taken.append((number, event))
                case ev.FdbSet():
                    self._fdb[(event.netns, event.bridge), event.mac] = event, number
                case ev.RouteSet() | ev.RouteRemoved():
                    key = (event.destination, event.gateway, event.index, event.metric)
                    rows = self._routes.setdefault(event.netns, {})
                    if isinstance(event, ev.RouteSet):
                        rows[key] = event
                    else:
                        rows.pop(key, None)
        self._coming = rest
        return taken

    # Ways

    def gateways(self) -> list[tuple[tuple[str, str], str | None]]:
        """The ways that the kernel was asked for: namespace and target, and the gateway."""
        return [((event.netns, event.destination), event.gateway) for _, event in self._lookups]

    def way(self, netns: str, target: str) -> tuple[ev.RouteLookup, int | None, bool] | None:
        """The way to an address: as the kernel told it, or else as its table says.

        Gives it with the event's number and whether the kernel itself was asked.
        """
        for number, event in self._lookups:
            if (event.netns, event.destination) == (netns, target):
                return event, number, True
        row = matching(self._routes.get(netns, {}).values(), target)
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
