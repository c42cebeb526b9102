"""What is looked up around a ping, so that a failure can be explained from evidence.

Before it: the ways there and back, as each kernel on the way says, and what they have
counted so far. After one that was not answered: what they have counted since, the packet
filter's rules, and the settings that decide over a packet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from labkit.model import events as ev
from labkit.model import wire
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.recording import Recording

MOST = 16
"""Namespaces that are looked into at most."""


class Evidence:
    """The look-ups for packets from a namespace to an address.

    `request` asks the lab's agent (`Lab._request`). `first` is the number of the first event
    that belongs to the evidence.
    """

    def __init__(
        self, request: Callable[..., Any], recording: Recording, netns: str, target: str
    ) -> None:
        self._request = request
        self._recording = recording
        self._netns = netns
        self._target = target
        self._names: list[str] = []
        self.first = len(recording)

    def before(self) -> None:
        """Asks for the ways there and back, and for what has been counted so far."""
        self.first = len(self._recording)
        state = self._recording.state()
        there = self._follow(state, self._netns, self._target)
        names = [self._netns, *there]
        source = self._source(state)
        for owner in owners(state, self._target)[:2]:
            names.append(owner)
            if source:
                names += self._follow(state, owner, source)
        self._names = list(dict.fromkeys([*names, MACHINE]))[:MOST]
        self._request(wire.Inspect, netns=tuple(self._names), settings=False)

    def after(self) -> None:
        """Looks into all of them again, closer."""
        for name in self._names:
            if name in self._recording.state().namespaces:
                self._request(wire.Sync, netns=name)
        self._request(wire.Inspect, netns=tuple(self._names))

    def _follow(self, state: State, netns: str, address: str) -> list[str]:
        """Asks for the way from a namespace, hop by hop; the namespaces that were asked."""
        asked: list[str] = []
        while netns not in asked and len(asked) < MOST // 2:
            asked.append(netns)
            found = self._lookup(netns, address)
            if found is None or not found.gateway:
                break
            held = owners(state, found.gateway)
            if not held:
                break
            netns = held[0]
        return asked

    def _lookup(self, netns: str, address: str) -> ev.RouteLookup | None:
        number = len(self._recording)
        self._request(wire.Lookup, netns=netns, destination=address)
        for event in self._recording.events[number:]:
            if isinstance(event, ev.RouteLookup) and event.netns == netns:
                return event
        return None

    def _source(self, state: State) -> str | None:
        """The address that the packets will come from."""
        for event in self._recording.events[self.first :]:
            if isinstance(event, ev.RouteLookup) and event.netns == self._netns:
                if event.source:
                    return event.source
                break
        held = state.space(self._netns).addresses
        found = [a.split("/")[0] for row in held.values() for a in row]
        version = ipaddress.ip_address(self._target).version
        return next(
            (
                a
                for a in found
                if (ip := ipaddress.ip_address(a)).version == version and not ip.is_loopback
            ),
            None,
        )


def owners(state: State, address: str) -> list[str]:
    """The namespaces that have an address, in the order in which they were made."""
    return [
        netns
        for netns, space in state.namespaces.items()
        if any(a.split("/")[0] == address for row in space.addresses.values() for a in row)
    ]
