"""What must hold for every journey, looked at by other means than the engine's own."""

from __future__ import annotations

import base64
import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labkit import Lab
from labkit.hosts import Host
from labkit.journey import Journey, Step
from labkit.model import events as ev
from labkit.wiring import Bridge
from tests.kernel.conftest import wait_for

FRAME, FDB, NEIGHBOUR = {ev.Frame}, {ev.FdbSet}, {ev.NeighbourSet}
MAY_REST_ON = {
    "route": {ev.RouteLookup, ev.RouteSet},
    "neighbour-miss": NEIGHBOUR,
    "neighbour-hit": NEIGHBOUR,
    "neighbour-learn": NEIGHBOUR,
    "neighbour-change": NEIGHBOUR,
    "arp-request": FRAME,
    "arp-reply": FRAME,
    "neighbour-solicitation": FRAME,
    "neighbour-advertisement": FRAME,
    "echo-request": FRAME,
    "echo-reply": FRAME,
    "transmit": FRAME,
    "enter-port": FRAME,
    "learn": FDB,
    "flood": FRAME,
    "forward": FRAME | FDB,
    "to-bridge-stack": FRAME,
    "receive": FRAME,
    "ignore": FRAME,
    "route-forward": FRAME | {ev.RouteLookup, ev.RouteSet},
    "nat": FRAME,
    "drop": FDB,
    "loop": FRAME,
    "timeout": {ev.ProcessEnded},
    "noise": FRAME | FDB | NEIGHBOUR,
}
Named = list[str]


def shared(lab: Lab, count: int = 3, **options: Any) -> tuple[list[Host], Bridge]:
    """Hosts h1, h2, … on one bridge, which has no address."""
    sw = lab.bridge("sw", **options)
    hosts = []
    for number in range(1, count + 1):
        hosts.append(lab.host(f"h{number}"))
        lab.cable(hosts[-1], sw, f"10.0.0.{number}/24")
    return hosts, sw


def told(journey: Journey) -> Named:
    """The kinds and places of the steps, branches set in."""
    return [f"{'  ' * depth}{step.kind} {step.host}" for depth, step in journey.walk()]


def steps_of(journey: Journey) -> list[Step]:
    return [step for _, step in journey.walk()]


def captured(journey: Journey) -> dict[int, ev.Frame]:
    """Every frame of the journey's time, by its number."""
    return {
        number: event
        for number, event in enumerate(journey.recording.events, journey.recording.forgotten)
        if isinstance(event, ev.Frame) and journey.begins <= event.at <= journey.ends
    }


def check(journey: Journey) -> None:
    """Every frame in one step or noise; evidence exists and is of its kind; causes come first."""
    recording = journey.recording
    everything = [*steps_of(journey), *journey.noise]
    for step in everything:
        assert step.evidence or step.inferred, step
        for number in step.evidence:
            assert type(recording.event(number)) in MAY_REST_ON[step.kind], step
    frames = captured(journey)
    held = Counter(n for step in everything for n in step.evidence if n in frames)
    named = {n for s in everything for n in s.evidence if isinstance(recording.event(n), ev.Frame)}
    assert named == set(frames), "frames that are in no step, or from another time"
    assert set(held.values()) <= {1}, "frames that are in several steps"
    assert not journey.lost
    assert not journey.left_out
    in_causal_order(journey, frames)


def in_causal_order(journey: Journey, frames: dict[int, ev.Frame]) -> None:
    """Nothing is told before that by which it came about: by the bytes and the places alone."""
    before, after = journey.state(-1), journey.recording.state(journey.ends)
    sent: list[tuple[tuple[str, int], bytes]] = []
    entered: list[tuple[tuple[str, int], bytes]] = []
    asked: set[Any] = set()
    for step in steps_of(journey):
        for number in step.evidence:
            if number not in frames:
                continue
            frame = frames[number]
            place = (frame.netns, frame.index)
            link = after.link(*place) or before.link(*place)
            assert link is not None
            if frame.is_outgoing:
                if link.master is not None:  # a port: the frame is the bridge's, or came to it
                    bridge = (frame.netns, link.master)
                    assert (bridge, frame.data) in sent or (bridge, frame.data) in entered, step
                elif (cause := answered(frame.data)) is not None:
                    assert (frame.netns, cause) in asked, step
                sent.append((place, frame.data))
                continue
            if link.peer_netns is not None:
                assert ((link.peer_netns, link.peer_index), frame.data) in sent, step
            if link.master is not None:
                entered.append(((frame.netns, link.master), frame.data))
            asked.add((frame.netns, question(frame.data)))


def question(data: bytes) -> Any:
    """An ARP request or an echo request as that which its answer names."""
    if data[12:14] == b"\x08\x06" and data[20:22] == b"\0\1":
        return "ARP", data[38:42], data[28:32]
    if data[12:14] == b"\x08\0" and data[23] == 1 and data[34] == 8:
        return "ICMP", data[38:42]
    return None


def answered(data: bytes) -> Any:
    """The question that an ARP reply or an echo reply answers."""
    if data[12:14] == b"\x08\x06" and data[20:22] == b"\0\2":
        return "ARP", data[28:32], data[38:42]
    if data[12:14] == b"\x08\0" and data[23] == 1 and data[34] == 0:
        return "ICMP", data[38:42]
    return None


MAGIC = {0xA1B23C4D: 1, 0xA1B2C3D4: 1000}
"""pcap's magic numbers: the nanoseconds of a timestamp's lower part."""


class Witness:
    """Another program that captures on one interface: tcpdump, or dumpcap.

    In a user namespace tcpdump cannot give up its rights (setgroups is denied,
    user_namespaces(7)), and so does not run. What is written in a small Linux's own /tmp is
    fetched from there.
    """

    def __init__(self, host: Any, interface: str, path: Path) -> None:
        self.path = path
        self.unit = 1  # nanoseconds
        self._host = host if host.lab.launcher == "uml" else None
        self._file = f"/tmp/{path.name}" if self._host else str(path)
        command = f"tcpdump -n -Z root -i {interface} --time-stamp-precision=nano -B 8192 -U -w"
        if host.lab.launcher == "rootless":
            self.unit = 1000
            command = f"dumpcap -q -P -B 8 -i {interface} -w"
        self._job = host.start(f"exec {command} {self._file}")
        wait_for(lambda: re.search("listening on|File: ", self._job.output))

    def frames(self, expected: int = 0) -> list[tuple[int, bytes]]:
        """What it has seen: nanoseconds and bytes. Ends it, when it has seen so many."""
        wait_for(lambda: len(list(self._read())) >= expected)
        self._job.stop()
        assert re.search(r"\b0 packets dropped by kernel|: \d+/0 ", self._job.output)
        return list(self._read())

    def _read(self) -> Iterator[tuple[int, bytes]]:
        if self._host:
            self.path.write_bytes(base64.b64decode(self._host.run(f"base64 {self._file}").stdout))
        data = self.path.read_bytes() if self.path.exists() else b""
        if len(data) < 24:
            return
        unit = MAGIC[struct.unpack_from("=I", data)[0]]
        assert unit == self.unit
        at = 24
        while at + 16 <= len(data):
            seconds, part, kept, _ = struct.unpack_from("=IIII", data, at)
            if at + 16 + kept > len(data):
                return
            yield seconds * 1_000_000_000 + part * unit, data[at + 16 : at + 16 + kept]
            at += 16 + kept
