"""Every frame at every interface of the lab, as events.

Each namespace has one AF_PACKET socket (`packet(7)`), bound to no interface, so that it
sees what each of them receives and sends, with the kernel's own nanosecond timestamps
(SO_TIMESTAMPNS, `socket(7)`). While frames come in they are only taken in, as the kernel
gave them; they are made into events when no more wait, a few at a time. What is too much
for the budget is not read: the kernel then drops frames and counts them, which costs next to
nothing, and the count is told.
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
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

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
HELD = 24 << 20
"""Bytes taken in and not yet told, about, at most: telling then comes before taking in."""
TOLD = 1024
"""Frames told before requests have their turn again."""
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


_LENGTHS = struct.Struct(
    f"={_Message.length.offset}xI{ctypes.sizeof(_Message) - _Message.length.offset - 4}x"
)
_recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg


class _Loss(NamedTuple):
    """Frames that the kernel dropped, to be told after those that it did not."""

    netns: str
    dropped: int


class Batch(NamedTuple):
    """Frames of one namespace as one system call gave them, not yet taken apart."""

    netns: str
    lengths: list[int]
    names: bytes
    controls: bytes
    data: bytes

    @property
    def size(self) -> int:
        """Bytes that it takes, but for what Python adds."""
        return len(self.names) + len(self.controls) + len(self.data)

    def frames(self) -> Iterator[ev.Frame]:
        """The frames as events."""
        start = 0
        parts = zip(
            self.lengths,
            _SOCKADDR_LL.iter_unpack(self.names),
            _CONTROL.iter_unpack(self.controls),
            strict=True,
        )
        for length, (_, _, index, _, packet_type, _, _), control in parts:
            end = start + min(length, SNAP)
            yield _frame(self.netns, index, packet_type, length, control, self.data[start:end])
            start = end


def _frame(
    netns: str, index: int, packet_type: int, length: int, control: tuple[int, ...], data: bytes
) -> ev.Frame:
    _, _, _, seconds, nanoseconds, _, _, _, status, _, _, _, _, tag, protocol = control
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


class Reader:
    """Reads many frames in one system call, into the same memory each time."""

    def __init__(self) -> None:
        self._data = memoryview(bytearray(BATCH * SNAP))
        self._names = memoryview(bytearray(BATCH * _SOCKADDR_LL.size))
        self._controls = memoryview(bytearray(BATCH * _CONTROL.size))
        self._parts = (_Part * BATCH)()
        self._messages = (_Message * BATCH)()
        self._heads = memoryview(self._messages).cast("B")
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

    def read(self, fd: int, netns: str, most: int) -> Batch | None:
        """At most `most` frames that wait at a socket; None where none does. Raises OSError."""
        ctypes.memmove(self._messages, self._form, len(self._form))
        flags = socket.MSG_DONTWAIT | socket.MSG_TRUNC  # TRUNC: the length is the frame's own
        count = _recvmmsg(fd, self._messages, min(most, BATCH), flags, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.ENETDOWN):
                return None
            raise OSError(code, f"recvmmsg: {os.strerror(code)}")
        heads = self._heads[: count * _LENGTHS.size]
        lengths = [length for (length,) in _LENGTHS.iter_unpack(heads)]
        starts = range(0, count * SNAP, SNAP)
        parts = [
            self._data[start : start + min(length, SNAP)]
            for start, length in zip(starts, lengths, strict=True)
        ]
        return Batch(
            netns,
            lengths,
            bytes(self._names[: count * _SOCKADDR_LL.size]),
            bytes(self._controls[: count * _CONTROL.size]),
            b"".join(parts),
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
        self._taken: deque[Batch | _Loss] = deque()
        self._held = 0
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
                while unread := self._reader.read(fd, netns, BATCH):
                    left += len(unread.lengths)
                self._count_dropped(netns, opened, left)
                del self._sockets[fd]
                self._heard.discard(fd)
                opened.close()
        self.tell()

    def close(self) -> None:
        """Closes every socket."""
        close_all(opened for _, opened in self._sockets.values())

    @property
    def is_spent(self) -> bool:
        """Whether the budget is used up, until the next tick."""
        return self._left < 1

    @property
    def is_behind(self) -> bool:
        """Whether frames have been taken in that are not told yet."""
        return bool(self._taken)

    def read(self, most: int = ROUND) -> None:
        """Takes in frames that wait: at most about so many, and no more than the budget.

        Where frames are being lost anyhow, few: whoever waits for an answer comes first.
        """
        if self._is_losing:
            most = min(most, FEW)
        while not self.is_spent and self._held < HELD:
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
            batch = self._reader.read(fd, netns, min(BATCH, int(self._left)))
            if batch is None:
                break
            self._taken.append(batch)
            count = len(batch.lengths)
            self._held += batch.size
            self._left -= count
            total += count
            if count < BATCH:
                break
        return total

    def catch_up(self) -> None:
        """Tells some of what was taken in, unless more waits that may be taken in first."""
        if self.is_spent or self._held >= HELD or not self._epoll.poll(0):
            self.tell(TOLD)

    def tell(self, most: int | None = None) -> None:
        """Emits what has been taken in, in that order: all of it, or about so many frames."""
        told = 0
        while self._taken and (most is None or told < most):
            one = self._taken.popleft()
            if isinstance(one, _Loss):
                at = time.time_ns()
                self._emit(ev.Lost(at=at, what="frames", count=one.dropped, netns=one.netns))
                continue
            self._held -= one.size
            told += len(one.lengths)
            for frame in one.frames():
                self._emit(frame)

    def flush(self, most: int) -> None:
        """Emits what waits, at most about so many, what was taken in before, and what was lost."""
        self.read(most)
        self.count_dropped()
        self.tell()

    def tick(self) -> None:
        """Refills the budget, and counts the frames that the kernel had to drop."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._refilled) * RATE)
        self._refilled = now
        self._is_losing = False
        self.count_dropped()
        self._heard.clear()

    def count_dropped(self) -> None:
        """Counts the frames that the kernel had to drop since this was last asked, to be told."""
        where = self._heard if not (self.is_spent or self._is_losing) else self._sockets
        for fd in where:
            self._count_dropped(*self._sockets[fd])

    def _count_dropped(self, netns: str, opened: socket.socket, more: int = 0) -> None:
        # Reading the statistics sets them to 0, packet(7).
        seen = opened.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size)
        dropped = _STATISTICS.unpack(seen)[1]
        self._is_losing = self._is_losing or bool(dropped)
        if dropped + more:
            self._taken.append(_Loss(netns, dropped + more))
