"""Live state diagram of neighbour rows: INCOMPLETE, REACHABLE, STALE, DELAY, PROBE, FAILED."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from labkit.model import events as ev
from labkit.model.state import State
from labkit.model.values import Neighbour
from labkit.recording import Recording
from labkit.widgets.live import LiveView, Seen, same, static, tables_of
from labkit.widgets.rows import MEANING

STATES = ("INCOMPLETE", "REACHABLE", "STALE", "DELAY", "PROBE", "FAILED")
"""The states that a row goes through by itself (NUD_…, linux/neighbour.h)."""


class NeighbourStates(LiveView):
    """Where each row of the hosts' neighbour tables stands among the kernel's states.

    `hosts` names them; None is all.
    """

    heeds = (
        ev.Applied,
        ev.LinkRemoved,
        ev.NeighbourSet,
        ev.NeighbourRemoved,
        ev.NamespaceRemoved,
    )
    _esm = static("shared.js") + static("states.js")
    _css = static("labkit.css")

    def __init__(self, recording: Recording, hosts: Sequence[str] | None = None) -> None:
        self.hosts = hosts
        self._drawn: dict[str, Any] = {}
        self._drawn_of: Seen = ()
        super().__init__(recording)

    def picture(self, state: State) -> dict[str, Any]:
        """The rows, by the state that they are in."""
        now = (*state.hosts.values(), *tables_of(state, "neighbours"))
        if not same(self._drawn_of, now):
            self._drawn = self._draw(state)
            self._drawn_of = now
        return self._drawn

    def _draw(self, state: State) -> dict[str, Any]:
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in STATES}
        for host, row in self._rows(state):
            if row.state in rows:
                keys = [f"host:{host}", f"ip:{row.address}"]
                rows[row.state].append({"text": f"{host}: {row.address}", "keys": keys})
        states = [{"name": name, "meaning": MEANING[name], "rows": rows[name]} for name in STATES]
        return {"snapshot": {"states": states}, "words": self.text(state)}

    def text(self, state: State) -> str:
        """The rows and their states in words."""
        said = [f"{host}: {row.address} is {row.state}" for host, row in self._rows(state)]
        return ", ".join(said) + "." if said else "No rows yet."

    def _rows(self, state: State) -> Iterator[tuple[str, Neighbour]]:
        """Each row with its host; one that shares the machine's network has none of its own."""
        for host in state.hosts.values():
            if host.netns == host.name and (self.hosts is None or host.name in self.hosts):
                for row in state.neighbours(host.netns):
                    yield host.name, row
