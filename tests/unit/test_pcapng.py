"""Frames for Wireshark, read back by tshark and capinfos."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

import pytest

from labkit import LabkitError, Recording
from labkit.model import events as ev
from labkit.recording import CHECKPOINT
from tests.unit.test_model import M, scene

ARP = bytes.fromhex(
    "ffffffffffff0242ac110002080600010800060400010242ac110002ac110002000000000000ac110003"
)
BEGIN = 1_795_576_736_041_690_355


def tshark(path, *fields):
    """The fields of each packet, as tshark reads them."""
    asked = [word for field in fields for word in ("-e", field)]
    command = ["tshark", "-r", str(path), "-T", "json", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [packet["_source"]["layers"] for packet in json.loads(done.stdout)]
    return [[packet.get(field, []) for field in fields] for packet in found]


def capinfos(path):
    return subprocess.run(["capinfos", path], capture_output=True, text=True, check=True).stdout


def frame(number, netns, index, packet_type="host", data=ARP, **more):
    return ev.Frame(
        at=BEGIN + number, netns=netns, index=index, packet_type=packet_type, data=data, **more
    )


def recorded(*events, **options):
    recording = Recording("docker0", live=False, **options)
    for event in [*scene(), *events]:
        recording.append(event)
    return recording


def test_names_times_directions_and_comments(tmp_path):
    frames = [
        frame(1, "nginx-1", 4, "outgoing"),
        frame(2, M, 3, "broadcast"),
        frame(3, M, 5, "outgoing"),
        frame(4, "nginx-2", 6, "broadcast"),
        frame(5, "nginx-2", 6, "otherhost"),
        frame(6, "nginx-2", 6, "multicast"),
        frame(7, "nginx-2", 6, "host"),
        frame(8, "nginx-2", 99, "host"),
    ]
    recording = recorded(*frames)
    first = len(recording) - len(frames)
    comments = {first: "Wer hat 172.17.0.3? <b> ☃", first + 1: ["came in", "learned"]}
    path = recording.to_pcapng(tmp_path / "x.pcapng", comments)
    fields = (
        "frame.interface_name", "frame.time_epoch", "frame.packet_flags_direction",
        "frame.packet_flags_reception_type", "frame.comment", "arp.dst.proto_ipv4",
    )  # fmt: skip
    told = tshark(path, *fields)
    eth0, veth0, veth1 = "nginx-1:eth0", "machine:veth0", "machine:veth1"
    assert [row[0] for row in told] == [
        [name] for name in (eth0, veth0, veth1, *["nginx-2:eth0"] * 4, "nginx-2:if99")
    ]
    times = [f"{e.at // 10**9}.{e.at % 10**9:09d}" for e in frames]
    assert [row[1] for row in told] == [[at] for at in times]
    assert [int(row[2][0], 0) for row in told] == [2, 1, 2, 1, 1, 1, 1, 1]
    assert [int(row[3][0], 0) for row in told] == [0, 3, 0, 3, 4, 2, 1, 1]
    assert told[0][4] == ["Wer hat 172.17.0.3? <b> ☃"]
    assert told[1][4] == ["came in", "learned"]
    assert told[2][4] == []
    assert {row[5][0] for row in told} == {"172.17.0.3"}


def test_frames_are_in_the_order_of_the_kernels_clock(tmp_path):
    recording = recorded(frame(9, "nginx-1", 4), frame(2, "nginx-2", 6))
    path = recording.to_pcapng(tmp_path / "x.pcapng", {})
    names = [row[0] for row in tshark(path, "frame.interface_name")]
    assert names == [["nginx-2:eth0"], ["nginx-1:eth0"]]


def test_a_cut_frame_has_its_own_length(tmp_path):
    path = recorded(frame(1, "nginx-1", 4, length=9014)).to_pcapng(tmp_path / "x.pcapng", {})
    assert tshark(path, "frame.len", "frame.cap_len") == [[["9014"], ["42"]]]


def test_an_interface_is_named_as_it_was_then(tmp_path):
    """Also one that is named a moment after its first frame, and one that is renamed."""
    link = {"netns": "h", "index": 7, "kind": "veth"}
    recording = recorded(
        frame(1, "h", 7),
        ev.LinkSet(at=BEGIN + 2, name="eth0", **link),
        frame(3, "h", 7),
        ev.LinkSet(at=BEGIN + 4, name="wan", **link),
        frame(5, "h", 7),
    )
    path = recording.to_pcapng(tmp_path / "x.pcapng", {})
    names = [row[0] for row in tshark(path, "frame.interface_name")]
    assert names == [["h:eth0"], ["h:eth0"], ["h:wan"]]


def test_what_was_lost_is_told(tmp_path):
    recording = recorded(
        frame(1, "nginx-1", 4),
        ev.Lost(at=BEGIN + 2, what="frames", count=70, netns="nginx-1"),
        ev.Lost(at=BEGIN + 3, what="frames", count=7, netns="nginx-1"),
        ev.Lost(at=BEGIN + 4, what="changes of links and tables", count=5),
    )
    path = recording.to_pcapng(tmp_path / "x.pcapng", {})
    told = capinfos(path)
    assert "77 frames were not captured in nginx-1" in told
    assert "forgotten" not in told
    assert "Number of stat entries = 1" in told


def test_forgotten_frames_are_told_and_names_are_still_known(tmp_path):
    frames = [frame(i, "nginx-1", 4) for i in range(3 * CHECKPOINT)]
    recording = recorded(*frames, limit=2 * CHECKPOINT)
    path = recording.to_pcapng(tmp_path / "x.pcapng", {len(recording) - 1: "the last"})
    assert f"{recording.forgotten} older events are forgotten" in capinfos(path)
    rows = tshark(path, "frame.interface_name", "frame.comment")
    assert len(rows) == len(recording.events)
    assert {row[0][0] for row in rows} == {"nginx-1:eth0"}
    assert rows[-1][1] == ["the last"]


def test_an_empty_recording_is_a_file_too(tmp_path):
    path = Recording("empty", live=False).to_pcapng(tmp_path / "x.pcapng", {})
    assert tshark(path, "frame.number") == []


def test_a_long_comment_is_cut_at_a_character(tmp_path):
    recording = recorded(frame(1, "nginx-1", 4))
    comments = {len(recording) - 1: "☃" * 40_000}
    ((told,),) = tshark(recording.to_pcapng(tmp_path / "x.pcapng", comments), "frame.comment")
    assert set(told[0]) == {"☃"}


def test_a_file_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(LabkitError, match="frames could not be saved"):
        recorded().to_pcapng(tmp_path / "no" / "such", {})


def test_protocols_are_counted_alike(tmp_path):
    """As many frames at each interface as the log has."""
    recording = recorded(*(frame(i, *(("nginx-1", 4), (M, 3))[i % 3 == 0]) for i in range(100)))
    path = recording.to_pcapng(tmp_path / "x.pcapng", {})
    rows = tshark(path, "frame.interface_name", "frame.protocols")
    assert Counter(row[0][0] for row in rows) == {"nginx-1:eth0": 66, "machine:veth0": 34}
    assert {row[1][0] for row in rows} == {"eth:ethertype:arp"}
