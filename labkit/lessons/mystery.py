"""A network with a fault in it: find it, mend it, and see how an expert would have.

What was planted is told by nothing but its effects: the commands that planted it are in no event,
and `lab.commands` shows the network as it was meant to be.
"""

from __future__ import annotations

import html
import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from labkit import naming
from labkit.errors import LabkitError
from labkit.lab import Lab
from labkit.lessons import progress
from labkit.lessons.exercise import Words, recorded_note
from labkit.lessons.faults import FAULTS, LEVELS, Fault, Plan
from labkit.lessons.look import Look, Missing, Unable, expects, judge
from labkit.lessons.scene import Scene
from labkit.lessons.verdict import Row, Verdict
from labkit.model import wire


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was planted, how an expert would have found it, and one way to mend it."""

    seed: int
    what: str
    found: str
    mended: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join(f"{title}: {text}" for title, text in self._parts())

    def _parts(self) -> list[tuple[str, str]]:
        return [
            (f"Mystery {self.seed}", self.what),
            ("How an expert finds it", self.found),
            ("One way to mend it", "\n  ".join(("", *self.mended))),
        ]

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<dt><strong>{html.escape(title)}</strong></dt><dd style="white-space: pre-wrap">'
            f"{html.escape(text.strip())}</dd>"
            for title, text in self._parts()
        )
        return f"<dl>{rows}</dl>"


_made: dict[int, Mystery] = {}
"""The mysteries whose labs are open, the newest of each seed."""


def made(seed: int) -> Mystery:
    """The mystery of that seed in this notebook. Raises Missing."""
    mystery = _made.get(seed)
    if mystery is None or mystery.lab._connection.closed:
        raise Missing(f"mystery {seed} is not there: run the cell with Lab.mystery({seed}, …)")
    return mystery


class Mystery:
    """One of many faults, in a fresh small network. The same seed plants the same fault.

    `level` (1 to 3) draws from the easier or the harder ones. Raises LabkitError.
    """

    def __init__(self, seed: int, *, level: int | None = None, launcher: str | None = None) -> None:
        naming.check_number(seed, "seed", 0, 1_000_000_000)
        known = [one for one in FAULTS if level is None or LEVELS[one] == level]
        if not known:
            raise LabkitError(f"There is no level {level!r}.", hint="Levels are 1, 2 and 3.")
        self.seed = int(seed)
        self._given_up = self._solved = False
        self._hints = 0
        self._job: int | None = None
        reasons = []
        for make in _order(self.seed, known):
            draw = random.Random(f"labkit mystery {self.seed}")  # noqa: S311 (a game, no secret)
            self._scene = Scene(f"mystery-{self.seed}", draw, launcher)
            try:
                self._plan: Plan = make(self._scene)
                self._plant()
            except Unable as error:  # this kernel or machine has no such thing: the next one
                reasons.append(str(error))
                self._scene.lab.close(reason="another fault is tried")
                continue
            except BaseException:
                self._scene.lab.close()
                raise
            for other in [n for n, one in _made.items() if one.lab._connection.closed]:
                del _made[other]
            _made[self.seed] = self
            return
        raise LabkitError(
            f"No fault could be planted here: {reasons[0]}",
            hint="`labkit doctor` tells which programs are missing and what to install.",
        )

    @property
    def lab(self) -> Lab:
        """The lab with the fault in it."""
        return self._scene.lab

    def _plant(self) -> None:
        listen = str(self._scene.port) if self._plan.listen is None else self._plan.listen
        if listen:
            self._job = self._scene.serve(listen)
        self._scene.quietly(self._plan.place, *self._plan.plant)

    @property
    def story(self) -> str:
        """How the network was meant to be, and what must hold."""
        s = self._scene
        return (
            f"{s.first.name} ({s.at(s.first)}/24) and {s.second.name} ({s.at(s.second)}/24) are "
            f"plugged into the switch {s.switch.name}. So is the router {s.router.name}, with "
            f"{s.router_near}/24 there and {s.router_far}/24 towards the server {s.server.name} "
            f"({s.at(s.server)}/24), whose web server listens on port {s.port}.\n"
            "Everybody should reach everybody, with small packets and with large ones, and both "
            "clients should see the web page. Something is wrong. Find it, and mend it; any way "
            "will do.\n"
            "With mystery = Lab.mystery(…): mystery.lab.commands shows how all of it was built, "
            "mystery.check() tests it, mystery.hint() helps, and mystery.give_up() tells."
        )

    def check(self) -> Verdict:
        """Whether the network is well: passed, not yet, or could not tell."""
        verdict = self._judge()
        recorded = self.lab.recording.is_replayed
        if recorded:
            note = recorded_note(verdict, "the lesson's")
        elif verdict:
            self._solved = True
            problem = "" if self._given_up else progress.passed(verdict.name)
            note = problem or "mystery.report() tells what it was."
        else:
            note = "mystery.hint() helps."
        return msgspec.structs.replace(verdict, note=note, recorded=recorded)

    def _judge(self) -> Verdict:
        name = f"mystery-{self.seed}"
        return judge(name, self._rows(), asks="Find the fault and mend it.")

    def _rows(self) -> Iterator[Row]:
        well = True
        for row in self._scene.goals():
            well = well and row.ok is True
            yield row
        lingers = self._plan.lingers
        if well and lingers is not None:
            found = lingers(Look(self.lab))
            observed = "there is still something that these do not show" if found else "nothing"
            yield expects("what is left of the cause", "nothing", observed, ok=not found)

    def hint(self) -> Words:
        """The next of three hints: what works and what does not, where to look, and in whom."""
        rows = self._judge().rows
        if all(row.ok for row in rows):
            return Words(title="Mystery", text="It is mended: check() says so too.")
        self._hints = min(3, self._hints + 1)
        text = self._texts(rows)[self._hints - 1]
        return Words(title=f"Mystery {self.seed}, hint {self._hints} of 3", text=text)

    def hints(self) -> tuple[str, str, str]:
        """All three hints at once, for an exercise that counts them itself."""
        return self._texts(self._judge().rows)

    def _texts(self, rows: Sequence[Row]) -> tuple[str, str, str]:
        plan = self._plan
        return (
            _compared(rows),
            f"This command shows the cause, in the right place: {plan.table}",
            f"The right place is {plan.host.name}:\n%on {plan.host.name} {plan.table}\n"
            "Compare what it says with the plan: mystery.lab.commands shows how it was meant.",
        )

    def give_up(self) -> Report:
        """Tells what was planted."""
        self._given_up = True
        return self.report()

    def report(self) -> Report:
        """What was planted and how an expert would have found it. Raises LabkitError before."""
        if not (self._solved or self._given_up):
            raise LabkitError(
                "The mystery is not solved yet.",
                hint="mystery.check() tests it; mystery.give_up() tells what was planted.",
            )
        plan = self._plan
        mended = tuple(f"%on {plan.place.name} {command}" for command in plan.mend)
        if plan.listen is not None:
            s = self._scene
            stop = (f"%on {s.server.name} pkill nginx",) if plan.listen else ()
            mended = (*stop, f'mystery.lab["{s.server.name}"].serve({s.port})')
        return Report(
            seed=self.seed,
            what=plan.what,
            found=f"In {plan.host.name}, `{plan.table}` shows: {plan.shows}.",
            mended=mended,
        )

    def _mend(self) -> None:
        """Applies the recorded remedy: for the tests."""
        self._scene.quietly(self._plan.place, *self._plan.mend)
        if self._plan.listen is not None:
            if self._job is not None:
                self.lab._command(wire.StopJob, job=self._job)
            self._job = self._scene.serve(str(self._scene.port))

    def __repr__(self) -> str:
        state = "solved" if self._solved else "given up" if self._given_up else "not solved yet"
        return f"<Mystery {self.seed}: {state}>"

    def _ipython_display_(self) -> None:
        from IPython import display as ipython

        paragraphs = "".join(f"<p>{html.escape(text)}</p>" for text in self.story.split("\n"))
        show: Any = ipython
        html_ = show.HTML(f"<strong>Mystery {self.seed}</strong>{paragraphs}")
        show.display(html_, self.lab)


def _order(seed: int, known: list[Fault]) -> list[Fault]:
    """The faults in the order in which this seed tries them.

    So many seeds in a row as there are faults meet each of them once.
    """
    round_, place = divmod(seed, len(known))
    shuffled = list(known)
    random.Random(f"labkit faults {round_}").shuffle(shuffled)  # noqa: S311 (the same)
    return shuffled[place:] + shuffled[:place]


def _compared(rows: Sequence[Row]) -> str:
    works = "\n".join(f"  ✓ {row.what}" for row in rows if row.ok) or "  nothing"
    fails = "\n".join(
        f"  ✗ {row.what}" if row.ok is False else f"  ? could not look: {row.observed}"
        for row in rows
        if not row.ok
    )
    return (
        f"This works:\n{works}\nThis does not:\n{fails}\n"
        "What do those have in common that fail, and where do their ways part from the others'?"
    )
