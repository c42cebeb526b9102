"""Faults of cables, interfaces and addresses."""

from __future__ import annotations

from labkit.lessons.faults.plan import Plan, fault
from labkit.lessons.look import Look
from labkit.lessons.scene import Scene

# Cables and interfaces


@fault(1)
def port_is_down(s: Scene) -> Plan:
    host = s.draw.choice((s.first, s.second, s.router))
    port = s.port_of(host)
    return Plan(
        what=f"The switch's port {port}, where {host.name}'s cable ends, was taken down.",
        host=s.lab.machine,
        table="ip -br link",
        shows=f"{port} is DOWN, and in {host.name} eth0 has NO-CARRIER",
        plant=[f"ip link set {port} down"],
        mend=[f"ip link set {port} up"],
    )


@fault(1)
def interface_is_down(s: Scene) -> Plan:
    host = s.client()
    return Plan(
        what=f"{host.name}'s eth0 was taken down; its routes went with it.",
        host=host,
        table="ip -br link",
        shows="eth0 is DOWN, and `ip route` is empty",
        plant=["ip link set eth0 down"],
        mend=["ip link set eth0 up", f"ip route add default via {s.router_near}"],
    )


@fault(1)
def uplink_is_down(s: Scene) -> Plan:
    network = s.outside
    return Plan(
        what=f"{s.router.name}'s eth1, towards {s.server.name}, was taken down.",
        host=s.router,
        table="ip -br link",
        shows=f"eth1 is DOWN, and there is no route to {network}",
        plant=["ip link set eth1 down"],
        mend=["ip link set eth1 up"],
    )


@fault(2)
def port_out_of_the_bridge(s: Scene) -> Plan:
    host = s.draw.choice((s.first, s.second, s.router))
    port = s.port_of(host)
    return Plan(
        what=f"{port}, where {host.name}'s cable ends, was taken out of {s.switch.name}.",
        host=s.lab.machine,
        table="bridge link",
        shows=f"{port} is not among the switch's ports, though it is up",
        plant=[f"ip link set {port} nomaster"],
        mend=[f"ip link set {port} master {s.switch.interface}"],
    )


@fault(1)
def bridge_is_down(s: Scene) -> Plan:
    name = s.switch.interface
    return Plan(
        what=f"The switch {name} itself was taken down.",
        host=s.lab.machine,
        table="ip -br link",
        shows=f"{name} is DOWN while its ports are up",
        plant=[f"ip link set {name} down"],
        mend=[f"ip link set {name} up"],
    )


@fault(3)
def small_mtu(s: Scene) -> Plan:
    host = s.client()
    size = s.draw.randrange(600, 1300, 4)
    port = s.port_of(host)
    return Plan(
        what=f"The switch's port {port} got an MTU of {size}: larger frames for {host.name} are "
        "dropped there without a word.",
        host=s.lab.machine,
        table="ip link",
        shows=f"mtu {size} at {port}, 1500 everywhere else; small pings pass, large ones do not",
        plant=[f"ip link set {port} mtu {size}"],
        mend=[f"ip link set {port} mtu 1500"],
    )


@fault(2)
def arp_is_off(s: Scene) -> Plan:
    host = s.client()
    return Plan(
        what=f"ARP was switched off on {host.name}'s eth0.",
        host=host,
        table="ip link show eth0",
        shows="the flag NOARP; and `ip neigh show nud all` has rows in the state NOARP",
        plant=["ip link set eth0 arp off"],
        mend=["ip link set eth0 arp on"],
    )


# Addresses


@fault(1)
def wrong_subnet(s: Scene) -> Plan:
    host = s.client()
    right = s.at(host)
    third = s.draw.choice([n for n in range(1, 250) if n != int(right.split(".")[2])])
    wrong = ".".join([*right.split(".")[:2], str(third), right.split(".")[3]])
    return Plan(
        what=f"{host.name} got the address {wrong} of another network instead of {right}.",
        host=host,
        table="ip address",
        shows=f"{wrong}/24 where the plan says {right}/24",
        plant=_renumber(s, f"{right}/24", f"{wrong}/24", " dev eth0 onlink"),
        mend=_renumber(s, f"{wrong}/24", f"{right}/24"),
    )


@fault(2)
def prefix_too_short(s: Scene) -> Plan:
    host = s.client()
    right, length = s.at(host), s.draw.choice((16, 12, 10))
    return Plan(
        what=f"{host.name}'s prefix length became /{length} instead of /24: it takes "
        f"{s.server.name} for a neighbour and asks for its MAC in vain.",
        host=host,
        table="ip route",
        shows=f"a direct route for a /{length} that contains {s.at(s.server)}; `ip neigh` says "
        "FAILED",
        plant=_renumber(s, f"{right}/24", f"{right}/{length}"),
        mend=_renumber(s, f"{right}/{length}", f"{right}/24"),
    )


@fault(3)
def duplicate_address(s: Scene) -> Plan:
    host = s.client()
    twin = s.other(host)
    address = s.at(host)
    return Plan(
        what=f"{twin.name} got {host.name}'s address {address} besides its own.",
        host=twin,
        table="ip address",
        shows=f"{address} in {twin.name} too; two MACs answer to who-has {address}",
        plant=[f"ip address add {address}/24 dev eth0"],
        mend=[f"ip address del {address}/24 dev eth0"],
        lingers=lambda look: _holders(look, address) > 1,
    )


@fault(3)
def duplicate_mac(s: Scene) -> Plan:
    host = s.client()
    twin = s.other(host)
    mac, own = s.macs[host.name], s.macs[twin.name]
    return Plan(
        what=f"{twin.name}'s eth0 got {host.name}'s MAC, {mac}.",
        host=s.lab.machine,
        table=f"bridge fdb show br {s.switch.interface} dynamic",
        shows=f"one row for {mac} that moves from port to port with whoever spoke last",
        plant=[f"ip link set eth0 address {mac}"],
        mend=[f"ip link set eth0 address {own}"],
        planted_in=twin,
        lingers=_twins,
    )


@fault(2)
def router_addresses_swapped(s: Scene) -> Plan:
    near, far = f"{s.router_near}/24", f"{s.router_far}/24"

    def give(first: str, second: str) -> list[str]:
        return [
            "ip address flush dev eth0",
            "ip address flush dev eth1",
            f"ip address add {first} dev eth0",
            f"ip address add {second} dev eth1",
        ]

    return Plan(
        what=f"The addresses of {s.router.name}'s two interfaces were swapped.",
        host=s.router,
        table="ip address",
        shows=f"{far} at eth0, where the switch is, and {near} at eth1",
        plant=give(far, near),
        mend=give(near, far),
    )


def _renumber(s: Scene, old: str, new: str, how: str = "") -> list[str]:
    """Gives a client's eth0 another address. The default route goes with the old one: set anew."""
    return [
        f"ip address add {new} dev eth0",
        f"ip address del {old} dev eth0",
        f"ip route replace default via {s.router_near}{how}",
    ]


def _holders(look: Look, address: str) -> int:
    state = look.state()
    return sum(
        held.split("/")[0] == address
        for space in state.namespaces.values()
        for row in space.addresses.values()
        for held in row
    )


def _twins(look: Look) -> bool:
    """Whether two hosts' interfaces have the same MAC."""
    links = [link for space in look.state().namespaces.values() for link in space.links.values()]
    macs = [link.mac for link in links if link.kind == "veth" and link.master is None]
    return len(macs) != len(set(macs))
