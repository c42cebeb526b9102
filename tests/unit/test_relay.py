"""The relay's end of the serial line, and the words while a lab starts; without any Linux."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labkit.errors import ClosedError, LauncherError
from labkit.launch.launchers import LAUNCHERS
from labkit.launch.relay import Relay
from labkit.launch.starting import starting
from labkit.model.serial import ACK, END, READY, STEP, TIME, WINDOW

ROOT, *_, UML = LAUNCHERS


class Line:
    """A relay, and the inside's ends of its pipes."""

    def __init__(self, first: bytes = b"") -> None:
        (theirs, stdin), (stdout, mine), (console, self.console) = (os.pipe() for _ in range(3))
        self.theirs, self.mine = theirs, mine
        self.files = [
            os.fdopen(fd, "rb" if n else "wb") for n, fd in enumerate((stdin, stdout, console))
        ]
        streams = dict(zip(("stdin", "stdout", "stderr"), self.files, strict=True))
        fake = SimpleNamespace(pid=os.getpid(), **streams)
        self.relay = Relay(cast("subprocess.Popen[bytes]", fake), first)

    def say(self, data: bytes) -> None:
        """From inside."""
        os.write(self.mine, data)
        self.relay._hear()

    def sent(self) -> int:
        """How much the relay sends now."""
        before = len(self.relay._input)
        self.relay._send()
        return before - len(self.relay._input)

    def close(self) -> None:
        for file in self.files:
            file.close()
        for fd in (self.theirs, self.mine, self.console, self.relay._linux):
            os.close(fd)


@pytest.fixture
def line():
    line = Line(b"x" * 5000)
    yield line
    line.close()


def test_the_time_is_told_before_the_line_is_ready(line: Line):
    before = time.time_ns()
    line.say(TIME)
    answer = os.read(line.theirs, 64)
    assert answer.endswith(b"\n")
    assert before <= int(answer) <= time.time_ns()
    assert line.sent() == 0, "nothing else goes before it is ready"
    line.say(READY + TIME)  # too late: here it would stand among the input
    assert line.sent() == WINDOW
    assert os.read(line.theirs, 5000) == b"x" * WINDOW
    assert not line.relay._output


def test_nothing_is_sent_before_the_line_is_ready(line: Line) -> None:
    assert line.sent() == 0
    line.say(READY)
    assert line.sent() == WINDOW


def test_never_more_than_the_window_is_unacknowledged(line: Line) -> None:
    line.say(READY)
    total = acknowledged = 0
    while line.relay._input:
        total += line.sent()
        assert total - acknowledged <= WINDOW
        acknowledged += STEP
        line.say(ACK)
    assert total == 5000


def test_acknowledgements_may_fall_anywhere_in_the_output(line: Line) -> None:
    line.say(READY + b'{"a":' + ACK + b'"b"}' + ACK * 2 + b"\n")
    assert line.relay._output == b'{"a":"b"}\n'
    assert line.relay._room == WINDOW + 3 * STEP


@pytest.mark.parametrize("cut", range(5))
def test_the_end_may_come_in_pieces(line: Line, cut: int) -> None:
    data = b"ok" + END + b"7\n"
    for part in filter(None, (data[:cut], data[cut:])):
        assert line.relay._status is None
        line.say(part)
    assert line.relay._status == 7
    assert line.relay._output == b"ok"


def test_the_other_end_gone(line: Line) -> None:
    os.close(line.mine)
    line.mine = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(EOFError):
        line.relay._hear()


def test_the_console_passes_on_errors_and_keeps_a_panic(
    line: Line, capfd: pytest.CaptureFixture[str]
) -> None:
    os.write(
        line.console, b"Traceback\r\nreboot: System halted\r\nKernel panic - not syncing: x\r\n"
    )
    line.relay._listen()
    assert capfd.readouterr().err == "Traceback\n"
    assert line.relay.panic == b"Kernel panic - not syncing: x"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_human_is_told_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    with starting(UML):
        pass
    assert screen.getvalue().startswith("Starting a small Linux (User Mode Linux) ready in 0.0 s")
    with starting(ROOT):
        pass
    assert screen.getvalue().count("\n") == 1


def test_a_program_is_not(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    with starting(UML):
        pass
    assert capsys.readouterr().out == ""


def test_a_lab_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", screen := Terminal())
    gone = ClosedError("The lab has ended: its agent ended (120): Kernel panic.")
    with (
        pytest.raises(LauncherError, match=r"(?s)with the launcher 'uml'.*panic.*labkit doctor"),
        starting(UML),
    ):
        raise gone
    assert screen.getvalue().endswith(" did not start\n")
