"""The state of a lab at one time: a fold over its events."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.operations import MACHINE
from labkit.model.values import FdbEntry, Interface, Neighbour, Port, Route, Table

APPLIED = ("", "applied")
"""The list of what was applied, among the tables that a state has for its own."""


class HostInfo:
    """A host as the topology knows it: `netns` is where its interfaces are."""

    def __init__(self, name: str, netns: str, *, forwarding: bool = False) -> None:
        self.name = name
        self.netns = netns
        self.forwarding = forwarding


class Namespace:
    """The kernel's tables of one namespace, keyed as the kernel keys them.

    For reading: copies of a state share tables, and only `State.apply` knows which are its own.
    """

    def __init__(self) -> None:
        self.links: dict[int, ev.LinkSet] = {}
        self.addresses: dict[int, tuple[str, ...]] = {}
        self.routes: dict[tuple[str, str | None, int, int], ev.RouteSet] = {}
        self.neighbours: dict[tuple[int, str], ev.NeighbourSet] = {}
        self.fdb: dict[tuple[int, int, str, int | None], ev.FdbSet] = {}
        self.traffic: dict[int, ev.Traffic] = {}
        self.settings: dict[str, ev.SettingSet] = {}
        self.firewall: ev.FirewallSet | None = None
        self.counters: ev.CountersSet | None = None

    def link_named(self, name: str) -> ev.LinkSet | None:
        """The interface with that name or altname, or None."""
        for link in self.links.values():
            if link.name == name or name in link.altnames:
                return link
        return None

    def name_of(self, index: int) -> str:
        """An interface's name, or ``ifN`` for one that is not known."""
        link = self.links.get(index)
        return link.name if link else f"if{index}"


class Cable:
    """A veth pair as found in the tables: two ``(netns, index)`` ends."""

    def __init__(self, a: tuple[str, int], b: tuple[str, int]) -> None:
        self.a = a
        self.b = b


class State:
    """Hosts, tables and jobs of a lab at time `at` (nanoseconds since the epoch).

    A copy is cheap, since it shares every table with its original until one of them writes into
    it. So a table that is the same object as in an earlier copy has not changed since.
    """

    def __init__(self) -> None:
        self._own = {APPLIED}  # tables that no copy shares: (netns, name)
        self.at = 0
        self.hosts: dict[str, HostInfo] = {MACHINE: HostInfo(MACHINE, MACHINE)}
        self.bridges: dict[str, op.AddBridge] = {}
        self.namespaces: dict[str, Namespace] = {MACHINE: Namespace()}
        self.jobs: dict[int, ev.ProcessStarted] = {}
        self.applied: list[ev.Applied] = []
        self.lost = 0
        self.frames_lost = 0
        self.closed: str | None = None

    @classmethod
    def after(cls, events: Iterable[ev.Event]) -> State:
        """The state that those events lead to."""
        state = cls()
        for event in events:
            state.apply(event)
        return state

    def copy(self) -> State:
        """A copy that goes its own way (events, which never change, are shared)."""
        twin = copy.copy(self)
        twin.hosts = dict(self.hosts)
        twin.bridges = dict(self.bridges)
        twin.jobs = dict(self.jobs)
        twin.namespaces = dict(self.namespaces)
        self._own, twin._own = set(), set()
        return twin

    def space(self, netns: str) -> Namespace:
        """The tables of a namespace, for reading; empty for one that nothing is known of."""
        return self.namespaces.get(netns) or Namespace()

    def _table(self, netns: str, name: str) -> dict[Any, Any]:
        """A namespace's table, for writing: a copy of it where another state may share it."""
        if (netns, name) not in self._own:
            space = copy.copy(self.space(netns))
            setattr(space, name, dict(getattr(space, name)))
            self.namespaces[netns] = space
            self._own.add((netns, name))
        table: dict[Any, Any] = getattr(self.namespaces[netns], name)
        return table

    def _put(self, netns: str, name: str, value: object) -> None:
        """Sets what a namespace has one of."""
        space = copy.copy(self.space(netns))
        setattr(space, name, value)
        self.namespaces[netns] = space

    def apply(self, event: ev.Event) -> None:
        """Takes one event in."""
        self.at = max(self.at, event.at)
        match event:
            case ev.Frame() | ev.RouteLookup():
                pass  # they happened; nothing holds them
            case ev.LinkSet():
                self._table(event.netns, "links")[event.index] = event
            case ev.LinkRemoved():
                self._forget_link(event.netns, event.index)
            case ev.AddressSet():
                held = self._table(event.netns, "addresses")
                before = held.get(event.index, ())
                if event.address not in before:
                    held[event.index] = (*before, event.address)
            case ev.AddressRemoved():
                held = self._table(event.netns, "addresses")
                before = held.get(event.index, ())
                held[event.index] = tuple(a for a in before if a != event.address)
            case ev.RouteSet() | ev.RouteRemoved():
                key = (event.destination, event.gateway, event.index, event.metric)
                if isinstance(event, ev.RouteSet):
                    self._table(event.netns, "routes")[key] = event
                else:
                    self._table(event.netns, "routes").pop(key, None)
            case ev.NeighbourSet():
                self._table(event.netns, "neighbours")[event.index, event.address] = event
            case ev.NeighbourRemoved():
                self._table(event.netns, "neighbours").pop((event.index, event.address), None)
            case ev.FdbSet():
                self._set_fdb(event)
            case ev.FdbRemoved():
                row = (event.bridge, event.port, event.mac, event.vlan)
                self._table(event.netns, "fdb").pop(row, None)
            case ev.Traffic():
                self._table(event.netns, "traffic")[event.index] = event
            case ev.NamespaceRemoved():
                self.namespaces.pop(event.netns, None)
                self._own = {own for own in self._own if own[0] != event.netns}
            case ev.ProcessStarted():
                self.jobs[event.job] = event
            case ev.ProcessEnded():
                self.jobs.pop(event.job, None)
            case ev.SettingSet():
                self._table(event.netns, "settings")[event.name] = event
            case ev.FirewallSet():
                self._put(event.netns, "firewall", event)
            case ev.CountersSet():
                self._put(event.netns, "counters", event)
            case ev.Lost():
                if event.what == "frames":
                    self.frames_lost += event.count or 1
                else:
                    self.lost += event.count or 1
            case ev.Closed():
                self.closed = event.reason
            case ev.Applied():
                if APPLIED not in self._own:
                    self.applied = list(self.applied)
                    self._own.add(APPLIED)
                self.applied.append(event)
                self._applied(event.operation)

    def _applied(self, operation: op.Operation) -> None:
        match operation:
            case op.AddHost():
                self.hosts[operation.name] = HostInfo(
                    operation.name, operation.netns, forwarding=operation.forwarding
                )
                self.namespaces.setdefault(operation.netns, Namespace())
            case op.RemoveHost():
                self.hosts.pop(operation.name, None)
            case op.AddBridge():
                self.bridges[operation.interface] = operation
            case op.RemoveBridge():
                self.bridges.pop(operation.interface, None)
            case _:
                pass  # cables and routes are known from the kernel's own tables

    def _forget_link(self, netns: str, index: int) -> None:
        def forget(name: str, goes: Callable[[Any, Any], bool]) -> None:
            if gone := [k for k, v in getattr(self.space(netns), name).items() if goes(k, v)]:
                table = self._table(netns, name)
                for key in gone:
                    del table[key]

        for name in ("links", "addresses", "traffic"):
            forget(name, lambda key, _: bool(key == index))
        forget("routes", lambda _, route: bool(route.index == index))
        forget("neighbours", lambda key, _: bool(key[0] == index))
        forget("fdb", lambda key, _: index in key[:2])

    def _set_fdb(self, event: ev.FdbSet) -> None:
        fdb = self._table(event.netns, "fdb")
        same = fdb.get((event.bridge, event.port, event.mac, event.vlan))
        # A MAC is learned at one port only: this row replaces another.
        if event.kind == "learned" and (same is None or same.kind != "learned"):
            for key in [
                key
                for key, row in fdb.items()
                if row.kind == "learned"
                and (key[0], key[2], key[3]) == (event.bridge, event.mac, event.vlan)
            ]:
                del fdb[key]
        fdb[event.bridge, event.port, event.mac, event.vlan] = event

    def events(self) -> Iterator[ev.Event]:
        """Events that lead here from nothing: what a log begins with that let older ones go."""
        yield from self.applied
        for netns in State.after(self.applied).namespaces.keys() - self.namespaces.keys():
            yield ev.NamespaceRemoved(at=self.at, netns=netns)
        for netns, space in self.namespaces.items():
            yield from space.links.values()
            for index, held in space.addresses.items():
                for address in held:
                    yield ev.AddressSet(at=self.at, netns=netns, index=index, address=address)
            for rows in (space.routes, space.neighbours, space.fdb, space.traffic, space.settings):
                yield from rows.values()
            yield from (event for event in (space.firewall, space.counters) if event)
        yield from self.jobs.values()
        for what, count in (("changes", self.lost), ("frames", self.frames_lost)):
            if count:
                yield ev.Lost(at=self.at, what=what, count=count)
        if self.closed is not None:
            yield ev.Closed(at=self.at, reason=self.closed)

    # Views: the frozen values of labkit.model.values.

    def cables(self) -> Iterator[Cable]:
        """Every veth pair of which both ends are in the lab, once each."""
        seen = set()
        for netns, space in self.namespaces.items():
            for index, link in space.links.items():
                ends = frozenset([(netns, index), link.peer])
                if link.peer and ends not in seen and self.link(*link.peer):
                    seen.add(ends)
                    yield Cable((netns, index), link.peer)

    def link(self, netns: str, index: int) -> ev.LinkSet | None:
        """An interface by where it is, or None."""
        space = self.namespaces.get(netns)
        return space.links.get(index) if space else None

    def passes_frames(self, link: ev.LinkSet) -> bool:
        """Whether an interface can send; a bridge's port, whether the bridge can, too."""
        if not link.has_carrier or link.port_state == "disabled":
            return False
        bridge = self.link(link.netns, link.master) if link.master is not None else None
        return bridge is None or bridge.has_carrier or link.port_state != "forwarding"

    def peer(self, link: ev.LinkSet) -> str | None:
        """``"host:interface"`` of a veth's other end, or None."""
        other = self.link(*link.peer) if link.peer else None
        return f"{link.peer_netns}:{other.name}" if other else None

    def owners(self, address: str) -> list[tuple[str, int]]:
        """The interfaces that have an address, in the order in which they were made."""
        return [
            (netns, index)
            for netns, space in self.namespaces.items()
            for index, held in space.addresses.items()
            if any(a.partition("/")[0] == address for a in held)
        ]

    def interfaces(self, netns: str) -> Table[Interface]:
        """The namespace's interfaces, in the kernel's order."""
        space = self.space(netns)
        return Table(
            Interface,
            [
                Interface(
                    name=link.name,
                    mac=link.mac,
                    addresses=tuple(space.addresses.get(index, ())),
                    is_up=link.is_up,
                    has_carrier=link.has_carrier,
                    peer=self.peer(link),
                    bridge=space.name_of(link.master) if link.master else None,
                )
                for index, link in sorted(space.links.items())
            ],
            f"interfaces of {netns}",
        )

    def routes(self, netns: str) -> Table[Route]:
        """The namespace's main routing table, default routes first."""
        space = self.space(netns)
        rows = sorted(
            space.routes.values(), key=lambda r: (r.destination != "default", r.destination)
        )
        return Table(
            Route,
            [
                Route(
                    destination=row.destination,
                    gateway=row.gateway,
                    interface=space.name_of(row.index),
                    scope=row.scope,
                )
                for row in rows
            ],
            f"routes of {netns}",
        )

    def neighbours(self, netns: str) -> Table[Neighbour]:
        """The namespace's neighbour table: for IPv4, the ARP cache."""
        space = self.space(netns)
        return Table(
            Neighbour,
            [
                Neighbour(
                    address=row.address,
                    mac=row.mac,
                    state=row.state,
                    interface=space.name_of(row.index),
                )
                for _, row in sorted(space.neighbours.items())
            ],
            f"neighbours (ARP cache) of {netns}",
        )

    def ports(self, bridge: int) -> Table[Port]:
        """The ports of the bridge with that interface index."""
        space = self.space(MACHINE)
        return Table(
            Port,
            [
                Port(
                    name=link.name,
                    mac=link.mac,
                    state=link.port_state or "disabled",
                    is_up=link.is_up,
                    has_carrier=link.has_carrier,
                    peer=self.peer(link),
                )
                for _, link in sorted(space.links.items())
                if link.master == bridge
            ],
            f"ports of {space.name_of(bridge)}",
        )

    def fdb(self, bridge: int, now: int | None = None) -> Table[FdbEntry]:
        """A bridge's forwarding database; ages as of `now` (nanoseconds since the epoch)."""
        space = self.space(MACHINE)
        now = self.at if now is None else now
        rows = [row for key, row in space.fdb.items() if key[0] == bridge]
        rows.sort(key=lambda r: (r.kind != "learned", r.port, r.mac, r.vlan or 0))
        return Table(
            FdbEntry,
            [
                FdbEntry(
                    mac=row.mac,
                    port=space.name_of(row.port),
                    vlan=row.vlan,
                    kind=row.kind,
                    age=None if row.updated is None else max(0.0, (now - row.updated) / 1e9),
                )
                for row in rows
            ],
            f"fdb (CAM table) of {space.name_of(bridge)}",
        )
