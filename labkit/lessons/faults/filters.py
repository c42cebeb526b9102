"""Faults of packet filters, and of the service itself."""

from __future__ import annotations

from labkit.lessons.faults.plan import Plan, fault
from labkit.lessons.scene import Scene

# Filters


@fault(2)
def forward_policy_drop(s: Scene) -> Plan:
    return Plan(
        what=f"{s.router.name}'s FORWARD chain has the policy DROP.",
        host=s.router,
        table="iptables -S",
        shows="-P FORWARD DROP; pings to the router itself are answered",
        plant=["iptables -P FORWARD DROP"],
        mend=["iptables -P FORWARD ACCEPT"],
    )


@fault(3)
def bridged_traffic_is_filtered(s: Scene) -> Plan:
    return Plan(
        what="The machine hands bridged packets to iptables (bridge-nf-call-iptables is 1), and "
        "its FORWARD chain has the policy DROP.",
        host=s.lab.machine,
        table="sysctl net.bridge.bridge-nf-call-iptables; iptables -S",
        shows="1, and -P FORWARD DROP; ARP passes the switch, IP does not",
        plant=[
            "sysctl -qw net.bridge.bridge-nf-call-iptables=1",
            "iptables -P FORWARD DROP",
        ],
        mend=["sysctl -qw net.bridge.bridge-nf-call-iptables=0"],
    )


@fault(2)
def service_is_filtered(s: Scene) -> Plan:
    rule = f"INPUT -p tcp --dport {s.port} -j {s.draw.choice(('DROP', 'REJECT'))}"
    return Plan(
        what=f"{s.server.name}'s INPUT chain stops TCP to port {s.port}.",
        host=s.server,
        table="iptables -S",
        shows=f"-A {rule}; pings are answered, and nginx listens",
        plant=[f"iptables -A {rule}"],
        mend=[f"iptables -D {rule}"],
    )


@fault(2)
def echo_is_filtered(s: Scene) -> Plan:
    host = s.draw.choice((s.first, s.second, s.server))
    rule = "INPUT -p icmp --icmp-type echo-request -j DROP"
    return Plan(
        what=f"{host.name}'s INPUT chain drops echo requests.",
        host=host,
        table="iptables -S",
        shows=f"-A {rule}, and its counter in `iptables -nvL` grows with every ping",
        plant=[f"iptables -A {rule}"],
        mend=[f"iptables -D {rule}"],
    )


# The service


@fault(1)
def other_port(s: Scene) -> Plan:
    other = s.draw.choice([port for port in range(8000, 9000) if port != s.port])
    return Plan(
        what=f"The web server of {s.server.name} listens on port {other} instead of {s.port}.",
        host=s.server,
        table="ss -ltn",
        shows=f"port {other}, and nothing at {s.port}; curl says Connection refused",
        listen=str(other),
    )


@fault(2)
def loopback_only(s: Scene) -> Plan:
    return Plan(
        what=f"The web server of {s.server.name} listens on 127.0.0.1 alone.",
        host=s.server,
        table="ss -ltn",
        shows=f"127.0.0.1:{s.port} instead of 0.0.0.0:{s.port}; from itself it can be read",
        listen=f"127.0.0.1:{s.port}",
    )


@fault(1)
def service_is_gone(s: Scene) -> Plan:
    return Plan(
        what=f"No web server runs in {s.server.name}.",
        host=s.server,
        table="ss -ltn",
        shows=f"nothing listens on port {s.port}; curl says Connection refused",
        listen="",
    )
