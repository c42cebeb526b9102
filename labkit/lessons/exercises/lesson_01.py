"""The predictions and exercises of lesson 1: what a process's network is made of."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec

from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, Missing, expects
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.verdict import Row, listed
from labkit.model.operations import MACHINE

INSIDE = "ip netns exec fresh"
PLAIN_PING = (
    'test -x /run/ping || cp "$(command -v ping)" /run/ping; '
    f"{INSIDE} setpriv --bounding-set -net_raw --inh-caps -net_raw /run/ping -n -c 1 -W 1 127.0.0.1"
)
"""A `ping` without the right to raw packets: cp(1) leaves the file's capability behind."""
EVERY = ("0.0.0.0", "*", "[::]")  # noqa: S104 (nothing is bound here: it is read)
"""How `ss` writes that a socket is bound to every address."""


class Listener(msgspec.Struct, frozen=True):
    """A socket that waits for somebody, as `ss` lists it."""

    protocol: str
    address: str
    port: str

    def __str__(self) -> str:
        return f"{self.protocol} {self.address}:{self.port}"


def _listeners(look: Look, name: str) -> list[Listener]:
    _, text = look.run(look.host(name), "ss -Hltun")
    found = []
    for line in text.splitlines():
        protocol, _, _, _, local, *_ = line.split()
        address, _, port = local.rpartition(":")
        found.append(Listener(protocol, address.split("%")[0], port))
    return found


def _fresh(look: Look) -> None:
    """Raises Missing while the learner has made no namespace of that name."""
    _, text = look.run(look.lab.machine, "ip netns list")
    if "fresh" not in [line.split()[0] for line in text.splitlines() if line]:
        raise Missing("the machine has no namespace 'fresh'")


@prediction(
    "whose-stack",
    "The machine, web and nginx-1 each read the number of their network namespace. Who will read "
    "the same number as the machine?",
    ("web", "nginx-1"),
    several=True,
)
def whose_stack(look: Look) -> Seen:
    names = (MACHINE, "web", "nginx-1")
    numbers = {
        name: look.run(look.host(name), "readlink /proc/self/ns/net")[1].strip() for name in names
    }
    same = tuple(name for name in names[1:] if numbers[name] == numbers[MACHINE])
    return Seen(same, tuple(f"{name}: {number}" for name, number in numbers.items()))


FREE = {
    "TCP port 80 at 127.0.0.1 alone": (MACHINE, "tcp", ("127.0.0.1",), "80"),
    "TCP port 8080": (MACHINE, "tcp", EVERY, "8080"),
    "UDP port 80": (MACHINE, "udp", EVERY, "80"),
    "TCP port 80 in nginx-1": ("nginx-1", "tcp", EVERY, "80"),
}
"""What may still be free: the host, the protocol, the addresses and the port of each."""


@prediction(
    "still-free",
    "web's nginx listens on TCP port 80 at 0.0.0.0. Which of these can be opened besides?",
    tuple(FREE),
    several=True,
)
def still_free(look: Look) -> Seen:
    opened: dict[str, str] = {}
    for choice, (name, protocol, addresses, port) in FREE.items():
        for one in _listeners(look, name):
            if (one.protocol, one.port) == (protocol, port) and one.address in addresses:
                opened.setdefault(choice, f"{name}: {one}")
    if not opened:
        raise Missing("nobody listens besides web: run the experiment first")
    return Seen(tuple(opened), tuple(opened.values()))


FRESH = ("an interface", "an IP address", "a route", "a firewall rule", "a port that is taken")


@prediction(
    "fresh-has",
    "ip netns add makes a new network namespace, called fresh. What will be in it?",
    FRESH,
    several=True,
)
def fresh_has(look: Look) -> Seen:
    _fresh(look)
    machine = look.lab.machine
    links = look.json(machine, "ip -n fresh -j address")
    rules = look.run(machine, f"{INSIDE} iptables -S")[1].splitlines()
    has = (
        [link["ifname"] for link in links],
        [row["local"] for link in links for row in link["addr_info"]],
        [row["dst"] for row in look.json(machine, "ip -n fresh -j route")],
        [rule for rule in rules if rule.startswith("-A")],
        look.run(machine, f"{INSIDE} ss -Hltun")[1].splitlines(),
    )
    chosen = tuple(choice for choice, rows in zip(FRESH, has, strict=True) if rows)
    states = tuple(f"{link['ifname']} is {link['operstate']}" for link in links)
    return Seen(chosen, states)


# Exercises


def ping_hints(look: Look) -> tuple[str, str, str]:
    _fresh(look)
    _, inside = look.run(look.lab.machine, f"{INSIDE} sysctl -n net.ipv4.ping_group_range")
    return (
        f"In fresh, the groups from {inside.split()[0]} to {inside.split()[-1]} may ping. The "
        "program's group here is 0, root's.",
        "Each namespace has this setting for itself, so it has to be set from inside fresh.",
        "ip netns exec fresh sysctl -w net.ipv4.ping_group_range='0 0', in the machine. (And lo "
        "has to be up in there.)",
    )


@exercise("may-ping", asks="Let an ordinary user's ping work in fresh.", hints=ping_hints)
def may_ping(look: Look) -> Iterator[Row]:
    _fresh(look)
    code, text = look.run(look.lab.machine, PLAIN_PING)
    last = (text.strip().splitlines() or ["nothing"])[-1]
    yield expects(
        "a plain ping in fresh reaches 127.0.0.1",
        "an answered ping",
        "an answered ping" if code == 0 else last,
        source="ping without CAP_NET_RAW, in fresh",
    )


def _drops(text: str) -> list[str]:
    """Rules that stop TCP to port 80."""
    return [
        line
        for line in text.splitlines()
        if line.startswith("-A")
        and "-p tcp" in line
        and "--dport 80 " in f"{line} "
        and line.rstrip().split()[line.split().index("-j") + 1] in ("DROP", "REJECT")
    ]


RULES = {"the machine": "iptables -S", "fresh": f"{INSIDE} iptables -S"}


def rule_hints(look: Look) -> tuple[str, str, str]:
    _fresh(look)
    rules = {
        where: [r for r in look.run(look.lab.machine, command)[1].splitlines() if r[:2] == "-A"]
        for where, command in RULES.items()
    }
    told = "; ".join(f"{where}: {listed(found)}" for where, found in rules.items())
    return (
        f"Rules now: {told}.",
        "iptables changes the rules of the namespace in which it runs. Who starts it in fresh?",
        "ip netns exec fresh iptables -A INPUT -p tcp --dport 80 -j DROP, in the machine. A rule "
        "in the wrong place goes with -D instead of -A.",
    )


@exercise(
    "own-rule",
    asks="Give fresh a rule that drops TCP to port 80; the machine must not get it.",
    hints=rule_hints,
)
def own_rule(look: Look) -> Iterator[Row]:
    _fresh(look)
    for where, wanted in (("fresh", True), ("the machine", False)):
        _, text = look.run(look.lab.machine, RULES[where])
        found = _drops(text)
        yield expects(
            f"{where} has a rule that stops TCP to port 80",
            "yes" if wanted else "no",
            listed(found),
            ok=bool(found) is wanted,
            source=f"iptables -S in {where}",
        )


def _shared_ports(look: Look) -> dict[str, list[str]]:
    """The machine's TCP ports at which one socket listens for each of several addresses."""
    ports: dict[str, list[str]] = {}
    for one in _listeners(look, MACHINE):
        if one.protocol == "tcp" and one.address not in EVERY:
            ports.setdefault(one.port, []).append(one.address)
    return {port: held for port, held in ports.items() if len(set(held)) > 1}


def port_hints(look: Look) -> tuple[str, str, str]:
    listeners = [one for one in _listeners(look, MACHINE) if one.protocol == "tcp"]
    return (
        f"Listening in the machine: {listed(listeners)}. 0.0.0.0 is every address at once.",
        "What is taken is protocol, address and port together. So give each program an address "
        "of its own: 127.0.0.1, and 172.17.0.1.",
        'lab.machine.start("socat -u TCP-LISTEN:9000,bind=ADDRESS /dev/null"), once for each. A '
        "program that has the port at 0.0.0.0 must go first: its job's .stop(), or kill.",
    )


@exercise(
    "same-port",
    asks="Let two programs listen on the same TCP port of the machine.",
    hints=port_hints,
)
def same_port(look: Look) -> Iterator[Row]:
    deadline = time.monotonic() + 1  # what was started just now may not listen yet
    while not (shared := _shared_ports(look)) and time.monotonic() < deadline:
        time.sleep(0.1)
    rows = [one for one in _listeners(look, MACHINE) if one.protocol == "tcp"]
    told = [f"port {port} at {listed(sorted(held))}" for port, held in shared.items()]
    yield expects(
        "one TCP port, two listeners, an address each",
        "two addresses with the same port",
        listed(told) if shared else listed(rows),
        ok=bool(shared),
        source="ss in the machine",
    )
