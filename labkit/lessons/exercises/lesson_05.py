"""The predictions and exercises of lesson 5: the journey of a ping."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from labkit.journey.packets import decode
from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, Missing, expects
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.seen import Sight, conversations, sights
from labkit.lessons.verdict import Row, listed
from labkit.model import events as ev
from labkit.model.operations import MACHINE

FIRST, SECOND, THIRD = "172.17.0.2", "172.17.0.3", "172.17.0.4"
NETWORK = ipaddress.ip_network("172.17.0.0/16")
HOSTS = ("nginx-1", "nginx-2", "nginx-3", "the machine")
NAMES = {MACHINE: "the machine"}
COUNTS = ("none", "one", "two", "three")


def _numbers(found: list[Sight]) -> tuple[str, ...]:
    """The evidence, in words."""
    return (f"frames #{', #'.join(str(sight.number) for sight in found[:8])} of the log",)


@prediction(
    "who-hears",
    "nginx-1 is about to ask for nginx-2's MAC address. Who will get the question?",
    HOSTS[1:],
    several=True,
)
def who_hears(look: Look) -> Seen | None:
    copies = [
        sight
        for sight in sights(look, sent=False, operation="who-has", source=FIRST, target=SECOND)
        if sight.host and sight.packet.is_broadcast
    ]
    heard = {NAMES.get(s.host, s.host) for s in copies}
    return Seen(tuple(name for name in HOSTS if name in heard), _numbers(copies)) if heard else None


@prediction(
    "who-notes",
    "And who will have a new row in its ARP cache after the ping?",
    HOSTS,
    several=True,
)
def who_notes(look: Look) -> Seen | None:
    if not conversations(look, "nginx-1", SECOND):
        return None
    rows = [row for row in look.events(ev.NeighbourSet) if row.mac]
    noted = {NAMES.get(row.netns, row.netns) for row in rows}
    words = tuple(f"{row.netns}: {row.address} is at {row.mac}, {row.state}" for row in rows)
    return Seen(tuple(name for name in HOSTS if name in noted), words)


@prediction(
    "second-ping",
    "nginx-1 pings nginx-2 again, at once. How many frames will leave its eth0 this time?",
    COUNTS,
)
def second_ping(look: Look) -> Seen | None:
    if not conversations(look, "nginx-1", SECOND):
        return None
    sent = sights(look, host="nginx-1", sent=True)
    count = COUNTS[len(sent)] if len(sent) < len(COUNTS) else str(len(sent))
    return Seen((count,), _numbers(sent))


@prediction(
    "bystander",
    "docker0 has forgotten everything; the hosts have not. What will nginx-3 get to see of the "
    "next ping from nginx-1 to nginx-2?",
    ("nothing", "the request alone", "the reply alone", "the request and the reply"),
)
def bystander(look: Look) -> Seen | None:
    if not conversations(look, "nginx-1", SECOND):
        return None
    got = sights(look, host="nginx-3", protocol="ICMP")
    kinds = {sight.packet.operation for sight in got}
    names = {
        frozenset(): "nothing",
        frozenset({"echo-request"}): "the request alone",
        frozenset({"echo-reply"}): "the reply alone",
        frozenset({"echo-request", "echo-reply"}): "the request and the reply",
    }
    return Seen((names[frozenset(kinds)],), _numbers(got) if got else ())


@prediction(
    "five-seconds",
    "After the reply, nobody pings any more. What will pass through docker0 in the seven seconds "
    "then?",
    ("nothing", "an ARP question to everybody", "an ARP question to one host alone"),
)
def five_seconds(look: Look) -> Seen | None:
    frames = sights(look)
    replies = [n for n, s in enumerate(frames) if s.packet.operation == "echo-reply"]
    if not replies:
        return None
    asked = [
        sight
        for sight in frames[replies[-1] :]
        if sight.packet.protocol == "ARP" and sight.packet.operation == "who-has"
    ]
    if not asked:
        return Seen(("nothing",))
    to_all = any(sight.packet.is_broadcast for sight in asked)
    kind = "an ARP question to everybody" if to_all else "an ARP question to one host alone"
    return Seen((kind,), _numbers(asked))


# Exercises


def _learned_unasked(look: Look) -> tuple[int | None, int | None]:
    """The number of the event by which nginx-3 noted nginx-1, and of its own question before."""
    asked = None
    for number, event in look.numbered(ev.NeighbourSet, ev.Frame):
        if isinstance(event, ev.NeighbourSet) and event.netns == "nginx-3":
            if event.address == FIRST and event.mac:
                return number, asked
            if event.address == FIRST:
                asked = number
        elif isinstance(event, ev.Frame) and event.netns == "nginx-3" and event.is_outgoing:
            packet = decode(event.data)
            if (packet.operation, packet.target) == ("who-has", FIRST):
                asked = number
    return None, asked


def unasked_hints(look: Look) -> tuple[str, str, str]:
    rows = listed(row.address for row in look.host("nginx-3").neighbours)
    return (
        f"nginx-3 has rows for: {rows}. From which frame did nginx-2 learn nginx-1's MAC address?",
        "A host notes who asks for its own address. So somebody must ask for nginx-3's.",
        f"Let nginx-1 need nginx-3's MAC address: it has to send something to {THIRD}.",
    )


@exercise(
    "unasked",
    asks="Get a row for nginx-1 into nginx-3's ARP cache, without nginx-3 asking for it.",
    hints=unasked_hints,
)
def unasked(look: Look) -> Iterator[Row]:
    look.host("nginx-3")
    number, asked = _learned_unasked(look)
    yield expects(
        "nginx-3 has noted nginx-1's MAC address",
        "a row for 172.17.0.2",
        f"event #{number} of the log" if number is not None else "no such row yet",
        ok=number is not None,
        source="the log: nginx-3's neighbour table",
    )
    if number is not None:
        yield expects(
            "nginx-3 did not ask",
            "no question of its own before",
            "it asked first" if asked is not None else "no question of its own before",
            source="captured frames",
        )


def overheard_hints(look: Look) -> tuple[str, str, str]:
    rows = [row for row in look.bridge("docker0").fdb if row.kind == "learned"]
    known = {row.mac for row in rows}
    among = "is" if look.interface("nginx-2").mac in known else "is not"
    return (
        f"docker0 has learned {len(rows)} rows now, and nginx-2 {among} among them. When does a "
        "switch send a frame for one host to others as well?",
        "The sender must know the MAC address, and the switch must not know the port.",
        "Make docker0 forget (docker0.flush()) while nginx-2's ARP cache is warm, and let nginx-2 "
        "speak to nginx-1 first.",
    )


@exercise(
    "overheard",
    asks="Let nginx-3 overhear an echo request of nginx-2 that is for nginx-1.",
    hints=overheard_hints,
)
def overheard(look: Look) -> Iterator[Row]:
    look.host("nginx-3")
    found = sights(
        look, host="nginx-3", sent=False, operation="echo-request", source=SECOND, target=FIRST
    )
    yield expects(
        "nginx-3's eth0 got a frame that is not for its MAC address",
        "an echo request from nginx-2 to nginx-1",
        f"frame #{found[-1].number}" if found else "no such frame yet",
        ok=bool(found),
        source="captured frames at nginx-3's eth0",
    )


def _outside(look: Look) -> list[Sight]:
    """IP packets of nginx-1 for addresses that are not of docker0's network, as they left."""
    return [
        sight
        for sight in sights(look, host="nginx-1", sent=True)
        if sight.packet.ttl is not None
        and ":" not in sight.packet.target
        and not sight.packet.is_broadcast
        and ipaddress.ip_address(sight.packet.target) not in NETWORK
    ]


def faraway_hints(look: Look) -> tuple[str, str, str]:
    routes = listed(
        f"{r.destination} via {r.gateway}" if r.gateway else r.destination
        for r in look.host("nginx-1").routes
    )
    return (
        f"nginx-1's routes: {routes}. Which addresses go through a gateway?",
        "Any address outside 172.17.0.0/16 will do; nobody has to answer.",
        "Ping one, 192.0.2.1 for example (it is reserved for such uses), and look at the frame in "
        "the journey: whose MAC address does it carry?",
    )


@exercise(
    "faraway",
    asks="Let nginx-1 send a packet to an address outside its network.",
    hints=faraway_hints,
)
def faraway(look: Look) -> Iterator[Row]:
    look.host("nginx-1")
    sent = _outside(look)
    if not sent:
        raise Missing("nginx-1 has sent no such packet yet")
    bridge = look.bridge("docker0")
    mac = look.interface(MACHINE, bridge.interface).mac
    last = sent[-1]
    yield expects(
        "the IP packet is for a far-away address",
        "outside 172.17.0.0/16",
        last.packet.target,
        ok=True,
        source=f"frame #{last.number}",
    )
    yield expects(
        "the frame that carries it is for the gateway's MAC address",
        mac,
        last.packet.target_mac,
        source=f"frame #{last.number}",
    )


def silent_hints(look: Look) -> tuple[str, str, str]:
    rows = listed(f"{r.address} {r.state}" for r in look.host("nginx-1").neighbours)
    return (
        f"nginx-1's rows: {rows}. ARP is there to fill them. Who else could fill them?",
        "A row that is set by hand is PERMANENT, and is never asked for. See man ip-neighbour.",
        "Both sides need one: ip neigh replace ADDRESS lladdr MAC dev eth0 nud permanent, in "
        "nginx-1 for nginx-2 and in nginx-2 for nginx-1. Then ping.",
    )


@exercise(
    "silent",
    asks="Make nginx-1 and nginx-2 reach each other without ARP: with rows set by hand.",
    hints=silent_hints,
)
def silent(look: Look) -> Iterator[Row]:
    macs = {name: look.interface(name).mac for name in ("nginx-1", "nginx-2")}
    for name, other, address in (("nginx-1", "nginx-2", SECOND), ("nginx-2", "nginx-1", FIRST)):
        row = next((r for r in look.host(name).neighbours if r.address == address), None)
        yield expects(
            f"{name}'s row for {other} is set by hand, and right",
            f"{macs[other]} PERMANENT",
            f"{row.mac} {row.state}" if row else "no row",
            source=f"{name}'s neighbour table",
        )
    told = [n for n, row in look.numbered(ev.NeighbourSet) if row.state == "PERMANENT"]
    since = Look(look.lab, told[-1]) if told else None
    done = conversations(since, "nginx-1", SECOND) if since else []
    yield expects(
        "a ping since then was answered",
        "an echo request of nginx-1, and its reply",
        f"frames #{done[-1][0].number} and #{done[-1][1].number}" if done else "none yet",
        ok=bool(done),
        source="captured frames",
    )
