"""A frame's bytes as layers and fields. scapy decodes, and is imported only when needed."""

from __future__ import annotations

import contextlib
import logging
import threading
from functools import lru_cache
from typing import Any

import msgspec

from labkit.model.events import Frame

BROADCAST = "ff:ff:ff:ff:ff:ff"
UNKNOWN = "unknown"
ASKING = ("who-has", "neighbour-solicitation")
ANSWERING = ("is-at", "neighbour-advertisement")

ICMP_ERRORS = {3: "destination-unreachable", 5: "redirect", 11: "time-exceeded"}
UNREACHABLE = {
    0: "network-unreachable", 1: "host-unreachable", 2: "protocol-unreachable",
    3: "port-unreachable", 4: "fragmentation-needed", 9: "network-prohibited",
    10: "host-prohibited", 13: "prohibited",
}  # fmt: skip
"""The codes of ICMP type 3, RFC 792 and RFC 1812."""
IGMP = 2
TCP_FLAGS = {"S": "SYN", "A": "ACK", "F": "FIN", "R": "RST", "P": "PSH"}
# From scapy's names to the ones that people use; of those in a frame the last is the protocol.
PROTOCOLS = {
    "ARP": "ARP", "IP": "IPv4", "IPv6": "IPv6", "ICMP": "ICMP", "TCP": "TCP", "UDP": "UDP",
    "DNS": "DNS", "DHCP": "DHCP", "BOOTP": "DHCP", "VXLAN": "VXLAN", "STP": "STP",
    "Dot1Q": "802.1Q",
}  # fmt: skip


class Field(msgspec.Struct, frozen=True):
    """A field of a header: its name, its value in words, and its bytes' place in the frame."""

    name: str
    value: str
    offset: int = 0
    size: int = 0


class Layer(msgspec.Struct, frozen=True):
    """One header of a frame."""

    name: str
    fields: tuple[Field, ...]


class Packet(msgspec.Struct, frozen=True, kw_only=True):
    """What a frame says. Empty strings and None where a layer is not there.

    `protocol` is the innermost that is known; `source` and `target` are IP addresses (for ARP
    and IPv6 neighbour discovery, the sender's and the one asked for), `sender_mac` the MAC that
    these tell; `operation` is an ARP's, ICMP's or TCP's message in words; `identity` what stays
    the same when a router passes the packet on; `quoted` the packet that an ICMP error is about.
    """

    protocol: str
    source_mac: str = ""
    target_mac: str = ""
    source: str = ""
    target: str = ""
    operation: str = ""
    sender_mac: str = ""
    ttl: int | None = None
    ident: int | None = None
    sequence: int | None = None
    ports: tuple[int, int] | None = None
    identity: tuple[Any, ...] = ()
    quoted: Packet | None = None
    summary: str = ""

    @property
    def is_broadcast(self) -> bool:
        """Whether it is for every host, or a group of them."""
        return bool(self.target_mac) and int(self.target_mac[:2], 16) & 1 == 1

    @property
    def asks(self) -> bool:
        """Whether it asks for the MAC address of its target: ARP, or RFC 4861 for IPv6."""
        return self.operation in ASKING

    @property
    def answers(self) -> bool:
        """Whether it tells the MAC address of its source, as an answer or an announcement."""
        return self.operation in ANSWERING

    @property
    def resolves(self) -> bool:
        """Whether it is part of finding a MAC address, and not a packet that is under way."""
        return self.protocol == "ARP" or self.asks or self.answers


@lru_cache(maxsize=1)
def _scapy() -> Any:
    """Scapy's Ethernet layer, with the protocols that a lab meets."""
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)  # it would warn of its own set-up
    import scapy.layers.dhcp
    import scapy.layers.dns
    import scapy.layers.inet
    import scapy.layers.inet6
    import scapy.layers.l2
    import scapy.layers.vxlan

    return scapy


@lru_cache(maxsize=1)
def warm() -> None:
    """Begins to import scapy, which takes longer than a ping: a journey is soon asked for."""
    with contextlib.suppress(RuntimeError):  # no threads here: when it is needed, then
        threading.Thread(target=_scapy, name="labkit decoder", daemon=True).start()


@lru_cache(maxsize=2048)
def dissect(data: bytes) -> Any:
    """The frame as scapy's layers; what it cannot decode stays raw."""
    scapy = _scapy()
    try:
        return scapy.layers.l2.Ether(data)
    except Exception:  # noqa: BLE001 (scapy's decoders raise what they like at odd bytes)
        return scapy.packet.Raw(data)


@lru_cache(maxsize=8192)
def decode(data: bytes) -> Packet:
    """What a frame says."""
    frame = dissect(data)
    stack = list(frame.iterpayloads())
    by_name = {type(layer).__name__: layer for layer in reversed(stack)}  # the outermost of a kind
    fields: dict[str, Any] = {"protocol": UNKNOWN}
    for layer in stack:
        name = type(layer).__name__
        if name.startswith("ICMPv6"):
            fields["protocol"] = "ICMPv6"
        elif name in PROTOCOLS:
            fields["protocol"] = PROTOCOLS[name]
    for name in ("Ether", "Dot3"):
        if name in by_name:
            fields |= {"source_mac": by_name[name].src, "target_mac": by_name[name].dst}
    if "ARP" in by_name:
        fields |= _arp(by_name["ARP"])
    elif "IP" in by_name:
        fields |= _ip(by_name["IP"], stack)
    elif "IPv6" in by_name:
        fields |= _ip6(by_name["IPv6"], stack)
    try:
        fields["summary"] = frame.summary()
    except Exception:  # noqa: BLE001 (the same)
        fields["summary"] = fields["protocol"]
    return Packet(**fields)


def _arp(arp: Any) -> dict[str, Any]:
    operations = {1: "who-has", 2: "is-at"}
    return {
        "source": arp.psrc,
        "target": arp.pdst,
        "sender_mac": arp.hwsrc,
        "operation": operations.get(arp.op, str(arp.op)),
    }


def _ip(ip: Any, stack: list[Any]) -> dict[str, Any]:
    inner = ip.payload
    fields: dict[str, Any] = {"source": ip.src, "target": ip.dst, "ttl": ip.ttl}
    more: tuple[Any, ...] = ()
    match type(inner).__name__:
        case "ICMP":
            fields |= _icmp(inner, stack)
            more = (inner.type, fields["sequence"])
        case "TCP":
            fields["ports"] = (inner.sport, inner.dport)
            flags = [TCP_FLAGS.get(flag, "") for flag in str(inner.flags)]
            fields["operation"] = " ".join(filter(None, flags))
            more = (inner.seq, inner.ack, int(inner.flags))
        case "UDP":
            fields["ports"] = (inner.sport, inner.dport)
    if ip.proto == IGMP:
        fields["protocol"] = "IGMP"
    fields["identity"] = (ip.version, ip.proto, ip.id, ip.frag, ip.len, *more)
    return fields


def _icmp(icmp: Any, stack: list[Any]) -> dict[str, Any]:
    names = {8: "echo-request", 0: "echo-reply"}
    operation = names.get(icmp.type) or ICMP_ERRORS.get(icmp.type, f"type {icmp.type}")
    fields: dict[str, Any] = {"operation": operation, "ident": None, "sequence": None}
    if icmp.type in names:
        return fields | {"ident": icmp.id, "sequence": icmp.seq}
    if icmp.type == 3:  # RFC 792
        fields["operation"] = UNREACHABLE.get(icmp.code, operation)
    quoted = next((layer for layer in stack if type(layer).__name__ == "IPerror"), None)
    if quoted is not None:
        inner = quoted.payload
        fields["quoted"] = Packet(
            protocol=type(inner).__name__.removesuffix("error"),
            source=quoted.src,
            target=quoted.dst,
            ident=getattr(inner, "id", None),
            sequence=getattr(inner, "seq", None),
        )
    return fields


def _ip6(ip: Any, stack: list[Any]) -> dict[str, Any]:
    inner = ip.payload
    fields: dict[str, Any] = {"source": ip.src, "target": ip.dst, "ttl": ip.hlim}
    if hasattr(inner, "sport"):
        fields["ports"] = (inner.sport, inner.dport)
    for layer in stack:
        name = type(layer).__name__
        if name in ("ICMPv6EchoRequest", "ICMPv6EchoReply"):
            operation = "echo-request" if name.endswith("Request") else "echo-reply"
            fields |= {"operation": operation, "ident": layer.id, "sequence": layer.seq}
        elif name == "ICMPv6ND_NS":
            mac = getattr(layer.payload, "lladdr", "")  # none in a duplicate address detection
            fields |= {"operation": ASKING[1], "target": layer.tgt, "sender_mac": mac}
        elif name == "ICMPv6ND_NA":
            mac = getattr(layer.payload, "lladdr", "")
            fields |= {"operation": ANSWERING[1], "source": layer.tgt, "sender_mac": mac}
        elif name.startswith("ICMPv6") and "operation" not in fields:
            fields["operation"] = layer.name
    if "sequence" in fields:
        fields["identity"] = (6, fields["operation"], fields["ident"], fields["sequence"], ip.plen)
    return fields


def layers(data: bytes) -> tuple[Layer, ...]:
    """A frame's headers, from the outside in, with every field and where its bytes are."""
    found = []
    start = 0
    for layer in dissect(data).iterpayloads():
        fields, size = _fields(layer, start)
        found.append(Layer(str(layer.name), fields))
        start += size
    return tuple(found)


def _fields(layer: Any, start: int) -> tuple[tuple[Field, ...], int]:
    """A layer's fields, and how many bytes its header takes.

    scapy does not say where a field is. Building the header field by field, as its own
    `self_build` does, shows how far each reaches; bit fields are left pending in a tuple.
    """
    built: Any = b""
    found = []
    for field in layer.fields_desc:
        value = layer.getfieldval(field.name)
        before = _length(built)
        try:
            grown = field.addfield(layer, built, value)
            text = str(field.i2repr(layer, value))
        except Exception:  # noqa: BLE001 (a field that scapy itself cannot build is shown as it is)
            found.append(Field(field.name, str(value)))
            continue
        built = grown
        if grown is not None and (value is not None):
            size = _length(built, up=True) - before
            if size > 0:  # else it is one that this kind of message does not have
                found.append(Field(field.name, text, start + before, size))
    return tuple(found), _length(built)


def _length(built: Any, *, up: bool = False) -> int:
    """Whole bytes of a header being built; with `up` a byte that is begun counts, too."""
    if isinstance(built, tuple):
        return len(built[0]) + (1 if up and built[1] else 0)
    return len(built)


def in_short(event: object) -> str:
    """What a captured frame says in a few words, as a chart has room for; else nothing."""
    if not isinstance(event, Frame):
        return ""
    packet = decode(event.data)
    words = [packet.protocol, packet.operation]
    if packet.protocol == "ARP":
        words.append(packet.target if packet.operation == "who-has" else packet.source)
    elif packet.protocol == "ICMP" and packet.operation in ("echo-request", "echo-reply"):
        words = [packet.operation, str(packet.sequence)]
    return " ".join(word for word in words if word)
