"""Live ARP and CAM tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.recording import Recording
from labkit.widgets.live import LiveView, static

MEANING = {
    "INCOMPLETE": "asked, no answer yet",
    "REACHABLE": "confirmed a moment ago",
    "STALE": "known, not confirmed lately",
    "DELAY": "in use again, about to be checked",
    "PROBE": "being checked: are you still there?",
    "FAILED": "nobody answered",
    "PERMANENT": "set by hand",
    "NOARP": "needs no asking",
}
KINDS = {
    "learned": "learned from a frame",
    "permanent": "this port's own",
    "multicast": "a group this port listens to",
}


class Tables(LiveView):
    """The neighbour tables of hosts and the forwarding databases of bridges, live.

    `selection` names them, ``("host", name)`` or ``("bridge", interface)``; None is all.
    """

    indifferent = (*LiveView.indifferent, ev.Traffic)
    _esm = static("shared.js") + static("tables.js")
    _css = static("labkit.css")

    def __init__(
        self, recording: Recording, selection: Sequence[tuple[str, str]] | None = None
    ) -> None:
        self.selection = selection
        super().__init__(recording)

    def picture(self, state: State, now: int) -> dict[str, Any]:
        """The rows of every selected table, and the words for who cannot see them."""
        machine = state.space(MACHINE)
        chosen = self.selection
        if chosen is None:
            bridges = [link.name for link in machine.links.values() if link.kind == "bridge"]
            hosts = [h.name for h in state.hosts.values() if h.netns == h.name]
            chosen = [("bridge", b) for b in bridges] + [("host", h) for h in hosts]
        owners = _owners(state)
        tables = []
        for kind, name in chosen:
            if kind == "bridge":
                link = machine.link_named(name)
                if link:
                    tables.append(_cam(state, link.index, name, owners))
            elif name in state.hosts:
                tables.append(_arp(state, state.hosts[name].netns, name, owners))
        words = " ".join(
            f"{t['title']}: {', '.join(r['words'] for r in t['rows'] if r['shown']) or 'empty'}."
            for t in tables
        )
        return {"tables": tables, "summary": words, "at": now // 1_000_000}


def _owners(state: State) -> dict[str, str]:
    """Whose a MAC is, where the lab knows."""
    found = {}
    for netns, space in state.namespaces.items():
        for link in space.links.values():
            found[link.mac] = link.name if netns == MACHINE else f"{netns} {link.name}"
    return found


def _arp(state: State, netns: str, name: str, owners: dict[str, str]) -> dict[str, Any]:
    rows = []
    for row in state.neighbours(netns):
        mac = row.mac or "?"
        rows.append(
            {
                "id": f"{row.interface}|{row.address}",
                "keys": [f"mac:{row.mac}"] if row.mac else [],
                "kind": row.state.lower(),
                "shown": True,
                "updated": None,
                "cells": [
                    [row.address, ""],
                    [mac, owners.get(mac, "")],
                    [row.state, MEANING.get(row.state, "")],
                    [row.interface, ""],
                ],
                "words": f"{row.address} is at {mac}, {row.state}",
            }
        )
    return {
        "id": f"host:{name}",
        "keys": [f"host:{name}"],
        "kind": "arp",
        "title": name,
        "what": "neighbours (ARP cache)",
        "columns": ["IP address", "MAC address", "state", "interface"],
        "empty": f"Empty: {name} has not needed anybody's MAC address yet.",
        "rows": rows,
    }


def _cam(state: State, index: int, name: str, owners: dict[str, str]) -> dict[str, Any]:
    machine = state.space(MACHINE)
    ports = {link.name: state.peer(link) or "" for link in machine.links.values()}
    updated = {
        (machine.name_of(row.port), row.mac, row.vlan): row.updated for row in machine.fdb.values()
    }
    rows = []
    for row in state.fdb(index):
        when = updated[row.port, row.mac, row.vlan]
        rows.append(
            {
                "id": f"{row.mac}|{row.vlan}|{row.port if row.kind != 'learned' else ''}",
                "keys": [f"mac:{row.mac}", f"port:{row.port}"],
                "kind": row.kind,
                "shown": row.kind == "learned",
                "updated": None if when is None else when // 1_000_000,
                "cells": [
                    [row.mac, owners.get(row.mac, "")],
                    [row.port, f"→ {ports[row.port]}" if ports.get(row.port) else ""],
                    [row.kind, KINDS[row.kind] + (f", vlan {row.vlan}" if row.vlan else "")],
                    ["", ""],
                ],
                "words": f"{row.mac} is behind {row.port}",
            }
        )
    return {
        "id": f"bridge:{name}",
        "keys": [f"bridge:{name}"],
        "kind": "cam",
        "title": name,
        "what": "fdb (CAM table)",
        "columns": ["MAC address", "port", "kind", "age"],
        "empty": f"Nothing learned: {name} has seen no frame yet, or has forgotten.",
        "rows": rows,
    }
