"""What is looked up around a ping, so that a failure can be explained from evidence.

Before it: the ways there and back, as each kernel on the way says, and what they have
counted so far. After one that was not answered: what they have counted since, the packet
filter's rules, and the settings that decide over a packet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from labkit.errors import KernelError
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
        way = self._lookup(self._netns, self._target)
        state = self._recording.state()  # the answer came after all that had happened before
        names = [self._netns, *self._follow(state, way)]
        source = (way and way.source) or self._source(state)
        owners = dict.fromkeys(netns for netns, _ in state.owners(self._target))
        for owner in list(owners)[:2]:
            names.append(owner)
            if source:
                names += self._follow(state, self._lookup(owner, source))
        self._names = list(dict.fromkeys([*names, MACHINE]))[:MOST]
        self._request(wire.Inspect, netns=tuple(self._names), settings=False)

    def after(self) -> None:
        """Looks into all of them again, closer, and into others that packets came to."""
        asked = dict.fromkeys(
            (event.netns, event.destination)
            for _, event in self._recording.since(self.first)[1]
            if isinstance(event, ev.RouteLookup)
        )
        for netns, destination in asked:  # a way may have gone meanwhile
            self._lookup(netns, destination)
        reached = [
            event.netns
            for _, event in self._recording.since(self.first)[1]
            if isinstance(event, ev.Frame) and event.packet_type == "host"
        ]
        names = list(dict.fromkeys([*self._names, *reached]))[:MOST]
        for name in names:
            self._request(wire.Sync, netns=name)
        self._request(wire.Inspect, netns=tuple(names))

    def _follow(self, state: State, way: ev.RouteLookup | None) -> list[str]:
        """Asks each gateway on the way for the next one; the namespaces that were asked."""
        asked: list[str] = []
        while way is not None and way.gateway and len(asked) < MOST // 2:
            router = next((netns for netns, _ in state.owners(way.gateway)), None)
            if router is None or router in asked:
                break
            asked.append(router)
            way = self._lookup(router, way.destination)
        return asked

    def _lookup(self, netns: str, address: str) -> ev.RouteLookup | None:
        number = len(self._recording)
        try:
            self._request(wire.Lookup, netns=netns, destination=address)
        except KernelError:  # a namespace that a command has taken away
            return None
        for _, event in self._recording.since(number)[1]:
            if isinstance(event, ev.RouteLookup) and event.netns == netns:
                return event
        return None

    def _source(self, state: State) -> str | None:
        """The address that the packets come from, where the kernel did not say."""
        held = [a for row in state.space(self._netns).addresses.values() for a in row]
        found = [ipaddress.ip_interface(a).ip for a in held]
        version = ipaddress.ip_address(self._target).version
        return next((str(ip) for ip in found if ip.version == version and not ip.is_loopback), None)
