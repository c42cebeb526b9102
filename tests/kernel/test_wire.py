"""What is no message, on either side of the wire: nobody crashes, hangs, or does what it says."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labkit.errors import LabkitError
from labkit.launch.connection import Connection, Fault
from labkit.launch.launchers import LAUNCHERS
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model import wire
from tests.kernel.conftest import wait_for

EXAMPLES = int(os.environ.get("LABKIT_EXAMPLES", "60"))
EASY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
LAUNCHER = next(
    (one for one in (*reversed(LAUNCHERS[:2]), *LAUNCHERS[2:]) if one.probe() is None), None
)
"""Rootless, where that works."""
DEEP = b'{"type":"Hello","id":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NOT_UTF8 = b'{"type":"Sync","id":1,"netns":"\xff"}'


class RawAgent:
    """An agent, spoken to in bytes."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            LAUNCHER.argv([sys.executable, "-m", "labkit.agent"]),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.heard: queue.SimpleQueue[dict] = queue.SimpleQueue()
        self.numbers = iter(range(10**6, 10**9))
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self) -> None:
        for line in self.process.stdout:
            message = json.loads(line)
            if message["type"] == "Reply":
                self.heard.put(message)
        self.heard.put({"id": "end"})

    def say(self, *lines: bytes) -> list[dict]:
        """Sends lines and a question of our own; the replies to the lines, in whatever order."""
        number = next(self.numbers)
        own = json.dumps({"type": "Sync", "id": number}).encode()
        self.process.stdin.write(b"\n".join([*lines, own]) + b"\n")
        self.process.stdin.flush()
        replies = [self.heard.get(timeout=30) for _ in range(len(lines) + 1)]
        (answer,) = (reply for reply in replies if reply["id"] == number)
        assert "fault" not in answer
        return [reply for reply in replies if reply is not answer]


@pytest.fixture(scope="module")
def agent():
    if LAUNCHER is None:
        pytest.skip("no launcher works here")
    agent = RawAgent()
    yield agent
    agent.process.stdin.close()
    agent.process.wait(10)
    agent.process.stdout.close()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
NETNS = st.sampled_from(
    ["machine", "h", "../../tmp/labkit-was-here", "/tmp/labkit-was-here", "", ".", "h\0"]
)
END = st.fixed_dictionaries(
    {"netns": NETNS | JSON, "interface": st.text(max_size=20) | JSON, "mac": st.text(max_size=18)},
    optional={
        "address": st.text(max_size=9) | JSON,
        "bridge": st.text(max_size=9),
        "altname": st.text(),
    },
)
OPERATION = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("AddHost"), "name": st.text(max_size=5), "netns": NETNS}
    ),
    st.fixed_dictionaries(
        {"type": st.just("RemoveHost"), "name": st.text(max_size=5), "netns": NETNS}
    ),
    st.fixed_dictionaries(
        {"type": st.just("AddBridge"), "name": st.text(), "interface": st.text(), "mac": st.text()},
        optional={"ageing": st.floats(allow_nan=False) | JSON, "address": st.text()},
    ),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["AddCable", "RemoveCable", "Plug", "Unplug"]), "a": END, "b": END}
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["AddRoute", "RemoveRoute"]),
            "netns": NETNS,
            "destination": st.text(),
        },
        optional={"via": st.text(), "interface": st.text()},
    ),
    st.fixed_dictionaries(
        {"type": st.just("FlushFdb"), "bridge": st.text(), "interface": st.text()}
    ),
    JSON,
)
NUMBER = st.integers(1, 10**5)
MESSAGE = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(["Hello", "Sync", "JobOutput", "StopJob", "Cancel", "Lookup"]),
            "id": NUMBER,
        },
        optional=dict.fromkeys(("netns", "job", "target", "grace", "destination"), JSON),
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("Build"),
            "id": NUMBER,
            "operations": st.lists(OPERATION, max_size=4) | JSON,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("Spawn"),
            "id": NUMBER,
            "netns": NETNS,
            "host": JSON,
            "argv": st.just(["true"]),
        },
        optional={
            "timeout": st.floats(0, 1),
            "wait": JSON,
            "files": st.dictionaries(NETNS, st.text()) | JSON,
        },
    ),
    JSON,
)
LINE = st.one_of(
    MESSAGE.map(lambda m: json.dumps(m).encode()),
    st.binary(max_size=40),
    st.tuples(MESSAGE, st.integers(0, 60)).map(lambda m: json.dumps(m[0]).encode()[: m[1]]),
).map(lambda line: line.replace(b"\n", b""))


@EASY
@given(st.lists(LINE, min_size=1, max_size=8))
@example([DEEP])
@example([NOT_UTF8, b"\xff", b"", b"{", b"null", b"[]"])
def test_the_agent_answers_and_goes_on(agent: RawAgent, lines: list[bytes]):
    """Each line has one answer, by its number where it has one, whatever else is wrong with it."""
    replies = agent.say(*lines)
    assert len(replies) == len(lines)
    numbers = []
    for line in lines:
        try:
            numbers.append(msgspec.json.decode(line, type=wire.Numbered).id)
        except wire.UNREADABLE:
            numbers.append(-1)
    told = [reply["id"] for reply in replies]
    assert sorted(told) == sorted(numbers)
    for path in ("/tmp/labkit-was-here", "/run/netns/h", "/run/labkit"):
        assert not os.path.exists(path)


def test_a_line_without_end_is_refused_and_not_kept(agent: RawAgent):
    before = rss(agent)
    line = b'{"type":"Sync","id":7,"netns":"' + b"x" * (wire.LONGEST + (16 << 20)) + b'"}'
    (reply,) = agent.say(line)
    assert "too long" in reply["fault"]["message"]
    assert rss(agent) < before + 2.2 * (wire.LONGEST >> 10)


def rss(agent: RawAgent) -> int:
    """KiB that the agent has had in use at most."""
    with open(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children") as file:
        child = file.read().split()[0]
    with open(f"/proc/{child}/status") as file:
        return next(int(row.split()[1]) for row in file if row.startswith("VmHWM"))


# The notebook's side


class Speaker:
    """A launcher whose agent says what it is given, and then ends, or waits for its input's end."""

    name = "speaker"

    def __init__(self, words: bytes, folder, *, waits: bool) -> None:
        self.path = folder / "words"
        self.path.write_bytes(words)
        self.waits = waits

    def argv(self, agent: list[str], *_: object) -> list[str]:
        then = "exec cat > /dev/null" if self.waits else ""
        # It speaks when it has been asked: a reply to what was not asked yet is passed over.
        return ["sh", "-c", f"head -c 5 > /dev/null; cat {self.path}; {then}"]


ENCODE = msgspec.json.Encoder().encode
GOOD_EVENTS = [
    ev.LinkSet(at=1, netns="machine", index=2, name="eth0"),
    ev.Applied(at=2, operation=op.AddHost(name="h", netns="h")),
    ev.FdbSet(at=3, netns="machine", bridge=9, port=10, mac="x", kind="learned"),
    ev.NamespaceRemoved(at=4, netns="never heard of"),
    ev.LinkRemoved(at=-5, netns="machine", index=77),
]
SAID = st.one_of(
    st.sampled_from(GOOD_EVENTS),
    st.sampled_from(
        [
            wire.Reply(id=n, result=r)
            for n in (1, 1, 2, -1)
            for r in (None, 5, {"job": "x"}, {"job": 1})
        ]
    ),
    st.just(wire.Reply(id=1, fault=wire.Fault(message="no", code=99999, operation=12))),
    st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"")),
    st.sampled_from([DEEP, NOT_UTF8, b"", b"null", b'{"type":"Reply","id":1,"fault":7}']),
    st.sampled_from(GOOD_EVENTS).map(lambda e: ENCODE(e)[:-3]),
)


@EASY
@given(st.lists(SAID, max_size=6), st.booleans(), st.booleans())
def test_the_notebook_gets_an_answer_or_the_lab_has_ended(tmp_path_factory, said, waits, cut):
    lines = [one if isinstance(one, bytes) else ENCODE(one) for one in said]
    words = b"".join(line + b"\n" for line in lines)
    heard: list[ev.Event] = []
    speaker = Speaker(words[:-1] if cut else words, tmp_path_factory.mktemp("s"), waits=waits)
    connection = Connection(speaker, heard.append)
    answer: queue.SimpleQueue[object] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(connection.request(wire.Hello))
        except (LabkitError, Fault) as error:
            answer.put(error)
        except BaseException as error:  # noqa: BLE001
            answer.put(AssertionError(repr(error)))

    threading.Thread(target=ask, daemon=True).start()
    expected, answered = [], False
    for number, line in enumerate(lines):
        try:
            message = msgspec.json.decode(line, type=wire.Message)
        except wire.UNREADABLE:
            break
        if cut and number == len(lines) - 1:
            break
        if isinstance(message, wire.Reply):
            answered = answered or message.id == 1
        else:
            expected.append(message)
    else:
        if waits and not answered:
            connection.close()
    got = answer.get(timeout=10)
    assert not isinstance(got, AssertionError), got
    connection.close()
    wait_for(lambda: heard and isinstance(heard[-1], ev.Closed))
    assert heard[:-1] == expected
    assert connection.process.wait(10) is not None


def test_a_flood_without_end_of_line_ends_the_lab(tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "LONGEST", 10_000)
    heard: list[ev.Event] = []
    connection = Connection(Speaker(b"x" * 1_000_000, tmp_path, waits=True), heard.append)
    with pytest.raises(LabkitError, match="said what is no message"):
        connection.request(wire.Hello)
    wait_for(lambda: heard)
    connection.process.wait(10)


def test_a_listener_that_fails_does_not_end_the_reading(tmp_path, capsys):
    words = b"".join(ENCODE(one) + b"\n" for one in (*GOOD_EVENTS, wire.Reply(id=1, result=5)))

    def listener(event: ev.Event) -> None:
        raise RuntimeError("a listener's fault")

    connection = Connection(Speaker(words, tmp_path, waits=True), listener)
    assert connection.request(wire.Hello) == 5
    connection.close()
    connection.process.wait(10)
    assert "a listener's fault" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", ["\ud800", object(), {1, object()}], ids=["surrogate", "object", "set"]
)
def test_what_cannot_be_told_is_refused(tmp_path, value):
    connection = Connection(Speaker(b"", tmp_path, waits=True), lambda event: None)
    with pytest.raises(LabkitError, match="cannot be told"):
        connection.request(wire.Sync, netns=value)
    assert not connection._replies
    connection.close()
    connection.process.wait(10)
