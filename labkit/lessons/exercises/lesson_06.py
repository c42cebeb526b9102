"""The predictions and exercises of lesson 6: when a port stops being a host."""

from __future__ import annotations

from collections.abc import Iterator

from labkit.journey.packets import decode
from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, expects, reaches
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.seen import conversations, sights
from labkit.lessons.verdict import Row, listed
from labkit.model import events as ev
from labkit.model.operations import MACHINE

ADDRESS = "10.6.0.1"
YES, NO = "yes, it is answered", "no, it is not answered"


def _asked(look: Look) -> bool:
    """Whether nginx-1 has pinged the machine's address since the lock, or tried to."""
    return bool(sights(look, host="nginx-1", sent=True, target=ADDRESS))


@prediction(
    "port-warm",
    "eth0 is only a port now. nginx-1 pings 10.6.0.1, the address that is still on eth0. "
    "Will there be an answer?",
    (YES, NO),
)
@prediction(
    "port-cold",
    "The same ping, after both sides have forgotten each other's MAC address. Will it be answered?",
    (YES, NO),
)
def answered(look: Look) -> Seen | None:
    done = conversations(look, "nginx-1", ADDRESS)
    if done:
        return Seen((YES,), (f"frames #{done[-1][0].number} and #{done[-1][1].number} of the log",))
    return Seen((NO,), ("no reply was captured at nginx-1's eth0",)) if _asked(look) else None


@prediction(
    "where-in",
    "At which of the machine's interfaces will its stack get nginx-1's frames now?",
    ("eth0", "docker0"),
)
def where_in(look: Look) -> Seen | None:
    if not _asked(look):
        return None
    rows = [e for e in look.events(ev.NeighbourSet) if e.netns == MACHINE and e.mac]
    space = look.state().space(MACHINE)
    got = sights(look, host=MACHINE, sent=False, target=ADDRESS)
    indexes = {row.index for row in rows} | {sight.frame.index for sight in got}
    names = {space.name_of(index) for index in indexes}
    evidence = tuple(f"frame #{s.number} at {space.name_of(s.frame.index)}" for s in got)
    return Seen(tuple(n for n in ("eth0", "docker0") if n in names), evidence[:4])


# Exercises


def _holder(look: Look) -> str:
    """Which of the machine's interfaces has the address."""
    return listed(
        one.name
        for one in look.lab.machine.interfaces
        if any(a.split("/")[0] == ADDRESS for a in one.addresses)
    )


def _reached(look: Look) -> Row:
    look.run(look.host("nginx-1"), "ip", "neigh", "flush", "dev", "eth0")
    return reaches(look, "nginx-1", ADDRESS, how=", from a cold start")


def move_hints(look: Look) -> tuple[str, str, str]:
    return (
        f"{ADDRESS} is on {_holder(look)}, and the machine's stack gets the frames at docker0. "
        "Where should the address be?",
        "An address belongs on the interface at which the stack receives: that is why Docker gives "
        "172.17.0.1 to docker0, and no address to any port.",
        "Two commands in the machine: ip address del … dev eth0, and ip address add … dev docker0.",
    )


@exercise(
    "as-a-port",
    asks="Leave eth0 in the bridge, and make nginx-1 reach 10.6.0.1 all the same.",
    hints=move_hints,
)
def as_a_port(look: Look) -> Iterator[Row]:
    port = look.interface(MACHINE)
    yield expects("eth0 is a port of docker0", "docker0", port.bridge or "no bridge")
    yield expects(f"{ADDRESS} is where the stack receives", "docker0", _holder(look))
    yield _reached(look)


def free_hints(look: Look) -> tuple[str, str, str]:
    port = look.interface(MACHINE)
    return (
        f"eth0 is {'a port of ' + port.bridge if port.bridge else 'no port'} now, and {ADDRESS} is "
        f"on {_holder(look)}.",
        "What was plugged in can be pulled out: ip link set … nomaster.",
        "Then give eth0 its address back, if it went to docker0.",
    )


@exercise(
    "as-a-host",
    asks="Take eth0 out of the bridge, so that it is a host's interface again.",
    hints=free_hints,
)
def as_a_host(look: Look) -> Iterator[Row]:
    port = look.interface(MACHINE)
    yield expects("eth0 is a port of", "no bridge", port.bridge or "no bridge")
    yield expects(f"{ADDRESS} is on", "eth0", _holder(look))
    yield _reached(look)


def talks_hints(look: Look) -> tuple[str, str, str]:
    port = look.interface(MACHINE)
    return (
        f"eth0 is {'a port of ' + port.bridge if port.bridge else 'no port'} now. What the stack "
        "itself sends out of it carries eth0's own MAC address as its source.",
        "A packet goes out of eth0 if the route to its target does: ip route get ADDRESS tells.",
        "Let the machine ping an address of 10.6.0.0/24 that nobody has: lab.machine.ping(…).",
    )


@exercise(
    "still-talks",
    asks="Let the machine ask, out of the port eth0, for an address that nobody has.",
    hints=talks_hints,
)
def still_talks(look: Look) -> Iterator[Row]:
    mac = look.interface(MACHINE).mac
    held = {a.split("/")[0] for h in look.lab.hosts for i in h.interfaces for a in i.addresses}
    found = None
    for event, state in look.history():
        if not isinstance(event, ev.Frame) or event.netns != MACHINE or not event.is_outgoing:
            continue
        link = state.link(MACHINE, event.index)
        packet = decode(event.data)
        is_question = packet.protocol == "ARP" and packet.target not in {*held, ADDRESS}
        if link is not None and (link.name, packet.source_mac) == ("eth0", mac) and is_question:
            found = packet if link.master is not None else found
    yield expects(
        "an ARP question went out of eth0 while it was a port, for an address that nobody has",
        f"from {mac}",
        f"from {found.source_mac}, for {found.target}" if found else "no such frame",
        ok=found is not None,
        source="captured frames at the machine's eth0",
    )
