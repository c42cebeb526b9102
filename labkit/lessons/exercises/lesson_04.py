"""The predictions and exercises of lesson 4: docker0, by hand."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, Missing, expects, reaches
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.seen import sights
from labkit.lessons.verdict import Row, listed

FIRST, SECOND = "172.17.0.2", "172.17.0.3"
TARGETS = ("172.17.0.3", "172.17.255.1", "8.8.8.8")
NETWORK = ipaddress.ip_network("172.17.0.0/16")
NF = "/proc/sys/net/bridge/bridge-nf-call-iptables"


@prediction(
    "way-out",
    "Three packets leave nginx-1, for 172.17.0.3, for 172.17.255.1 and for 8.8.8.8. Which of them "
    "will go through the gateway 172.17.0.1?",
    TARGETS,
    several=True,
)
def way_out(look: Look) -> Seen:
    chosen, evidence = [], []
    for target in TARGETS:
        _, text = look.run(look.host("nginx-1"), "ip", "route", "get", target)
        evidence.append(text.splitlines()[0].strip())
        if " via " in text:
            chosen.append(target)
    return Seen(tuple(chosen), tuple(evidence))


THROUGH = {
    "the ARP question": ("nginx-2", "who-has"),
    "the ARP answer": ("nginx-1", "is-at"),
    "the echo request": ("nginx-2", "echo-request"),
}
"""What may get through docker0: the host that gets it then, and what it says."""


@prediction(
    "filtered",
    "The machine's firewall now drops what is forwarded, and bridged frames are shown to it. "
    "nginx-1 has forgotten nginx-2's MAC address and pings it. What will get through docker0?",
    tuple(THROUGH),
    several=True,
)
def filtered(look: Look) -> Seen | None:
    if not sights(look, host="nginx-1", sent=True, protocol="ICMP"):
        return None
    got = [
        (name, sight)
        for name, (host, operation) in THROUGH.items()
        for sight in sights(look, host=host, sent=False, operation=operation)
    ]
    evidence = tuple(f"{name}: frame #{sight.number}" for name, sight in got)
    return Seen(tuple(name for name, _ in got), evidence[:4])


# Exercises


def _others(look: Look) -> list[str]:
    return [host.name for host in look.lab.hosts if host.name not in ("nginx-1", "nginx-2")]


def third_hints(look: Look) -> tuple[str, str, str]:
    others = _others(look)
    peers = [port.peer or "nothing" for port in look.bridge("docker0").ports]
    addresses = [
        f"{name}: {listed(a for i in look.host(name).interfaces[1:] for a in i.addresses)}"
        for name in others
    ]
    return (
        f"docker0's ports lead to {listed(peers)}. A third container needs a port too.",
        f"Addresses of the other hosts: {listed(addresses)}. They must be of 172.17.0.0/16, and "
        "nobody else's.",
        "Three things are needed: a host, a cable from it to docker0, and an address at that "
        "cable's first end, as nginx-2 got them.",
    )


@exercise(
    "third-container",
    asks="Plug a third container into docker0 that nginx-1 can reach.",
    hints=third_hints,
)
def third_container(look: Look) -> Iterator[Row]:
    bridge = look.bridge("docker0")
    peers = {(port.peer or "").split(":")[0] for port in bridge.ports}
    plugged = [name for name in _others(look) if name in peers]
    yield expects(
        "a third host is plugged into docker0",
        "a host besides nginx-1 and nginx-2",
        listed(plugged),
        ok=bool(plugged),
        source="docker0.ports",
    )
    addresses = [address for name in plugged for address in look.addresses(name)]
    inside = [a for a in addresses if ipaddress.ip_address(a) in NETWORK]
    yield expects(
        "it has an address of docker0's network",
        "one of 172.17.0.0/16",
        listed(addresses),
        ok=bool(inside),
        source="its interfaces",
    )
    for address in inside[:1]:
        yield reaches(look, "nginx-1", address)


def mend_hints(look: Look) -> tuple[str, str, str]:
    _, text = look.run(look.lab.machine, "iptables -S FORWARD")
    _, setting = look.run(look.lab.machine, f"cat {NF}")
    rules = listed(text.strip().splitlines())
    return (
        f"bridge-nf-call-iptables is {setting.strip()}, and the rules are: {rules}",
        "Either bridged frames are not shown to iptables at all, or iptables lets them pass.",
        "One way: sysctl -w net.bridge.bridge-nf-call-iptables=0. Docker's way is the other one: a "
        "rule that accepts what comes in at docker0 and goes out of docker0.",
    )


@exercise(
    "mend-filter",
    asks="Let nginx-1 reach nginx-2 again, while the FORWARD policy stays DROP.",
    hints=mend_hints,
)
def mend_filter(look: Look) -> Iterator[Row]:
    code, text = look.run(look.lab.machine, "iptables -S FORWARD")
    if code:
        raise Missing("iptables does not answer in the machine")
    policy = text.split("\n")[0].strip()
    yield expects("FORWARD's policy", "-P FORWARD DROP", policy, source="iptables -S FORWARD")
    yield reaches(look, "nginx-1", SECOND)


def web_hints(look: Look) -> tuple[str, str, str]:
    _, text = look.run(look.host("nginx-2"), "ss -Hltn")
    return (
        f"Listening in nginx-2 now: {listed(line.split()[3] for line in text.splitlines())}.",
        "host.serve(port=…) starts a real nginx; curl in nginx-1 asks it.",
        "Both are needed: nginx-2 listens on port 8080, and nginx-1 gets its page from there.",
    )


@exercise(
    "second-web",
    asks="Let nginx-2 serve its page on port 8080 besides, and fetch it from nginx-1.",
    hints=web_hints,
)
def second_web(look: Look) -> Iterator[Row]:
    _, text = look.run(look.host("nginx-2"), "ss -Hltn")
    ports = [line.split()[3].rpartition(":")[2] for line in text.splitlines()]
    yield expects(
        "nginx-2 listens on both ports",
        "80 and 8080",
        listed(ports),
        ok={"80", "8080"} <= set(ports),
        source="ss in nginx-2",
    )
    got = [
        sight
        for sight in sights(look, host="nginx-1", sent=False, protocol="TCP", source=SECOND)
        if (sight.packet.ports or (0, 0))[0] == 8080 and b"Hello from nginx-2" in sight.frame.data
    ]
    yield expects(
        "nginx-1 got nginx-2's page from port 8080",
        "a frame with the page",
        f"frame #{got[-1].number}" if got else "no such frame",
        ok=bool(got),
        source="captured frames at nginx-1's eth0",
    )
