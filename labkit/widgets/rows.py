"""The rows of the live tables. A table or row that has not changed is the same object again."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import Namespace, State
from labkit.model.text import some
from labkit.render.layout import owners_of
from labkit.widgets.live import Seen, same, tables_of

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
BY_HAND = "set by hand"
"""What a permanent row is whose MAC is not its port's."""
NAMED = 8
"""How many empty tables the summary names; the rest are counted."""
TOLD = 40
"""Rows of a table that the summary tells; the rest are counted."""

Row = dict[str, Any]
"""A row as the browser gets it. `order`, as text, says where it stands among the others."""


class Table:
    """One table: its heading, and the rows made of the events in `source`, by their ids."""

    def __init__(self, heading: dict[str, Any], source: Mapping[Any, Any]) -> None:
        self.heading = heading
        self.source = source
        self.rows: dict[str, Row] = {}
        self._ids: dict[Any, str] = {}

    def fill(self, before: Table | None, row_of: Callable[[Any], Row | None]) -> Table:
        """Makes the rows; those of `before` are taken over where their event is the same.

        `row_of` makes an event's row; None for an event that is not of this table.
        """
        # Where two events have one id (a MAC at two ports), which of them shows depends on all.
        if before and len(before._ids) == len(before.rows):
            self.rows, self._ids = dict(before.rows), dict(before._ids)
            known = before.source
            for key in [key for key in self._ids if key not in self.source]:
                del self.rows[self._ids.pop(key)]
            fresh = [(k, e) for k, e in self.source.items() if known.get(k) is not e]
            for key, _ in fresh:
                if key in self._ids:
                    del self.rows[self._ids.pop(key)]
        else:
            fresh = list(self.source.items())
        for key, event in fresh:
            row = row_of(event)
            if row is not None:
                self._ids[key] = row["id"]
                self.rows[row["id"]] = row
        return self

    @cached_property
    def words(self) -> list[str]:
        """The rows that stand open, in words: the first of them, where there are many."""
        open_ = [row for row in self.rows.values() if row["shown"]]
        told = [row["words"] for row in heapq.nsmallest(TOLD, open_, key=_order)]
        return [*told, f"and {len(open_) - TOLD} more"] if len(open_) > TOLD else told

    def whole(self) -> dict[str, Any]:
        """All of it, as the browser gets it."""
        return {**self.heading, "rows": sorted(self.rows.values(), key=_order)}

    def since(self, base: Table) -> dict[str, Any]:
        """What is new, changed or gone, as the browser gets it."""
        return {
            "rows": [row for id_, row in self.rows.items() if base.rows.get(id_) is not row],
            "gone": [id_ for id_ in base.rows if id_ not in self.rows],
        }


def _order(row: Row) -> str:
    return str(row["order"])


class Maker:
    """Makes tables of one state after the other.

    `selection` names them, ``("host", name)`` or ``("bridge", interface)``; None is all.
    """

    def __init__(self, selection: Sequence[tuple[str, str]] | None) -> None:
        self._selection = selection
        self._links: Seen = ()
        self._owners: dict[str, str] = {}
        self._made: dict[tuple[str, str], Table] = {}

    def tables(self, state: State) -> list[Table]:
        """The tables to show, in order."""
        links = tables_of(state, "links")
        if not same(self._links, links):  # names and owners are in every row
            self._owners, self._made, self._links = owners_of(state), {}, links
        self._made = dict(self._all(state))
        return list(self._made.values())

    def _all(self, state: State) -> Iterator[tuple[tuple[str, str], Table]]:
        machine = state.space(MACHINE)
        for kind, name in self._chosen(state):
            before = self._made.get((kind, name))
            if kind == "bridge":
                link = machine.link_named(name)
                if link:
                    yield (kind, name), cam_table(state, link.index, name, self._owners, before)
            elif name in state.hosts:
                netns = state.hosts[name].netns
                yield (kind, name), arp_table(state, netns, name, self._owners, before)

    def _chosen(self, state: State) -> list[tuple[str, str]]:
        """The tables to show: those selected, or all that there are now."""
        if self._selection is not None:
            return list(self._selection)
        links = state.space(MACHINE).links.values()
        bridges = [("bridge", link.name) for link in links if link.kind == "bridge"]
        hosts = [("host", h.name) for h in state.hosts.values() if h.netns == h.name]
        return bridges + hosts


def in_words(tables: Iterable[Table]) -> str:
    """What has been learned where, and who knows whom."""
    said = [(table.heading, table.words) for table in tables]
    parts = [f"{t['title']}, {t['what']}: {', '.join(words)}." for t, words in said if words]
    empty = [t["title"] for t, words in said if not words]
    if empty:
        parts.append(f"Empty: {some(empty, NAMED)}.")
    return "\n".join(parts) or "No tables yet."


def arp_table(
    state: State, netns: str, name: str, owners: dict[str, str], before: Table | None = None
) -> Table:
    """A host's neighbour table; rows of `before` are taken over where nothing has changed."""
    space = state.space(netns)
    if before and before.source is space.neighbours:
        return before
    heading = {
        "id": f"host:{name}",
        "keys": [f"host:{name}"],
        "kind": "arp",
        "title": name,
        "what": "neighbours (ARP cache)",
        "columns": ["IP address", "MAC address", "state", "interface"],
        "empty": f"Empty: {name} has not needed anybody's MAC address yet.",
    }
    return Table(heading, space.neighbours).fill(
        before, lambda event: _neighbour(event, space, owners)
    )


def _neighbour(event: ev.NeighbourSet, space: Namespace, owners: dict[str, str]) -> Row:
    interface = space.name_of(event.index)
    return {
        "id": f"{interface}|{event.address}",
        "order": f"{event.index:010} {event.address}",
        "keys": [f"ip:{event.address}", *([f"mac:{event.mac}"] if event.mac else [])],
        "kind": event.state.lower(),
        "shown": True,
        "updated": None,
        "cells": [
            [event.address, ""],
            [event.mac or "-", owners.get(event.mac or "", "")],
            [event.state, MEANING.get(event.state, "")],
            [interface, ""],
        ],
        "words": f"{event.address} is at {event.mac or 'an unknown MAC'}, {event.state}",
    }


def cam_table(
    state: State, index: int, name: str, owners: dict[str, str], before: Table | None = None
) -> Table:
    """A bridge's forwarding database; rows of `before` are taken over, as for `arp_table`."""
    machine = state.space(MACHINE)
    if before and before.source is machine.fdb:
        return before
    heading = {
        "id": f"bridge:{name}",
        "keys": [f"bridge:{name}"],
        "kind": "cam",
        "title": name,
        "what": "fdb (CAM table)",
        "columns": ["MAC address", "port", "kind", "age"],
        "empty": f"Nothing learned: {name} has seen no frame yet, or has forgotten.",
    }

    return Table(heading, machine.fdb).fill(
        before, lambda event: _entry(event, state, owners) if event.bridge == index else None
    )


def _entry(event: ev.FdbSet, state: State, owners: dict[str, str]) -> Row:
    machine = state.space(MACHINE)
    link, port = machine.links.get(event.port), machine.name_of(event.port)
    peer = state.peer(link) if link else None
    by_hand = event.kind == "permanent" and link and link.mac != event.mac
    meaning = BY_HAND if by_hand else KINDS.get(event.kind, "")
    owner = owners.get(event.mac, "")
    vlan = f", vlan {event.vlan}" if event.vlan else ""
    learned = event.kind == "learned"
    return {
        # A MAC is learned at one port only: when it moves, the row stays and its port changes.
        "id": f"{event.mac}|{event.vlan}|{'' if learned else port}",
        "order": f"{0 if learned else 1} {port} {event.mac} {event.vlan or 0:04}",
        "keys": [f"mac:{event.mac}", f"port:{port}"],
        "kind": event.kind,
        "shown": learned,
        "updated": None if event.updated is None else event.updated // 1_000_000,
        "cells": [
            [event.mac, owner],
            [port, f"→ {peer}" if peer else ""],
            [event.kind, meaning + vlan],
            ["", ""],
        ],
        "words": f"{event.mac} is behind {port}" + (f" ({owner})" if owner else "")
        if learned
        else "",
    }
