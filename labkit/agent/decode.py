"""Kernel messages to events: the four tables and the links (`rtnetlink(7)`)."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable
from functools import lru_cache

from labkit.agent.netlink import attributes
from labkit.model import events as ev

AF_INET, AF_INET6, AF_BRIDGE = 2, 10, 7
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_PROTINFO, IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_LINK_NETNSID = 12, 16, 18, 37
IF_OPER_UNKNOWN, IF_OPER_UP = 0, 6
IFLA_PROP_LIST, IFLA_ALT_IFNAME = 52, 53
INFO_KIND, INFO_SLAVE_DATA, BRPORT_STATE, BRPORT_ISOLATED = 1, 5, 1, 33
WATCHED = ("veth", "bridge")
"""Kinds of links whose carrier comes and goes."""
PORT_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE = 1, 4, 5, 6, 15
TABLE_MAIN, RTN_UNICAST, RTM_F_CLONED = 254, 1, 0x200
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
NDA_DST, NDA_LLADDR, NDA_CACHEINFO, NDA_VLAN, NDA_MASTER = 1, 2, 3, 5, 9
NTF_SELF = 0x2
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NUD = {
    0x01: "INCOMPLETE",
    0x02: "REACHABLE",
    0x04: "STALE",
    0x08: "DELAY",
    0x10: "PROBE",
    0x20: "FAILED",
    NUD_PERMANENT: "PERMANENT",
}
TICK_NS = 10_000_000
"""One clock tick of the kernel's user interface, USER_HZ = 100, in nanoseconds."""

PeerOf = Callable[[str, int, int | None, int], tuple[str, int] | None]


@lru_cache(maxsize=4096)
def mac_text(value: bytes) -> str:
    """A hardware address as people write it."""
    return value.hex(":")


@lru_cache(maxsize=4096)
def address_text(value: bytes) -> str:
    """An IPv4 or IPv6 address as people write it."""
    return str(ipaddress.ip_address(value))


def _u32(value: bytes) -> int:
    return int(struct.unpack_from("=I", value)[0])


def link(at: int, netns: str, body: bytes, peer_of: PeerOf) -> ev.LinkSet:
    """RTM_NEWLINK of any family but AF_BRIDGE.

    A carrier counts when the interface can send: it drops what it is given until the kernel's
    work queue has come round to its new carrier (linkwatch_do_dev in net/core/link_watch.c calls
    dev_activate), which is also what makes its operational state UP. Kinds without such work stay
    UNKNOWN (Documentation/networking/operstates.rst).
    """
    _, _, index, flags, _ = struct.unpack_from("=BxHiII", body)
    name = kind = mac = ""
    mtu = 0
    operational = IF_OPER_UP
    master = lower = nsid = None
    state: str | None = None
    isolated = False
    altnames = []
    for what, value in attributes(body, 16):
        if what == IFLA_IFNAME:
            name = value[:-1].decode(errors="replace")
        elif what == IFLA_ADDRESS:
            mac = mac_text(value)
        elif what == IFLA_MTU:
            mtu = _u32(value)
        elif what == IFLA_OPERSTATE:
            operational = value[0]
        elif what == IFLA_MASTER:
            master = _u32(value)
        elif what == IFLA_LINK:
            lower = _u32(value)
        elif what == IFLA_LINK_NETNSID:
            nsid = struct.unpack("=i", value)[0]
        elif what == IFLA_PROP_LIST:
            altnames = [
                alt[:-1].decode(errors="replace")
                for k, alt in attributes(value, 0)
                if k == IFLA_ALT_IFNAME
            ]
        elif what == IFLA_LINKINFO:
            for k, part in attributes(value, 0):
                if k == INFO_KIND:
                    kind = part.rstrip(b"\0").decode()
                elif k == INFO_SLAVE_DATA and master is not None:
                    state, isolated = _port(part)
    is_ready = operational == IF_OPER_UP or (operational == IF_OPER_UNKNOWN and kind not in WATCHED)
    peer = peer_of(netns, index, nsid, lower) if kind == "veth" and lower else None
    return ev.LinkSet(
        at=at,
        netns=netns,
        index=index,
        name=name,
        kind=kind,
        mac=mac,
        is_up=bool(flags & IFF_UP),
        has_carrier=bool(flags & IFF_LOWER_UP) and is_ready,
        mtu=mtu,
        master=master,
        peer_netns=peer[0] if peer else None,
        peer_index=peer[1] if peer else None,
        port_state=state,
        isolated=isolated,
        altnames=tuple(altnames),
    )


def _port(body: bytes) -> tuple[str | None, bool]:
    state, isolated = None, False
    for kind, value in attributes(body, 0):
        if kind == BRPORT_STATE and value[0] < len(PORT_STATES):
            state = PORT_STATES[value[0]]
        elif kind == BRPORT_ISOLATED:
            isolated = value[0] == 1
    return state, isolated


def bridge_port(body: bytes) -> tuple[int, str | None, bool]:
    """An AF_BRIDGE link message: the port's index, its spanning-tree state, and if isolated."""
    index = struct.unpack_from("=i", body, 4)[0]
    for kind, value in attributes(body, 16):
        if kind == IFLA_PROTINFO:
            return index, *_port(value)
    return index, None, False


def address(at: int, netns: str, body: bytes) -> ev.AddressSet:
    """RTM_NEWADDR or RTM_DELADDR."""
    _, length, _, _, index = struct.unpack_from("=BBBBI", body)
    found: dict[int, bytes] = dict(attributes(body, 8))
    value = found.get(IFA_LOCAL) or found[IFA_ADDRESS]
    return ev.AddressSet(at=at, netns=netns, index=index, address=f"{address_text(value)}/{length}")


def route(at: int, netns: str, body: bytes) -> ev.RouteSet | None:
    """RTM_NEWROUTE or RTM_DELROUTE; None for what is not a unicast row of the main table."""
    family, length, _, _, table, _, scope, kind, flags = struct.unpack_from("=BBBBBBBBI", body)
    if family not in (AF_INET, AF_INET6) or kind != RTN_UNICAST or flags & RTM_F_CLONED:
        return None
    found: dict[int, bytes] = dict(attributes(body, 12))
    if RTA_TABLE in found:
        table = _u32(found[RTA_TABLE])
    if table != TABLE_MAIN:
        return None
    gateway = found.get(RTA_GATEWAY)
    target = found.get(RTA_DST)
    return ev.RouteSet(
        at=at,
        netns=netns,
        destination=f"{address_text(target)}/{length}" if target else "default",
        gateway=address_text(gateway) if gateway else None,
        index=_u32(found[RTA_OIF]) if RTA_OIF in found else 0,
        scope=SCOPES.get(scope, str(scope)),
        metric=_u32(found[RTA_PRIORITY]) if RTA_PRIORITY in found else 0,
    )


def neighbour(at: int, netns: str, body: bytes) -> ev.NeighbourSet | None:
    """An RTM_NEWNEIGH of IPv4 or IPv6; None for rows that `ip neigh` hides too."""
    _, index, state, _, _ = struct.unpack_from("=BxxxiHBB", body)
    if state not in NUD:
        return None
    found: dict[int, bytes] = dict(attributes(body, 12))
    mac = found.get(NDA_LLADDR)
    return ev.NeighbourSet(
        at=at,
        netns=netns,
        index=index,
        address=address_text(found[NDA_DST]),
        state=NUD[state],
        mac=mac_text(mac) if mac and state not in (0x01, 0x20) else None,
    )


def neighbour_key(body: bytes) -> tuple[int, str]:
    """Which row an RTM_NEWNEIGH or RTM_DELNEIGH is about: interface index and address."""
    index = struct.unpack_from("=i", body, 4)[0]
    found: dict[int, bytes] = dict(attributes(body, 12))
    return index, address_text(found[NDA_DST])


def fdb(
    at: int, netns: str, body: bytes, master_of: Callable[[int], int | None]
) -> ev.FdbSet | None:
    """An AF_BRIDGE neighbour message; None for interfaces that are of no bridge."""
    _, port, state, flags, _ = struct.unpack_from("=BxxxiHBB", body)
    found: dict[int, bytes] = dict(attributes(body, 12))
    value = found.get(NDA_LLADDR)
    bridge = _u32(found[NDA_MASTER]) if NDA_MASTER in found else master_of(port)
    if value is None or len(value) != 6 or bridge is None:
        return None
    updated = None
    if value[0] & 1:
        kind = "multicast"
    elif state & (NUD_PERMANENT | NUD_NOARP) or flags & NTF_SELF:
        kind = "permanent"
    else:
        kind = "learned"
        if NDA_CACHEINFO in found:  # confirmed, used, updated: ticks ago (nda_cacheinfo)
            ago = struct.unpack_from("=III", found[NDA_CACHEINFO])[2]
            updated = at - ago * TICK_NS
    vlan = found.get(NDA_VLAN)
    return ev.FdbSet(
        at=at,
        netns=netns,
        bridge=bridge,
        port=port,
        mac=mac_text(value),
        kind=kind,
        vlan=struct.unpack("=H", vlan)[0] if vlan else None,
        updated=updated,
    )
