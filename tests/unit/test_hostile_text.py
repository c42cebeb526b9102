"""The shell script, run for real beside stand-ins of `ip` and its kin, with hostile names in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.commands import Commands
from labkit.model.text import visible

STATIC = Path(__file__).resolve().parents[2] / "labkit/widgets/static"
NASTY = st.one_of(
    st.sampled_from(
        [
            "$(touch x)",
            "`touch x`",
            "'; touch x; '",
            '"; touch x; "',
            "a\ntouch x",
            "a\\",
            "-n",
            "#",
        ]
        + ["a\r\ntouch x", "\u2028touch x", "'", "''", "*", "~", "$PWD", "a b", "\x1b]0;x\x07", "é"]
    ),
    st.text(
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9
    ),
)


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """A folder with programs that write down what they were called with."""
    folder = tmp_path_factory.mktemp("bin")
    for name in ("ip", "bridge", "sysctl", "brctl", "ifconfig", "route"):
        # A word a line would not do: a word may hold one. So each ends with NUL, each call with two.
        text = f"#!/bin/sh\n{{ printf '%s\\0' {name} \"$@\"; printf '\\0'; }} >> \"$SAID\"\n"
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(NASTY, NASTY, NASTY, st.booleans())
def test_a_script_hands_names_on_and_runs_none_of_them(
    stand_ins, tmp_path, name, interface, mac, classic
):
    end = op.End(netns=name, interface=interface, mac=mac, altname=name)
    port = op.End(netns=op.MACHINE, interface=interface, mac=mac, bridge=name)
    commands = Commands.of(
        [
            op.AddHost(name=name, netns=name),
            op.AddBridge(name=name, interface=interface, mac=mac),
            op.AddCable(a=end, b=port),
            op.AddRoute(netns=name, destination="default", interface=interface),
            op.Unplug(a=end, b=port),
            op.RemoveCable(a=end, b=port),
            op.RemoveBridge(name=name, interface=interface),
            op.RemoveHost(name=name, netns=name),
        ]
    )
    said = tmp_path / "said"
    said.write_bytes(b"")
    spoken = "\n".join(command.classic or command.text for command in commands)
    script = spoken if classic else commands.script
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{stand_ins}:{os.environ['PATH']}", "SAID": str(said)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["said"]
    calls = [call.split(b"\0") for call in said.read_bytes().split(b"\0\0")]
    words = {word.decode() for call in calls for word in call}
    assert {name, interface, mac} <= words
    if not classic:
        assert ["ip", "netns", "add", name] in [[w.decode() for w in call] for call in calls]


@given(st.text())
def test_visible_text_shows_and_says_the_same_otherwise(text):
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    if text.isprintable():
        assert shown == text


def test_a_recording_made_elsewhere_shows_its_names_too():
    import msgspec

    line = b'{"type":"LinkSet","at":1,"netns":"machine","index":2,"name":"\\u001b[31m\\u202e"}'
    event = msgspec.json.decode(line, type=ev.Event)
    assert event.name == "⟨U+001B⟩[31m⟨U+202E⟩"
    assert json.loads(msgspec.json.encode(event))["name"] == event.name


FORBIDDEN = {
    "markup": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment",
    "code from text": r"\beval\s*\(|\bnew\s+Function\b|setTimeout\(\s*[\"'`]|setInterval\(\s*[\"'`]",
    "the network": r"\bfetch\s*\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\s*\(|importScripts",
    "other places": r"https?://(?!www\.w3\.org/2000/svg)|//[a-z0-9.-]+\.(com|org|net|io)\b(?<!www\.w3\.org)",
    "inline style": r"setAttribute\(\s*[\"']style|cssText",
    "an element's handler": r"setAttribute\(\s*[\"']on",
    "style from elsewhere": r"@import|url\(\s*[\"']?(?!data:|#)",
}


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.*")), ids=lambda path: path.name)
@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_view_uses(path: Path, what: str):
    """The views work under a content security policy, and nothing of the lab becomes markup."""
    found = re.search(FORBIDDEN[what], path.read_text())
    assert found is None, found
