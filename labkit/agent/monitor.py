"""Everything that the kernel does in the lab, as events.

One netlink socket hears every namespace (NETLINK_LISTEN_ALL_NSID, `netlink(7)`). What the
kernel does not announce is read at each tick: traffic counters, the age of learned FDB
rows, the states INCOMPLETE and DELAY, and the routes that go with a link. Only
namespaces in which something has just happened are read.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import msgspec

from labkit.agent import decode
from labkit.agent import netlink as nl
from labkit.agent.namespaces import Namespaces
from labkit.model import events as ev
from labkit.model.operations import MACHINE

GROUPS = (1, 3, 5, 7, 9, 11)  # LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE
BUFFER = 8 << 20
AT_ONCE = 1000
"""Messages that are read at a time, at most."""
ALL = 1 << 15
"""More than may wait in the socket, each of which takes half a kilobyte at least."""
MEMINFO = 55
"""SO_MEMINFO: bytes that wait in a socket, and how many may (asm-generic/socket.h)."""
AWAKE = 10.0
"""Seconds for which a namespace is read at each tick after something happened in it."""
FRESH = 900_000_000
"""Nanoseconds by which a learned row must be younger than told before it is told again."""
REST = 20
"""A long CAM table is read more seldom: after a reading it rests this many times as long."""
TRANSIENT = {"INCOMPLETE", "DELAY", "PROBE"}
STATS_LINK_64 = 1

Key = tuple[Any, ...]


class Monitor:
    """Reads the kernel, remembers what was last told, and emits what is new."""

    def __init__(
        self,
        namespaces: Namespaces,
        emit: Callable[[Any], None],
        tell_frames: Callable[[], None],
    ) -> None:
        self._spaces = namespaces
        self._emit = emit
        self._tell_frames = tell_frames  # what led to a change comes before it
        self._known: dict[str, dict[Key, Any]] = {}
        self._awake: dict[str, float] = {}
        self._stale: set[str] = set()
        self._counters: dict[tuple[str, int], tuple[int, int]] = {}
        self._pending: list[tuple[int, list[tuple[int, int, bytes]], bytes]] = []
        self._overrun = False
        self._behind = False  # whether a build's announcements may still be waiting
        self._moved = False  # whether frames have passed since the CAM tables were read
        self._rested = 0.0  # when they may be read again
        self.socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            socket.NETLINK_ROUTE,
        )
        self.socket.setsockopt(nl.SOL_NETLINK, nl.LISTEN_ALL_NSID, 1)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, 33, BUFFER)  # SO_RCVBUFFORCE
        except PermissionError:  # in a user namespace: what net.core.rmem_max allows
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self.socket.bind((0, sum(1 << (group - 1) for group in GROUPS)))

    # Reading

    def drain(self) -> None:
        """Takes what the kernel has announced off the socket, to be decoded later.

        Of a flood (a loop makes a bridge move its rows a hundred thousand times a second) only
        so much that others have their turn; the kernel drops the rest, and says so. Of a build
        all: what is read of the tables afterwards must not be told first.
        """
        most = ALL if self._behind else AT_ONCE
        self._behind = False
        for _ in range(most):
            try:
                data, ancillary, _, _ = self.socket.recvmsg(1 << 16, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._overrun = True
                continue
            self._pending.append((time.time_ns(), ancillary, data))

    def relieve(self) -> None:
        """Drains the socket when it is half full: in a build, reading can wait until the end.

        The times of what is read are then the build's end, not a few milliseconds before.
        """
        self._behind = True
        memory = self.socket.getsockopt(socket.SOL_SOCKET, MEMINFO, 8)
        held, limit = struct.unpack("=II", memory)
        if held > limit // 2:
            self.drain()
            self._behind = True

    def flush(self) -> None:
        """Emits everything that the kernel has announced so far."""
        self.drain()
        pending, self._pending = self._pending, []
        if pending:
            self._tell_frames()
        for at, ancillary, data in pending:
            nsid = None  # the machine's own
            for level, kind, value in ancillary:
                if level == nl.SOL_NETLINK and kind == nl.LISTEN_ALL_NSID:
                    nsid = struct.unpack("=i", value)[0]
            space = self._spaces.by_nsid.get(nsid)
            if space is None:
                continue  # of a namespace that is gone
            for kind, _, _, body in nl.messages(data):
                self._take(at, space.name, kind, body)
        stale, self._stale = self._stale, set()
        for name in stale:
            self.read(name)

    def wake(self, name: str) -> None:
        """Something is about to happen in that namespace: look closely for a while."""
        self._awake[name] = time.monotonic() + AWAKE

    def tick(self) -> None:
        """Reads what is not announced, where something has happened."""
        if self._overrun:
            self._overrun = False
            self._emit(ev.Lost(at=time.time_ns(), what="changes of links and tables"))
            self._stale.update(self._spaces.by_name)
        self.flush()
        self._moved = self._read_traffic() or self._moved
        now = time.monotonic()
        for name, until in list(self._awake.items()):
            if name not in self._spaces.by_name:
                del self._awake[name]
            elif self._read_neighbours(name):
                self._awake[name] = max(until, now + 1)
            elif now > until:
                del self._awake[name]
        if self._moved and (began := time.monotonic()) >= self._rested:
            self._read_fdb()
            self._moved = False
            self._rested = time.monotonic() + REST * (time.monotonic() - began)

    def read(self, name: str) -> None:
        """Reads all tables of a namespace, and emits what differs from what was told."""
        space = self._spaces.by_name.get(name)
        if space is None:
            return
        at = time.time_ns()
        rtnl = space.rtnl
        links = [
            decode.link(at, name, row.body, self._peer) for row in rtnl.dump(nl.GETLINK, bytes(16))
        ]
        self._replace(name, "link", links)
        rows = rtnl.dump(nl.GETADDR, bytes(8))
        self._replace(name, "address", [decode.address(at, name, row.body) for row in rows])
        found = (decode.route(at, name, row.body) for row in rtnl.dump(nl.GETROUTE, bytes(12)))
        self._replace(name, "route", [row for row in found if row])
        self._read_neighbours(name)
        if name == MACHINE:
            self._read_fdb()

    def read_all(self) -> None:
        """Reads all tables of every namespace."""
        for name in list(self._spaces.by_name):
            self.read(name)

    def forget(self, name: str) -> None:
        """A namespace was removed."""
        self._known.pop(name, None)
        self._awake.pop(name, None)
        self._stale.discard(name)
        self._emit(ev.NamespaceRemoved(at=time.time_ns(), netns=name))

    def _read_neighbours(self, name: str) -> bool:
        """Reads a neighbour table; True while a row of it is about to change by itself."""
        at = time.time_ns()
        rows = self._spaces.by_name[name].rtnl.dump(nl.GETNEIGH, bytes(12))
        families = (decode.AF_INET, decode.AF_INET6)
        told = (decode.neighbour(at, name, row.body) for row in rows if row.body[0] in families)
        found = [row for row in told if row]
        self._replace(name, "neighbour", found)
        return any(row.state in TRANSIENT for row in found)

    def _read_fdb(self) -> None:
        at = time.time_ns()
        body = bytes([decode.AF_BRIDGE]) + bytes(11)
        rows = self._spaces.machine.rtnl.dump(nl.GETNEIGH, body)
        found = (decode.fdb(at, MACHINE, row.body, self._master) for row in rows)
        self._replace(MACHINE, "fdb", [row for row in found if row])

    def _read_traffic(self) -> bool:
        """Reads packet counters; True where any has moved. Wakes both ends of the cable."""
        at = time.time_ns()
        moved = False
        body = struct.pack("=BxHII", 0, 0, 0, 1 << (STATS_LINK_64 - 1))
        for name in self._with_counters():
            for row in self._spaces.by_name[name].rtnl.dump(nl.GETSTATS, body):
                index, _, _, _, received, sent = struct.unpack_from("=IIHHQQ", row.body, 4)
                if self._counters.get((name, index)) == (received, sent):
                    continue
                self._counters[name, index] = (received, sent)
                moved = True
                self._emit(ev.Traffic(at=at, netns=name, index=index, received=received, sent=sent))
                self.wake(name)
                link = self._known.get(name, {}).get(("link", index))
                if link and link.peer_netns in self._spaces.by_name:
                    self.wake(link.peer_netns)
        return moved

    def _with_counters(self) -> Iterable[str]:
        """The machine, and namespaces with a cable that the machine has no end of."""
        names = {MACHINE}
        for name, known in self._known.items():
            if name != MACHINE and name in self._spaces.by_name:
                for key, row in known.items():
                    if key[0] == "link" and row.peer_netns not in (None, MACHINE):
                        names.add(name)
        return names

    # Telling

    def _take(self, at: int, name: str, kind: int, body: bytes) -> None:
        family = body[0]
        if kind in (nl.NEWLINK, nl.DELLINK):
            self._take_link(at, name, kind, body)
        elif kind == nl.NEWADDR:
            self._tell(name, decode.address(at, name, body))
        elif kind == nl.DELADDR:
            self._untell(at, name, self._key(decode.address(at, name, body)))
            self._stale.add(name)  # routes that go with it are not announced
        elif kind in (nl.NEWROUTE, nl.DELROUTE):
            route = decode.route(at, name, body)
            if route and kind == nl.NEWROUTE:
                self._tell(name, route)
            elif route:
                self._untell(at, name, self._key(route))
        elif kind in (nl.NEWNEIGH, nl.DELNEIGH) and family == decode.AF_BRIDGE:
            row = decode.fdb(at, name, body, self._master)
            if row and name == MACHINE and kind == nl.NEWNEIGH:
                self._tell(name, row)
            elif row:
                self._untell(at, name, self._key(row))
        elif kind in (nl.NEWNEIGH, nl.DELNEIGH):
            neighbour = decode.neighbour(at, name, body) if kind == nl.NEWNEIGH else None
            if neighbour:
                self._tell(name, neighbour)
                self.wake(name)
            else:
                self._untell(at, name, ("neighbour", *decode.neighbour_key(body)))

    def _take_link(self, at: int, name: str, kind: int, body: bytes) -> None:
        if body[0] == decode.AF_BRIDGE:
            # A port's own message. Its "DELLINK" says that it left the bridge, no more.
            index, state, isolated = decode.bridge_port(body)
            known = self._known.get(name, {}).get(("link", index))
            if known and kind == nl.NEWLINK and state:
                self._tell(
                    name,
                    msgspec.structs.replace(known, at=at, port_state=state, isolated=isolated),
                )
            return
        if kind == nl.DELLINK:
            index = struct.unpack_from("=i", body, 4)[0]
            self._untell(at, name, ("link", index))
            self._counters.pop((name, index), None)
            return
        link = decode.link(at, name, body, self._peer)
        before = self._known.get(name, {}).get(("link", link.index))
        self._tell(name, link)
        if before and before.is_up != link.is_up:
            self._stale.add(name)  # routes that go with it are not announced

    @staticmethod
    def _key(event: Any) -> Key:
        match event:
            case ev.LinkSet():
                return ("link", event.index)
            case ev.AddressSet():
                return ("address", event.index, event.address)
            case ev.RouteSet():
                return ("route", event.destination, event.gateway, event.index, event.metric)
            case ev.NeighbourSet():
                return ("neighbour", event.index, event.address)
            case _:
                return ("fdb", event.bridge, event.port, event.mac, event.vlan)

    def _tell(self, name: str, event: Any) -> None:
        known = self._known.setdefault(name, {})
        key = self._key(event)
        if _same(known.get(key), event):
            return
        known[key] = event
        self._emit(event)

    def _untell(self, at: int, name: str, key: Key) -> None:
        known = self._known.get(name, {})
        event = known.pop(key, None)
        if event is None:
            return
        kind = key[0]
        if kind == "link":
            for other in [k for k in known if _goes_with(k, key[1])]:
                del known[other]  # the fold forgets these with their link, too
            self._emit(ev.LinkRemoved(at=at, netns=name, index=key[1]))
        elif kind == "address":
            self._emit(ev.AddressRemoved(at=at, netns=name, index=key[1], address=key[2]))
        elif kind == "route":
            self._emit(ev.RouteRemoved(**{**msgspec.structs.asdict(event), "at": at}))
        elif kind == "neighbour":
            self._emit(ev.NeighbourRemoved(at=at, netns=name, index=key[1], address=key[2]))
        else:
            self._emit(
                ev.FdbRemoved(
                    at=at, netns=name, bridge=key[1], port=key[2], mac=key[3], vlan=key[4]
                )
            )

    def _replace(self, name: str, kind: str, rows: list[Any]) -> None:
        at = time.time_ns()
        keys = {self._key(row) for row in rows}
        for key in [k for k in self._known.get(name, {}) if k[0] == kind and k not in keys]:
            self._untell(at, name, key)
        for row in rows:
            self._tell(name, row)

    # What a message leaves out

    def _master(self, index: int) -> int | None:
        """The bridge that an interface of the machine is a port of, or is."""
        link = self._known.get(MACHINE, {}).get(("link", index))
        if link is None:
            return None
        return index if link.kind == "bridge" else link.master

    def _peer(self, name: str, index: int, nsid: int | None, lower: int) -> tuple[str, int] | None:
        """Where a veth's other end is: ``(namespace, index)``, None when not in the lab."""
        if nsid is None:
            return name, lower
        if name == MACHINE:
            space = self._spaces.by_nsid.get(nsid)
            return (space.name, lower) if space else None
        for other in self._candidates(name, index, lower):
            if self._nsid_in(name, other) == nsid:
                return other, lower
        return None

    def _candidates(self, name: str, index: int, lower: int) -> Iterator[str]:
        """Namespaces in the order in which they are likely to hold the other end."""
        for other in chain((MACHINE,), self._spaces.by_name):
            link = self._known.get(other, {}).get(("link", lower))
            if link is not None and link.peer == (name, index):
                yield other
        yield MACHINE
        yield from reversed(self._spaces.by_name)

    def _nsid_in(self, name: str, other: str) -> int:
        """The number by which namespace `name` knows `other`; -1 when it does not."""
        spaces = self._spaces.by_name
        return spaces[name].rtnl.nsid_of(spaces[other].fd)


def _same(before: Any, event: Any) -> bool:
    """Whether an event tells nothing new; when is no news."""
    if type(before) is not type(event):
        return False
    for field in event.__struct_fields__:
        old, new = getattr(before, field), getattr(event, field)
        if field == "updated" and old is not None and new is not None:
            if new - old > FRESH:
                return False
        elif field != "at" and old != new:
            return False
    return True


def _goes_with(key: Key, index: int) -> bool:
    """Whether a row of any table goes when the interface with that index goes."""
    if key[0] == "fdb":
        return index in key[1:3]
    if key[0] == "route":
        return bool(key[3] == index)
    return bool(key[1] == index)
