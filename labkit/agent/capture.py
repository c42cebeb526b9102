"""Every frame at every interface of the lab, as events.

Each namespace has one AF_PACKET socket (`packet(7)`), bound to no interface, so that it
sees what each of them receives and sends, with the kernel's own nanosecond timestamps
(SO_TIMESTAMPNS, `socket(7)`). What is too much for the budget is not read: the kernel
then drops frames and counts them, which costs next to nothing, and the count is told.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from labkit.model import events as ev

SNAP = 1600
"""Bytes kept of a frame: all of one that fits a usual MTU."""
BURST = 100_000
"""Frames that are taken at any speed."""
RATE = 10_000
"""Frames a second that are taken for as long as it goes on."""
BATCH = 64
"""Frames read in one system call."""
ROUND = 4096
"""Frames read before requests have their turn again."""
FEW = 256
"""The same while the kernel is dropping frames."""
BUFFER = 4 << 20

SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
ETH_P_ALL = 3
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40
ETH_P_8021Q = 0x8100
PACKET_TYPES = ("host", "broadcast", "multicast", "otherhost", "outgoing")

_SOCKADDR_LL = struct.Struct("=HHiHBB8s")
# Two control messages, in the order in which packet_recvmsg (net/packet/af_packet.c) puts
# them: a timespec, and tpacket_auxdata.
_CONTROL = struct.Struct("@NiiqqNiiIIIHHHH4x")
_STATISTICS = struct.Struct("=II")


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """`struct mmsghdr`, see `recvmmsg(2)`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("parts", ctypes.c_void_p),
        ("part_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_int),
        ("length", ctypes.c_uint32),
    )


_recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg


class Reader:
    """Reads many frames in one system call, into the same memory each time."""

    def __init__(self) -> None:
        self._data = bytearray(BATCH * SNAP)
        self._names = bytearray(BATCH * _SOCKADDR_LL.size)
        self._controls = bytearray(BATCH * _CONTROL.size)
        self._parts = (_Part * BATCH)()
        self._messages = (_Message * BATCH)()
        data, names, controls = (
            ctypes.addressof(ctypes.c_char.from_buffer(memory))
            for memory in (self._data, self._names, self._controls)
        )
        for i in range(BATCH):
            self._parts[i] = _Part(data + i * SNAP, SNAP)
            self._messages[i] = _Message(
                name=names + i * _SOCKADDR_LL.size,
                name_length=_SOCKADDR_LL.size,
                parts=ctypes.addressof(self._parts[i]),
                part_count=1,
                control=controls + i * _CONTROL.size,
                control_length=_CONTROL.size,
            )
        self._form = bytes(self._messages)  # the kernel writes into it: restored at each call

    def read(self, fd: int, netns: str, most: int) -> list[ev.Frame]:
        """At most `most` frames that wait at a socket. Raises OSError."""
        ctypes.memmove(self._messages, self._form, len(self._form))
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC  # TRUNC: the length is the frame's own
        count = _recvmmsg(fd, self._messages, min(most, BATCH), flags, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.ENETDOWN):
                return []
            raise OSError(code, f"recvmmsg: {os.strerror(code)}")
        return [self._frame(i, netns, self._messages[i].length) for i in range(count)]

    def _frame(self, i: int, netns: str, length: int) -> ev.Frame:
        _, _, index, _, packet_type, _, _ = _SOCKADDR_LL.unpack_from(
            self._names, i * _SOCKADDR_LL.size
        )
        control = _CONTROL.unpack_from(self._controls, i * _CONTROL.size)
        _, _, _, seconds, nanoseconds, _, _, _, status, _, _, _, _, tag, protocol = control
        start = i * SNAP
        data = bytes(self._data[start : start + min(length, SNAP)])
        if status & TP_STATUS_VLAN_VALID:  # the kernel keeps a tag beside the frame: put it back
            if not status & TP_STATUS_VLAN_TPID_VALID:
                protocol = ETH_P_8021Q
            data = data[:12] + struct.pack("!HH", protocol, tag) + data[12:]
            length += 4
        return ev.Frame(
            at=seconds * 1_000_000_000 + nanoseconds,
            netns=netns,
            index=index,
            packet_type=PACKET_TYPES[min(packet_type, 4)],
            data=data,
            length=None if length <= len(data) else length,
        )


def open_socket() -> socket.socket:
    """A socket that captures in the current network namespace. Raises OSError."""
    opened = socket.socket(
        socket.AF_PACKET,
        socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
        socket.htons(ETH_P_ALL),
    )
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    opened.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    try:
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:  # in a user namespace: what net.core.rmem_max allows
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return opened


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Closes packet sockets side by side.

    The kernel lets each wait some 12 ms for its readers (synchronize_net in packet_release,
    net/packet/af_packet.c), and those that come together wait together.
    """
    threads = [threading.Thread(target=one.close) for one in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Capture:
    """Reads the lab's packet sockets, within a budget. Has a `fileno` for a selector."""

    def __init__(self, emit: Callable[[Any], None]) -> None:
        self._emit = emit
        self._epoll = select.epoll()
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        self._reader = Reader()
        self._left: float = BURST
        self._refilled = time.monotonic()
        self._heard: set[int] = set()
        self._is_losing = False

    def fileno(self) -> int:
        """Readable when a frame waits."""
        return self._epoll.fileno()

    def add(self, netns: str) -> None:
        """Captures in the current network namespace, under that name. Raises OSError."""
        opened = open_socket()
        self._sockets[opened.fileno()] = (netns, opened)
        self._epoll.register(opened.fileno(), select.EPOLLIN)

    def remove(self, netns: str) -> None:
        """Lets go of a namespace."""
        for fd, (name, opened) in list(self._sockets.items()):
            if name == netns:
                self._take(fd, ROUND)
                left = 0  # with the last frame that nobody has read goes the chance to count it
                while unread := len(self._reader.read(fd, netns, BATCH)):
                    left += unread
                self._tell_dropped(netns, opened, left)
                del self._sockets[fd]
                self._heard.discard(fd)
                opened.close()

    def close(self) -> None:
        """Closes every socket."""
        close_all(opened for _, opened in self._sockets.values())

    @property
    def is_spent(self) -> bool:
        """Whether the budget is used up, until the next tick."""
        return self._left < 1

    def read(self, most: int = ROUND) -> None:
        """Emits frames that wait: at most about so many, and no more than the budget.

        Where frames are being lost anyhow, few: whoever waits for an answer comes first.
        """
        if self._is_losing:
            most = min(most, FEW)
        while not self.is_spent:
            ready = self._epoll.poll(0)
            if not ready:
                return
            for fd, _ in ready:  # in turns, so that no namespace takes all of the budget
                most -= max(self._take(fd, BATCH), 1)
                if most <= 0:
                    return

    def _take(self, fd: int, most: int) -> int:
        netns, _ = self._sockets[fd]
        self._heard.add(fd)
        total = 0
        while total < most and not self.is_spent:
            frames = self._reader.read(fd, netns, min(BATCH, int(self._left)))
            for frame in frames:
                self._emit(frame)
            total += len(frames)
            self._left -= len(frames)
            if len(frames) < BATCH:
                break
        return total

    def tick(self) -> None:
        """Refills the budget, and tells how many frames the kernel had to drop."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._refilled) * RATE)
        self._refilled = now
        self._is_losing = False
        self.tell_dropped()
        self._heard.clear()

    def tell_dropped(self) -> None:
        """Tells how many frames the kernel had to drop since this was last asked."""
        where = self._heard if not (self.is_spent or self._is_losing) else self._sockets
        for fd in where:
            self._tell_dropped(*self._sockets[fd])

    def _tell_dropped(self, netns: str, opened: socket.socket, more: int = 0) -> None:
        # Reading the statistics sets them to 0, packet(7).
        seen = opened.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size)
        dropped = _STATISTICS.unpack(seen)[1]
        self._is_losing = self._is_losing or bool(dropped)
        if dropped + more:
            count = dropped + more
            self._emit(ev.Lost(at=time.time_ns(), what="frames", count=count, netns=netns))
