"""A recorded lab that is played: which exchange answers, when, and what is refused."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from labkit import Lab
from labkit.errors import ClosedError, LabkitError, LauncherError, RecordedError
from labkit.launch import doctor, launchers, replay, transcript
from labkit.launch.connection import Fault
from labkit.launch.machine import Machine
from labkit.launch.replay import LESSON, NOTEBOOK, Replayed
from labkit.launch.transcript import Header, Said, Tap
from labkit.lessons import recordings
from labkit.lessons.verdict import NEEDS_LIVE, Row, Verdict
from labkit.model import events as ev
from labkit.model import wire
from labkit.model.replayed import HOW, REPLAY

MS = 1_000_000
BEGAN = 1_000_000_000_000


class Script:
    """A recorded lab, written down exchange by exchange; times are milliseconds."""

    def __init__(self, name: str = "lab") -> None:
        self.name = name
        self.lines: list[Said] = []
        self.at = 0
        self.number = 0

    def say(self, cell: str, message: object) -> None:
        self.lines.append(Said(BEGAN + self.at * MS, cell, message))

    def event(self, name: str, *, cell: str = "") -> None:
        self.say(cell, ev.ProcessStarted(at=BEGAN + self.at * MS, netns="m", job=1, host="m", command=name))  # fmt: skip

    def ask(self, cell: str, kind: type, *, events=(), takes: int = 0, fault=None, **fields):
        self.number += 1
        self.say(cell, kind(id=self.number, **fields))
        for after, name in events:
            self.at += after
            self.event(name)
        self.at += takes
        result = None if fault else {"job": self.number}
        self.say(cell, wire.Reply(id=self.number, result=result, fault=fault))

    def run(self, cell: str, command: str, *, quiet: bool = False, **more) -> None:
        self.ask(cell, wire.Spawn, netns="m", host="m", argv=(command,), quiet=quiet, **more)

    def save(self, path: Path, **header) -> Path:
        folder = path.parent / "wires"
        folder.mkdir()
        encode = msgspec.json.encode
        (folder / "1").write_bytes(b"\n".join(map(encode, [self.name, *self.lines])))
        path.write_bytes(transcript.packed(folder, Header(**header)))
        return path


class Played:
    """The lab that a script gives, with the cell that asks."""

    def __init__(self, script: Script, folder: Path, monkeypatch) -> None:
        self.told: list[ev.Event] = []
        (lab,) = transcript.read(script.save(folder / "x.lesson.gz"))
        self.link = Replayed(lab, self.told.append)
        self.where = (0, "")
        monkeypatch.setattr(replay, "running_cell", lambda: self.where)

    def cell(self, name: str) -> None:
        self.where = (self.where[0] + 1, name)

    def run(self, command: str, *, quiet: bool = False) -> int:
        argv = (command,)
        return self.link.request(wire.Spawn, netns="m", host="m", argv=argv, quiet=quiet)["job"]

    def sync(self) -> None:
        assert self.link.request(wire.Sync, netns=None) is None or True

    @property
    def names(self) -> list[str]:
        return [event.command for event in self.told if isinstance(event, ev.ProcessStarted)]


@pytest.fixture
def play(tmp_path, monkeypatch):
    return lambda script: Played(script, tmp_path, monkeypatch)


def lesson() -> Script:
    """Three cells, of which the second is a learner's to fill in, and a check."""
    script = Script()
    script.run("build", "make", events=[(0, "made")])
    script.event("settled")
    script.run("answer", "mend", events=[(0, "mended")])
    script.run("check", "probe", quiet=True)
    script.run("last", "look", events=[(0, "looked")])
    return script


def test_cells_in_order_get_their_answers_and_events(play):
    lab = play(lesson())
    for number, (cell, command) in enumerate(
        (("build", "make"), ("answer", "mend"), ("check", "probe"), ("last", "look")), 1
    ):
        lab.cell(cell)
        assert lab.run(command, quiet=command == "probe") == number
    assert lab.names == ["made", "settled", "mended", "looked"]


def test_other_code_may_do_what_comes_next_and_nothing_else(play):
    lab = play(lesson())
    lab.cell("mine")
    with pytest.raises(RecordedError, match="'look' in m") as refused:
        lab.run("look")
    assert HOW in str(refused.value)
    assert lab.run("make") == 1
    lab.cell("mine too")
    assert lab.run("mend") == 2


def test_a_check_does_not_see_what_nobody_did(play):
    lab = play(lesson())
    lab.cell("build")
    lab.run("make")
    lab.cell("check")
    lab.sync()
    with pytest.raises(RecordedError):
        lab.run("probe", quiet=True)
    assert "mended" not in lab.names


def test_a_later_cell_catches_up_with_what_was_passed_over(play):
    lab = play(lesson())
    lab.cell("last")
    assert lab.run("look") == 4
    assert lab.names == ["made", "settled", "mended", "looked"]


def test_a_cell_that_runs_again_plays_its_own_again(play):
    lab = play(lesson())
    for _ in range(2):
        lab.cell("build")
        assert lab.run("make") == 1
    assert lab.names.count("made") == 2
    assert "mended" not in lab.names
    lab.cell("answer")
    assert lab.run("mend") == 2


def test_the_same_cell_text_twice_is_two_cells(play):
    script = Script()
    for name in ("first", "second"):
        script.run("show", "ip link", events=[(0, name)])
        script.run("change", "x", events=[(0, f"after {name}")])
    lab = play(script)
    numbers = []
    for cell, command in (("show", "ip link"), ("change", "x"), ("show", "ip link")):
        lab.cell(cell)
        numbers.append(lab.run(command))
    assert numbers == [1, 2, 3]


def test_sync_may_be_asked_more_and_less_often(play):
    script = Script()
    script.run("loop", "start")
    for number in range(3):
        script.ask("loop", wire.Sync, netns=None, events=[(1, f"tick {number}")])
    script.run("loop", "end")
    lab = play(script)
    lab.cell("loop")
    lab.run("start")
    lab.sync()
    lab.run("end")
    assert lab.names == ["tick 0", "tick 1", "tick 2"]
    for _ in range(5):
        lab.sync()


def test_waiting_for_what_never_comes_ends(play, monkeypatch):
    monkeypatch.setattr(replay, "PATIENCE", 0.05)
    lab = play(lesson())
    lab.cell("mine")
    deadline = time.monotonic() + 20
    with pytest.raises(RecordedError, match="what this cell waits for"):
        while time.monotonic() < deadline:
            lab.sync()
            time.sleep(0.001)


def test_a_refusal_is_played_as_one(play):
    script = Script()
    script.run("x", "make", fault=wire.Fault(message="no such thing", code=19))
    lab = play(script)
    with pytest.raises(Fault) as fault:
        lab.run("make")
    assert fault.value.fault.code == 19


def test_a_whole_number_asks_the_same_as_a_decimal(play):
    script = Script()
    script.ask("x", wire.StopJob, job=1, grace=1.0)
    lab = play(script)
    assert lab.link.request(wire.StopJob, job=1, grace=1)["job"] == 1


def test_times_are_now_and_as_far_apart_as_they_were(play):
    script = Script()
    script.run("x", "ping", events=[(0, "sent"), (120, "answered")], takes=30)
    script.at += 100
    script.event("later")
    script.at += 5000
    script.run("x", "next")
    lab = play(script)
    before = time.time_ns()
    lab.cell("x")
    lab.run("ping")
    assert time.time_ns() - before >= 150 * MS
    sent, answered = lab.told
    assert before <= sent.at <= answered.at <= time.time_ns()
    assert answered.at - sent.at == 120 * MS
    deadline = time.monotonic() + 20  # what came between the cells comes by itself
    while len(lab.told) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lab.names == ["sent", "answered", "later"]
    assert lab.told[2].at - answered.at == 130 * MS


def test_a_long_wait_is_made_shorter(play, monkeypatch):
    monkeypatch.setattr(replay, "LONGEST", 50 * MS)
    script = Script()
    script.run("x", "slow", events=[(60_000, "end")], takes=60_000)
    lab = play(script)
    began = time.monotonic()
    lab.run("slow")
    assert 0.1 <= time.monotonic() - began < 10
    assert lab.told[0].at <= time.time_ns()


def test_what_was_learned_ages_from_the_same_moment(play):
    script = Script()
    script.say("x", wire.Sync(id=1, netns=None))
    row = {"netns": "m", "bridge": 1, "port": 2, "mac": "02:00:00:00:00:01", "kind": "learned"}
    script.say("x", ev.FdbSet(at=BEGAN, updated=BEGAN - 700 * MS, **row))
    script.say("x", wire.Reply(id=1))
    lab = play(script)
    lab.sync()
    (learned,) = lab.told
    assert learned.at - learned.updated == 700 * MS


def test_a_closed_one_says_so_once(play):
    lab = play(lesson())
    lab.link.close("it was closed")
    lab.link.close("again")
    assert [type(event) for event in lab.told] == [ev.Closed]
    with pytest.raises(ClosedError, match="it was closed"):
        lab.run("make")


# The file


def test_the_tap_keeps_what_is_said_in_order(tmp_path):
    folder = tmp_path / "wires"
    folder.mkdir()
    tap = Tap(str(folder), "docker0")
    said = [wire.Hello(id=1), ev.ProcessEnded(at=1, job=1, exit_code=0), wire.Reply(id=1)]
    for message in (*said, ev.Closed(at=2, reason="the end")):
        tap(message)
    path = tmp_path / "x.lesson.gz"
    path.write_bytes(
        transcript.packed(folder, Header(lesson="x", fingerprint="f", launcher="root"))
    )
    (lab,) = transcript.read(path)
    (exchange,) = lab.exchanges
    assert (lab.name, exchange.request, exchange.reply) == ("docker0", said[0], said[2])
    assert [one.message for one in exchange.during] == [said[1]]
    assert lab.after == []
    header = transcript.read_header(path)
    assert (header.lesson, header.fingerprint, header.launcher) == ("x", "f", "root")


def test_a_full_disk_is_told_to_who_asks(tmp_path):
    class Full:
        def write(self, text: bytes) -> int:
            raise OSError(28, "No space left on device")

    tap = Tap(str(tmp_path), "lab")
    tap._file.close()
    tap._file = Full()
    tap(ev.ProcessEnded(at=1, job=1, exit_code=0))  # from the thread that reads: no exception there
    with pytest.raises(LabkitError, match="recorded no further: No space left on device"):
        tap(wire.Hello(id=1))


def test_a_tap_without_a_folder_says_so(tmp_path):
    with pytest.raises(LabkitError, match="cannot be recorded"):
        Tap(str(tmp_path / "none"), "lab")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-20] + bytes(20),
        lambda data: b"",
        lambda data: b"no gzip",
        lambda data: gzip.compress(b"[]\n"),
        lambda data: gzip.compress(b'{"format": "other", "version": 1}\n'),
        lambda data: gzip.compress(
            gzip.decompress(data).replace(b'"version":1', b'"version":9', 1)
        ),
        lambda data: gzip.compress(gzip.decompress(data).rsplit(b"\n", 2)[0]),
        lambda data: gzip.compress(gzip.decompress(data) + b"[[[\n"),
    ],
)
def test_a_damaged_recording_is_told(tmp_path, damage):
    path = lesson().save(tmp_path / "x.lesson.gz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(LabkitError, match="x.lesson.gz could not be read: ") as error:
        transcript.read(path)
    assert "make recordings" in str(error.value)


def test_the_fingerprint_is_of_code_and_solutions_alone():
    source = '# %% [markdown] tags=["en"]\n# Hello\n\n# %%\nlab = 1\n\n# %%\n# solution: x\n2\n# wrong: x\n3\n# end: x\n'
    first = recordings.fingerprint(source)
    assert recordings.fingerprint(source.replace("Hello", "Good day")) == first
    assert recordings.fingerprint(source.replace("\n3\n", "\n4\n")) == first
    assert recordings.fingerprint(source.replace("lab = 1", "lab = 2")) != first
    assert recordings.fingerprint(source.replace("\n2\n", "\n5\n")) != first


# Choosing it


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A machine on which no launcher works, and a notebook in a folder with one recording."""

    class Mac(Machine):
        system = "darwin"

    for launcher in launchers.LAUNCHERS:
        probe = type(launcher).probe
        monkeypatch.setattr(type(launcher), "probe", lambda self, _=None, p=probe: p(self, Mac()))
    monkeypatch.setattr(launchers, "_working", set())
    for name in ("LABKIT_LAUNCHER", LESSON, NOTEBOOK):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(replay, "running_cell", lambda: (1, "build"))
    (tmp_path / "recordings").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(replay, "PACKAGE", tmp_path / "nothing")
    return tmp_path


def test_without_a_recording_the_remedies_are_told(nowhere):
    with pytest.raises(LauncherError, match="This is macOS"):
        launchers.choose()
    with pytest.raises(LauncherError, match="no recording of this notebook"):
        launchers.choose(REPLAY)


def test_the_recording_is_found_by_its_cell_or_its_name(nowhere, monkeypatch):
    path = lesson().save(nowhere / "recordings" / "05-x.lesson.gz")
    assert launchers.choose() is launchers.REPLAY
    monkeypatch.setattr(replay, "running_cell", lambda: (1, "another"))
    with pytest.raises(LauncherError):
        launchers.choose()
    monkeypatch.setenv(NOTEBOOK, "/home/anna/05-x.ipynb")
    assert launchers.choose() is launchers.REPLAY
    monkeypatch.delenv(NOTEBOOK)
    monkeypatch.setenv(LESSON, str(path))
    assert launchers.choose() is launchers.REPLAY
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(LauncherError, match="could not be read"):
        launchers.choose(REPLAY)


def test_a_lab_that_is_not_in_it_is_refused(nowhere):
    lesson().save(nowhere / "recordings" / "x.lesson.gz")
    with pytest.raises(RecordedError, match="a lab with the name 'mine'"):
        Lab("mine")


def test_the_doctor_counts_it_as_no_live_lab(nowhere, monkeypatch):
    class Mac(Machine):
        system = "darwin"

    lesson().save(nowhere / "recordings" / "x.lesson.gz")
    report = doctor.examine(Mac())
    assert not report.ok
    assert report.launcher is None
    assert "Recorded only: every lesson opens" in report.verdict
    monkeypatch.setenv("LABKIT_LAUNCHER", REPLAY)
    assert not doctor.examine(Mac()).ok
    assert "no live lab" in doctor.examine(Mac()).how


def test_a_check_in_a_recording_needs_a_live_kernel_and_fails_nothing():
    row = Row(what="x", expected="1", observed="0", ok=False)
    verdict = Verdict(name="x", rows=(row,), recorded=True)
    assert verdict.answer == NEEDS_LIVE
    assert not verdict
    assert "✗" not in repr(verdict) + verdict._repr_html_()
    assert Verdict(name="x", rows=(), recorded=True).answer == NEEDS_LIVE
    passed = Row(what="x", expected="1", observed="1", ok=True)
    assert Verdict(name="x", rows=(passed,), recorded=True).answer == "passed"


ELSEWHERE = """
import sys

from labkit.journey.packets import dissect

dissect(bytes(64))  # scapy is as it is for the system that it was installed on
for name in [name for name in sys.modules if name.split(".")[0] == "labkit"]:
    del sys.modules[name]
sys.platform = {system!r}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("termios", "fcntl", "pyroute2", "resource", "pty"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
for name in ("termios", "fcntl", "resource"):
    sys.modules.pop(name, None)
if sys.platform == "emscripten":  # a browser has no threads and no processes
    import subprocess
    import threading

    def refuse(*_, **__):
        raise RuntimeError("can't start new thread")

    threading.Thread.start = subprocess.Popen.__init__ = refuse

from labkit import Lab, check, predict
{cells}
print(ping.received, ping.journey[0].kind, ping.journey.recording.is_replayed)
print(check("refill").answer)

from labkit import cli

print(cli.main(["doctor"]))
"""


@pytest.mark.parametrize("system", ["darwin", "win32", "emscripten"])
def test_a_lesson_begins_where_nothing_of_linux_is_there(system, tmp_path):
    from labkit.lessons.build import NOTEBOOKS

    source = (NOTEBOOKS / "source" / "00-start-here.py").read_text()
    cells = source[source.index("# %%\nfrom labkit") : source.index("# ## They are real")]
    code = "\n".join(line for line in cells.splitlines() if not line.startswith("#"))
    path = tmp_path / "lesson.py"
    path.write_text(ELSEWHERE.format(system=system, cells=code))
    done = subprocess.run(
        [sys.executable, str(path)],
        env={"PYTHONPATH": str(NOTEBOOKS.parent), LESSON: str(recordings.RECORDINGS / "00-start-here.lesson.gz"), "PATH": ""},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[: said.index("")][:2] == ["1 route True", NEEDS_LIVE]
    assert "Recorded only: every lesson opens" in done.stdout
    assert said[-1] == "1"
