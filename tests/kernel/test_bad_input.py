"""Anything at all, given to every public call: a LabkitError or a right result, and a lab in order.

LABKIT_EXAMPLES=2000 asks for more examples than the usual run takes.
"""

from __future__ import annotations

import decimal
import ipaddress
import json
import os
import signal
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from labkit import Lab, LabkitError
from labkit.hosts import Host, Job
from labkit.launch.launchers import LAUNCHERS
from labkit.model.operations import MACHINE
from labkit.wiring import Bridge, Cable
from tests.kernel.conftest import Scene

EXAMPLES = int(os.environ.get("LABKIT_EXAMPLES", "60"))
LAUNCHER = next(
    (one.name for one in (*reversed(LAUNCHERS[:2]), *LAUNCHERS[2:]) if one.probe() is None), None
)
"""Rootless, where that works."""
LONG = 20
"""Seconds after which a call counts as hanging."""
EASY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
pytestmark = [
    pytest.mark.skipif(LAUNCHER is None, reason="no launcher works here"),
    pytest.mark.timeout(60 + 10 * EXAMPLES),
]


class Nasty:
    """A value that nothing can be done with."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    __str__ = __bool__ = __len__ = __index__ = __float__ = __iter__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None


@contextmanager
def in_time():
    """Fails what does not come back: by an alarm, as a hanging call would hold the test, too."""

    def late(*_: object) -> None:
        raise TimeoutError("the call hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LONG)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_in_order(lab: Lab) -> None:
    """Hosts, bridges and cables are as the kernel has them, and the two hosts talk."""
    told = lab.machine.run(
        f"for n in $(ls /run/netns); do echo $n; ip -n $n -j link; done; echo {MACHINE}; ip -d -j link"
    )
    assert told, told
    lines = told.stdout.splitlines()
    links = {n: json.loads(found) for n, found in zip(lines[::2], lines[1::2], strict=True)}
    assert set(links) - {MACHINE} == {h.name for h in lab.hosts if h.netns != MACHINE}
    bridges = {
        i["ifname"] for i in links[MACHINE] if i.get("linkinfo", {}).get("info_kind") == "bridge"
    }
    assert bridges == {bridge.interface for bridge in lab.bridges}
    found = {(netns, i["ifname"]) for netns, rows in links.items() for i in rows}
    ends = {(end.netns, end.interface) for cable in lab.cables for end in cable.ends}
    assert len(ends) == 2 * len(lab.cables)
    assert ends == {one for one in found if one[1] != "lo"} - {(MACHINE, b) for b in bridges}
    assert set(lab.recording.state().namespaces) == set(links)


# Anything

NUMBERS = st.sampled_from(
    [-1, 0, 1, 2, 3.5, -0.0, 0.004, 1e-320, 1e308, float("nan"), float("inf"), -float("inf")]
    + [2**31, 2**63, 2**64, 10**400, 10**5000, True, False, decimal.Decimal(1), 1j]
)
NAMES = st.sampled_from(
    ["h", "a" * 15, "a" * 16, "a" * 63, "a" * 64, "lo", "all", "default", ".", "..", "-n", "eth0"]
    + ["nginx-1", "docker0", "machine", "h/../x", "h\n", "h\0", "h\ud800", "ħ", "$(reboot)", "%d"]
    + [
        "veth0%d",
        " h",
        "h h",
        "\x1b[31m",
        "\u202eh",
        "<b>h</b>",
        "a.b",
        "a_b",
        "🙂",
        "",
        "default ",
    ]
)
ADDRESSES = st.sampled_from(
    ["172.17.0.9/16", "172.17.0.2/16", "172.17.0.9", "10.0.0.1/32", "10.0.0.1/31", "0.0.0.0/0"]
    + [
        "1.2.3.4/0",
        "255.255.255.255/32",
        "127.0.0.9/8",
        "224.0.0.1/4",
        "fe80::1%eth0/64",
        "::1/128",
    ]
    + ["fd00::1/64", "::/0", "ff02::1/16", "172.17.0.9/255.255.0.0", "172.17.0.9/0.0.255.255"]
    + ["172.17.0.9/33", "172.17.0.09/16", "١.2.3.4/8", "fd00::9%a b/64", "default", "0/0", "/", "%"]
    + ["240.0.0.1/24", "169.254.1.1/16", "172.17.0.1", "192.0.2.1", "fd00::2", "fe80::1%eth0"]
)
MACS = st.sampled_from(
    ["02:00:00:00:00:01", "02-00-00-00-00-02", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "02:00"]
    + ["7a:01:02:03:04:05", "7b:01:02:03:04:05", "01:00:5e:00:00:01", "0２:00:00:00:00:01"]
)
OTHERS = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=5),
    st.none(),
    st.integers(max_value=3),
    st.builds(Nasty),
    st.lists(st.one_of(st.none(), st.text(max_size=3), st.builds(Nasty)), max_size=3),
    st.just(type),
    st.just({}),
    st.just(ipaddress.ip_interface("172.17.0.9/16")),
    st.just(ipaddress.ip_network("10.9.0.0/16")),
    st.just(ipaddress.ip_address("172.17.0.1")),
)
THINGS = st.sampled_from(
    ["nginx1", "nginx2", "docker0", "cable1", "gone_host", "gone_bridge", "gone_cable"]
    + ["other_host", "other_bridge", "ended_host", "ended_bridge", "machine", "lab", "interface"]
).map(lambda name: ("thing", name))
VALUE = st.one_of(NUMBERS, NAMES, ADDRESSES, MACS, OTHERS, THINGS)
# Whatever is executed must do nothing; all other values are as above.
COMMAND = st.one_of(
    NUMBERS,
    OTHERS.filter(lambda v: not isinstance(v, str) and not (isinstance(v, list) and len(v))),
    st.sampled_from(
        ["", " ", "true", "true\0", "true \ud800", [], [""], ["true", 1], ["true", None]]
    ),
    st.lists(st.text(max_size=5), max_size=2).map(lambda words: ["true", *words]),
    st.just(["true", "x" * 200_000]),
    st.just("true " + "x" * 200_000),
)

CALLS = {
    "lab.host": (1, ("network", "forwarding", "ipv6")),
    "lab.bridge": (1, ("address", "ageing", "stp")),
    "lab.cable": (2, ("a_address", "b_address", "mac")),
    "lab.__getitem__": (1, ()),
    "lab.watch": (2, ()),
    "nginx1.add_route": (1, ("via", "interface")),
    "nginx1.remove_route": (1, ("via", "interface")),
    "nginx1.ping": (1, ("count", "timeout")),
    "nginx1.run": ("command", ("timeout",)),
    "nginx1.start": ("command", ()),
    "nginx1.serve": (1, ()),
    "ended_host.ping": (1, ("count", "timeout")),
    "ended_host.run": ("command", ("timeout",)),
    "gone_host.ping": (1, ("count", "timeout")),
    "gone_host.run": ("command", ("timeout",)),
    "gone_host.serve": (1, ()),
    "gone_host.add_route": (1, ("via", "interface")),
    "other_host.ping": (1, ("count",)),
    "Lab": (1, ("launcher",)),
}


LIKELY = {
    "lab.cable": THINGS,
    "lab.watch": THINGS,
    "lab.host": NAMES,
    "lab.bridge": NAMES,
    **dict.fromkeys(("nginx1.add_route", "nginx1.remove_route", "nginx1.ping"), ADDRESSES),
    **dict.fromkeys(("address", "a_address", "b_address", "via"), ADDRESSES),
    **dict.fromkeys(("ageing", "count", "timeout"), NUMBERS),
    "mac": MACS,
    "interface": st.sampled_from(["eth0", "lo", "eth0\0", "", "x" * 99, "\udc80"]),
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, list[object], dict[str, object]]:
    what = draw(st.sampled_from(sorted(CALLS)))
    positional, keywords = CALLS[what]
    if positional == "command":
        arguments = [draw(COMMAND)]
    else:
        arguments = [draw(st.one_of(LIKELY.get(what, VALUE), VALUE)) for _ in range(positional)]
    optional = {key: st.one_of(LIKELY.get(key, VALUE), VALUE) for key in keywords}
    return what, arguments, draw(st.fixed_dictionaries({}, optional=optional))


class World(Scene):
    """The scene of the text, with things that are gone, of another lab, and of one that ended."""

    def __init__(self) -> None:
        super().__init__(Lab("bad-input", launcher=LAUNCHER))
        self.other = Lab("bad-input-2", launcher=LAUNCHER)
        ended = Lab("bad-input-3", launcher=LAUNCHER)
        self.machine = self.lab.machine
        self.interface = self.nginx2.interfaces[1]
        self.gone_host, self.gone_bridge = self.lab.host("gone"), self.lab.bridge("gone-0")
        self.gone_cable = self.lab.cable(self.gone_host, self.gone_bridge)
        self.gone_host.remove()
        self.gone_bridge.remove()
        self.other_host, self.other_bridge = self.other.host("h"), self.other.bridge("b")
        self.ended_host, self.ended_bridge = ended.host("h"), ended.bridge("b")
        ended.close()
        self.Lab = Lab

    def resolve(self, value: object) -> object:
        if type(value) is tuple and value[:1] == ("thing",):
            return getattr(self, value[1])
        return value


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.lab.close()
    world.other.close()


@EASY
@given(calls())
def test_anything_is_refused_in_words_or_done(world: World, call):
    what, arguments, keywords = call
    name, _, method = what.partition(".")
    subject = getattr(world, name)
    kept = (world.lab.hosts, world.lab.bridges, world.lab.cables)
    result = None
    try:
        with in_time():
            result = (getattr(subject, method) if method else subject)(
                *map(world.resolve, arguments),
                **{key: world.resolve(value) for key, value in keywords.items()},
            )
    except LabkitError as error:
        assert len(str(error)) < 5000
        assert (world.lab.hosts, world.lab.bridges, world.lab.cables) == kept
    if isinstance(result, Job):
        result.stop()
    if isinstance(result, Lab):
        result.close()
    check_in_order(world.lab)
    if isinstance(result, Host | Bridge | Cable) and result not in (
        *kept[0],
        *kept[1],
        world.machine,
    ):
        result.remove()
        check_in_order(world.lab)
    # A route, or another interface with that address, that was asked for may take the way away.
    world.nginx1.run("ip route flush table main; ip route add 172.17.0.0/16 dev eth0")
    assert world.nginx1.ping(world.nginx2)


ARGUMENTS = {
    "host": lambda w, v: w.lab.host(v),
    "host network": lambda w, v: w.lab.host("x", network=v),
    "host forwarding": lambda w, v: w.lab.host("x", forwarding=v),
    "host ipv6": lambda w, v: w.lab.host("x", ipv6=v),
    "bridge": lambda w, v: w.lab.bridge(v),
    "bridge address": lambda w, v: w.lab.bridge("x", v),
    "bridge ageing": lambda w, v: w.lab.bridge("x", ageing=v),
    "bridge stp": lambda w, v: w.lab.bridge("x", stp=v),
    "cable a": lambda w, v: w.lab.cable(v, w.docker0),
    "cable b": lambda w, v: w.lab.cable(w.nginx1, v),
    "cable address": lambda w, v: w.lab.cable(w.nginx1, w.docker0, v),
    "cable bridge's address": lambda w, v: w.lab.cable(w.nginx1, w.docker0, None, v),
    "cable mac": lambda w, v: w.lab.cable(w.nginx1, w.docker0, mac=v),
    "item": lambda w, v: w.lab[v],
    "watch": lambda w, v: w.lab.watch(v),
    "route": lambda w, v: w.nginx1.add_route(v, via="172.17.0.1"),
    "route via": lambda w, v: w.nginx1.add_route("10.9.0.0/16", via=v),
    "route interface": lambda w, v: w.nginx1.add_route("10.9.0.0/16", interface=v),
    "ping": lambda w, v: w.nginx1.ping(v),
    "ping count": lambda w, v: w.nginx1.ping("172.17.0.1", count=v),
    "ping timeout": lambda w, v: w.nginx1.ping("172.17.0.1", timeout=v),
    "run": lambda w, v: w.nginx1.run(v),
    "run timeout": lambda w, v: w.nginx1.run("true", timeout=v),
    "start": lambda w, v: w.nginx1.start(v),
    "serve": lambda w, v: w.nginx1.serve(v),
    "Lab": lambda w, v: Lab(v),
    "Lab launcher": lambda w, v: Lab("x", launcher=v),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_each_argument_given_what_nothing_can_be_done_with(world: World, argument: str):
    for value in (Nasty(), [Nasty()], {1: Nasty()}, 10**5000, float("nan"), "\ud800", "\0", b"x"):
        with pytest.raises(LabkitError), in_time():
            ARGUMENTS[argument](world, value)
    check_in_order(world.lab)


# Any order

HOSTS = ("h1", "h2", "a-host-of-a-long-name")
BRIDGES = ("b1", "b2", "a-bridge-of-a-long-name")


class AnyOrder(RuleBasedStateMachine):
    """Calls that make sense alone, in any order; the lab and the kernel never part."""

    def __init__(self) -> None:
        super().__init__()
        self.lab = Lab("any-order", launcher=LAUNCHER)
        self.things: list[object] = [self.lab.machine]
        self.cables: list[object] = []
        self.addresses = (f"10.{n // 250}.{n % 250}.1/24" for n in range(1000))

    def teardown(self) -> None:
        self.lab.close()

    def attempt(self, call) -> object:
        try:
            with in_time():
                return call()
        except LabkitError:
            return None

    @rule(name=st.sampled_from(HOSTS), network=st.sampled_from([None, None, MACHINE]))
    def host(self, name, network):
        self.things.append(self.attempt(lambda: self.lab.host(name, network=network)))

    @rule(name=st.sampled_from(BRIDGES))
    def bridge(self, name):
        self.things.append(self.attempt(lambda: self.lab.bridge(name)))

    @rule(data=st.data(), addressed=st.booleans())
    def cable(self, data, addressed):
        a, b = (data.draw(st.sampled_from(self.things)) for _ in range(2))
        address = next(self.addresses) if addressed else None
        self.cables.append(self.attempt(lambda: self.lab.cable(a, b, address)))

    @rule(data=st.data(), what=st.sampled_from(["remove", "plug", "unplug", "flush", "interfaces"]))
    def use(self, data, what):
        thing = data.draw(st.sampled_from(self.things + self.cables))
        if hasattr(type(thing), what):
            self.attempt(lambda: value() if callable(value := getattr(thing, what)) else value)

    @rule(data=st.data(), breaks=st.booleans())
    def batch(self, data, breaks):
        def build():
            with self.lab.batch():
                h = self.lab.host(data.draw(st.sampled_from(HOSTS)))
                self.things.append(h)
                b = data.draw(st.sampled_from(self.things))
                self.cables.append(self.lab.cable(h, b))
                if breaks:
                    self.lab.cable(h, h)

        self.attempt(build)

    @rule(data=st.data())
    def by_hand(self, data):
        """What a command has deleted can be removed from the lab all the same."""
        if self.lab.cables:
            cable = data.draw(st.sampled_from(self.lab.cables))
            end = cable.ends[1]
            hosts = (self.lab.machine, *self.lab.hosts)
            next(h for h in hosts if h.netns == end.netns).run(f"ip link delete {end.interface}")
            cable.remove()
        if self.lab.bridges:
            bridge = data.draw(st.sampled_from(self.lab.bridges))
            self.lab.machine.run(f"ip link delete {bridge.interface}")
            bridge.remove()

    @invariant()
    def agree(self):
        check_in_order(self.lab)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(EASY, max_examples=max(5, EXAMPLES // 6), stateful_step_count=15)
