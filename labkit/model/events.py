"""The events of a lab's one log, which are also the wire format of the agent.

Every event says when (`at`, nanoseconds since the epoch, the kernel's realtime clock)
and most say where (`netns`, the namespace's name in the lab). ``…Set`` means "is now
so": created or changed; a fold over the events gives the state (see `state`).
"""

from __future__ import annotations

import msgspec

from labkit.model.operations import Operation
from labkit.model.text import visible


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    at: int


class Applied(_Event, frozen=True, kw_only=True, tag=True):
    """An operation was carried out. `lab.commands` is a view of these."""

    operation: Operation


class LinkSet(_Event, frozen=True, kw_only=True, tag=True):
    """An interface exists, as RTM_NEWLINK says (`rtnetlink(7)`).

    `master` is the index of the bridge this is a port of; `peer_netns` and `peer_index`
    say where a veth's other end is, when that is in the lab. `port_state` and `isolated` are
    a bridge port's (`bridge(8)`): frames do not pass from one isolated port to another. Names
    are told as they can be shown: what a learner calls an interface may hold any character.
    """

    netns: str
    index: int
    name: str
    kind: str = ""
    mac: str = ""
    is_up: bool = False
    has_carrier: bool = False
    mtu: int = 0
    master: int | None = None
    peer_netns: str | None = None
    peer_index: int | None = None
    port_state: str | None = None
    isolated: bool = False
    altnames: tuple[str, ...] = ()

    @property
    def peer(self) -> tuple[str, int] | None:
        """Where a veth's other end is: the namespace and its index there."""
        if self.peer_netns is None or self.peer_index is None:
            return None
        return self.peer_netns, self.peer_index

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            msgspec.structs.force_setattr(self, "name", visible(self.name))
        if not all(map(str.isprintable, self.altnames)):
            msgspec.structs.force_setattr(self, "altnames", tuple(map(visible, self.altnames)))


class LinkRemoved(_Event, frozen=True, kw_only=True, tag=True):
    netns: str
    index: int


class AddressSet(_Event, frozen=True, kw_only=True, tag=True):
    netns: str
    index: int
    address: str


class AddressRemoved(_Event, frozen=True, kw_only=True, tag=True):
    netns: str
    index: int
    address: str


class RouteSet(_Event, frozen=True, kw_only=True, tag=True):
    """A row of the main routing table; `metric` is part of what tells rows apart."""

    netns: str
    destination: str
    gateway: str | None = None
    index: int = 0
    scope: str = "global"
    metric: int = 0


class RouteRemoved(_Event, frozen=True, kw_only=True, tag=True):
    netns: str
    destination: str
    gateway: str | None = None
    index: int = 0
    scope: str = "global"
    metric: int = 0


class NeighbourSet(_Event, frozen=True, kw_only=True, tag=True):
    """A row of the neighbour table; `state` is the kernel's own name."""

    netns: str
    index: int
    address: str
    state: str
    mac: str | None = None


class NeighbourRemoved(_Event, frozen=True, kw_only=True, tag=True):
    netns: str
    index: int
    address: str


class FdbSet(_Event, frozen=True, kw_only=True, tag=True):
    """A row of a bridge's forwarding database.

    `updated` is when a frame from `mac` last came in, nanoseconds since the epoch
    (from NDA_CACHEINFO), or None for rows that do not age.
    """

    netns: str
    bridge: int
    port: int
    mac: str
    kind: str
    vlan: int | None = None
    updated: int | None = None


class FdbRemoved(_Event, frozen=True, kw_only=True, tag=True):
    netns: str
    bridge: int
    port: int
    mac: str
    vlan: int | None = None


class NamespaceRemoved(_Event, frozen=True, kw_only=True, tag=True):
    """A namespace ended, and with it all that was in it."""

    netns: str


class Traffic(_Event, frozen=True, kw_only=True, tag=True):
    """Packets that an interface has received and sent so far (IFLA_STATS64)."""

    netns: str
    index: int
    received: int
    sent: int


class Frame(_Event, frozen=True, kw_only=True, tag=True):
    """A frame as an interface received or sent it; `at` is the kernel's own timestamp.

    `packet_type` is the kernel's word (`packet(7)`): "host", "broadcast", "multicast" and
    "otherhost" for what came in, "outgoing" for what went out. `data` begins with the
    Ethernet header; `length` is the frame's, where `data` holds only its beginning.
    """

    netns: str
    index: int
    packet_type: str
    data: bytes
    length: int | None = None

    @property
    def is_outgoing(self) -> bool:
        """Whether the interface sent it."""
        return self.packet_type == "outgoing"


class RouteLookup(_Event, frozen=True, kw_only=True, tag=True):
    """What the kernel answered when asked for the way to an address (RTM_GETROUTE).

    `matched` is the row of the routing table that it chose (with RTM_F_FIB_MATCH); `kind` the
    row's type: "unicast", "local", "blackhole" and so on. `error` is the errno of a refusal.
    """

    netns: str
    destination: str
    kind: str = "unicast"
    matched: str | None = None
    gateway: str | None = None
    index: int = 0
    source: str | None = None
    error: int | None = None


class SettingSet(_Event, frozen=True, kw_only=True, tag=True):
    """A setting of a namespace is now that; it was looked up.

    `name` is a path below /proc/sys (`sysctl(8)`), or "link/NAME/arp" for whether an interface
    takes part in ARP (`ip link set NAME arp off`).
    """

    netns: str
    name: str
    value: str


class FirewallSet(_Event, frozen=True, kw_only=True, tag=True):
    """The packet filter rules of a namespace, as `iptables-save -c` prints them.

    They were looked up, those of iptables-legacy and those of iptables-nft, without comments.
    The counters in them say which rule has met packets. Empty where there are none.
    """

    netns: str
    rules: str


class CountersSet(_Event, frozen=True, kw_only=True, tag=True):
    """What a namespace's stack has counted so far, by names like "Ip.InNoRoutes".

    They were looked up in `/proc/net/snmp` and `/proc/net/netstat` (`proc(5)`, RFC 1213).
    """

    netns: str
    counters: dict[str, int]


class ProcessStarted(_Event, frozen=True, kw_only=True, tag=True):
    """A command was started in a namespace."""

    netns: str
    job: int
    host: str
    command: str


class ProcessEnded(_Event, frozen=True, kw_only=True, tag=True):
    job: int
    exit_code: int


class Lost(_Event, frozen=True, kw_only=True, tag=True):
    """The kernel dropped something before it could be read.

    `what` says which kind: "frames", or changes of links and tables (which were then read
    again); `count` how many, None where the kernel does not tell; `netns` where, if it was
    in one namespace.
    """

    what: str
    count: int | None = None
    netns: str | None = None


class Closed(_Event, frozen=True, kw_only=True, tag=True):
    """The lab ended; `reason` says why in plain words."""

    reason: str


Event = (
    Applied
    | LinkSet
    | LinkRemoved
    | AddressSet
    | AddressRemoved
    | RouteSet
    | RouteRemoved
    | NeighbourSet
    | NeighbourRemoved
    | FdbSet
    | FdbRemoved
    | NamespaceRemoved
    | Traffic
    | Frame
    | RouteLookup
    | SettingSet
    | FirewallSet
    | CountersSet
    | ProcessStarted
    | ProcessEnded
    | Lost
    | Closed
)

TABLES = (NeighbourSet, NeighbourRemoved, FdbSet, FdbRemoved)
"""What tells of a change of an ARP or CAM table."""
NETWORK = (
    Applied,
    LinkSet,
    LinkRemoved,
    AddressSet,
    AddressRemoved,
    RouteSet,
    RouteRemoved,
    NamespaceRemoved,
)
"""What tells of a change of the network itself."""
