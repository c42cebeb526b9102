"""A frame's bytes as layers and fields. scapy decodes, and is imported only when needed."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from scapy.packet import Packet as ScapyPacket


class Field(msgspec.Struct, frozen=True):
    """A field of a header: its name, its value as people write it, its bytes within the frame."""

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

    `protocol` is the innermost that is known; `source` and `target` are IP addresses (for ARP,
    the sender's and the one asked for); `operation` is an ARP's or ICMP's message in words;
    `identity` what stays the same when a router passes an IP packet on.
    """

    protocol: str
    source_mac: str = ""
    target_mac: str = ""
    source: str = ""
    target: str = ""
    operation: str = ""
    ttl: int | None = None
    sequence: int | None = None
    ident: int | None = None
    sender_mac: str = ""
    summary: str = ""
    identity: tuple[object, ...] = ()
    quoted: Packet | None = None
    ports: tuple[int, int] | None = None


BROADCAST = "ff:ff:ff:ff:ff:ff"


@lru_cache(maxsize=1)
def _scapy() -> Any:
    """The parts of scapy that are used. A second import takes no time."""
    logging.getLogger("scapy.runtime").setLevel(logging.ERROR)  # it would warn of its own set-up
    import scapy.layers.all
    import scapy.packet

    return scapy


def dissect(data: bytes) -> ScapyPacket:
    """The frame as scapy's layers; what it cannot decode stays raw."""
    raise NotImplementedError


def decode(data: bytes) -> Packet:
    """What a frame says."""
    raise NotImplementedError


def layers(data: bytes) -> tuple[Layer, ...]:
    """A frame's headers, from the outside in, with every field."""
    raise NotImplementedError
