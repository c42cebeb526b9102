"""What a lab can be asked to change: the operations of a build.

An operation is complete: every name, MAC and address is decided before it is sent,
so the agent only carries it out, `commands` can say it in `ip` and `bridge`, and a
recording of the applied operations is the recipe of the network.
"""

from __future__ import annotations

import msgspec

MACHINE = "machine"
"""The name of the lab's own "host" stack: the namespace in which bridges live."""


class _Operation(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    pass


class AddHost(_Operation, frozen=True, kw_only=True, tag=True):
    """A host: a network namespace of its own, or (`netns` is "machine") the machine's."""

    name: str
    netns: str
    forwarding: bool = False
    ipv6: bool = False


class RemoveHost(_Operation, frozen=True, kw_only=True, tag=True):
    """Ends the host's processes, its cables and its namespace."""

    name: str
    netns: str


class AddBridge(_Operation, frozen=True, kw_only=True, tag=True):
    """A bridge in the machine's namespace. `ageing` is in seconds."""

    name: str
    interface: str
    mac: str
    address: str | None = None
    ageing: float = 300
    stp: bool = False
    ipv6: bool = False


class RemoveBridge(_Operation, frozen=True, kw_only=True, tag=True):
    name: str
    interface: str


class End(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a cable: an interface, with either an address or a bridge to be a port of."""

    netns: str
    interface: str
    mac: str
    address: str | None = None
    bridge: str | None = None
    altname: str | None = None


class _OfCable(_Operation, frozen=True, kw_only=True, tag=True):
    a: End
    b: End


class AddCable(_OfCable, frozen=True, kw_only=True, tag=True):
    """A veth pair, both ends up."""


class RemoveCable(_OfCable, frozen=True, kw_only=True, tag=True):
    """Deletes one end of a veth pair; the kernel deletes the other."""


class Unplug(_OfCable, frozen=True, kw_only=True, tag=True):
    """Takes the `b` end of a cable down, so that both ends lose their carrier."""


class Plug(_OfCable, frozen=True, kw_only=True, tag=True):
    """Brings the `b` end of a cable up again, with the routes it had."""


class AddRoute(_Operation, frozen=True, kw_only=True, tag=True):
    """A route in the main table: through a gateway, out of an interface, or both."""

    netns: str
    destination: str
    via: str | None = None
    interface: str | None = None


class RemoveRoute(_Operation, frozen=True, kw_only=True, tag=True):
    netns: str
    destination: str
    via: str | None = None
    interface: str | None = None


class FlushFdb(_Operation, frozen=True, kw_only=True, tag=True):
    """Forgets every learned row of a bridge's forwarding database."""

    bridge: str
    interface: str


Operation = (
    AddHost
    | RemoveHost
    | AddBridge
    | RemoveBridge
    | AddCable
    | RemoveCable
    | Unplug
    | Plug
    | AddRoute
    | RemoveRoute
    | FlushFdb
)
