"""Journeys and time: the tables at each step, the forms that a journey takes, the background."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from labkit import Lab, Recording
from labkit.model import events as ev
from labkit.model.operations import MACHINE
from tests.kernel.conftest import ask, wait_for
from tests.kernel.journeys import check, shared, steps_of, told


def test_the_tables_at_each_step(lab: Lab):
    """A row of the CAM table is there from the step on that learns it; at the end all is as the kernel has it."""
    (h1, h2, _), sw = shared(lab)
    journey = h1.ping(h2).journey
    steps = steps_of(journey)

    def learned(index: int) -> set[tuple[int, str]]:
        rows = journey.state(index).space(MACHINE).fdb.values()
        return {(row.port, row.mac) for row in rows if row.kind == "learned"}

    assert learned(-1) == set()
    for index, step in enumerate(steps):
        new = learned(index) - learned(index - 1)
        assert not learned(index - 1) - learned(index)
        if step.kind == "learn":
            event = journey.recording.event(step.evidence[0])
            assert new == {(event.port, event.mac)}
        else:
            assert new == set()

    def known(index: int, netns: str) -> set[str]:
        return {n.address for n in journey.state(index).space(netns).neighbours.values() if n.mac}

    for index, step in enumerate(steps):
        new = {(n, a) for n in ("h1", "h2") for a in known(index, n) - known(index - 1, n)}
        expected = {(step.host, step.rows[0].key)} if step.kind == "neighbour-learn" else set()
        assert new == expected, step

    last = len(steps) - 1
    links = {link["ifindex"]: link["ifname"] for link in ask(lab.machine, "ip -j link")}
    kernels = {
        (row["ifname"], row["mac"])
        for row in ask(lab.machine, "bridge -j fdb show br sw")
        if row.get("state") != "permanent" and "self" not in row.get("flags", [])
    }
    assert {(links[port], mac) for port, mac in learned(last)} == kernels
    for host in (h1, h2):
        rows = {(row["dst"], row["lladdr"]) for row in ask(host, "ip -j neigh")}
        ours = journey.state(last).space(host.netns).neighbours.values()
        assert {(n.address, n.mac) for n in ours} == rows


class Cells(HTMLParser):
    """The table of a journey's HTML, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
            self._in = True

    def handle_endtag(self, tag):
        self._in = self._in and tag != "td"

    def handle_data(self, data):
        if self._in:
            self.rows[-1][-1] += data


def test_text_and_table_say_the_same(lab: Lab):
    (h1, h2, _), _ = shared(lab)
    journey = h1.ping(h2).journey
    rows = [row for row in Cells(journey._repr_html_()).rows if row]
    steps = list(journey.walk())
    title, *texts = str(journey).splitlines()
    assert title == journey.title
    assert len(rows) == len(steps)
    assert not any(re.match(r" *\d+ ", line) for line in texts[len(steps) :])
    texts = texts[: len(steps)]
    for (depth, step), row, line in zip(steps, rows, texts, strict=True):
        number, after, where, kind, words, evidence = row
        match = re.fullmatch(r" *(\d+) +([\d.]+ ms)  ( *)(\S+) · (.+?): (.*)", line)
        assert match, line
        assert (match[1], match[2], len(match[3]) // 3) == (number, after, depth)
        assert (match[4], match[5], match[6]) == (kind, where, words.removeprefix("↳ " * depth))
        assert evidence == " ".join(f"#{n}" for n in step.evidence)


def test_the_same_journey_from_a_file(lab: Lab, tmp_path: Path):
    (h1, h2, _), _ = shared(lab)
    live = h1.ping(h2).journey
    loaded = Recording.load(lab.recording.save(tmp_path / "a.labkit"))
    again = loaded.journey(live.begins, live.ends)
    assert [s.text for s in steps_of(again)] == [s.text for s in steps_of(live)]
    assert told(again) == told(live)
    check(again)


def test_a_block(lab: Lab):
    (h1, h2, _), _ = shared(lab)
    h1.ping(h2)
    with lab.journey() as seen:
        assert len(seen) == 0
        h1.ping(h2)
        h2.ping(h1)
    h1.ping("10.0.0.3")
    assert [s.host for s in seen if s.kind == "echo-request"] == ["h1", "h2"]
    assert not any("10.0.0.3" in s.text for s in seen)
    check(seen)


def test_a_block_that_fails_still_tells(lab: Lab):
    (h1, h2, _), _ = shared(lab)
    with pytest.raises(ZeroDivisionError), lab.journey() as seen:
        h1.ping(h2)
        raise ZeroDivisionError
    assert "echo-reply h2" in told(seen)
    with lab.journey() as last:
        h1.ping(h2)
        lab.close()
    assert "echo-reply h2" in told(last)


# Background


def test_the_probe_after_five_seconds_is_background(lab: Lab):
    (h1, h2), _ = shared(lab, 2)
    h1.ping(h2)
    with lab.journey() as seen:
        h2.ping(h1)

        def probed() -> bool:
            return any(
                isinstance(e, ev.Frame) and e.data[12:14] == b"\x08\x06" and e.at > seen.begins
                for e in lab.recording.events
            )

        wait_for(probed, 15)

    check(seen)
    assert not any(s.kind.startswith("arp") for s in seen)
    probes = [s for s in seen.noise if "unicast probe" in s.text]
    assert probes
    opened = [seen.recording.event(n) for n in probes[0].evidence]
    frames = [e for e in opened if isinstance(e, ev.Frame)]
    assert all(e.data[:6] != b"\xff" * 6 and e.data[20:22] == b"\0\1" for e in frames)
    assert any("still there." in s.text for s in seen.noise), "and its answer"


def test_hellos_of_switches_are_background(lab: Lab):
    one, two = lab.bridge("sw1", stp=True), lab.bridge("sw2", stp=True)
    lab.cable(one, two)
    h1 = lab.host("h1", ipv6=True)
    with lab.journey() as seen:
        lab.cable(h1, one, "10.0.0.1/24")

        def both() -> bool:
            kinds = {hello(e) for e in lab.recording.events if isinstance(e, ev.Frame)}
            return {"STP", "IPv6"} <= kinds

        wait_for(both, 15)
    check(seen)
    assert len(seen) == 0
    texts = {s.text for s in seen.noise}
    assert any("spanning tree" in text for text in texts)
    assert any("IPv6 housekeeping of h1" in text for text in texts)


def hello(frame: ev.Frame) -> str:
    if frame.data[:6] == bytes.fromhex("0180c2000000"):
        return "STP"
    return "IPv6" if frame.data[12:14] == b"\x86\xdd" else ""


AFTER_A_PING = """
import sys, threading
from labkit import Lab
with Lab("test", launcher=sys.argv[1]) as lab:
    assert "scapy" not in sys.modules
    lab.host("one").ping("127.0.0.1")
    [one.join() for one in threading.enumerate() if one.name == "labkit decoder"]
    print("scapy.layers.inet" in sys.modules)
"""


def test_the_decoder_comes_while_a_ping_runs(launcher: str):
    command = [sys.executable, "-c", AFTER_A_PING, launcher]
    path = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, env=os.environ | path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_of_a_log_that_has_forgotten_its_beginning(lab: Lab):
    """Numbers stay the events' own, and a failure is still explained."""
    (h1, h2, _), _ = shared(lab)
    h1.ping(h2)
    lab.recording._limit = 6000
    for number in range(20_000):
        at = lab.recording.now()
        lab.recording.append(ev.Traffic(at=at, netns="h1", index=1, received=number, sent=0))
    assert lab.recording.forgotten > 1000
    warm = h1.ping(h2).journey
    check(warm)
    assert "neighbour-hit h1" in told(warm)
    failed = h1.ping("10.0.0.99").journey
    check(failed)
    assert failed.finding is not None
    assert failed.finding.verdict == "nobody-has-address"
    assert failed.finding.evidence
    for number in failed.finding.evidence:
        assert lab.recording.event(number).at >= failed.begins - 5e9
