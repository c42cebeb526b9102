"""Every mystery: unsolved as planted, not solved by doing nothing, solved by its remedy, silent."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from labkit import Lab, LabkitError
from labkit.launch.launchers import LAUNCHERS
from labkit.lessons import progress
from labkit.lessons.look import Missing, Unable
from labkit.lessons.mystery import Mystery, made
from labkit.lessons.scene import Scene
from labkit.model import events as ev

SEEDS = range(100)
AT_ONCE = 16  # most of the time goes into waiting for answers that do not come


@pytest.fixture(autouse=True)
def kept(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(progress.FOLDER, str(tmp_path_factory.mktemp("progress")))


def life(seed: int, launcher: str) -> dict:
    """What a mystery says before, after nothing was done, and after its remedy."""
    mystery = Mystery(seed, launcher=launcher)
    try:
        planted = mystery.check()
        told = [mystery.story, repr(mystery), repr(mystery.lab), repr(planted)]
        nothing = mystery.check()
        events = [
            event
            for event in mystery.lab.recording.events
            if isinstance(event, ev.ProcessStarted | ev.ProcessEnded)
        ]
        mystery._mend()
        return {
            "what": mystery._plan.what,
            "healthy": str(mystery.lab.commands),
            "plant": mystery._plan.plant,
            "planted": planted,
            "nothing": nothing,
            "mended": mystery.check(),
            "told": "\n".join(told),
            "events": events,
            "report": repr(mystery.report()),
        }
    finally:
        mystery.lab.close()


def check_life(seed: int, life: dict) -> None:
    assert life["planted"].answer == "not yet", (seed, life["what"], life["planted"])
    assert life["nothing"].answer == "not yet", (seed, life["what"], life["nothing"])
    assert life["mended"].answer == "passed", (seed, life["what"], life["mended"])
    assert not life["events"], (seed, life["events"])
    assert life["what"] not in life["told"]
    healthy = life["healthy"]
    assert not [c for c in life["plant"] if c in life["told"] and c not in healthy], seed
    assert life["what"] in life["report"]


@pytest.mark.timeout(600)
def test_every_seed_is_a_mystery_that_its_remedy_solves():
    launcher = next(one.name for one in LAUNCHERS if one.probe() is None)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lives = list(pool.map(lambda seed: life(seed, launcher), SEEDS))
    for seed, one in zip(SEEDS, lives, strict=True):
        check_life(seed, one)
    assert len({one["planted"].name for one in lives}) == len(SEEDS)


@pytest.mark.timeout(300)
def test_every_fault_with_the_other_launcher_too():
    usable = [one.name for one in LAUNCHERS if one.probe() is None]
    if len(usable) < 2:
        pytest.skip("one launcher works here")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lives = list(pool.map(lambda seed: life(seed, usable[1]), range(38)))
    for seed, one in enumerate(lives):
        check_life(seed, one)


def test_the_same_seed_is_the_same_mystery(launcher):
    one, two = Mystery(5, launcher=launcher), Mystery(5, launcher=launcher)
    assert one.story == two.story
    assert one._plan.what == two._plan.what
    two.lab.close()


@pytest.mark.parametrize("seed", range(0, 38, 4))
def test_commands_show_the_network_as_it_was_meant_to_be(seed):
    """The same scene without a fault is told by the same commands."""
    mystery = Mystery(seed)
    told = str(mystery.lab.commands)
    mystery.lab.close()
    healthy = Scene("healthy", random.Random(f"labkit mystery {seed}"), None)
    assert str(healthy.lab.commands) == told
    healthy.lab.close()


def test_a_hint_that_cannot_look_says_so(monkeypatch):
    mystery = Mystery(0)

    def goals(_):
        raise Unable("'curl' in h1: not found")
        yield

    monkeypatch.setattr(Scene, "goals", goals)
    assert "could not look: 'curl' in h1: not found" in mystery.hint().text
    assert mystery.check().answer == "could not tell"
    mystery.lab.close()


@pytest.mark.parametrize("seed", range(0, 38, 9))
def test_hints_come_nearer_and_never_tell(seed):
    mystery = Mystery(seed)
    hints = [mystery.hint() for _ in range(4)]
    assert [one.title[-6:] for one in hints] == ["1 of 3", "2 of 3", "3 of 3", "3 of 3"]
    assert "✗" in hints[0].text
    assert mystery._plan.table in hints[1].text
    assert mystery._plan.host.name in hints[2].text
    healthy = str(mystery.lab.commands)
    for one in hints:
        assert mystery._plan.what not in one.text
        assert mystery._plan.shows not in one.text
        assert not [c for c in mystery._plan.mend if c in one.text and c not in healthy]
    mystery._mend()
    assert "It is mended" in mystery.hint().text
    mystery.lab.close()


def test_a_report_waits_for_the_end(launcher):
    with Lab.mystery(3, launcher=launcher).lab:
        pass
    mystery = Lab.mystery(3, launcher=launcher)
    with pytest.raises(LabkitError, match="not solved yet"):
        mystery.report()
    assert "given up" not in repr(mystery)
    assert mystery._plan.what in repr(mystery.give_up())
    assert "given up" in repr(mystery)
    mystery._mend()
    assert mystery.check()
    assert "mystery-3" not in progress.read(), "what was told was not solved"
    mystery.lab.close()


def test_a_learners_own_way_passes(launcher):
    """Not the recorded remedy: any command that brings the effect about."""
    mystery = next(
        one
        for one in (Mystery(seed, launcher=launcher) for seed in range(38))
        if "lost its default route" in one._plan.what
    )
    host = mystery._plan.host
    gateway = next(r for r in mystery.lab.recording.events if _is_default(r, host.name)).gateway
    host.run(f"ip route add 0.0.0.0/1 via {gateway}; ip route add 128.0.0.0/1 via {gateway}")
    assert mystery.check(), mystery.check()
    assert mystery.report()


def _is_default(event: object, netns: str) -> bool:
    return (
        isinstance(event, ev.RouteSet) and event.netns == netns and event.destination == "default"
    )


def test_a_broken_probe_is_no_pass(launcher, monkeypatch):
    mystery = Mystery(0, launcher=launcher)
    mystery._mend()
    assert mystery.check()
    monkeypatch.setattr(type(mystery._scene), "_ping", lambda *_: "no-such-program")
    assert mystery.check().answer == "could not tell"
    monkeypatch.undo()
    mystery.lab.close()
    assert mystery.check().answer == "could not tell"


def test_a_fault_that_cannot_be_planted_gives_way_to_another(launcher, monkeypatch):
    from labkit.lessons import mystery as module
    from labkit.lessons.faults.plan import Plan

    def impossible(scene):
        return Plan(
            what="nothing",
            host=scene.router,
            table="",
            shows="",
            plant=["sysctl -w net.ipv4.no_such_setting=1"],
        )

    order = module._order
    monkeypatch.setattr(module, "_order", lambda *a: [impossible, *order(*a)])
    mystery = Mystery(1, launcher=launcher)
    assert mystery._plan.what != "nothing"
    assert mystery.check().answer == "not yet"
    mystery.lab.close()
    monkeypatch.setattr(module, "_order", lambda *a: [impossible])
    with pytest.raises(LabkitError, match="no_such_setting"):
        Mystery(1, launcher=launcher)


def test_a_lesson_finds_its_mystery_by_the_seed(launcher):
    with pytest.raises(Missing, match=r"Lab\.mystery\(6"):
        made(6)
    first = Mystery(6, level=1, launcher=launcher)
    assert made(6) is first
    again = Mystery(6, level=1, launcher=launcher)
    assert made(6) is again
    assert [one.splitlines()[0] for one in again.hints()][1:] == [
        f"This command shows the cause, in the right place: {again._plan.table}",
        f"The right place is {again._plan.host.name}:",
    ]
    again.lab.close()
    with pytest.raises(Missing):
        made(6)


def test_levels(launcher):
    with pytest.raises(LabkitError, match="Levels are"):
        Mystery(1, level=4, launcher=launcher)
    mystery = Mystery(1, level=1, launcher=launcher)
    assert mystery.check().answer == "not yet"
    mystery.lab.close()
