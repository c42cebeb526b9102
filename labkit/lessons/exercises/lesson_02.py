"""The predictions and exercises of lesson 2: a cable between two hosts."""

from __future__ import annotations

from collections.abc import Iterator

from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, Missing, expects
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.seen import Sight, conversations, sights
from labkit.lessons.verdict import Row, listed
from labkit.model import events as ev
from labkit.model.operations import MACHINE
from labkit.model.values import Interface

TARGET = "10.2.0.2"
COUNTS = ("none", "one", "two", "three")


@prediction(
    "how-many",
    "ip link add red type veth: how many interfaces will the machine have more than before?",
    COUNTS,
)
def how_many(look: Look) -> Seen | None:
    made = {
        link.index: link.name
        for link in look.events(ev.LinkSet)
        if link.netns == MACHINE and link.kind == "veth"
    }
    return Seen((COUNTS[min(len(made), 3)],), tuple(made.values())) if made else None


@prediction(
    "what-is-left",
    "ip link del red: what will be left of the cable?",
    ("nothing", "red", "veth0"),
)
def what_is_left(look: Look) -> Seen | None:
    gone = [event for event in look.events(ev.LinkRemoved) if event.netns == MACHINE]
    if not gone:
        return None
    links = look.state().space(MACHINE).links.values()
    left = tuple(link.name for link in links if link.name in ("red", "veth0"))
    numbers = listed(f"interface {event.index}" for event in gone)
    return Seen(left or ("nothing",), (f"the kernel told that these are gone: {numbers}",))


@prediction(
    "carrier",
    "nginx-1's eth0 is brought up; nginx-2's stays down. Which end will have a carrier?",
    ("neither", "nginx-1's", "nginx-2's", "both"),
)
def carrier(look: Look) -> Seen | None:
    told = [
        event
        for event in look.events(ev.LinkSet)
        if event.netns in ("nginx-1", "nginx-2") and event.kind == "veth"
    ]
    up = [(n, event.netns) for n, event in enumerate(told) if event.is_up]
    if not up:
        return None
    # What the first end that is up said before the other one came up as well.
    first, host = up[0]
    alone = told[first : next((n for n, netns in up if netns != host), None)]
    lit = {event.netns for event in alone if event.has_carrier}
    evidence = tuple(f"{e.netns}: up {e.is_up}, carrier {e.has_carrier}" for e in alone)
    answer = "both" if len(lit) > 1 else f"{lit.pop()}'s" if lit else "neither"
    return Seen((answer,), evidence[:4])


@prediction(
    "same-frame",
    "The frame of a ping, as it leaves nginx-1, and as it comes in at nginx-2: what will be "
    "different?",
    ("nothing", "the MAC addresses", "the TTL"),
    several=True,
)
def same_frame(look: Look) -> Seen | None:
    pair = _both_ends(look)
    if pair is None:
        return None
    sent, got = pair
    different = []
    if sent.frame.data[:12] != got.frame.data[:12]:
        different.append("the MAC addresses")
    if sent.packet.ttl != got.packet.ttl:
        different.append("the TTL")
    if not different and sent.frame.data != got.frame.data:
        different.append("something else")
    apart = (got.frame.at - sent.frame.at) / 1000
    evidence = (
        f"frame #{sent.number} at nginx-1, #{got.number} at nginx-2: "
        f"{len(sent.frame.data)} bytes, {apart:.1f} µs apart",
    )
    return Seen(tuple(different) or ("nothing",), evidence)


def _both_ends(look: Look) -> tuple[Sight, Sight] | None:
    """An echo request as nginx-1 sent it, and as nginx-2 got it."""
    for sent, _ in conversations(look, "nginx-1", TARGET):
        key = (sent.packet.ident, sent.packet.sequence)
        for got in sights(look, host="nginx-2", operation="echo-request"):
            if (got.packet.ident, got.packet.sequence) == key:
                return sent, got
    return None


# Exercises


def _ends(look: Look, name: str, other: str) -> list[Interface]:
    """The ends in one host of the cables that lead to another."""
    return [
        interface
        for interface in look.host(name).interfaces
        if (interface.peer or "").split(":")[0] == other
    ]


def _joined(look: Look, first: str, second: str) -> Iterator[Row]:
    """That a cable joins two hosts, and that the first reaches the second through it."""
    ends = _ends(look, first, second)
    yield expects(
        f"a cable leads from {first} to {second}",
        "a veth pair",
        listed(f"{end.name} to {end.peer}" for end in ends),
        ok=bool(ends),
        source=f"{first}'s interfaces",
    )
    if not ends:
        return
    both = [*ends, *_ends(look, second, first)]
    up = [end for end in both if end.is_up]
    yield expects(
        "both ends are up",
        "two ends",
        f"{len(up)} of {len(both)}",
        ok=len(up) >= 2,
        source="their interfaces",
    )
    addresses = look.addresses(second)
    host = look.host(first)
    reached = [address for address in addresses if ":" not in address and look.ping(host, address)]
    yield expects(
        f"{first} reaches {second}",
        "an answered ping",
        f"{reached[0]} answers" if reached else f"no answer; addresses: {listed(addresses)}",
        ok=bool(reached),
        source=f"ping in {first}",
    )


def _told(look: Look, name: str) -> str:
    """A host's interfaces but lo, in short."""
    rows = [
        f"{i.name} to {i.peer or 'nowhere'}, {'up' if i.is_up else 'down'}, {listed(i.addresses)}"
        for i in look.host(name).interfaces
        if i.name != "lo"
    ]
    return "; ".join(rows) or "nothing but lo"


def join_hints(look: Look) -> tuple[str, str, str]:
    return (
        f"nginx-3 has: {_told(look, 'nginx-3')}. nginx-4 has: {_told(look, 'nginx-4')}.",
        "Needed: a pair with one end in each, both ends up, and two addresses of one network.",
        'The short way: lab.cable(nginx3, nginx4, "10.3.0.1/24", "10.3.0.2/24").',
    )


@exercise(
    "join",
    asks="Join nginx-3 and nginx-4 by a cable, so that they reach each other.",
    hints=join_hints,
)
def join(look: Look) -> Iterator[Row]:
    yield from _joined(look, "nginx-3", "nginx-4")


COLOURS = ("red", "blue", "green")


def _end_of(look: Look, name: str) -> Interface:
    """The end in the host of its cable to the machine."""
    for end in _ends(look, name, MACHINE):
        return end
    raise Missing(f"no cable leads from {name} to the machine")


def end_hints(look: Look) -> tuple[str, str, str]:
    _, text = look.run(look.host("green"), "ip -brief link show type veth")
    lamps = listed(
        f"{name} {'has a' if _end_of(look, name).has_carrier else 'has no'} carrier"
        for name in COLOURS
    )
    return (
        f"In green: {text.split()[0] if text.split() else 'no cable'}. What stands behind the @ is "
        f"the number of the other end. Now {lamps}.",
        "`ip link` in the machine begins each line with the interface's number.",
        "The machine's end with that number is the one: ip link set NAME down, in the machine. "
        "Bring the others up again.",
    )


@exercise(
    "which-end",
    asks="Take down the machine's end of the cable that leads to green, and no other.",
    hints=end_hints,
)
def which_end(look: Look) -> Iterator[Row]:
    for name in COLOURS:
        end = _end_of(look, name)
        wanted = name != "green"
        yield expects(
            f"{name}'s end is up, and has a carrier",
            f"up, {'carrier' if wanted else 'no carrier'}",
            f"{'up' if end.is_up else 'down'}, {'carrier' if end.has_carrier else 'no carrier'}",
            source=f"{name}'s interfaces",
        )


def carry_hints(look: Look) -> tuple[str, str, str]:
    first = _told(look, "nginx-1")
    fifth = any(host.name == "nginx-5" for host in look.lab.hosts)
    now = _told(look, "nginx-5") if fifth else "it is not there yet"
    return (
        f"nginx-1 has: {first}. nginx-5: {now}.",
        "ip link set NAME netns HOST moves an interface; it runs where the interface is. `ip -n "
        "nginx-2 …` runs there.",
        "After the move the end is down and has no address. It needs both again, in nginx-5: an "
        "address of 10.2.0.0/24, and up.",
    )


@exercise(
    "carry",
    asks="Carry nginx-2's end of the first cable into nginx-5, so that nginx-1 reaches nginx-5.",
    hints=carry_hints,
)
def carry(look: Look) -> Iterator[Row]:
    ends = _ends(look, "nginx-1", "nginx-2")
    yield expects(
        "nginx-2's end is not in nginx-2 any more",
        "no cable from nginx-1 to nginx-2",
        listed(f"{end.name} to {end.peer}" for end in ends),
        ok=not ends,
        source="nginx-1's interfaces",
    )
    yield from _joined(look, "nginx-1", "nginx-5")
