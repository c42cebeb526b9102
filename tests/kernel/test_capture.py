"""Every frame is captured, as other programs see it; what is not, is told and counted."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

from labkit import Lab
from labkit.agent import capture
from labkit.hosts import Host
from labkit.model import events as ev
from tests.kernel.conftest import Scene, ask
from tests.kernel.journeys import Witness

TCP = 6
MILLISECOND = 1_000_000
TICK = 256
"""Nanoseconds of User Mode Linux's clock (TIMER_MULTIPLIER, arch/um/kernel/time.c)."""


def frames(lab: Lab, host: Host, interface: str, since: int = 0) -> list[ev.Frame]:
    """What the log has of an interface, in the kernel's order."""
    [index] = [k["ifindex"] for k in ask(host, f"ip -j link show {interface}")]
    found = [
        event
        for event in lab.recording.events
        if isinstance(event, ev.Frame)
        and (event.netns, event.index) == (host.netns, index)
        and event.at >= since
    ]
    return sorted(found, key=lambda event: event.at)


def traffic(scene: Scene) -> None:
    """ARP, ICMP small and large (in fragments), TCP, UDP and its ICMP error."""
    one, two = scene.nginx1, scene.nginx2
    two.serve()
    assert one.ping(two, count=3)
    assert one.run("ping -c 2 -s 4000 -i 0.2 172.17.0.3").exit_code == 0
    assert one.run("curl -s http://172.17.0.3/").exit_code == 0
    one.run("bash -c 'echo hi > /dev/udp/172.17.0.3/9'")
    assert one.ping("172.17.0.1")


def test_as_another_program_sees_it(scene: Scene, tmp_path: Path):
    """The same frames at each interface, byte for byte, with the same timestamps."""
    docker0 = scene.docker0.interface
    port = ask(scene.nginx1, "ip -j link show eth0")[0]["link_index"]
    [port] = [k["ifname"] for k in ask(scene.lab.machine, "ip -j link") if k["ifindex"] == port]
    places = [
        (scene.nginx1, "eth0"), (scene.nginx2, "eth0"), (scene.lab.machine, docker0),
        (scene.lab.machine, port),
    ]  # fmt: skip
    witnesses = [
        Witness(host, interface, tmp_path / f"{number}.pcap")
        for number, (host, interface) in enumerate(places)
    ]
    begins = scene.lab.machine.interfaces and scene.lab.recording.now()
    traffic(scene)
    for (host, interface), witness in zip(places, witnesses, strict=True):
        ours = frames(scene.lab, host, interface, begins)
        seen = [one for one in witness.frames(len(ours)) if one[0] >= begins]
        later = frames(scene.lab, host, interface, begins)  # what has come meanwhile
        known = Counter(event.data for event in later)
        assert len(seen) >= len(ours) > 10
        assert not Counter(data for _, data in seen) - known, "frames that are not in the log"
        stamps: dict[bytes, list[tuple[int, bool]]] = {}
        for event in later:
            # A TCP segment keeps the sender's own time in its place for a timestamp
            # (skb->tstamp_type), so that each reader at the receiving end takes one for itself.
            own = event.data[23] == TCP and not event.is_outgoing
            stamps.setdefault(event.data, []).append((event.at, own))
        for at, data in seen:
            off, own = min((abs(at - ours), own) for ours, own in stamps[data])
            assert off <= (MILLISECOND if own else witness.unit - 1)
        fields = subprocess.run(
            ["tshark", "-r", str(witness.path), "-T", "fields", "-e", "frame.protocols"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "icmp" in fields


def test_both_ends_of_a_cable_and_directions(scene: Scene):
    """What one end sends the other receives, the same bytes, a moment later."""
    traffic(scene)
    assert scene.nginx1.interfaces  # so that all that has happened is told
    peer = ask(scene.nginx1, "ip -j link show eth0")[0]["link_index"]
    [port] = [k["ifname"] for k in ask(scene.lab.machine, "ip -j link") if k["ifindex"] == peer]
    near = frames(scene.lab, scene.nginx1, "eth0")
    far = frames(scene.lab, scene.lab.machine, port)
    for start, end in ((near, far), (far, near)):
        sent = [event for event in start if event.packet_type == "outgoing"]
        received = [event for event in end if event.packet_type != "outgoing"]
        assert [event.data for event in sent] == [event.data for event in received]
        tick = TICK if scene.lab.launcher == "uml" else 0
        assert all(out.at < got.at + tick for out, got in zip(sent, received, strict=True))
    mac = bytes.fromhex(ask(scene.nginx1, "ip -j link show eth0")[0]["address"].replace(":", ""))
    for event in near:
        assert (event.data[6:12] == mac) == (event.packet_type == "outgoing")
        if event.packet_type == "host":
            assert event.data[:6] == mac
        if event.packet_type == "broadcast":
            assert event.data[:6] == b"\xff" * 6


def test_a_frame_for_another_host_is_marked(lab: Lab):
    sw = lab.bridge("sw", ageing=0)  # a hub
    hosts = [lab.host(f"h{number}") for number in (1, 2, 3)]
    for number, host in enumerate(hosts, 1):
        lab.cable(host, sw, f"10.0.0.{number}/24")
    assert hosts[0].ping(hosts[1])
    kinds = Counter(e.packet_type for e in frames(lab, hosts[2], "eth0") if e.data[23] == 1)
    assert kinds["otherhost"] == 2, "the request and the reply"


def test_the_first_frame_of_a_new_host(lab: Lab):
    """Also of an interface that some command adds, and of one that comes up in a batch."""
    sw = lab.bridge("sw")
    with lab.batch():
        one, two = lab.host("one"), lab.host("two")
        lab.cable(one, sw, "10.0.0.1/24")
        lab.cable(two, sw, "10.0.0.2/24")
    assert one.ping(two)
    mine = [e.data for e in frames(lab, one, "eth0") if e.is_outgoing]
    assert mine[0][12:14] == b"\x08\x06"
    assert mine[0][20:22] == b"\0\1", "its ARP request"
    made = lab.machine.run(
        "ip link add x type veth peer name y && ip link set x up && ip link set y up && "
        "ip addr add 10.9.0.1/24 dev x && ping -c1 -W0.2 10.9.0.2"
    )
    assert "100% packet loss" in made.stdout
    asks = [e for e in frames(lab, lab.machine, "x") if e.data[12:14] == b"\x08\x06"]
    assert asks
    assert asks[0].data in [e.data for e in frames(lab, lab.machine, "y")]


def test_a_removed_host(scene: Scene):
    """What it sent last is in the log, its sockets are gone, and the others go on."""
    lab = scene.lab
    held = sockets(lab)
    assert scene.nginx1.ping(scene.nginx2)
    mine = frames(lab, scene.nginx1, "eth0")
    scene.nginx1.remove()
    assert sockets(lab) == held - 2, "one of packets and one of netlink"
    kept = [e for e in lab.recording.events if isinstance(e, ev.Frame) and e.netns == "nginx-1"]
    assert len(kept) >= len(mine)
    before = len(frames(lab, scene.nginx2, "eth0"))
    assert scene.nginx2.ping("172.17.0.1")
    assert len(frames(lab, scene.nginx2, "eth0")) > before


def sockets(lab: Lab) -> int:
    """Sockets that the agent holds: it is process 1 of the lab's own."""
    return lab.machine.run("readlink /proc/1/fd/*").stdout.count("socket:")


SENDER = """
import socket, struct, sys
count, size = map(int, sys.argv[1:])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
head = bytes.fromhex("02000000000a02000000000b88b5")  # a local experimental EtherType
for n in range(count):
    s.send(head + struct.pack("!I", n) + bytes(size - 18))
"""
KIND = bytes.fromhex("88b5")


def flood(host: Host, count: int, size: int = 64) -> None:
    done = host.run(["python3", "-c", SENDER, str(count), str(size)])
    assert done.exit_code == 0, done


def test_a_long_frame_is_cut_and_says_how_long_it_was(lab: Lab):
    one, two = lab.host("one"), lab.host("two")
    lab.cable(one, two, "10.0.0.1/24", "10.0.0.2/24")
    for host in (one, two):
        assert host.run("ip link set eth0 mtu 9000").exit_code == 0
    flood(one, 1, 8000)
    assert two.interfaces  # so that all that has happened is told
    [got] = [e for e in frames(lab, two, "eth0") if e.data[12:14] == KIND]
    assert (len(got.data), got.length) == (capture.SNAP, 8000)
