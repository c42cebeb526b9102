"""Networks with a fault in them, made by the commands that a learner would type.

Each function builds a network, breaks it, and says who pings what. `FAULTS` names what
`labkit.journey.why` has to find out about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from labkit import Lab
from labkit.hosts import Host
from tests.kernel.conftest import ask, wait_for


class Ping(NamedTuple):
    """Who pings what. `command` where a plain ping would not do."""

    source: Host
    target: Any
    command: str | None = None


def sh(host: Host, *commands: str) -> None:
    """Runs commands that have to work."""
    for command in commands:
        result = host.run(command)
        assert result.exit_code == 0, (command, result)


def settle(lab: Lab) -> None:
    """Waits until the kernel has brought every port up: on a busy machine it takes its time."""
    wait_for(lambda: all(p["state"] == "forwarding" for p in ask(lab.machine, "bridge -j link")))


class Small:
    """Hosts a, b and c on one bridge, which has an address too; ARP is cold."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.br = lab.bridge("br0", "10.0.0.254/24")
        self.a, self.b, self.c = (lab.host(name) for name in "abc")
        for i, host in enumerate((self.a, self.b, self.c), 1):
            lab.cable(host, self.br, f"10.0.0.{i}/24")
        settle(lab)

    def port(self, host: Host) -> str:
        """The bridge's port to which a host is cabled."""
        return str(host.interfaces[1].peer).split(":")[1]


class Routed:
    """a and b on two bridges, and the router r between them."""

    def __init__(self, lab: Lab, *, forwarding: bool = True) -> None:
        self.lab = lab
        self.sw1, self.sw2 = lab.bridge("sw1"), lab.bridge("sw2")
        self.a, self.b = lab.host("a"), lab.host("b")
        self.r = lab.host("r", forwarding=forwarding)
        lab.cable(self.r, self.sw1, "10.1.0.254/24")
        lab.cable(self.r, self.sw2, "10.2.0.254/24")
        lab.cable(self.a, self.sw1, "10.1.0.1/24")
        lab.cable(self.b, self.sw2, "10.2.0.1/24")
        self.a.add_route("default", via="10.1.0.254")
        self.b.add_route("default", via="10.2.0.254")
        settle(lab)


# The source's own stack


def no_route(lab: Lab) -> Ping:
    s = Small(lab)
    return Ping(s.a, "10.9.9.9")


def blackhole(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "ip route add blackhole 10.9.0.0/16")
    return Ping(s.a, "10.9.9.9")


def unreachable(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "ip route add unreachable 10.9.0.0/16")
    return Ping(s.a, "10.9.9.9")


def prohibit(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "ip route add prohibit 10.9.0.0/16")
    return Ping(s.a, "10.9.9.9")


def interface_down(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "ip link set eth0 down")
    return Ping(s.a, "10.0.0.2")


def output_drop(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "iptables -A OUTPUT -p icmp -j DROP")
    return Ping(s.a, s.b)


def source_unplugged(lab: Lab) -> Ping:
    s = Small(lab)
    sh(lab.machine, f"ip link set {s.port(s.a)} down")
    return Ping(s.a, "10.0.0.2")


# The next hop's hardware address


def nobody(lab: Lab) -> Ping:
    s = Small(lab)
    return Ping(s.a, "10.0.0.99")


def gateway_outside(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "ip route add default via 192.0.2.1 dev eth0 onlink")
    return Ping(s.a, "10.9.9.9")


def gateway_missing(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "ip route add default via 10.0.0.77")
    return Ping(s.a, "10.9.9.9")


def unplugged(lab: Lab) -> Ping:
    s = Small(lab)
    port = s.port(s.b)
    sh(lab.machine, f"ip link set {port} down")
    return Ping(s.a, "10.0.0.2")


def target_down(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "ip link set eth0 down")
    return Ping(s.a, "10.0.0.2")


def isolated(lab: Lab) -> Ping:
    s = Small(lab)
    for host in (s.a, s.b):
        sh(lab.machine, f"bridge link set dev {s.port(host)} isolated on")
    return Ping(s.a, s.b)


def root_guard(lab: Lab) -> Ping:
    """STP holds the port between two bridges back: root guard, and a better root behind it.

    The port then stays in "listening" (br_root_port_block, net/bridge/br_stp.c).
    """
    sw1, sw2 = lab.bridge("sw1", stp=True), lab.bridge("sw2", stp=True)
    a, b = lab.host("a"), lab.host("b")
    between = lab.cable(sw1, sw2)
    for name, priority in (("sw1", 0), ("sw2", 8192)):
        times = "hello_time 100 forward_delay 200"
        sh(lab.machine, f"ip link set {name} type bridge {times} priority {priority}")
    sh(lab.machine, f"bridge link set dev {between.b.name} root_block on")
    lab.cable(a, sw1, "10.0.0.1/24")
    lab.cable(b, sw2, "10.0.0.2/24")

    cables = {between.a.name, between.b.name}

    def settled() -> bool:
        ports = {p["ifname"]: p["state"] for p in ask(lab.machine, "bridge -j link")}
        hosts = {state for name, state in ports.items() if name not in cables}
        return hosts == {"forwarding"} and ports[between.b.name] == "listening"

    wait_for(settled, 20)
    return Ping(a, b)


def disabled(lab: Lab) -> Ping:
    s = Small(lab)
    set_state(s, s.port(s.a), 0, "disabled")
    return Ping(s.a, s.b)


def stp_listening(lab: Lab) -> Ping:
    br = lab.bridge("br0", stp=True)
    a, b = lab.host("a"), lab.host("b")
    lab.cable(a, br, "10.0.0.1/24")
    lab.cable(b, br, "10.0.0.2/24")
    return Ping(a, b)


def set_state(s: Small, port: str, number: int, word: str) -> None:
    """Sets a port's state, and again if the kernel's word about the carrier comes after it."""
    held = 0

    def holds() -> bool:
        nonlocal held
        told = ask(s.lab.machine, f"bridge -j link show dev {port}")[0]["state"]
        if told == word:
            held += 1
            return held > 10
        held = 0
        sh(s.lab.machine, f"bridge link set dev {port} state {number}")
        return False

    wait_for(holds)


def not_plugged_in(lab: Lab) -> Ping:
    s = Small(lab)
    sh(lab.machine, f"ip link set {s.port(s.b)} nomaster")
    return Ping(s.a, s.b)


def other_segment(lab: Lab) -> Ping:
    s = Small(lab)
    other = lab.bridge("br1")
    d = lab.host("d")
    lab.cable(d, other, "10.0.0.4/24")
    settle(lab)
    return Ping(s.a, d)


def bridge_down(lab: Lab) -> Ping:
    s = Small(lab)
    sh(lab.machine, "ip link set br0 down")
    return Ping(s.a, s.b)


def arp_off(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "ip link set eth0 arp off")
    return Ping(s.a, s.b)


def arp_ignored(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "sysctl -qw net.ipv4.conf.eth0.arp_ignore=8")
    return Ping(s.a, s.b)


def arp_of_another_interface(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "sysctl -qw net.ipv4.conf.all.arp_ignore=1", "ip addr add 10.0.0.22/32 dev lo")
    return Ping(s.a, "10.0.0.22")


# On the bridge


def wrong_neighbour(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:99 dev eth0 nud permanent")
    return Ping(s.a, s.b)


def neighbour_of_another(lab: Lab) -> Ping:
    s = Small(lab)
    mac = s.c.interfaces[1].mac
    sh(s.a, f"ip neigh replace 10.0.0.2 lladdr {mac} dev eth0 nud permanent")
    return Ping(s.a, s.b)


def wrong_fdb(lab: Lab) -> Ping:
    s = Small(lab)
    mac = s.b.interfaces[1].mac
    sh(lab.machine, f"bridge fdb replace {mac} dev {s.port(s.c)} master static sticky")
    return Ping(s.a, s.b)


def stale_fdb(lab: Lab) -> Ping:
    """b moves to another port, and says nothing from there; ARP is warm."""
    s = Small(lab)
    assert s.a.ping(s.b)
    mac = s.b.interfaces[1].mac
    sh(lab.machine, f"bridge fdb replace {mac} dev {s.port(s.c)} master dynamic")
    return Ping(s.a, s.b)


def flapping(lab: Lab) -> Ping:
    """c has b's MAC and sends; the bridge's row moves to and fro, and a is answered at times."""
    s = Small(lab)
    mac = s.b.interfaces[1].mac
    sh(s.c, "ip link set eth0 down", f"ip link set eth0 address {mac}", "ip link set eth0 up")
    sh(s.c, "ip neigh replace 10.0.0.254 lladdr 02:00:00:00:00:01 dev eth0")
    # Each of b's frames moves the row to b's port, and each of c's to c's.
    c = s.c.start("ping -i 0.01 10.0.0.254")
    wait_for(lambda: c.is_running)
    return Ping(s.a, s.b, "ping -c 100 -i 0.02 -W 1 10.0.0.2 | grep -q ' [1-9][0-9]* received'")


def duplicate_mac(lab: Lab) -> Ping:
    s = Small(lab)
    mac = s.b.interfaces[1].mac
    assert s.a.ping(s.b)
    sh(s.c, "ip link set eth0 down", f"ip link set eth0 address {mac}", "ip link set eth0 up")
    sh(s.c, "ping -c 1 10.0.0.254")  # now the bridge has seen it at c's port
    return Ping(s.a, s.b)


def bridge_netfilter(lab: Lab) -> Ping:
    s = Small(lab)
    sh(lab.machine, "sysctl -qw net.bridge.bridge-nf-call-iptables=1", "iptables -P FORWARD DROP")
    return Ping(s.a, s.b)


def duplicate_address(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.c, "ip addr add 10.0.0.2/24 dev eth0")
    return Ping(s.a, s.b)


def wrong_answer(lab: Lab) -> Ping:
    """c has b's address, too, and is the one whom a knows: b is meant, and c answers."""
    s = Small(lab)
    sh(s.c, "ip addr add 10.0.0.2/24 dev eth0")
    sh(s.a, f"ip neigh replace 10.0.0.2 lladdr {s.c.interfaces[1].mac} dev eth0")
    return Ping(s.a, s.b)


# At the router


def forwarding_off(lab: Lab) -> Ping:
    s = Routed(lab, forwarding=False)
    return Ping(s.a, s.b)


def forward_policy(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "iptables -P FORWARD DROP")
    return Ping(s.a, s.b)


def forward_policy_legacy(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "iptables-legacy -P FORWARD DROP")
    return Ping(s.a, s.b)


def forward_rule(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(
        s.r,
        "iptables -N GUARD",
        "iptables -A FORWARD -j GUARD",
        "iptables -A GUARD -p icmp -j DROP",
    )
    return Ping(s.a, s.b)


def forward_reject(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "iptables -A FORWARD -p icmp -j REJECT --reject-with icmp-admin-prohibited")
    return Ping(s.a, s.b)


def router_has_no_route(lab: Lab) -> Ping:
    s = Routed(lab)
    return Ping(s.a, "10.9.9.9")


def router_blackhole(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "ip route add blackhole 10.9.0.0/16")
    return Ping(s.a, "10.9.9.9")


def nobody_behind_router(lab: Lab) -> Ping:
    s = Routed(lab)
    return Ping(s.a, "10.2.0.99")


def far_unplugged(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.b, "ip link set eth0 down")
    return Ping(s.a, "10.2.0.1")


def loop(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "ip route add 10.9.0.0/16 via 10.2.0.253")
    r2 = lab.host("r2", forwarding=True)
    lab.cable(r2, s.sw2, "10.2.0.253/24")
    settle(lab)
    r2.add_route("default", via="10.2.0.254")
    return Ping(s.a, "10.9.9.9")


def ttl(lab: Lab) -> Ping:
    s = Routed(lab)
    return Ping(s.a, "10.2.0.1", "ping -c 1 -W 1 -t 1 10.2.0.1")


def reverse_path(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "sysctl -qw net.ipv4.conf.all.rp_filter=1", "ip route add 10.1.0.1/32 dev eth1")
    return Ping(s.a, s.b)


def mtu(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "ip link set eth1 mtu 1000")
    return Ping(s.a, "10.2.0.1", "ping -c 1 -W 1 -M do -s 1300 10.2.0.1")


def mtu_of_source(lab: Lab) -> Ping:
    s = Routed(lab)
    return Ping(s.a, "10.2.0.1", "ping -c 1 -W 1 -M do -s 2000 10.2.0.1")


def mtu_black_hole(lab: Lab) -> Ping:
    s = Small(lab)
    sh(lab.machine, f"ip link set {s.port(s.b)} mtu 1000")
    return Ping(s.a, "10.0.0.2", "ping -c 1 -W 1 -s 1300 10.0.0.2")


def machine_is_no_router(lab: Lab) -> Ping:
    s = Small(lab)
    s.a.add_route("default", via="10.0.0.254")
    return Ping(s.a, "10.9.9.9")


def router_prohibits(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "ip route add prohibit 10.2.0.1/32")
    return Ping(s.a, s.b)


class Published(Routed):
    """r publishes b: what comes to r's port 8080 is for b's port 80, as docker -p does."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        nat = "iptables -t nat -A"
        sh(
            self.r,
            f"{nat} PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.2.0.1:80",
            f"{nat} POSTROUTING -o eth1 -j MASQUERADE",
        )


def published_port_refused(lab: Lab) -> Ping:
    s = Published(lab)
    return Ping(s.a, "10.1.0.254", "curl -sm 2 http://10.1.0.254:8080/")


def published_host_gone(lab: Lab) -> Ping:
    s = Published(lab)
    sh(s.b, "ip link set eth0 down")
    return Ping(s.a, "10.1.0.254", "curl -sm 1 http://10.1.0.254:8080/")


def published_host_drops(lab: Lab) -> Ping:
    s = Published(lab)
    sh(s.b, "iptables -A INPUT -p tcp -j DROP")
    return Ping(s.a, "10.1.0.254", "curl -sm 1 http://10.1.0.254:8080/")


def masqueraded_reply_drop(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(
        s.r,
        "iptables -t nat -A POSTROUTING -o eth1 -j MASQUERADE",
        "iptables -A FORWARD -p icmp --icmp-type echo-reply -j DROP",
    )
    return Ping(s.a, s.b)


# The target's stack


def input_drop(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "iptables -A INPUT -p icmp -j DROP")
    return Ping(s.a, s.b)


def echo_ignored(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "sysctl -qw net.ipv4.icmp_echo_ignore_all=1")
    return Ping(s.a, s.b)


def no_return_route(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.b, "ip route del default")
    return Ping(s.a, s.b)


def wrong_prefix(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "ip addr flush dev eth0", "ip addr add 10.0.0.130/25 dev eth0")
    return Ping(s.a, s.b)


def target_reverse_path(lab: Lab) -> Ping:
    s = Small(lab)
    assert s.a.ping(s.b)
    sh(
        s.b,
        "sysctl -qw net.ipv4.conf.all.rp_filter=1",
        "ip link add v0 type veth peer name v1",
        "ip addr add 10.7.0.1/24 dev v0",
        "ip link set v0 up",
        "ip link set v1 up",
        "ip route add 10.0.0.1/32 dev v0",
    )
    return Ping(s.a, "10.0.0.2")


def reply_output_drop(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "iptables -A OUTPUT -p icmp --icmp-type echo-reply -j DROP")
    return Ping(s.a, s.b)


def gateway_drops(lab: Lab) -> Ping:
    s = Small(lab)
    sh(lab.machine, "iptables -A INPUT -i br0 -p icmp -j DROP")
    return Ping(s.a, "10.0.0.254")


def own_address_dropped(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "iptables -A INPUT -p icmp -j DROP")
    return Ping(s.a, "10.0.0.1")


def from_the_machine(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "iptables -P INPUT DROP")
    return Ping(lab.machine, s.b)


def direct_cable_unplugged(lab: Lab) -> Ping:
    a, b = lab.host("a"), lab.host("b")
    lab.cable(a, b, "10.0.0.1/24", "10.0.0.2/24")
    assert a.ping(b)
    sh(b, "ip link set eth0 down")
    return Ping(a, "10.0.0.2")


def two_interfaces_drop(lab: Lab) -> Ping:
    """b answers ARP for its second address with the first interface's MAC (ARP flux)."""
    s = Small(lab)
    lab.cable(s.b, s.br, "10.0.0.12/24")
    settle(lab)
    mac = s.b.interfaces[1].mac
    sh(s.a, f"ip neigh replace 10.0.0.12 lladdr {mac} dev eth0 nud stale")
    sh(s.b, "iptables -A INPUT -p icmp -j DROP")
    return Ping(s.a, "10.0.0.12")


def proxied_drop(lab: Lab) -> Ping:
    """r answers ARP for b, which is behind it (proxy ARP), and b's firewall drops."""
    s = Routed(lab)
    # Without a delay: otherwise a proxy waits at random before it answers (proxy_delay, arp(7)).
    settings = "net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.neigh.eth0.proxy_delay=0"
    sh(s.r, f"sysctl -qw {settings}")
    sh(s.a, "ip route add 10.2.0.0/24 dev eth0")
    sh(s.b, "iptables -A INPUT -p icmp -j DROP")
    return Ping(s.a, s.b)


def proxy_claims(lab: Lab) -> Ping:
    """c answers for b, though b is on the same network (proxy ARP for addresses elsewhere)."""
    s = Small(lab)
    d = lab.bridge("br9")
    lab.cable(s.c, d, "10.9.0.1/24")
    settle(lab)
    sh(
        s.c,
        "ip route add 10.0.0.2/32 dev eth1",
        "sysctl -qw net.ipv4.conf.eth0.proxy_arp=1 net.ipv4.ip_forward=1",
        "sysctl -qw net.ipv4.neigh.eth0.proxy_delay=0",
    )
    return Ping(s.a, s.b)


def proxy_off(lab: Lab) -> Ping:
    """a thinks that b is on its own network, and nobody answers in b's place."""
    s = Routed(lab)
    sh(s.a, "ip route add 10.2.0.0/24 dev eth0")
    return Ping(s.a, s.b)


def machine_forward_drop(lab: Lab) -> Ping:
    """The machine is the router between its two bridges, as with two docker networks."""
    br0, br1 = lab.bridge("br0", "10.0.0.254/24"), lab.bridge("br1", "10.1.0.254/24")
    a, b = lab.host("a"), lab.host("b")
    lab.cable(a, br0, "10.0.0.1/24")
    lab.cable(b, br1, "10.1.0.1/24")
    settle(lab)
    a.add_route("default", via="10.0.0.254")
    b.add_route("default", via="10.1.0.254")
    sh(lab.machine, "sysctl -qw net.ipv4.ip_forward=1")
    assert a.ping(b)
    sh(lab.machine, "iptables -A FORWARD -i br0 -o br1 -j DROP")
    return Ping(a, b)


# The way back


def reply_forward_drop(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.r, "iptables -A FORWARD -p icmp --icmp-type echo-reply -j DROP")
    return Ping(s.a, s.b)


def reply_input_drop(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.a, "iptables -A INPUT -p icmp --icmp-type echo-reply -j DROP")
    return Ping(s.a, s.b)


def router_has_no_way_back(lab: Lab) -> Ping:
    s = Routed(lab)
    sh(s.a, "ip addr add 10.8.0.1/32 dev lo")
    return Ping(s.a, "10.2.0.1", "ping -c 1 -W 1 -I 10.8.0.1 10.2.0.1")


def reply_neighbour(lab: Lab) -> Ping:
    s = Small(lab)
    sh(s.b, "ip neigh replace 10.0.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent")
    return Ping(s.a, s.b)


# Other protocols


def port_refused(lab: Lab) -> Ping:
    s = Small(lab)
    return Ping(s.a, "10.0.0.2", "curl -sm 2 http://10.0.0.2:81/")


def udp_port_refused(lab: Lab) -> Ping:
    s = Small(lab)
    return Ping(s.a, "10.0.0.2", "bash -c 'echo x > /dev/udp/10.0.0.2/99; exit 1'")


FAULTS: dict[str, Callable[[Lab], Ping]] = {
    function.__name__: function
    for function in list(globals().values())
    if callable(function) and getattr(function, "__annotations__", {}).get("return") == "Ping"
}
