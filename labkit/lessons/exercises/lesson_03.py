"""The predictions and exercises of lesson 3: a switch for many hosts."""

from __future__ import annotations

from collections.abc import Iterator

from labkit.lessons.exercise import exercise
from labkit.lessons.look import Look, expects
from labkit.lessons.predict import Seen, prediction
from labkit.lessons.seen import conversations, sights
from labkit.lessons.verdict import Row, listed
from labkit.model import events as ev
from labkit.model.operations import MACHINE

HOSTS = ("h1", "h2", "h3", "h4")
ADDRESSES = {name: f"10.3.0.{number}" for number, name in enumerate(HOSTS, 1)}


def _learned(look: Look) -> list[ev.FdbSet]:
    """The rows that sw1 has learned since the time that counts, moves among them."""
    link = look.state().space(MACHINE).link_named("sw1")
    rows = [row for row in look.events(ev.FdbSet) if row.kind == "learned"]
    return [row for row in rows if link is not None and row.bridge == link.index]


def _owner(look: Look, mac: str) -> str | None:
    for netns, space in look.state().namespaces.items():
        if netns != MACHINE and any(link.mac == mac for link in space.links.values()):
            return netns
    return None


@prediction(
    "learned-whom",
    "h1 pings h2: a question, an answer, a ping, a pong. Which hosts will sw1 have learned then?",
    HOSTS,
    several=True,
)
def learned_whom(look: Look) -> Seen | None:
    if not conversations(look, "h1", ADDRESSES["h2"]):
        return None
    rows = _learned(look)
    owners = {_owner(look, row.mac) for row in rows}
    evidence = tuple(
        f"{row.mac} at {look.state().space(MACHINE).name_of(row.port)}" for row in rows
    )
    return Seen(tuple(name for name in HOSTS if name in owners), evidence)


YES, NO = "yes", "no"


@prediction(
    "after-move",
    "h2 has moved from sw2 to sw1 and has not said a word since. Will h1's ping reach it?",
    (YES, NO),
)
def after_move(look: Look) -> Seen | None:
    sent = sights(look, host="h1", sent=True, protocol="ICMP")
    if not sent:
        return None
    done = conversations(look, "h1", ADDRESSES["h2"])
    if done:
        return Seen((YES,), (f"frame #{done[-1][1].number} is the answer",))
    return Seen((NO,), (f"frame #{sent[-1].number} was never answered",))


@prediction(
    "silent-host",
    "h5 is plugged in with IPv6 switched on. Nobody pings it, it pings nobody. Will sw1 learn "
    "where it is within three seconds?",
    (YES, NO),
)
def silent_host(look: Look) -> Seen | None:
    if not any(host.name == "h5" for host in look.lab.hosts):
        return None
    sent = sights(look, host="h5", sent=True)
    words = tuple(s.packet.operation or s.packet.protocol for s in sent)
    rows = [row for row in _learned(look) if _owner(look, row.mac) == "h5"]
    return Seen((YES if rows else NO,), words[:4])


@prediction(
    "hub-hears",
    "On the hub, a pings b for the second time. What will c's interface get?",
    ("nothing", "the request alone", "the request and the reply"),
)
def hub_hears(look: Look) -> Seen | None:
    if not conversations(look, "a", "10.4.0.2"):
        return None
    got = sights(look, host="c", protocol="ICMP")
    kinds = {sight.packet.operation for sight in got}
    evidence = tuple(f"frame #{s.number}: {s.packet.operation}" for s in got)
    if "echo-reply" in kinds:
        return Seen(("the request and the reply",), evidence)
    return Seen(("the request alone" if kinds else "nothing",), evidence)


# Exercises


def _known(look: Look) -> set[str]:
    """The hosts that sw1 has a learned row for now."""
    rows = [row for row in look.bridge("sw1").fdb if row.kind == "learned"]
    return {owner for row in rows if (owner := _owner(look, row.mac))}


def all_known_hints(look: Look) -> tuple[str, str, str]:
    known = _known(look)
    missing = [name for name in HOSTS if name not in known]
    return (
        f"sw1 knows {listed(sorted(known))} now; missing: {listed(missing)}.",
        "A switch learns from the source address of a frame. Who has not sent one lately?",
        f"Let {missing[0] if missing else 'each host'} send something: a ping to anybody will do.",
    )


@exercise(
    "all-known",
    asks="Get all four hosts into sw1's CAM table, at the same time.",
    hints=all_known_hints,
)
def all_known(look: Look) -> Iterator[Row]:
    known = _known(look)
    for name in HOSTS:
        look.host(name)
        yield expects(
            f"sw1 has a learned row for {name}",
            "yes",
            "yes" if name in known else "no",
            source="sw1.fdb",
        )


def forgetful_hints(look: Look) -> tuple[str, str, str]:
    _, text = look.run(look.lab.machine, "ip -d link show sw1 | grep -o 'ageing_time [0-9]*'")
    return (
        f"sw1's setting now: {text.strip()} (in hundredths of a second). How long does a row live?",
        "A bridge that forgets at once cannot know a port: what does it do with every frame then?",
        "ip link set sw1 type bridge ageing_time 0 makes a hub of it. Then let h1 and h3 speak.",
    )


@exercise(
    "to-hub",
    asks="Make sw1 so forgetful that h4 gets to see a reply from h3 to h1.",
    hints=forgetful_hints,
)
def to_hub(look: Look) -> Iterator[Row]:
    look.host("h4")
    source, target = ADDRESSES["h3"], ADDRESSES["h1"]
    found = sights(look, host="h4", operation="echo-reply", source=source, target=target)
    yield expects(
        "h4's eth0 got an echo reply from h3 to h1",
        "such a frame",
        f"frame #{found[-1].number}" if found else "no such frame yet",
        ok=bool(found),
        source="captured frames at h4's eth0",
    )


def pinned_hints(look: Look) -> tuple[str, str, str]:
    ports = listed(f"{p.name} → {p.peer}" for p in look.bridge("sw1").ports)
    mac = look.interfaces("h3")[0].mac
    return (
        f"h3's MAC address is {mac}. sw1's ports: {ports}. Which one leads to h3?",
        "A row that is put in by hand is static: it is not learned, and it does not age. See man 8 "
        "bridge, at fdb.",
        f"bridge fdb replace {mac} dev PORT master static, in the machine.",
    )


@exercise(
    "pinned",
    asks="Pin h3's MAC address to its port in sw1's table, so that no flush removes it.",
    hints=pinned_hints,
)
def pinned(look: Look) -> Iterator[Row]:
    mac = look.interfaces("h3")[0].mac
    port = next(
        (p.name for p in look.bridge("sw1").ports if (p.peer or "").startswith("h3:")), "none"
    )
    rows = look.json(look.lab.machine, "bridge -j fdb show br sw1")
    held = [r for r in rows if r["mac"] == mac and r.get("state") in ("static", "permanent")]
    yield expects(
        "a row that does not age, at the right port",
        f"{mac} at {port}, static",
        listed(f"{r['mac']} at {r['ifname']}, {r['state']}" for r in held),
        ok=any(r["ifname"] == port for r in held),
        source="bridge fdb show br sw1",
    )
