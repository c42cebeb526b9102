"""Netlink sockets: requests sent in bulk, acknowledgements read in bulk (`netlink(7)`).

pyroute2's message classes encode; answers and events are read with `attributes`, since a
lab reads thousands of messages of which it needs four attributes each, and pyroute2's
general decoder takes 0.2 ms for a link.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import struct
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

if "pyroute2" not in sys.modules:
    # pyroute2's __init__ imports all of its protocols: 20 MB and 0.1 s in every agent.
    # Only its message classes are needed, so give the package its path and no __init__.
    _spec = importlib.util.find_spec("pyroute2")
    if _spec is None or _spec.submodule_search_locations is None:
        raise ImportError("pyroute2 is not installed")
    _package = types.ModuleType("pyroute2")
    _package.__spec__ = _spec
    _package.__path__ = list(_spec.submodule_search_locations)
    sys.modules["pyroute2"] = _package

from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

# linux/rtnetlink.h
NEWLINK, DELLINK, GETLINK = 16, 17, 18
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH, GETNEIGH = 28, 29, 30
NEWNSID, GETNSID = 88, 90
GETSTATS = 94

# linux/netlink.h
REQUEST, ACK, ROOT_MATCH = 0x1, 0x4, 0x300
EXCLUSIVE, CREATE = 0x200, 0x400
ERROR, DONE = 2, 3
SOL_NETLINK, EXT_ACK, LISTEN_ALL_NSID = 270, 11, 8
CAPPED, ACK_TLVS = 0x100, 0x200

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


class Message(NamedTuple):
    """One netlink message: `body` is what follows its 16-byte header."""

    kind: int
    body: bytes


class NetlinkFault(OSError):
    """The kernel refused message number `index` of a request, with its own words if any."""

    def __init__(self, code: int, words: str, index: int) -> None:
        super().__init__(code, words or os.strerror(code))
        self.index = index


def encode(
    message_class: type,
    kind: int,
    *,
    flags: int = 0,
    fields: dict[str, Any] | None = None,
    attributes: Sequence[tuple[str, Any]] = (),
) -> tuple[int, int, bytes]:
    """A request, encoded but for its sequence number: ``(type, flags, body)``."""
    message = message_class()
    message.update(fields or {})
    message["attrs"] = list(attributes)
    message["header"] = {"type": kind, "flags": 0, "sequence_number": 0, "pid": 0}
    message.encode()
    return kind, flags, bytes(message.data[16:])


Part = int | str | bytes
"""A part of a request that differs from one to the next: a 32-bit number, a MAC or name, bytes."""


def _part(value: Part) -> bytes:
    if isinstance(value, int):
        return struct.pack("=I", value)
    if isinstance(value, bytes):
        return value
    if len(value) == 17 and value.count(":") == 5:
        return bytes.fromhex(value.replace(":", ""))
    return value.encode()


class Form:
    """A request encoded once, with stand-ins for what differs; `fill` puts values in their place.

    pyroute2 needs 0.1 ms to encode an address and 0.2 for a veth pair, filling in 3 µs; a lab has
    hundreds.
    """

    def __init__(self, request: tuple[int, int, bytes], *stand_ins: Part) -> None:
        self._kind, self._flags, self._body = request
        self._places = []
        for stand_in in stand_ins:
            part = _part(stand_in)
            if self._body.count(part) != 1:
                raise ValueError(f"{stand_in!r} is not once in the request")
            at = self._body.index(part)
            self._places.append((at, at + len(part)))

    def fill(self, *values: Part) -> tuple[int, int, bytes]:
        """The request with these values, in the order of the stand-ins and as long."""
        body = bytearray(self._body)
        for (start, end), value in zip(self._places, values, strict=True):
            part = _part(value)
            if len(part) != end - start:
                raise ValueError(f"{value!r} does not fit into the request")
            body[start:end] = part
        return self._kind, self._flags, bytes(body)


def attributes(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """The attributes (type, value) that start at `offset` of a message's body."""
    end = len(body)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, body[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages in a datagram: ``(type, flags, sequence number, body)``."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


def _words(flags: int, body: bytes) -> str:
    """The extended acknowledgement's text (NLMSGERR_ATTR_MSG), or ""."""
    if not flags & ACK_TLVS:
        return ""
    offset = 20
    if not flags & CAPPED:  # the offending request stands whole between error and attributes
        offset = 4 + struct.unpack_from("=I", body, 4)[0]
    for kind, value in attributes(body, offset):
        if kind == 1:
            return value.rstrip(b"\0").decode(errors="replace")
    return ""


class Netlink:
    """A request socket of the network namespace in which it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(SOL_NETLINK, EXT_ACK, 1)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Closes the socket; the namespace lives on while something else holds it."""
        self._socket.close()

    def _pack(self, request: tuple[int, int, bytes]) -> bytes:
        kind, flags, body = request
        self._sequence += 1
        return _HEADER.pack(16 + len(body), kind, flags | REQUEST, self._sequence, 0) + body

    def send(self, *requests: tuple[int, int, bytes]) -> None:
        """Sends requests at once and waits for every acknowledgement.

        Raises NetlinkFault for the first that the kernel refused; the ones after it were
        tried all the same.
        """
        first = self._sequence + 1
        self._socket.send(b"".join(self._pack((k, f | ACK, b)) for k, f, b in requests))
        fault: NetlinkFault | None = None
        waiting = len(requests)
        while waiting:
            for kind, flags, sequence, body in messages(self._socket.recv(1 << 16)):
                if kind != ERROR or sequence < first:
                    continue
                waiting -= 1
                code = -struct.unpack_from("=i", body)[0]
                if code and fault is None:
                    fault = NetlinkFault(code, _words(flags, body), sequence - first)
        if fault:
            raise fault

    def ask(self, kind: int, body: bytes) -> Message:
        """The one message that answers a request. Raises NetlinkFault."""
        self._socket.send(self._pack((kind, 0, body)))
        while True:
            for got, flags, sequence, content in messages(self._socket.recv(1 << 14)):
                if sequence != self._sequence:
                    continue
                if got == ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    raise NetlinkFault(code, _words(flags, content), 0)
                return Message(got, content)

    def nsid_of(self, fd: int) -> int:
        """The number of the namespace behind `fd` in this one (RTM_GETNSID), -1 for none."""
        _, _, body = encode(nsidmsg, GETNSID, attributes=[("NETNSA_FD", fd)])
        try:
            answer = self.ask(GETNSID, body)
        except NetlinkFault:
            return -1
        found = dict(attributes(answer.body, 4)).get(1)  # NETNSA_NSID
        return int(struct.unpack("=i", found)[0]) if found else -1

    def dump(self, kind: int, body: bytes) -> list[Message]:
        """Every row of a table. Raises NetlinkFault."""
        self._socket.send(self._pack((kind, ROOT_MATCH, body)))
        rows: list[Message] = []
        while True:
            for got, flags, sequence, content in messages(self._socket.recv(1 << 18)):
                if sequence != self._sequence:
                    continue
                if got == ERROR:
                    code = -struct.unpack_from("=i", content)[0]
                    raise NetlinkFault(code, _words(flags, content), 0)
                if got == DONE:
                    return rows
                rows.append(Message(got, content))


__all__ = ["ifaddrmsg", "ifinfmsg", "nsidmsg", "rtmsg"]
