"""A thousand pings over networks that nobody has thought out: what must hold for each journey."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from labkit import Lab
from labkit.hosts import Host, Ping
from labkit.journey import Journey
from labkit.launch.launchers import choose
from labkit.model import events as ev
from labkit.wiring import Bridge, Cable
from tests.kernel.journeys import check, steps_of

NETWORKS = 40
"""So many with the launcher that is used by itself here; a few of them with the other."""
PINGS = 25
FRUITLESS = {"unplug", "nobody"}
WAIT, WAIT_IN_VAIN = 2.0, 0.06
"""Seconds that a ping waits: on a busy machine the program may be late for its answer."""


@dataclass(frozen=True)
class Plan:
    """Bridges joined as a tree, by cables or routers, with hosts on them, and what is done there."""

    joints: list[tuple[int, bool]]  # for each bridge but the first: to which, and by a router?
    hosts: list[int]  # for each host: on which bridge
    acts: list[tuple[int, int, str]]  # from which host, to which, and what happens before


DEEDS = st.sampled_from(
    ["nothing"] * 6 + ["flush bridge", "forget neighbours", "forget all", "unplug", "nobody"]
)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    bridges = draw(st.integers(1, 4))
    joints = [(draw(st.integers(0, n - 1)), draw(st.booleans())) for n in range(1, bridges)]
    hosts = draw(st.lists(st.integers(0, bridges - 1), min_size=2, max_size=8))
    some = st.integers(0, len(hosts) - 1)
    acts = draw(st.lists(st.tuples(some, some, DEEDS), min_size=PINGS, max_size=PINGS))
    return Plan(joints, hosts, acts)


@dataclass
class Network:
    """A plan, built."""

    lab: Lab
    plan: Plan
    bridges: list[Bridge] = field(default_factory=list)
    hosts: list[Host] = field(default_factory=list)
    cables: list[Cable] = field(default_factory=list)
    segments: list[int] = field(default_factory=list)  # of each bridge: its subnet's number
    routers: list[tuple[Host, int, int]] = field(default_factory=list)  # between which subnets

    def build(self) -> None:
        self.segments = [0]
        for to, by_router in self.plan.joints:
            new = max(self.segments) + 1
            self.segments.append(new if by_router else self.segments[to])
        with self.lab.batch():
            self.bridges = [self.lab.bridge(f"sw{n}") for n in range(len(self.segments))]
            for number, (to, by_router) in enumerate(self.plan.joints, 1):
                ends = (number, to)
                if not by_router:
                    self.lab.cable(self.bridges[number], self.bridges[to])
                    continue
                router = self.lab.host(f"r{number}", forwarding=True)
                for end in ends:
                    address = f"10.0.{self.segments[end]}.{200 + number}/24"
                    self.lab.cable(router, self.bridges[end], address)
                self.routers.append((router, *(self.segments[end] for end in ends)))
            for number, on in enumerate(self.plan.hosts):
                self.hosts.append(self.lab.host(f"h{number}"))
                address = f"10.0.{self.segments[on]}.{number + 1}/24"
                self.cables.append(self.lab.cable(self.hosts[-1], self.bridges[on], address))
            for host, on in zip(self.hosts, self.plan.hosts, strict=True):
                self.add_routes(host, {self.segments[on]})
            for router, *near in self.routers:
                self.add_routes(router, set(near))

    def add_routes(self, host: Host, near: set[int]) -> None:
        """The way to every subnet that it is not on: the subnets are a tree, so there is one."""
        for segment in sorted(near):
            for router, a, b in self.routers:
                if segment in (a, b) and router is not host:
                    other = b if segment == a else a
                    number = int(router.name[1:])
                    for far in self.beyond(other, segment) - near:
                        gateway = f"10.0.{segment}.{200 + number}"
                        host.add_route(f"10.0.{far}.0/24", via=gateway)

    def beyond(self, segment: int, came_from: int) -> set[int]:
        found = {segment}
        for _, a, b in self.routers:
            if segment in (a, b):
                other = b if segment == a else a
                if other != came_from:
                    found |= self.beyond(other, segment)
        return found

    def act(self, source: int, target: int, deed: str) -> Ping:
        host = self.hosts[source]
        segment = self.segments[self.plan.hosts[target]]
        address = f"10.0.{segment}.{target + 1 if deed != 'nobody' else 99}"
        if deed == "unplug":
            self.cables[target].unplug()
        if deed in ("flush bridge", "forget all"):
            self.bridges[self.plan.hosts[target]].flush()
        if deed in ("forget neighbours", "forget all"):
            for one in {host, self.hosts[target]} if deed == "forget all" else {host}:
                one.run(["ip", "neigh", "flush", "all"])
        ping = host.ping(address, timeout=WAIT_IN_VAIN if deed in FRUITLESS else WAIT)
        if deed == "unplug":
            self.cables[target].plug()
        return ping


def echoes(journey: Journey, kind: int) -> list[bytes]:
    """Echo messages that the one who asks has sent (8), or received in answer (0)."""
    source = journey[0].host
    found = []
    for step in steps_of(journey):
        event = journey.recording.event(step.frame) if step.frame is not None else None
        if isinstance(event, ev.Frame) and event.netns == source and step.host == source:
            data = event.data
            if data[12:14] == b"\x08\0" and data[23] == 1 and data[34] == kind:
                found.append(data)
    return found


@pytest.mark.timeout(400)
def test_a_thousand_pings(launcher: str):
    count = [0, 0]
    networks = NETWORKS if launcher == choose(None).name else NETWORKS // 5

    @settings(
        max_examples=networks,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a failing network is printed as it is
        suppress_health_check=list(HealthCheck),
    )
    @given(plans())
    def many(plan: Plan) -> None:
        with Lab("test", launcher=launcher) as lab:
            network = Network(lab, plan)
            network.build()
            for act in plan.acts:
                ping = network.act(*act)
                journey = ping.journey
                try:
                    sound(ping, journey)
                except AssertionError as error:
                    raise AssertionError(f"{act}: {error}\n{journey}") from error
                count[bool(ping)] += 1

    many()
    assert sum(count) >= networks * PINGS
    assert min(count) > networks, "some that fail and some that do not"


def sound(ping: Ping, journey: Journey) -> None:
    check(journey)
    kinds = [step.kind for step in steps_of(journey)]
    assert kinds[0] == "route"
    answers = echoes(journey, 0)
    assert bool(ping) == bool(answers)
    assert (kinds[-1] == "timeout") == (not ping)
    for data in answers:  # the answer is to this ping's question
        assert struct.unpack_from("!HH", data, 38) in [
            struct.unpack_from("!HH", sent, 38) for sent in echoes(journey, 8)
        ]
