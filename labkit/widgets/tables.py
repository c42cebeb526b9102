"""Live ARP and CAM tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.recording import Recording
from labkit.render.layout import NO_MAC
from labkit.widgets.live import LiveView, static
from labkit.widgets.replay import Replay

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
NAMED = 8
"""How many empty tables the summary names; the rest are counted."""
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
    _esm = static("shared.js") + static("rows.js") + static("tables.js")
    _css = static("labkit.css")

    def __init__(
        self,
        recording: Recording | Replay,
        selection: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        self.selection = selection
        super().__init__(recording)

    def chosen(self, state: State) -> list[tuple[str, str]]:
        """The tables to show: those selected, or all that there are now."""
        if self.selection is not None:
            return list(self.selection)
        links = state.space(MACHINE).links.values()
        bridges = [("bridge", link.name) for link in links if link.kind == "bridge"]
        hosts = [("host", h.name) for h in state.hosts.values() if h.netns == h.name]
        return bridges + hosts

    def picture(self, state: State) -> dict[str, Any]:
        """The rows of every selected table."""
        machine = state.space(MACHINE)
        owners = _owners(state)
        tables = []
        for kind, name in self.chosen(state):
            if kind == "bridge":
                link = machine.link_named(name)
                if link:
                    tables.append(_cam(state, link.index, name, owners))
            elif name in state.hosts:
                tables.append(_arp(state, state.hosts[name].netns, name, owners))
        return {"tables": tables, "summary": _in_words(tables)}

    def text(self, state: State) -> str:
        """The tables in words: what has been learned where, and who knows whom."""
        return _in_words(self.picture(state)["tables"])


def _in_words(tables: list[dict[str, Any]]) -> str:
    said = [(t, [r["words"] for r in t["rows"] if r["shown"]]) for t in tables]
    parts = [f"{t['title']}, {t['what']}: {', '.join(words)}." for t, words in said if words]
    empty = [t["title"] for t, words in said if not words]
    if empty:
        names = ", ".join(empty[:NAMED])
        more = f" and {len(empty) - NAMED} more" if len(empty) > NAMED else ""
        parts.append(f"Empty: {names}{more}.")
    return "\n".join(parts) or "No tables yet."


def _owners(state: State) -> dict[str, str]:
    """Whose a MAC is, where the lab knows."""
    found = {}
    for netns, space in state.namespaces.items():
        for link in space.links.values():
            if link.mac not in ("", NO_MAC):
                found[link.mac] = f"{netns} {link.name}"
    return found


def _arp(state: State, netns: str, name: str, owners: dict[str, str]) -> dict[str, Any]:
    rows = []
    for row in state.neighbours(netns):
        mac = row.mac or "-"
        rows.append(
            {
                "id": f"{row.interface}|{row.address}",
                "keys": [f"ip:{row.address}", *([f"mac:{row.mac}"] if row.mac else [])],
                "kind": row.state.lower(),
                "shown": True,
                "updated": None,
                "cells": [
                    [row.address, ""],
                    [mac, owners.get(mac, "")],
                    [row.state, MEANING.get(row.state, "")],
                    [row.interface, ""],
                ],
                "words": f"{row.address} is at {row.mac or 'an unknown MAC'}, {row.state}",
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
        owner = owners.get(row.mac, "")
        vlan = f", vlan {row.vlan}" if row.vlan else ""
        rows.append(
            {
                "id": f"{row.mac}|{row.vlan}|{row.port if row.kind != 'learned' else ''}",
                "keys": [f"mac:{row.mac}", f"port:{row.port}"],
                "kind": row.kind,
                "shown": row.kind == "learned",
                "updated": None if when is None else when // 1_000_000,
                "cells": [
                    [row.mac, owner],
                    [row.port, f"→ {ports[row.port]}" if ports.get(row.port) else ""],
                    [row.kind, KINDS.get(row.kind, "") + vlan],
                    ["", ""],
                ],
                "words": f"{row.mac} is behind {row.port}" + (f" ({owner})" if owner else ""),
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
