"""The lesson kit without a lab: verdicts, answers in sources, progress, predictions, magics' braces."""

from __future__ import annotations

import ipaddress
import json
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest

from labkit import LabkitError, Recording, predict, progress
from labkit.errors import ClosedError
from labkit.lessons import answers, build
from labkit.lessons import predict as predicting
from labkit.lessons import progress as keeping
from labkit.lessons.exercise import all_exercises, find, solutions
from labkit.lessons.faults import FAULTS, LEVELS
from labkit.lessons.look import Look, Missing, Unable, expects, judge
from labkit.lessons.mystery import _order
from labkit.lessons.predict import Seen
from labkit.lessons.running import RunningLab
from labkit.lessons.shell import choose
from labkit.lessons.verdict import MIME, Row
from labkit.model import events as ev
from tests.unit.test_model import scene

# Verdicts


def rows(*oks):
    for ok in oks:
        if isinstance(ok, Exception):
            raise ok
        yield Row(what="a thing", expected="<b>one</b>", observed="two", ok=ok)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ((True, True), "passed"),
        ((True, False), "not yet"),
        ((True, Missing("no host")), "not yet"),
        ((), "could not tell"),
        ((True, None), "could not tell"),
        ((True, ZeroDivisionError("broken")), "could not tell"),
        ((True, ClosedError("The lab has ended.")), "could not tell"),
        ((True, Unable("no ping here")), "could not tell"),
        ((False, ZeroDivisionError("broken")), "not yet"),
    ],
)
def test_the_three_answers(given, answer):
    verdict = judge("it", rows(*given))
    assert verdict.answer == answer
    assert bool(verdict) == (answer == "passed")
    errors = [one for one in given if isinstance(one, Exception)]
    assert all(str(error) in repr(verdict) for error in errors)
    data = verdict._repr_mimebundle_()
    assert data[MIME] == {"name": "it", "answer": answer}
    assert "<b>" not in data["text/html"]


def test_a_row_is_met_when_expected_and_observed_agree():
    assert expects("n", 3, 3).ok is True
    assert expects("n", 3, 4).ok is False


# Exercises


def test_every_exercise_has_a_solution_and_wrong_ones():
    given = {}
    for source in build.sources():
        import jupytext

        for cell in jupytext.reads(source.read_text(), fmt="py:percent").cells:
            if cell.cell_type == "code":
                given |= {answer.name: answer for answer in answers.answers(cell.source)}
    assert set(given) == set(all_exercises()) == set(solutions())
    assert all(answer.wrong for answer in given.values())


def test_an_unknown_exercise_is_guessed_at():
    with pytest.raises(LabkitError, match='Did you mean "refill"'):
        find("refil")


# Answers in sources

CELL = """\
before = 1
# solution: one
x = 1
# wrong: one
x = 2
# wrong: one
# end: one
after = 1"""


def test_answers_are_stripped_or_filled_in():
    assert answers.cell(CELL) == "before = 1\n# Write your answer here.\nafter = 1"
    assert answers.cell(CELL, "solution") == "before = 1\nx = 1\nafter = 1"
    assert answers.cell(CELL, 0) == "before = 1\nx = 2\nafter = 1"
    assert answers.cell(CELL, 1) == answers.cell(CELL, 7) == "before = 1\nafter = 1"


@pytest.mark.parametrize(
    "text",
    [
        "# solution: one\nx",
        "# wrong: one\nx",
        "# solution: one\n# end: one",
        "# solution: one\nx\n# end: two",
        "# solution: one\nx\n# solution: one",
    ],
)
def test_unbalanced_answers_are_refused(text):
    with pytest.raises(ValueError, match="answer|unexpected|empty"):
        answers.cell(text)


def test_a_solution_keeps_its_magic():
    source = "# %%\n%%on nginx-1\n# solution: one\nip route\n# end: one\n"
    assert build.worked(source) == {"one": "%%on nginx-1\nip route\n"}
    (cell,) = json.loads(build.build(source))["cells"]
    assert "".join(cell["source"]) == "%%on nginx-1\n# Write your answer here."


def test_learners_notebooks_hold_no_answer():
    for path in build.NOTEBOOKS.glob("*.ipynb"):
        for cell in json.loads(path.read_text())["cells"]:
            for line in cell["source"]:
                assert not answers.MARKER.fullmatch(line), (path, line)


# Progress


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(keeping.FOLDER, str(tmp_path))
    return tmp_path / keeping.FILE


def test_progress_is_kept_for_its_owner_alone(file):
    assert keeping.passed("refill") == ""
    first = keeping.read()["refill"]["passed"]
    keeping.note("refill", hints=2)
    keeping.passed("refill")
    assert keeping.read()["refill"] == {"passed": first, "hints": 2}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [keeping.FILE]
    assert "Lesson 0: ▰▱▱ 1 of 3" in repr(progress)
    assert 'value="1"' in progress._repr_html_()


def test_updating_the_kit_loses_nothing(file):
    file.write_text(
        json.dumps(
            {
                "format": "labkit progress",
                "version": 1,
                "learner's note": "kept",
                "exercises": {"of another lesson": {"passed": "then", "more": 1}},
            }
        )
    )
    keeping.passed("refill")
    whole = json.loads(file.read_text())
    assert whole["exercises"]["of another lesson"] == {"passed": "then", "more": 1}
    assert whole["learner's note"] == "kept"


def test_reset_forgets_one_or_all(file):
    keeping.passed("refill")
    keeping.passed("nobody")
    progress.reset("refill")
    assert set(keeping.read()) == {"nobody"}
    progress.reset()
    assert keeping.read() == {}


def test_a_damaged_file_is_put_aside(file):
    file.write_text('{"format": "labkit pro')
    with pytest.raises(LabkitError, match="could not be read"):
        keeping.read()
    assert keeping.passed("refill") == ""
    (aside,) = file.parent.glob("*.damaged")
    assert aside.read_text() == '{"format": "labkit pro'
    assert "refill" in keeping.read()


def test_a_newer_file_is_left_as_it_is(file):
    text = '{"format": "labkit progress", "version": 9, "exercises": {}}'
    file.write_text(text)
    assert "version 9" in keeping.passed("refill")
    with pytest.raises(LabkitError, match="version 9"):
        progress.reset()
    assert file.read_text() == text


def test_a_folder_that_is_not_there_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv(keeping.FOLDER, str(tmp_path / "gone"))
    assert "could not be kept" in keeping.passed("refill")


def test_two_notebooks_do_not_overwrite_each_other(file):
    code = (
        "from labkit.lessons import progress; import sys\n"
        "for i in range(40): progress.passed(f'{sys.argv[1]}-{i}')"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert len(keeping.read()) == 120


# Predictions, against a recording


@pytest.fixture
def recording():
    recording = Recording("docker0")
    for event in scene():
        recording.append(event)
    return recording


def hosts_with_rows(look):
    rows_ = list(look.events(ev.NeighbourSet))
    evidence = tuple(f"{row.netns}: {row.address} {row.state}" for row in rows_)
    return Seen(tuple({row.netns for row in rows_}), evidence) if rows_ else None


def row(netns):
    return ev.NeighbourSet(at=1, netns=netns, index=4, address="172.17.0.9", state="REACHABLE")


def asked(**more):
    return predict("Who learns?", ["nginx-1", "nginx-2", "machine"], seen=hosts_with_rows, **more)


def locked(recording, *choices, several=False):
    guess = asked(several=several)
    guess.choose(*choices)
    guess.lock()
    guess._since = len(recording)  # no lab here: as if it had been locked now
    return guess


@pytest.mark.parametrize(
    ("chosen", "answer"),
    [
        (("nginx-1", "machine"), "as predicted"),
        (("nginx-1",), "partly as predicted"),
        (("nginx-1", "nginx-2", "machine"), "partly as predicted"),
        (("nginx-2",), "not as predicted"),
    ],
)
def test_a_prediction_is_graded_by_what_came_after_its_lock(recording, chosen, answer):
    recording.append(row("nginx-2"))  # before the lock: does not count
    guess = locked(recording, *chosen, several=True)
    assert guess.grade(recording).answer == "not yet"
    recording.append(row("nginx-1"))
    recording.append(row("machine"))
    guess.grade(recording)
    assert guess.answer == answer
    assert bool(guess) == (answer == "as predicted")
    assert guess.seen == ("nginx-1", "machine")
    assert "nginx-1: 172.17.0.9 REACHABLE" in repr(guess)


def test_the_same_prediction_is_graded_differently_by_different_evidence(recording):
    right, wrong = locked(recording, "nginx-1"), locked(recording, "nginx-1")
    other = Recording("other")
    for event in [*recording.events, row("nginx-2")]:
        other.append(event)
    recording.append(row("nginx-1"))
    assert right.grade(recording)
    assert not wrong.grade(other)


def test_what_is_not_locked_was_not_predicted(recording):
    guess = asked()
    guess.choose("nginx-1")
    guess._since = len(recording)
    recording.append(row("nginx-1"))
    assert guess.grade(recording).answer == "not predicted"
    assert guess.seen == ("nginx-1",)
    for late in (guess.lock, lambda: guess.choose("nginx-1")):
        with pytest.raises(LabkitError, match="late|locked"):
            late()


def test_a_locked_prediction_cannot_be_changed(recording):
    guess = locked(recording, "nginx-1")
    with pytest.raises(LabkitError, match="locked"):
        guess.choose("nginx-2")
    assert guess.chosen == ("nginx-1",)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (lambda look: 1 / 0, "ZeroDivisionError"),
        (lambda look: look.lab, "a recording, in which no command"),
        (lambda look: "somebody else", "none of the choices"),
    ],
)
def test_a_broken_probe_grades_nothing(recording, seen, words):
    guess = predict("Who?", ["a", "b"], seen=seen)
    guess.choose("a")
    guess.lock()
    assert guess.grade(recording).answer == "could not tell"
    assert words in repr(guess)
    assert not guess


def test_what_cannot_be_a_prediction_is_refused():
    with pytest.raises(LabkitError, match="first-ping"):
        predict("no-such-prediction")
    with pytest.raises(LabkitError, match="graded against what is seen"):
        predict("Who?", ["a", "b"], seen="a")
    with pytest.raises(LabkitError, match="cannot be told apart"):
        predict("Who?", ["a", "a"], seen=hosts_with_rows)
    with pytest.raises(LabkitError, match="not one of the choices"):
        asked().choose("nobody")
    with pytest.raises(LabkitError, match="One choice"):
        asked().choose("nginx-1", "nginx-2")
    with pytest.raises(LabkitError, match="Nothing is chosen"):
        asked().lock()


def test_the_view_obeys_the_lock(recording):
    """What a browser sends after the lock changes nothing."""
    guess = asked()
    view = guess._make_view()
    view.chosen = [1]
    assert guess.chosen == ("nginx-2",)
    view.wish = 1
    assert guess.locked
    assert view.locked
    view.chosen = [0]
    assert guess.chosen == ("nginx-2",)
    guess._since = len(recording)
    recording.append(row("nginx-1"))
    guess.grade(recording)
    assert view.outcome["answer"] == "not as predicted"
    assert view.outcome["seen"] == [0]
    assert view.chosen == [1]


def test_hosts_and_ports_among_the_choices_can_be_picked_on_the_diagram(monkeypatch):
    lab = SimpleNamespace(recording=Recording("scene"), _state=lambda _: None)
    for event in scene():
        lab.recording.append(event)
    monkeypatch.setattr(predicting, "newest_lab", lambda: lab)

    def targets(*choices: str) -> object:
        return predict("Who?", choices, seen=hosts_with_rows)._make_view().diagram.get("targets")

    assert targets("nginx-1", "nobody", "nginx-2") == {"host:nginx-1": 0, "host:nginx-2": 2}
    assert targets("the machine", "docker0") == {"machine": 0, "bridge:docker0": 1}
    assert targets("nginx-1", "nobody") is None, "one alone is no choice"


def test_without_a_lab_the_choices_are_enough(monkeypatch):
    def none() -> object:
        raise LabkitError("There is no lab.")

    monkeypatch.setattr(predicting, "newest_lab", none)
    assert asked()._make_view().diagram == {}


def test_a_wish_to_lock_nothing_is_answered():
    guess = asked()
    view = guess._make_view()
    view.wish = 1
    assert not guess.locked
    assert view.note == "Nothing is chosen yet."


# Looking at a recording


def test_a_recording_cannot_be_asked(recording):
    look = Look(recording)
    assert look.state().hosts
    with pytest.raises(Unable):
        look.host("nginx-1")


# The magics' braces


def test_braces_are_filled_only_where_a_variable_is_meant():
    from labkit.lessons.magics import fill

    names = {
        "x": 5,
        "ip": ipaddress.ip_address("10.0.0.1"),
        "name": "nginx-2",
        "table": [1, 2],
        "print": print,
        "ping": SimpleNamespace(sent=3),
        "flag": True,
    }
    for given, expected in [
        ("ping -c {x} {ip} {name}", "ping -c 5 10.0.0.1 nginx-2"),
        ("echo ${x} ${name}", "echo ${x} ${name}"),
        ("awk '{print}' f; awk '{print $1}' f", "awk '{print}' f; awk '{print $1}' f"),
        ("echo {a,b} {1..3} {} { x; } {y} {table} {flag}", None),
        ("echo {ping.sent} {ping.lost}", "echo 3 {ping.lost}"),
        (r"echo \{x}", None),
    ]:
        assert fill(given, names, None) == (given if expected is None else expected)


# Which host a terminal is for


def lab(name, *hosts, agent=1, kernel=2):
    return RunningLab(
        name=name, agent=agent, kernel=kernel, folder="/home/anna", started=3, hosts=tuple(hosts)
    )


def test_a_terminal_finds_its_host():
    labs = [lab("new", "h1", "machine"), lab("old", "h2", "machine")]
    assert choose(labs, "h2") == (labs[1], "h2")
    assert choose(labs, "old/machine") == (labs[1], "machine")
    assert choose(labs, "2/h2") == (labs[1], "h2")


@pytest.mark.parametrize(
    ("labs", "wanted", "words"),
    [
        ([], "h1", "No lab of yours is running"),
        ([lab("a", "h1")], None, "labkit shell h1"),
        ([lab("a", "h1")], "h2", "No lab of yours has a host 'h2'"),
        ([lab("a", "h1"), lab("b", "h1")], "h1", "labkit shell a/h1 or b/h1"),
        ([lab("a", "h1"), lab("a", "h1", kernel=7)], "h1", "labkit shell 2/h1 or 7/h1"),
        ([lab("uml", agent=None)], "h1", "a kernel of its own"),
        ([lab("uml", agent=None)], None, "labkit shell machine"),
    ],
)
def test_a_terminal_that_cannot_be_is_explained(labs, wanted, words):
    with pytest.raises(LabkitError) as refused:
        choose(labs, wanted)
    assert words in str(refused.value)
    assert "→" in str(refused.value)


# Mysteries without a lab


def test_there_are_many_faults_and_seeds_meet_them_all():
    assert len(FAULTS) >= 20
    assert set(LEVELS.values()) == {1, 2, 3}
    assert {_order(seed, FAULTS)[0] for seed in range(len(FAULTS))} == set(FAULTS)
    for seed in (0, 1, 99):
        assert _order(seed, FAULTS) == _order(seed, FAULTS)
        assert set(_order(seed, FAULTS)) == set(FAULTS)
