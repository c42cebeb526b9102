"""What the kernel sent, as tshark reads it from a pcapng file of ours."""

from __future__ import annotations

from collections import Counter

from tests.kernel.conftest import Scene, wait_for
from tests.unit.test_pcapng import tshark


def test_a_ping_in_wireshark(scene: Scene, tmp_path):
    """Beside dumpcap, Wireshark's own, in the same namespace. (Rootless, tcpdump cannot run.)"""
    lab = scene.lab
    file = tmp_path / "dumpcap.pcapng"
    job = scene.nginx2.start(f"dumpcap -q -i eth0 -w {file}")
    wait_for(lambda: file.exists() and file.stat().st_size > 0)
    assert scene.nginx1.ping(scene.nginx2, count=3)
    wait_for(lambda: file.exists() and len(tshark(file, "frame.time_epoch")) >= 8)
    job.stop()
    path = lab.recording.to_pcapng(tmp_path / "ours.pcapng", {})
    fields = ("frame.interface_name", "_ws.col.Protocol", "frame.time_epoch")
    rows = [[cell[0] for cell in row] for row in tshark(path, *fields)]
    hops = Counter(row[0] for row in rows if row[1] == "ICMP")
    v1, v2 = (f"machine:{port.name}" for port in scene.docker0.ports)
    assert hops == {"nginx-1:eth0": 6, v1: 6, v2: 6, "nginx-2:eth0": 6}
    theirs = {row[0][0] for row in tshark(file, "frame.time_epoch")}
    ours = {row[2] for row in rows if row[0] == "nginx-2:eth0"}
    assert theirs <= ours, "the same frames, to the nanosecond"


def test_the_journeys_sentences_are_beside_the_frames(scene: Scene, tmp_path):
    journey = scene.nginx1.ping(scene.nginx2).journey
    rows = tshark(
        scene.lab.recording.to_pcapng(tmp_path / "x.pcapng"),
        "frame.interface_name", "frame.comment",
    )  # fmt: skip
    told = {words for _, comments in rows for words in comments}
    asked = next(step for step in journey if step.kind == "arp-request")
    flood = next(step for step in journey if step.kind == "flood")
    assert asked.text in told
    places = [name for (name,), comments in rows if flood.text in comments]
    ports = {f"machine:{port.name}" for port in scene.docker0.ports}
    assert ports <= set(places), "where it came in, and the copy that went out"
