"""The prediction and the exercises of lesson 0: start here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, expects
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.seen import conversations
from labkit.lessons.verdict import Row, listed
from labkit.model import events as ev
from labkit.model.operations import MACHINE

DOCKER0 = ipaddress.ip_network("172.17.0.0/16")


NEIGHBOURS = "{}: neighbours (ARP cache)"
FDB = "docker0: fdb (CAM table)"


@prediction(
    "first-ping",
    "nginx-1 pings nginx-2 for the first time. Which tables will have a new row?",
    [NEIGHBOURS.format("nginx-1"), NEIGHBOURS.format("nginx-2"), FDB],
    several=True,
)
def first_ping(look: Look) -> Seen | None:
    rows: dict[str, list[str]] = {}
    for event in look.events(ev.NeighbourSet, ev.FdbSet):
        if isinstance(event, ev.FdbSet) and event.kind == "learned":
            port = look.state().space(MACHINE).name_of(event.port)
            rows.setdefault(FDB, []).append(f"{event.mac} at {port}")
        elif isinstance(event, ev.NeighbourSet) and event.netns != MACHINE:
            table = NEIGHBOURS.format(event.netns)
            rows.setdefault(table, []).append(f"{event.address} is {event.mac or 'asked for'}")
    evidence = tuple(f"{table}: {listed(dict.fromkeys(new))}" for table, new in rows.items())
    return Seen(tuple(rows), evidence) if rows else None


def _learned(look: Look) -> Iterator[int]:
    """How many rows docker0 had learned, after each event that changed its fdb."""
    for event, state in look.history():
        if isinstance(event, ev.FdbSet | ev.FdbRemoved):
            bridge = state.space(MACHINE).link_named("docker0")
            if bridge is not None:
                rows = state.space(MACHINE).fdb.values()
                yield sum(r.kind == "learned" and r.bridge == bridge.index for r in rows)


def _flushed(look: Look) -> tuple[bool, bool]:
    """Whether docker0 has forgotten all that it had learned, and whether it learned anew since."""
    highest, emptied, again = 0, False, False
    for count in _learned(look):
        if count == 0 and highest > 1:
            emptied, highest = True, 0
        elif count > highest:
            highest, again = count, emptied
    return emptied, again


def refill_hints(look: Look) -> tuple[str, str, str]:
    emptied, again = _flushed(look)
    rows = [row for row in look.bridge("docker0").fdb if row.kind == "learned"]
    first = (
        f"docker0 has {len(rows)} learned rows now, and has never lost all of them at once."
        if not emptied
        else "docker0 was emptied. It learns only from frames: has any passed since?"
    )
    second = (
        "A bridge can be told to forget what it has learned. Type docker0. and press Tab."
        if not emptied
        else f"Learned rows now: {listed(row.mac for row in rows)}."
    )
    return (
        first,
        second,
        "Two steps, in this order: make the bridge forget, then let nginx-1 and nginx-2 speak."
        + (" Only the second is left." if emptied and not again else ""),
    )


@exercise(
    "refill", asks="Empty docker0's memory, then let it learn both hosts anew.", hints=refill_hints
)
def refill(look: Look) -> Iterator[Row]:
    bridge = look.bridge("docker0")
    emptied, _ = _flushed(look)
    yield expects(
        "docker0 forgot every row that it had learned",
        "yes",
        "yes" if emptied else "no",
        source="the log: rows of docker0's fdb that came and went",
    )
    macs = {row.mac for row in bridge.fdb if row.kind == "learned"}
    for name in ("nginx-1", "nginx-2"):
        own = {i.mac for i in look.host(name).interfaces if i.name != "lo"}
        yield expects(
            f"docker0 knows {name} now",
            "a learned row",
            "a learned row" if own & macs else f"learned: {listed(sorted(macs))}",
            ok=bool(own & macs),
            source="docker0.fdb",
        )


def _asked_for_nobody(look: Look) -> list[ev.NeighbourSet]:
    """Rows of nginx-1 for addresses of docker0's network that no interface of the lab has."""
    held = {event.address.split("/")[0] for event in look.events(ev.AddressSet)}
    return [
        row
        for row in look.events(ev.NeighbourSet)
        if row.netns == "nginx-1"
        and row.address not in held
        and ipaddress.ip_address(row.address) in DOCKER0
        and row.state in ("INCOMPLETE", "FAILED")
    ]


def nobody_hints(look: Look) -> tuple[str, str, str]:
    rows = look.host("nginx-1").neighbours
    states = listed(f"{row.address} {row.state}" for row in rows)
    return (
        f"nginx-1's neighbours now: {states}. Which of these addresses does nobody have?",
        "Choose an address of docker0's network, 172.17.0.0/16, that stands at no interface in "
        "the picture.",
        "nginx-1 has to ask for that address: let it send anything there, a ping for example.",
    )


@exercise("nobody", asks="Let nginx-1 look for an address that nobody has.", hints=nobody_hints)
def nobody(look: Look) -> Iterator[Row]:
    look.host("nginx-1")
    rows = _asked_for_nobody(look)
    yield expects(
        "nginx-1 asked for an address of docker0's network that nobody has",
        "a row that was INCOMPLETE or FAILED",
        f"{rows[-1].address} {rows[-1].state}" if rows else "no such row",
        ok=bool(rows),
        source="the log: nginx-1's neighbour table",
    )


def machine_hints(look: Look) -> tuple[str, str, str]:
    known = listed(row.address for row in look.lab.machine.neighbours)
    return (
        f"The machine has rows for: {known}. Whom would it have to know to answer nginx-2?",
        "The machine is plugged into docker0, too: docker0's own address, 172.17.0.1, is its.",
        "Ping that address, and let nginx-2 be the one who pings.",
    )


@exercise(
    "machine-too", asks="Let nginx-2 reach the machine, at docker0's address.", hints=machine_hints
)
def machine_too(look: Look) -> Iterator[Row]:
    look.host("nginx-2")
    done = conversations(look, "nginx-2", "172.17.0.1")
    yield expects(
        "nginx-2 had an answer from 172.17.0.1",
        "an echo request, and its reply",
        f"frames #{done[-1][0].number} and #{done[-1][1].number}" if done else "none yet",
        ok=bool(done),
        source="captured frames at nginx-2's eth0",
    )
