"""The lab's network namespaces: the machine's, in which the agent is, and the hosts'."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cache
from pathlib import Path
from typing import Any

from labkit.agent import netlink as nl
from labkit.agent.capture import Capture
from labkit.agent.syscalls import (
    CLONE_NEWNET,
    MS_BIND,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    entered,
    mount,
    setns,
    umount,
    unshare,
)
from labkit.model.operations import MACHINE

RUN = Path("/run")
NETNS = RUN / "netns"
SCRATCH = RUN / "labkit"
OF_THE_MACHINE = ("sys/kernel", "sys/vm", "sys/fs", "sys/dev", "sysrq-trigger", "irq", "bus")
"""What in /proc is no namespace's own: a root's slip there would change the machine."""


class Namespace:
    """One network namespace: a file descriptor that holds it, and a request socket in it."""

    def __init__(self, name: str, nsid: int | None) -> None:
        self.name = name
        self.nsid = nsid
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.inode = os.fstat(self.fd).st_ino
        self.rtnl = nl.Netlink()


class Namespaces:
    """All namespaces of the lab, by name; made and removed here alone."""

    def __init__(self, emit: Callable[[Any], None]) -> None:
        _private_mounts()
        self.capture = Capture(emit)
        self.machine = Namespace(MACHINE, None)
        self.capture.add(MACHINE)
        self.by_name = {MACHINE: self.machine}
        self.by_nsid: dict[int | None, Namespace] = {None: self.machine}
        self._next_nsid = 0
        self._away = False  # whether the agent is in another namespace than the machine's
        settle(forwarding=False, ipv6=False)
        self.machine.rtnl.send(link_up(1))

    def add(self, name: str, *, forwarding: bool, ipv6: bool) -> Namespace:
        """Makes a namespace as `ip netns add` does, loopback up. Raises OSError.

        Leaves the agent in it: see `go_home`.
        """
        path = below(NETNS, name)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o444))
        space: Namespace | None = None
        try:
            unshare(CLONE_NEWNET)
            self._away = True
            mount("/proc/self/ns/net", str(path), flags=MS_BIND)
            space = Namespace(name, self._next_nsid)
            self.capture.add(name)
            settle(forwarding=forwarding, ipv6=ipv6)
            # Known by number to the machine's namespace, whose one monitor socket then
            # hears it (netlink(7), NETLINK_LISTEN_ALL_NSID).
            self.machine.rtnl.send(_number_form().fill(self._next_nsid, space.fd))
            space.rtnl.send(link_up(1))
        except OSError:
            self._discard(name, space)
            raise
        self._next_nsid += 1
        self.by_name[name] = self.by_nsid[space.nsid] = space
        return space

    def remove(self, name: str) -> None:
        """Lets go of a namespace; the kernel ends it when no process is left in it."""
        space = self.by_name.pop(name)
        self.by_nsid.pop(space.nsid)
        self._discard(name, space)

    def _discard(self, name: str, space: Namespace | None) -> None:
        path = NETNS / name
        self.capture.remove(name)
        with suppress(OSError):
            umount(str(path))
        path.unlink(missing_ok=True)
        if space:
            space.rtnl.close()
            os.close(space.fd)

    def go_home(self) -> None:
        """Brings the agent back to the machine's namespace."""
        if self._away:
            setns(self.machine.fd)
            self._away = False

    def entered(self, name: str) -> AbstractContextManager[None]:
        """A context in which the agent is inside that namespace."""
        self.go_home()
        if name == MACHINE:
            return nullcontext()
        return entered(self.by_name[name].fd, self.machine.fd)


def below(folder: Path, name: str) -> Path:
    """A path that does not leave the folder, whatever the name. Raises OSError (EINVAL)."""
    path = Path(os.path.normpath(folder / name))
    if folder not in path.parents or "\0" in name:
        raise OSError(errno.EINVAL, f"{name!r} leads out of {folder}")
    return path


NSID, FD, INDEX = 0x7A000001, 0x7A000002, 0x7A000003  # stand-ins, see netlink.Form


@cache
def _number_form() -> nl.Form:
    """The request that gives a namespace its number."""
    attributes = [("NETNSA_NSID", NSID), ("NETNSA_FD", FD)]
    return nl.Form(nl.encode(nl.nsidmsg, nl.NEWNSID, attributes=attributes), NSID, FD)


@cache
def _link_form(*, up: bool) -> nl.Form:
    fields = {"index": INDEX, "flags": int(up), "change": 1}
    return nl.Form(nl.encode(nl.ifinfmsg, nl.NEWLINK, fields=fields), INDEX)


def link_up(index: int, *, up: bool = True) -> tuple[int, int, bytes]:
    """The request that brings an interface up, or down."""
    return _link_form(up=up).fill(index)


def _private_mounts() -> None:
    """A /run, /var/log and /sys of the lab's own; the mount namespace is private already."""
    mount("tmpfs", str(RUN), "tmpfs")
    NETNS.mkdir(parents=True)
    SCRATCH.mkdir()
    # As ip-netns(8) would do at its first `ip netns add`, but before there is a namespace in it: a
    # second mount of a folder that has some would hold them for ever.
    mount(str(NETNS), str(NETNS), flags=MS_BIND | MS_REC)
    mount("none", str(NETNS), flags=MS_SHARED | MS_REC)
    with suppress(OSError):  # nginx opens its default log before it reads where to log
        mount("tmpfs", "/var/log", "tmpfs")
        Path("/var/log/nginx").mkdir()
    for name in OF_THE_MACHINE:
        with suppress(OSError):  # any user but root may not write there anyhow
            mount(f"/proc/{name}", f"/proc/{name}", flags=MS_BIND)
            mount("none", f"/proc/{name}", flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
    with suppress(OSError):  # brctl reads /sys; refused in some containers, and then does without
        mount("sysfs", "/sys", "sysfs")


def settle(*, forwarding: bool, ipv6: bool) -> None:
    """Sets what a fresh namespace would inherit from the machine, so labs are alike."""
    # "all" sets "default" too (addrconf_disable_ipv6 in net/ipv6/addrconf.c)
    write_sysctl("ipv6/conf/all/disable_ipv6", "0" if ipv6 else "1")
    write_sysctl("ipv4/ip_forward", str(int(forwarding)))
    # Any user may ping. In a user namespace only the groups that it maps can be named.
    if not write_sysctl("ipv4/ping_group_range", "0 2147483647"):
        write_sysctl("ipv4/ping_group_range", "0 0")
    for table in ("iptables", "ip6tables", "arptables"):
        write_sysctl(f"bridge/bridge-nf-call-{table}", "0")


def read_sysctl(path: str) -> str | None:
    """A setting of the current namespace, by its path below /proc/sys; None where there is none."""
    try:
        return Path("/proc/sys", path).read_text().strip()
    except OSError:
        return None


def write_sysctl(name: str, value: str) -> bool:
    """Writes a `net.*` setting of the current namespace; False where there is none such."""
    try:
        fd = os.open(f"/proc/sys/net/{name}", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, value.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
