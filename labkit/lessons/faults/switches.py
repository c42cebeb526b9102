"""Faults of the switch's ports and rows."""

from __future__ import annotations

from labkit.lessons.faults.plan import Plan, fault
from labkit.lessons.scene import Scene

# The switch's ports


@fault(2)
def isolated_ports(s: Scene) -> Plan:
    ports = [s.port_of(s.first), s.port_of(s.second)]
    return Plan(
        what="The ports of both clients are isolated: isolated ports cannot reach each other.",
        host=s.lab.machine,
        table="bridge -d link",
        shows=f"isolated on at {ports[0]} and {ports[1]}; both clients reach the router",
        plant=[f"bridge link set dev {port} isolated on" for port in ports],
        mend=[f"bridge link set dev {port} isolated off" for port in ports],
    )


@fault(2)
def blocked_port(s: Scene) -> Plan:
    host = s.draw.choice((s.first, s.second, s.router))
    number, name = s.draw.choice(((0, "disabled"), (4, "blocking"), (1, "listening")))
    port = s.port_of(host)
    return Plan(
        what=f"The switch's port {port}, where {host.name} is, was put into the state {name}.",
        host=s.lab.machine,
        table="bridge link",
        shows=f"state {name} at {port}; the link itself is up",
        plant=[f"bridge link set dev {port} state {number}"],
        mend=[f"bridge link set dev {port} state 3"],
    )


@fault(3)
def no_broadcasts(s: Scene) -> Plan:
    host = s.client()
    port = s.port_of(host)
    return Plan(
        what=f"The switch sends no broadcasts out of {port}: no ARP request reaches {host.name}.",
        host=s.lab.machine,
        table="bridge -d link",
        shows=f"bcast_flood off at {port}; whoever {host.name} spoke to first can answer",
        plant=[f"bridge link set dev {port} bcast_flood off"],
        mend=[f"bridge link set dev {port} bcast_flood on"],
    )


@fault(3)
def never_learned_never_flooded(s: Scene) -> Plan:
    host = s.client()
    port = s.port_of(host)
    return Plan(
        what=f"The switch learns nothing at {port}, and floods no unknown unicast out of it: "
        f"broadcasts reach {host.name}, frames for it alone do not.",
        host=s.lab.machine,
        table="bridge -d link",
        shows=f"learning off, flood off at {port}; no row for {s.macs[host.name]} in the fdb",
        plant=[f"bridge link set dev {port} learning off flood off"],
        mend=[f"bridge link set dev {port} learning on flood on"],
    )


@fault(3)
def row_at_the_wrong_port(s: Scene) -> Plan:
    host = s.client()
    wrong = s.port_of(s.draw.choice((s.other(host), s.router)))
    row = f"{s.macs[host.name]} dev {wrong} master"
    return Plan(
        what=f"The switch has a static row for {host.name}'s MAC at {wrong}, the wrong port.",
        host=s.lab.machine,
        table=f"bridge fdb show br {s.switch.interface}",
        shows=f"{s.macs[host.name]} dev {wrong} … static sticky; {host.name} is at "
        f"{s.port_of(host)}",
        plant=[f"bridge fdb replace {row} static sticky"],
        mend=[f"bridge fdb del {row}"],
    )
