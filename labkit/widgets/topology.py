"""The live topology."""

from __future__ import annotations

from typing import Any

import traitlets

from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.model.text import some
from labkit.recording import Recording
from labkit.render.layout import layout
from labkit.widgets.live import LiveView, Seen, same, static, tables_of
from labkit.widgets.replay import Replay

NAMED = 8
"""How many ports of a bridge, or ends without carrier, the summary names; the rest are counted."""

KEPT = 32
"""Layouts that are kept: a timeline goes to and fro between them."""


class Topology(LiveView):
    """Hosts, bridges with their ports, and cables; link state and traffic as they change."""

    heeds = (
        ev.Applied,
        ev.LinkSet,
        ev.LinkRemoved,
        ev.AddressSet,
        ev.AddressRemoved,
        ev.NamespaceRemoved,
        ev.Traffic,
    )
    _esm = static("shared.js") + static("diagram.js") + static("topology.js")
    _css = static("labkit.css")

    traffic = traitlets.Dict(
        help="Packets received and sent so far, by end (namespace/index)."
    ).tag(sync=True)

    def __init__(self, recording: Recording | Replay) -> None:
        self._layouts: dict[object, dict[str, Any]] = {}
        self._drawn: dict[str, Any] = {}
        self._drawn_of: Seen = ()
        self._counters: dict[str, list[int]] = {}
        self._counters_of: Seen = ()
        super().__init__(recording)

    def picture(self, state: State) -> dict[str, Any]:
        """Positions (found once for each shape), link states, and counters.

        The counters have a trait of their own: they change with every packet.
        """
        still = drawn_from(state)
        if not same(self._drawn_of, still):
            self._drawn = self._draw(state)
            self._drawn_of = still
        moving = tables_of(state, "traffic")
        if not same(self._counters_of, moving):
            self._counters = _counters(state)
            self._counters_of = moving
        return {**self._drawn, "traffic": self._counters}

    def _draw(self, state: State) -> dict[str, Any]:
        shape = shape_of(state)
        if shape not in self._layouts:
            while len(self._layouts) >= KEPT:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[shape] = layout(state)
        snapshot = {"layout": self._layouts[shape], "links": links_of(state)}
        return {"snapshot": snapshot, "words": self.text(state)}

    def text(self, state: State) -> str:
        """The topology in words, for whoever does not see it."""
        machine = state.space(MACHINE)
        bridges = [link for link in machine.links.values() if link.kind == "bridge"]
        parts = [
            f"{_count(len(state.hosts.keys() - {MACHINE}), 'host')}, "
            f"{_count(len(bridges), 'bridge')}, "
            f"{_count(len(list(state.cables())), 'cable')}."
        ]
        for bridge in bridges:
            ports = [link for link in machine.links.values() if link.master == bridge.index]
            if ports:
                peers = [state.peer(link) or "nothing" for link in ports]
                parts.append(f"{bridge.name} joins {some(peers, NAMED)}.")
        down = [
            f"{netns}:{link.name}"
            for netns, space in state.namespaces.items()
            for link in space.links.values()
            if link.kind == "veth" and not link.has_carrier
        ]
        if down:
            parts.append(f"Without carrier: {some(down, NAMED)}.")
        return " ".join(parts)


def links_of(state: State) -> dict[str, list[Any]]:
    """Of every end of a cable (namespace/index): up? carrier? which port state?"""
    return {
        f"{netns}/{index}": [link.is_up, link.has_carrier, link.port_state]
        for netns, space in state.namespaces.items()
        for index, link in space.links.items()
        if link.peer_netns is not None or link.master is not None
    }


def _counters(state: State) -> dict[str, list[int]]:
    return {
        f"{netns}/{index}": [traffic.received, traffic.sent]
        for netns, space in state.namespaces.items()
        for index, traffic in space.traffic.items()
    }


def drawn_from(state: State) -> Seen:
    """What the drawing is made of: the same objects for as long as it stays as it is."""
    return (*state.hosts.values(), *tables_of(state, "links", "addresses"))


def shape_of(state: State) -> object:
    """What the layout depends on, as the key of a dictionary."""
    return (
        tuple((host.name, host.netns) for host in state.hosts.values()),
        tuple(
            (
                netns,
                tuple(
                    (link.index, link.name, link.mac, link.kind, link.master, link.peer_index)
                    for link in space.links.values()
                ),
                tuple(sorted(space.addresses.items())),
            )
            for netns, space in state.namespaces.items()
        ),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
