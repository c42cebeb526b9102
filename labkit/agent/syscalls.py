"""The system calls that Python 3.11 does not wrap, and entering a namespace."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
POWER_OFF = 0x4321FEDC

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    """`unshare(2)`. Raises OSError."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, flags: int = CLONE_NEWNET) -> None:
    """`setns(2)`. Raises OSError."""
    _check(_libc.setns(fd, flags), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """`mount(2)`. Raises OSError."""
    words = (source.encode(), target.encode(), kind.encode())
    _check(_libc.mount(*words, ctypes.c_ulong(flags), options.encode()), f"mount {target}")


def umount(target: str) -> None:
    """`umount2(2)`, detached: what still uses the mount keeps it. Raises OSError."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def power_off() -> NoReturn:
    """`reboot(2)` with LINUX_REBOOT_CMD_POWER_OFF: the end of this very Linux, at once."""
    _libc.reboot(POWER_OFF)
    raise SystemExit


@contextmanager
def entered(fd: int, home: int) -> Iterator[None]:
    """Runs a block in the network namespace of `fd`, then goes back to that of `home`."""
    setns(fd)
    try:
        yield
    finally:
        setns(home)
