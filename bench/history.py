"""A long recording: how quickly it grows, loads, and shows any instant of itself."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from pathlib import Path

EVENTS = 100_000
AT = 1_800_000_000_000_000_000
STEP = 100_000
"""Nanoseconds from event to event."""


def events(hosts: int) -> list[object]:
    """That many hosts at a bridge, pinging: mostly frames, and what they change in the tables."""
    from labkit.model import events as ev
    from labkit.model import operations as op

    made: list[object] = [
        ev.Applied(at=AT, operation=op.AddBridge(name="sw", interface="sw", mac="02:42::1")),
        ev.LinkSet(at=AT, netns="machine", index=2, name="sw", kind="bridge", mac="02:42::1"),
    ]
    for i in range(hosts):
        name, inner, port = f"h{i}", 4, 10 + i
        made += [
            ev.Applied(at=AT, operation=op.AddHost(name=name, netns=name)),
            ev.LinkSet(
                at=AT, netns=name, index=inner, name="eth0", kind="veth", mac=_mac(i), is_up=True,
                has_carrier=True, peer_netns="machine", peer_index=port,
            ),
            ev.AddressSet(at=AT, netns=name, index=inner, address=f"10.0.{i // 250}.{i % 250}/16"),
            ev.LinkSet(
                at=AT, netns="machine", index=port, name=f"veth{i}", kind="veth", mac=_mac(i, 2),
                is_up=True, has_carrier=True, master=2, port_state="forwarding",
                peer_netns=name, peer_index=inner,
            ),
        ]  # fmt: skip
    chance = random.Random(7)
    while len(made) < EVENTS:
        at = AT + len(made) * STEP
        a = chance.randrange(hosts)
        b = (a + chance.randrange(1, 6)) % hosts  # each knows a few others
        data = bytes.fromhex((_mac(b) + _mac(a)).replace(":", "")) + chance.randbytes(84)
        made += [
            ev.Frame(at=at, netns=f"h{a}", index=4, packet_type="outgoing", data=data),
            ev.Frame(at=at, netns="machine", index=10 + a, packet_type="otherhost", data=data),
            ev.Frame(at=at, netns="machine", index=10 + b, packet_type="outgoing", data=data),
            ev.Frame(at=at, netns=f"h{b}", index=4, packet_type="host", data=data),
            ev.FdbSet(
                at=at, netns="machine", bridge=2, port=10 + a, mac=_mac(a), kind="learned",
                updated=at,
            ),
            ev.NeighbourSet(
                at=at, netns=f"h{a}", index=4, address=f"10.0.{b // 250}.{b % 250}", mac=_mac(b),
                state=chance.choice(("REACHABLE", "STALE", "DELAY")),
            ),
        ]  # fmt: skip
    return made[:EVENTS]


def _mac(number: int, kind: int = 0) -> str:
    return f"02:00:00:{kind:02x}:{number // 256:02x}:{number % 256:02x}"


def measured(hosts: int, rounds: int) -> dict[str, float]:
    """Medians, in seconds; and frames a second."""
    from labkit import Recording
    from labkit.model.events import Frame
    from labkit.widgets import Timeline

    made = events(hosts)
    recording = Recording("long", live=False)
    for event in made:
        recording.append(event)
    log = Recording("storm", live=False)
    frames = [event for event in made if isinstance(event, Frame)]
    began = time.perf_counter()
    for _ in range(10):  # more than the log keeps: letting go of the oldest is counted
        for frame in frames:
            log.append(frame)
    taken = len(log) / (time.perf_counter() - began)
    with tempfile.TemporaryDirectory() as folder:
        path = recording.save(Path(folder) / "long.labkit")
        size = path.stat().st_size / 1e6
        loading = []
        for _ in range(rounds):
            began = time.perf_counter()
            loaded = Recording.load(path)
            loading.append(time.perf_counter() - began)
    chance = random.Random(7)
    instants = [chance.randrange(loaded.begins, loaded.now()) for _ in range(100)]
    states, shown = [], []
    timeline = Timeline(loaded)
    for at in instants:
        began = time.perf_counter()
        loaded.state(at)
        states.append(time.perf_counter() - began)
        began = time.perf_counter()
        timeline.at = at
        shown.append(time.perf_counter() - began)
    timeline.close()
    return {
        "frames": taken,
        "load": statistics.median(loading),
        "size": size,
        "state": statistics.median(states),
        "shown": statistics.median(shown),
    }
