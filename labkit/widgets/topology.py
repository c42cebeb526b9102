"""The live topology."""

from __future__ import annotations

from typing import Any

from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.recording import Recording
from labkit.render.layout import layout
from labkit.widgets.live import LiveView, static


class Topology(LiveView):
    """Hosts, bridges with their ports, and cables; link state and traffic as they change."""

    indifferent = (
        *LiveView.indifferent,
        ev.NeighbourSet,
        ev.NeighbourRemoved,
        ev.FdbSet,
        ev.FdbRemoved,
        ev.RouteSet,
        ev.RouteRemoved,
    )
    _esm = static("shared.js") + static("topology.js")
    _css = static("labkit.css")

    def __init__(self, recording: Recording) -> None:
        self._shape: object = None
        self._layout: dict[str, Any] = {}
        super().__init__(recording)

    def picture(self, state: State, now: int) -> dict[str, Any]:
        """Positions (drawn again only when the shape has changed), link states and counters."""
        shape = _shape(state)
        if shape != self._shape:
            self._layout = layout(state)
            self._shape = shape
        links, counters = {}, {}
        for netns, space in state.namespaces.items():
            for index, link in space.links.items():
                if link.name != "lo":
                    links[f"{netns}/{index}"] = [link.is_up, link.has_carrier, link.port_state]
            for index, traffic in space.traffic.items():
                counters[f"{netns}/{index}"] = [traffic.received, traffic.sent]
        return {
            "layout": self._layout,
            "links": links,
            "traffic": counters,
            "summary": _words(state),
            "at": now // 1_000_000,
        }


def _shape(state: State) -> object:
    """What the layout depends on."""
    return [
        (
            netns,
            [
                (link.index, link.name, link.mac, link.kind, link.master, link.peer_index)
                for link in space.links.values()
            ],
            sorted((k, tuple(v)) for k, v in space.addresses.items()),
        )
        for netns, space in state.namespaces.items()
    ] + [(host.name, host.netns) for host in state.hosts.values()]


def _words(state: State) -> str:
    """The topology in words, for whoever does not see it."""
    hosts = [name for name in state.hosts if name != MACHINE]
    machine = state.space(MACHINE)
    bridges = [link for link in machine.links.values() if link.kind == "bridge"]
    cables = list(state.cables())
    parts = [
        f"{_count(len(hosts), 'host')}, {_count(len(bridges), 'bridge')}, "
        f"{_count(len(cables), 'cable')}."
    ]
    for bridge in bridges:
        ports = [link for link in machine.links.values() if link.master == bridge.index]
        if ports:
            peers = [state.peer(link) or "nothing" for link in ports[:8]]
            more = f" and {len(ports) - 8} more" if len(ports) > 8 else ""
            parts.append(f"{bridge.name} joins {', '.join(peers)}{more}.")
    down = [
        f"{netns}:{link.name}"
        for netns, space in state.namespaces.items()
        for link in space.links.values()
        if link.name != "lo" and not link.has_carrier and link.kind == "veth"
    ]
    if down:
        parts.append(f"Without carrier: {', '.join(down)}.")
    return " ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
