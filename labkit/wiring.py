"""Bridges and cables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit import naming
from labkit.errors import ClosedError, LabkitError
from labkit.hosts import Host
from labkit.model import operations as op
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.model.values import FdbEntry, Interface, Port, Table

if TYPE_CHECKING:
    from labkit.lab import Lab


class Bridge:
    """A bridge: the kernel's switch. It lives in the machine's namespace."""

    def __init__(self, lab: Lab, name: str, interface: str) -> None:
        self.lab = lab
        self.name = name
        self.interface = interface
        self._removed = False

    def __repr__(self) -> str:
        return f"<Bridge {self.name}{' (removed)' if self._removed else ''}>"

    def _check(self) -> None:
        if self._removed:
            raise ClosedError(
                f"The bridge {self.name!r} was removed from the lab.",
                hint=f'Make it again: lab.bridge("{self.name}").',
            )

    def _read(self) -> tuple[State, int]:
        self._check()
        state = self.lab._state(MACHINE)
        link = state.space(MACHINE).link_named(self.interface)
        if link is None:
            raise LabkitError(
                f"The kernel has no bridge {self.interface!r} any more.",
                hint="A command has deleted or renamed it; build the lab again.",
            )
        return state, link.index

    @property
    def ports(self) -> Table[Port]:
        """The interfaces that are plugged into it."""
        state, index = self._read()
        return state.ports(index)

    @property
    def fdb(self) -> Table[FdbEntry]:
        """The forwarding database ("CAM table"), as the kernel has it now."""
        state, index = self._read()
        return state.fdb(index, self.lab.recording.now())

    def flush(self) -> None:
        """Forgets every learned row, as `bridge fdb flush … dynamic` does."""
        self._check()
        self.lab._build(op.FlushFdb(bridge=self.name, interface=self.interface))

    def remove(self) -> None:
        """Removes the bridge and every cable that is plugged into it."""
        self._check()
        self.lab._remove_bridge(self)


class Cable:
    """A veth pair. `a` and `b` are its interfaces, as the kernel has them now."""

    def __init__(self, lab: Lab, a: op.End, b: op.End) -> None:
        self.lab = lab
        self.ends = (a, b)
        self._removed = False

    def __repr__(self) -> str:
        a, b = (f"{end.netns}:{end.interface}" for end in self.ends)
        return f"<Cable {a} ⇄ {b}{' (removed)' if self._removed else ''}>"

    def _check(self) -> None:
        if self._removed:
            raise ClosedError(
                "That cable was removed from the lab.", hint="Plug in a new one: lab.cable(…)."
            )

    @property
    def a(self) -> Interface:
        """The interface at the first end."""
        return self._interface(self.ends[0])

    @property
    def b(self) -> Interface:
        """The interface at the second end."""
        return self._interface(self.ends[1])

    def _interface(self, end: op.End) -> Interface:
        self._check()
        for interface in self.lab._state(end.netns).interfaces(end.netns):
            if interface.name == end.interface:
                return interface
        raise LabkitError(
            f"The kernel has no interface {end.interface!r} in {end.netns} any more.",
            hint="A command has deleted, moved or renamed it.",
        )

    def unplug(self) -> None:
        """Pulls the second end out: takes it down, so that both ends lose their carrier."""
        self._check()
        self.lab._build(op.Unplug(a=self.ends[0], b=self.ends[1]))

    def plug(self) -> None:
        """Puts the second end back, with the routes that went through it."""
        self._check()
        self.lab._build(op.Plug(a=self.ends[0], b=self.ends[1]))

    def remove(self) -> None:
        """Deletes the pair."""
        self._check()
        self.lab._remove_cable(self)


def check_ends(lab: Lab, *ends: tuple[object, object]) -> None:
    """That a cable can join these: each a thing, with the address for it. Raises LabkitError."""
    for thing, address in ends:
        if not isinstance(thing, Host | Bridge):
            raise LabkitError(
                f"A cable cannot be plugged into {naming.shown(thing)}.",
                hint="Plug it into what lab.host(…) and lab.bridge(…) gave.",
            )
        if thing.lab is not lab:
            raise LabkitError(
                f"{thing!r} is of another lab, {thing.lab.name!r}.",
                hint="It may be from before Lab(…) was run again: make it in this lab.",
            )
        thing._check()
        if address is not None and isinstance(thing, Bridge):
            raise LabkitError(
                f"{naming.shown(address)} is for the bridge end, in {thing.name!r}: a bridge's "
                "port has no address.",
                hint="Give it to the bridge itself: "
                f'lab.bridge("{thing.name}", {naming.shown(address)}).',
            )
    (a, _), (b, _) = ends
    if a is b:
        raise LabkitError(
            f"Both ends of the cable are in {a!r}.", hint="A cable joins two different things."
        )
