"""Carrying out operations: all of a build, or none of it."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from labkit.agent import netlink as nl
from labkit.agent.decode import AF_INET, AF_INET6, RTA_OIF, TABLE_MAIN
from labkit.agent.namespaces import Namespaces, link_up
from labkit.model import operations as op
from labkit.model.operations import MACHINE
from labkit.model.wire import Fault

NEW = nl.CREATE | nl.EXCLUSIVE
NEWLINKPROP = 108
RTPROT_KERNEL, RTPROT_BOOT = 2, 3
SCOPE_GLOBAL, SCOPE_LINK = 0, 253
FAMILIES = {4: AF_INET, 6: AF_INET6}
USER_HZ = 100

Undo = Callable[[], None]
UNDOABLE = (op.AddHost, op.AddBridge, op.AddCable, op.AddRoute)


class BuildFault(Exception):
    """Operation number `index` failed, and all before it were undone."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Builder:
    """Applies operations to the kernel. It keeps no copy of the network, only memos."""

    def __init__(self, namespaces: Namespaces, kill_in: Callable[[int], None]) -> None:
        self._spaces = namespaces
        self._kill_in = kill_in
        self._next_index = 2  # 1 is every namespace's loopback
        self._bridges: dict[str, int] = {}  # their indices, for as long as one build lasts
        self._lost_routes: dict[tuple[str, str], list[bytes]] = {}

    def apply(
        self,
        operations: Iterable[op.Operation],
        between: Callable[[], bool] = lambda: False,
    ) -> None:
        """Carries out all operations, or none. Raises BuildFault.

        `between` is called after each; True from it means "give up", and undoes the rest. What
        cannot be undone goes to its end.
        """
        undos: list[Undo] = []
        can_be_undone = True
        self._bridges.clear()
        try:
            for index, operation in enumerate(operations):
                try:
                    self._apply(operation, undos)
                    can_be_undone = can_be_undone and isinstance(operation, UNDOABLE)
                    if between() and can_be_undone:
                        raise OSError(errno.ECANCELED, "interrupted")
                except Exception as error:
                    for undo in reversed(undos):
                        undo()
                    if isinstance(error, OSError):
                        words, code = error.strerror or str(error), error.errno
                    else:
                        words, code = f"{type(error).__name__}: {error}", None
                    raise BuildFault(Fault(message=words, code=code, operation=index)) from error
        finally:
            self._spaces.go_home()

    def _apply(self, operation: op.Operation, undos: list[Undo]) -> None:
        match operation:
            case op.AddHost():
                self._add_host(operation, undos)
            case op.RemoveHost():
                self._remove_host(operation)
            case op.AddBridge():
                self._add_bridge(operation, undos)
            case op.RemoveBridge():
                self._delete_link(MACHINE, operation.interface)
            case op.AddCable():
                self._add_cable(operation, undos)
            case op.RemoveCable():
                self._delete_link(operation.b.netns, operation.b.interface)
            case op.Unplug():
                self._unplug(operation.b)
            case op.Plug():
                self._plug(operation.b)
            case op.AddRoute():
                self._route(nl.NEWROUTE, operation, undos)
            case op.RemoveRoute():
                self._route(nl.DELROUTE, operation, undos)
            case op.FlushFdb():
                self._flush(operation.interface)

    def _rtnl(self, netns: str) -> nl.Netlink:
        try:
            return self._spaces.by_name[netns].rtnl
        except KeyError:
            raise OSError(errno.ENOENT, f"there is no namespace {netns!r}") from None

    def index_of(self, netns: str, interface: str) -> int:
        """An interface's index. Raises OSError (ENODEV)."""
        self._rtnl(netns)
        with self._spaces.entered(netns):
            return socket.if_nametoindex(interface)

    def _bridge(self, name: str) -> int:
        if name not in self._bridges:
            self._bridges[name] = self.index_of(MACHINE, name)
        return self._bridges[name]

    # Hosts and bridges

    def _add_host(self, wanted: op.AddHost, undos: list[Undo]) -> None:
        if wanted.netns == MACHINE:
            return
        self._spaces.add(wanted.netns, forwarding=wanted.forwarding, ipv6=wanted.ipv6)
        undos.append(lambda: self._spaces.remove(wanted.netns))

    def _remove_host(self, wanted: op.RemoveHost) -> None:
        if wanted.netns == MACHINE:
            return
        self._rtnl(wanted.netns)
        self._kill_in(self._spaces.by_name[wanted.netns].inode)
        self._spaces.remove(wanted.netns)

    def _add_bridge(self, wanted: op.AddBridge, undos: list[Undo]) -> None:
        info = [
            ("IFLA_BR_AGEING_TIME", int(wanted.ageing * USER_HZ)),
            ("IFLA_BR_STP_STATE", int(wanted.stp)),
        ]
        index = self._create(
            MACHINE,
            lambda index: nl.encode(
                nl.ifinfmsg,
                nl.NEWLINK,
                flags=NEW,
                fields={"index": index},
                attributes=[
                    ("IFLA_IFNAME", wanted.interface),
                    ("IFLA_ADDRESS", wanted.mac),
                    ("IFLA_LINKINFO", _info("bridge", info)),
                ],
            ),
        )
        undos.append(lambda: self._delete_link(MACHINE, wanted.interface))
        rtnl = self._rtnl(MACHINE)
        if wanted.name != wanted.interface:
            rtnl.send(_altname(index, wanted.name))
        if wanted.address:
            rtnl.send(_address(index, wanted.address))
        rtnl.send(link_up(index))

    # Cables

    def _add_cable(self, wanted: op.AddCable, undos: list[Undo]) -> None:
        a, b = wanted.a, wanted.b
        rtnl_a, rtnl_b = self._rtnl(a.netns), self._rtnl(b.netns)
        peer_fd = self._spaces.by_name[a.netns].fd
        # IFF_UP on the peer at creation fails (ENOTCONN): only the b end comes up at once.
        master = self._bridge(b.bridge) if b.bridge else None
        form = _veth_form(len(a.interface), len(b.interface), with_master=master is not None)
        parts: list[nl.Part] = [a.mac, b.mac, a.interface, b.interface, peer_fd]
        if master is not None:
            parts.append(master)
        b_index = self._create(b.netns, lambda index: form.fill(index + 1, index, *parts))
        a_index = b_index + 1
        self._next_index += 1
        undos.append(lambda: self._delete_link(b.netns, b.interface))
        rtnl_a.send(self._up(a, a_index), *_named(a, a_index))
        named = _named(b, b_index)  # it is up, and in its bridge, since it was created
        if named:
            rtnl_b.send(*named)

    def _up(self, end: op.End, index: int) -> tuple[int, int, bytes]:
        if not end.bridge:
            return link_up(index)
        return nl.encode(
            nl.ifinfmsg,
            nl.NEWLINK,
            fields={"index": index, "flags": 1, "change": 1},
            attributes=[("IFLA_MASTER", self._bridge(end.bridge))],
        )

    def _create(self, netns: str, request: Callable[[int], tuple[int, int, bytes]]) -> int:
        """Creates a link with an index of our choice, so that no look-up is needed."""
        while True:
            index = self._next_index
            self._next_index += 1
            try:
                self._rtnl(netns).send(request(index))
            except nl.NetlinkFault as fault:
                # EBUSY: a learner's own link has that index (a name in use is EEXIST).
                if fault.errno != errno.EBUSY or index > 1 << 20:
                    raise
                self._next_index += 100
                continue
            return index

    def _delete_link(self, netns: str, interface: str) -> None:
        index = self.index_of(netns, interface)
        self._rtnl(netns).send(nl.encode(nl.ifinfmsg, nl.DELLINK, fields={"index": index}))

    def _unplug(self, end: op.End) -> None:
        """Takes the end down; the kernel drops its routes with it, so remember those added."""
        index = self.index_of(end.netns, end.interface)
        rtnl = self._rtnl(end.netns)
        rows = rtnl.dump(nl.GETROUTE, bytes(12))
        lost = self._lost_routes.setdefault((end.netns, end.interface), [])
        lost += [row.body for row in rows if _is_added_route(row.body, index)]
        rtnl.send(link_up(index, up=False))

    def _plug(self, end: op.End) -> None:
        index = self.index_of(end.netns, end.interface)
        rtnl = self._rtnl(end.netns)
        rtnl.send(link_up(index))
        for body in self._lost_routes.pop((end.netns, end.interface), ()):
            rtnl.send((nl.NEWROUTE, nl.CREATE, body))

    # Routes and tables

    def _route(self, kind: int, wanted: op.AddRoute | op.RemoveRoute, undos: list[Undo]) -> None:
        rtnl = self._rtnl(wanted.netns)
        attributes: list[tuple[str, object]] = []
        length, family = 0, AF_INET
        if wanted.via:
            family = FAMILIES[ipaddress.ip_address(wanted.via).version]
            attributes.append(("RTA_GATEWAY", wanted.via))
        if wanted.destination != "default":
            network = ipaddress.ip_network(wanted.destination, strict=False)
            length, family = network.prefixlen, FAMILIES[network.version]
            attributes.append(("RTA_DST", str(network.network_address)))
        if wanted.interface:
            attributes.append(("RTA_OIF", self.index_of(wanted.netns, wanted.interface)))
        adding = kind == nl.NEWROUTE
        request = nl.encode(
            nl.rtmsg,
            kind,
            flags=NEW if adding else 0,
            fields={
                "family": family,
                "dst_len": length,
                "table": TABLE_MAIN,
                "proto": RTPROT_BOOT if adding else 0,
                "scope": SCOPE_GLOBAL if wanted.via or not adding else SCOPE_LINK,
                "type": 1,
            },
            attributes=attributes,
        )
        if not adding:  # RT_SCOPE_NOWHERE: whatever the scope (rtnetlink(7))
            request = (kind, 0, request[2][:6] + b"\xff" + request[2][7:])
        rtnl.send(request)
        if adding:
            removal = op.RemoveRoute(
                netns=wanted.netns,
                destination=wanted.destination,
                via=wanted.via,
                interface=wanted.interface,
            )
            undos.append(lambda: self._route(nl.DELROUTE, removal, []))

    def _flush(self, bridge: str) -> None:
        """Deletes learned rows alone: what the kernel's own IFLA_BR_FDB_FLUSH does."""
        info = _info("bridge", [("IFLA_BR_FDB_FLUSH", None)])
        self._rtnl(MACHINE).send(
            nl.encode(
                nl.ifinfmsg,
                nl.NEWLINK,
                fields={"index": self.index_of(MACHINE, bridge)},
                attributes=[("IFLA_LINKINFO", info)],
            )
        )


# Stand-ins for what differs from one request to the next, see netlink.Form.
A_MAC, B_MAC = "7a:01:02:03:04:05", "7b:01:02:03:04:05"
A_INDEX, B_INDEX, MASTER, FD = 0x7A000003, 0x7A000004, 0x7A000005, 0x7A000006


@lru_cache(maxsize=64)
def _veth_form(a_length: int, b_length: int, *, with_master: bool) -> nl.Form:
    """A veth pair whose names have these lengths, the b end up.

    To fill in: the indices, MACs and names of a and b, then a's namespace and b's bridge, if any.
    """
    a_name, b_name = "a" * a_length, "b" * b_length
    # One queue is what a veth uses. Unless told, the kernel makes one for each processor, and
    # then waits for a grace period to drop them (veth_init_queues in drivers/net/veth.c).
    queues = [("IFLA_NUM_TX_QUEUES", 1), ("IFLA_NUM_RX_QUEUES", 1)]
    peer = [("IFLA_IFNAME", a_name), ("IFLA_ADDRESS", A_MAC), ("IFLA_NET_NS_FD", FD), *queues]
    data = [("VETH_INFO_PEER", {"index": A_INDEX, "attrs": peer})]
    attributes: list[tuple[str, object]] = [
        ("IFLA_IFNAME", b_name),
        ("IFLA_ADDRESS", B_MAC),
        *queues,
    ]
    stand_ins: list[nl.Part] = [A_INDEX, B_INDEX, A_MAC, B_MAC, a_name, b_name, FD]
    if with_master:
        attributes.append(("IFLA_MASTER", MASTER))
        stand_ins.append(MASTER)
    request = nl.encode(
        nl.ifinfmsg,
        nl.NEWLINK,
        flags=NEW,
        fields={"index": B_INDEX, "flags": 1, "change": 1},
        attributes=[*attributes, ("IFLA_LINKINFO", _info("veth", data))],
    )
    return nl.Form(request, *stand_ins)


def _info(kind: str, data: Sequence[tuple[str, object]]) -> dict[str, object]:
    return {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", {"attrs": data})]}


LOCAL = {4: "122.1.2.3", 6: "7a01::3"}
PEER = {4: "122.1.2.4", 6: "7a01::4"}
BROADCAST = "122.1.2.5"


@lru_cache(maxsize=64)
def _address_form(version: int, length: int) -> nl.Form:
    """An address with that prefix length.

    To fill in: the interface's index, the address twice, and the broadcast address if any.
    """
    attributes = [("IFA_LOCAL", LOCAL[version]), ("IFA_ADDRESS", PEER[version])]
    family = FAMILIES[version]
    stand_ins = [socket.inet_pton(family, text) for _, text in attributes]
    if version == 4 and length < 31:  # RFC 3021: a /31 has none
        attributes.append(("IFA_BROADCAST", BROADCAST))
        stand_ins.append(socket.inet_pton(family, BROADCAST))
    request = nl.encode(
        nl.ifaddrmsg,
        nl.NEWADDR,
        flags=NEW,
        fields={"family": family, "prefixlen": length, "index": A_INDEX},
        attributes=attributes,
    )
    return nl.Form(request, A_INDEX, *stand_ins)


def _address(index: int, text: str) -> tuple[int, int, bytes]:
    address, _, prefix = text.partition("/")
    version, length = 6 if ":" in address else 4, int(prefix)
    value = socket.inet_pton(FAMILIES[version], address)
    parts = [value, value]
    if version == 4 and length < 31:
        every = int.from_bytes(value, "big") | 0xFFFFFFFF >> length
        parts.append(every.to_bytes(4, "big"))
    return _address_form(version, length).fill(index, *parts)


def _named(end: op.End, index: int) -> list[tuple[int, int, bytes]]:
    """The requests for an end's address and second name, where it has them."""
    requests = [_address(index, end.address)] if end.address else []
    return [*requests, _altname(index, end.altname)] if end.altname else requests


def _altname(index: int, name: str) -> tuple[int, int, bytes]:
    properties = {"attrs": [("IFLA_ALT_IFNAME", name)]}
    return nl.encode(
        nl.ifinfmsg,
        NEWLINKPROP,
        flags=NEW,
        fields={"index": index},
        attributes=[("IFLA_PROP_LIST", properties)],
    )


def _is_added_route(body: bytes, index: int) -> bool:
    """Whether a route of the main table was put there by somebody, not by the kernel."""
    table, protocol = body[4], body[5]
    if table != TABLE_MAIN or protocol == RTPROT_KERNEL:
        return False
    return any(
        kind == RTA_OIF and struct.unpack("=I", value)[0] == index
        for kind, value in nl.attributes(body, 12)
    )
