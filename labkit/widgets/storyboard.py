"""A journey as data for its player: for each step the diagram, the tables, the frame in hand.

All of it is computed once. What many steps have in common (a frame's bytes at every interface
that it passes, tables that do not change) is held once, in pools, and steps name it by number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import msgspec

from labkit.journey import Journey
from labkit.journey.packets import decode, layers
from labkit.journey.values import Finding, Place, Row, Step
from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.render.layout import layout, owners_of
from labkit.widgets.live import same
from labkit.widgets.rows import arp_table, cam_table
from labkit.widgets.topology import drawn_from, links_of, shape_of

STEPS = 1000
"""Steps that are shown; more would be more than a page takes. How many are not is told."""
NOISE = 200
"""Events in the background that are listed one by one; the rest are counted."""
EVIDENCE = 100
"""Events that a step names so that they can be opened; the rest are counted."""
TABLES = {"neighbour": "host", "fdb": "bridge", "route": "routes"}
"""The kind of table that a row is in, by its name in `Row.table`."""

MATTERS = {
    "arp-request": "Ethernet.dst ARP.op ARP.psrc ARP.pdst",
    "arp-reply": "Ethernet.dst ARP.op ARP.hwsrc ARP.psrc",
    "neighbour-hit": "Ethernet.dst IP.dst",
    "neighbour-learn": "ARP.op ARP.hwsrc ARP.psrc",
    "echo-request": "Ethernet.dst IP.src IP.dst ICMP.type ICMP.id ICMP.seq",
    "echo-reply": "Ethernet.dst IP.src IP.dst ICMP.type ICMP.id ICMP.seq",
    "transmit": "Ethernet.dst Ethernet.src",
    "enter-port": "Ethernet.src Ethernet.dst",
    "learn": "Ethernet.src",
    "flood": "Ethernet.dst",
    "forward": "Ethernet.dst",
    "to-bridge-stack": "Ethernet.dst",
    "receive": "Ethernet.dst ARP.pdst IP.dst",
    "ignore": "Ethernet.dst ARP.pdst IP.dst",
    "route-forward": "IP.dst IP.ttl Ethernet.src Ethernet.dst",
    "nat": "IP.src IP.dst TCP.sport TCP.dport UDP.sport UDP.dport",
    "drop": "Ethernet.dst IP.dst IP.ttl TCP.dport UDP.dport ICMP.type ICMP.code",
}
"""The fields of a frame that matter at each kind of step: what was looked at, or filled in."""
UNSENT = {"route", "neighbour-miss"}
"""Kinds of step before there is a frame: the engine names the one that is sent next."""
OTHERWISE = "Ethernet.dst ARP.op IP.dst ICMP.type TCP.dport UDP.dport"
"""The fields that matter at a step of any other kind."""


class _Pool(list[Any]):
    """Values held once each, named by their number."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[Hashable, int] = {}

    def number(self, key: Hashable, value: Callable[[], Any]) -> int:
        """The number of the value with that key; `value()` makes it when it is new."""
        if key not in self._numbers:
            self._numbers[key] = len(self)
            self.append(value())
        return self._numbers[key]

    def hold(self, value: Any) -> int:
        """The number of that value, which is its own key."""
        return self.number(msgspec.json.encode(value), lambda: value)


class Storyboard:
    """What the player shows of a journey; `data` is all of it, ready for JSON."""

    def __init__(self, journey: Journey) -> None:
        self.journey = journey
        self._wheres = _Pool()
        self._texts = _Pool()
        self._frames = _Pool()
        self._layers = _Pool()
        self._scenes = _Pool()
        self._layouts = _Pool()
        self._pictures = _Pool()
        self._rows = _Pool()
        self._events: dict[str, Any] = {}
        self._state = State()
        self._owners: dict[str, str] = {}
        self._scene = 0
        self._shown: dict[str, int] = {}
        self.data = self._all()

    def _all(self) -> dict[str, Any]:
        journey = self.journey
        walk = list(itertools.islice(journey.walk(), STEPS))
        more = sum(1 for _ in journey.walk()) - len(walk)
        owners = self._tables_of([step for _, step in walk])
        begin = self._turn(journey.state(-1), owners)
        parents: list[int] = []
        steps = []
        for number, (depth, step) in enumerate(walk):
            del parents[depth:]
            changed = self._turn(journey.state(number), owners)
            parent = parents[-1] if parents else None
            place = {"depth": depth or None, "parent": parent, "tables": changed}
            steps.append(_lean(self._step(step) | place))
            parents.append(number)
        noise = [step for root in journey.noise for _, step in root.walk()]
        return {
            "title": journey.title,
            "began": journey.begins // 1_000_000,
            "steps": steps,
            "more": more,
            "begin": begin,
            "noise": [_lean(self._step(step)) for step in noise[:NOISE]],
            "noises": len(noise),
            "finding": self._finding(journey.finding) if journey.finding else None,
            "lost": journey.lost,
            "left_out": journey.left_out,
            "matters": {kind: names.split() for kind, names in MATTERS.items()},
            "otherwise": OTHERWISE.split(),
            "layouts": list(self._layouts),
            "scenes": list(self._scenes),
            "pictures": list(self._pictures),
            "rows": list(self._rows),
            "frames": list(self._frames),
            "layers": list(self._layers),
            "wheres": list(self._wheres),
            "texts": list(self._texts),
            "events": self._events,
        }

    # Tables: those of whoever takes part, as of each step.

    def _tables_of(self, steps: list[Step]) -> list[tuple[str, str]]:
        """The tables to show: those read or written, and those of whoever does something."""
        last = self.journey.state(len(steps) - 1)
        touched = dict.fromkeys((TABLES[row.table], row.owner) for s in steps for row in s.rows)
        bridges = {
            link.name for link in last.space(MACHINE).links.values() if link.kind == "bridge"
        }
        for step in steps:
            if step.kind == "route":  # also where no row matches
                touched.setdefault(("routes", step.host))
            bridge = _bridge(last, step.host)
            if bridge in bridges:
                touched.setdefault(("bridge", bridge))
            elif step.kind != "ignore" and step.host in last.hosts:
                touched.setdefault(("host", step.host))
        order = ("routes", "bridge", "host")
        return sorted(touched, key=lambda table: order.index(table[0]))

    def _turn(self, state: State, tables: list[tuple[str, str]]) -> dict[str, int]:
        """Goes on to a state: notes its scene, and returns the tables that are others now."""
        before, self._state = self._state, state
        redrawn = not same(drawn_from(before), drawn_from(state))
        if redrawn:
            self._owners = owners_of(state)
            shape = self._layouts.number(
                msgspec.json.encode(shape_of(state)), lambda: layout(state)
            )
            self._scene = self._scenes.hold({"layout": shape, "links": links_of(state)})
        changed = {}
        for kind, name in tables:
            slot = f"{kind}:{name}"
            if not redrawn and _same_table(before, state, kind, name):
                continue
            picture = self._picture(state, kind, name)
            rows = picture["rows"]
            number = self._pictures.hold(picture | {"rows": [self._rows.hold(row) for row in rows]})
            if self._shown.get(slot) != number:
                self._shown[slot] = changed[slot] = number
        return changed

    def _picture(self, state: State, kind: str, name: str) -> dict[str, Any]:
        if kind == "bridge":
            link = state.space(MACHINE).link_named(name)
            return cam_table(state, link.index if link else -1, name, self._owners).whole()
        netns = _netns(state, name)
        if kind == "routes":
            return _routes(state, netns, name)
        return arp_table(state, netns, name, self._owners).whole()

    # Steps, and what they rest on.

    def _step(self, step: Step) -> dict[str, Any]:
        evidence = step.evidence[:EVIDENCE]
        self._note(evidence)
        where = {
            "host": step.host,
            "interface": step.interface or "",
            "places": self._places(step),
            "end": self._end_of(step),
        }
        return {
            "kind": step.kind,
            "where": self._wheres.hold(where),
            "text": self._texts.hold(step.text),
            "after": self._after(step.at),
            "protocol": step.protocol,
            "inferred": step.inferred,
            "evidence": list(evidence),
            "unnamed": len(step.evidence) - len(evidence) or None,
            "frame": None if step.kind in UNSENT else self._frame_of(step.frame),
            "moves": [[_end(m.start), _end(m.end), m.arrived] for m in step.moves],
            "rows": [self._mark(row) for row in step.rows],
            "scene": self._scene or None,
        }

    def _after(self, at: int) -> float:
        """Milliseconds since the journey's first step."""
        began = self.journey[0].at if len(self.journey) else self.journey.begins
        return round((at - began) / 1e6, 6)

    def _places(self, step: Step) -> list[str]:
        """Where on the diagram it happens: names of drawn things, the closest first."""
        bridge = _bridge(self._state, step.host)
        if bridge or step.host == MACHINE:
            port = [f"port:{step.interface}"] if step.interface and step.kind != "flood" else []
            inside = [f"bridge:{bridge or step.interface}"] if bridge or step.interface else []
            return [*port, *inside, *([] if bridge else [f"host:{MACHINE}"])]
        return [f"host:{step.host}"]

    def _end_of(self, step: Step) -> str | None:
        """The interface where it happens, as an end of a cable."""
        netns = _netns(self._state, MACHINE if _bridge(self._state, step.host) else step.host)
        space = self._state.namespaces.get(netns)
        link = space.link_named(step.interface) if space and step.interface else None
        return _end((netns, link.index)) if link else None

    def _mark(self, row: Row) -> list[Any]:
        """Which row of which table: [slot, the row's key, was it written?]."""
        prefix = {"neighbour": "ip:", "fdb": "mac:", "route": "to:"}[row.table]
        return [f"{TABLES[row.table]}:{row.owner}", prefix + row.key, row.written]

    def _finding(self, finding: Finding) -> dict[str, Any]:
        self._note(finding.evidence)
        told: dict[str, Any] = msgspec.to_builtins(finding)
        return told

    def _note(self, evidence: Iterable[int]) -> None:
        """Takes in the events that a step rests on, so that they can be opened."""
        for number in evidence:
            if str(number) not in self._events:
                event = self.journey.recording.event(number)
                self._events[str(number)] = self._event(event, number)

    def _event(self, event: ev.Event, number: int) -> dict[str, Any]:
        netns, index = getattr(event, "netns", None), getattr(event, "index", None)
        link = self._state.link(netns, index) if netns and index else None
        hidden = {"at", "netns", "data"} | ({"index"} if link else set())
        fields = [
            [name.replace("_", " "), self._said(name, getattr(event, name), netns)]
            for name in event.__struct_fields__
            if name not in hidden and getattr(event, name) is not None
        ]
        return {
            "kind": type(event).__name__,
            "where": " ".join(filter(None, (netns, link.name if link else ""))),
            "after": self._after(event.at),
            "fields": fields,
            "frame": self._frame_of(number),
        }

    def _said(self, name: str, value: Any, netns: str | None) -> str:
        """An event's field as people read it: interfaces by name, times from the beginning."""
        if name in ("bridge", "port", "master") and netns:
            return f"{value} ({self._state.space(netns).name_of(value)})"
        if name == "updated":
            return f"{self._after(value):+.3f} ms"
        if isinstance(value, str | int | float):
            return str(value)
        return msgspec.json.encode(value).decode()

    def _frame_of(self, number: int | None) -> int | None:
        """The number, in the pool, of the frame that an event holds."""
        if number is None:
            return None
        event = self.journey.recording.event(number)
        if not isinstance(event, ev.Frame):
            return None
        return self._frames.number((event.data, event.length), lambda: self._frame(event))

    def _frame(self, event: ev.Frame) -> dict[str, Any]:
        packet = decode(event.data)
        return {
            "label": f"{packet.protocol} {packet.operation}".strip(),
            "protocol": packet.protocol,
            "hex": event.data.hex(),
            "length": event.length or len(event.data),
            "layers": [
                self._layers.hold(
                    [one.name, [[f.name, f.value, f.offset, f.size] for f in one.fields]]
                )
                for one in layers(event.data)
            ],
        }


def _lean(step: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: the player fills it in. A zero is a number like any other."""
    return {k: v for k, v in step.items() if v or type(v) in (int, float)}


def _end(place: Place) -> str:
    return f"{place[0]}/{place[1]}"


def _bridge(state: State, name: str) -> str:
    """The interface of the bridge with that name; empty where it is no bridge's."""
    for interface, bridge in state.bridges.items():
        if name in (bridge.name, interface):
            return interface
    link = state.space(MACHINE).link_named(name) if name not in state.hosts else None
    return link.name if link and link.kind == "bridge" else ""


def _netns(state: State, name: str) -> str:
    return state.hosts[name].netns if name in state.hosts else name


def _same_table(a: State, b: State, kind: str, name: str) -> bool:
    if kind == "bridge":
        return a.space(MACHINE).fdb == b.space(MACHINE).fdb
    old, new = a.space(_netns(a, name)), b.space(_netns(b, name))
    return old.routes == new.routes if kind == "routes" else old.neighbours == new.neighbours


def _routes(state: State, netns: str, name: str) -> dict[str, Any]:
    """A host's routing table, as `arp_table` and `cam_table` make theirs."""
    rows = [
        {
            "id": f"{row.destination}|{row.gateway}|{row.interface}",
            "keys": [f"to:{row.destination} via {row.gateway}", f"ip:{row.gateway}"]
            if row.gateway
            else [f"to:{row.destination}"],
            "kind": "route",
            "shown": True,
            "updated": None,
            "cells": [
                [row.destination, "everything else" if row.destination == "default" else ""],
                [row.gateway or "-", "through a gateway" if row.gateway else "direct"],
                [row.interface, ""],
                [row.scope, ""],
            ],
            "words": f"{row.destination} through {row.gateway or row.interface}",
        }
        for row in state.routes(netns)
    ]
    return {
        "id": f"routes:{name}",
        "keys": [f"host:{name}"],
        "kind": "routes",
        "title": name,
        "what": "routes",
        "columns": ["destination", "gateway", "interface", "scope"],
        "empty": f"Empty: {name} knows no way anywhere.",
        "rows": rows,
    }
