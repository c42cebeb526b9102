"""What the kernel does not announce and is asked for: ways, settings, counters, rules."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from labkit.agent import firewall
from labkit.agent import netlink as nl
from labkit.agent.decode import (
    AF_INET,
    AF_INET6,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    address_text,
)
from labkit.agent.namespaces import Namespaces, read_sysctl
from labkit.model import events as ev

RTA_PREFSRC = 7
SIOCGIFFLAGS, IFF_NOARP = 0x8913, 0x80  # netdevice(7)
RTM_F_FIB_MATCH = 0x2000
ROUTE_TYPES = {
    1: "unicast", 2: "local", 3: "broadcast", 5: "multicast", 6: "blackhole", 7: "unreachable",
    8: "prohibit", 9: "throw",
}  # fmt: skip

SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv4/icmp_echo_ignore_all",
    "net/bridge/bridge-nf-call-iptables",
)
OF_INTERFACES = ("rp_filter", "arp_ignore", "forwarding")
COUNTERS = ("/proc/net/snmp", "/proc/net/netstat")


class Inspector:
    """Asks, and tells what has changed since it last asked."""

    def __init__(self, namespaces: Namespaces, emit: Callable[[Any], None]) -> None:
        self._spaces = namespaces
        self._emit = emit
        self._told: dict[tuple[str, str], Any] = {}

    def lookup(self, netns: str, destination: str) -> None:
        """Asks for the way to an address. Raises OSError where there is no such namespace."""
        try:
            rtnl = self._spaces.by_name[netns].rtnl
        except KeyError:
            raise OSError(None, f"there is no namespace {netns!r}") from None
        target = ipaddress.ip_address(destination)
        event = ev.RouteLookup(at=time.time_ns(), netns=netns, destination=str(target))
        try:
            chosen = rtnl.ask(nl.GETROUTE, _route_request(target, 0))
        except nl.NetlinkFault as fault:
            self._emit(msgspec.structs.replace(event, error=fault.errno))
            return
        found: dict[int, bytes] = dict(nl.attributes(chosen.body, 12))
        matched = None
        try:
            row = rtnl.ask(nl.GETROUTE, _route_request(target, RTM_F_FIB_MATCH)).body
        except nl.NetlinkFault:
            pass  # where the kernel does not tell the row, the way is told without
        else:
            destination_of = dict(nl.attributes(row, 12)).get(RTA_DST)
            matched = f"{address_text(destination_of)}/{row[1]}" if destination_of else "default"
        gateway, source = found.get(RTA_GATEWAY), found.get(RTA_PREFSRC)
        self._emit(
            msgspec.structs.replace(
                event,
                kind=ROUTE_TYPES.get(chosen.body[7], str(chosen.body[7])),
                matched=matched,
                gateway=address_text(gateway) if gateway else None,
                index=struct.unpack("=I", found[RTA_OIF])[0] if RTA_OIF in found else 0,
                source=address_text(source) if source else None,
            )
        )

    def inspect(self, names: Iterable[str], *, settings: bool) -> None:
        """Reads counters, packet filter rules and, if asked for, settings of namespaces."""
        for name in names:
            if name not in self._spaces.by_name:
                continue
            found: dict[str, str | None] = {}
            with self._spaces.entered(name):
                rules = firewall.rules()
                counters = _counters()
                if settings:
                    found = {path: read_sysctl(path) for path in _settings()}
                    found |= {f"link/{link}/arp": "off" for link in _without_arp()}
            at = time.time_ns()
            if settings:  # what was off, and is not any more
                gone = [path for netns, path in self._told if netns == name and "link/" in path]
                found |= {path: "on" for path in gone if path not in found}
            for path, value in found.items():
                if value is not None:
                    event = ev.SettingSet(at=at, netns=name, name=path, value=value)
                    self._tell((name, path), value, event)
            self._tell((name, ""), counters, ev.CountersSet(at=at, netns=name, counters=counters))
            if rules or (name, "firewall") in self._told:
                told = ev.FirewallSet(at=at, netns=name, rules=rules)
                self._tell((name, "firewall"), rules, told)

    def _tell(self, key: tuple[str, str], value: Any, event: Any) -> None:
        if self._told.get(key) != value:
            self._told[key] = value
            self._emit(event)

    def forget(self, netns: str) -> None:
        """Lets go of a namespace that has ended."""
        for key in [key for key in self._told if key[0] == netns]:
            del self._told[key]


def _route_request(target: ipaddress.IPv4Address | ipaddress.IPv6Address, flags: int) -> bytes:
    family = AF_INET if target.version == 4 else AF_INET6
    head = struct.pack("=8BI", family, target.max_prefixlen, 0, 0, 0, 0, 0, 0, flags)
    return head + struct.pack("=HH", 4 + len(target.packed), RTA_DST) + target.packed


def _settings() -> list[str]:
    names = ["all", *(name for _, name in socket.if_nameindex() if name != "lo")]
    return [*SETTINGS, *(f"net/ipv4/conf/{n}/{what}" for n in names for what in OF_INTERFACES)]


def _without_arp() -> list[str]:
    """The interfaces of the current namespace that take no part in ARP (IFF_NOARP)."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack("16sH14x", name.encode(), 0)
            try:
                answer = fcntl.ioctl(asking, SIOCGIFFLAGS, request)
            except OSError:  # it has just gone
                continue
            if struct.unpack_from("H", answer, 16)[0] & IFF_NOARP:
                found.append(name)
    return found


def _counters() -> dict[str, int]:
    """The counters that are not 0, by names like "Ip.InNoRoutes"."""
    found = {}
    for path in COUNTERS:
        lines = Path(path).read_text().splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            group, *titles = names.split()
            for title, value in zip(titles, values.split()[1:], strict=False):
                if value != "0":
                    found[f"{group[:-1]}.{title}"] = int(value)
    return found
