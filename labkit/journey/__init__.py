"""A packet's journey: captured frames and table changes, explained step by step.

`build` makes a `Journey` of a part of a recording; `packets` decodes frames; `sentences` has
the words of each step; `why` finds out why a packet got no further.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from labkit import naming
from labkit.errors import LabkitError
from labkit.journey.values import Finding, Move, Row, Step
from labkit.model.state import State
from labkit.model.values import html_table

if TYPE_CHECKING:
    from labkit.recording import Recording
    from labkit.render.chart import Picture

__all__ = ["Finding", "Journey", "Move", "Row", "Step"]


class Journey(Sequence[Step]):
    """What happened to the packets of a time, as an ordered sequence of steps.

    `begins` and `ends` are nanoseconds since the epoch. `noise` holds what happened besides
    (a switch's hellos, other hosts' traffic), folded away. `finding` says why it failed, if
    it did. `lost` is the number of frames that were not captured in that time, `left_out` of
    those that were captured but are too many to explain one by one.
    """

    def __init__(
        self,
        recording: Recording,
        steps: Sequence[Step],
        *,
        begins: int,
        ends: int,
        title: str = "",
        noise: Sequence[Step] = (),
        finding: Finding | None = None,
        lost: int = 0,
        left_out: int = 0,
    ) -> None:
        self.recording = recording
        self.begins = begins
        self.ends = ends
        self.title = title
        self.noise = tuple(noise)
        self.finding = finding
        self.lost = lost
        self.left_out = left_out
        self._steps = tuple(steps)
        self._states: list[State] | None = None

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Step, ...]: ...
    def __getitem__(self, index: int | slice) -> Step | tuple[Step, ...]:
        return self._steps[index]

    def __len__(self) -> int:
        return len(self._steps)

    def walk(self) -> Iterator[tuple[int, Step]]:
        """Every step and branch in the order in which a player shows them, with its depth."""
        return itertools.chain.from_iterable(step.walk() for step in self._steps)

    def state(self, index: int) -> State:
        """The lab's state right after step number `index` of `walk`; -1 is before the first.

        The kernel tells of a table's change a moment after the frame that made it, so the time
        alone would not do: a change belongs to the step that names it as its evidence.
        """
        if self._states is None:
            from labkit.journey.replay import states

            self._states = states(self)
        if isinstance(index, int) and -1 <= index < len(self._states) - 1:
            return self._states[index + 1]
        raise LabkitError(
            f"The journey has no step {naming.shown(index)}.",
            hint=f"Its steps are 0 to {len(self._states) - 2}; -1 is before the first.",
        )

    def comments(self) -> dict[int, list[str]]:
        """What is said of each event that is a step's frame or evidence, by the event's number."""
        found: dict[int, list[str]] = {}
        for _, step in self.walk():
            words = f"{step.text} (inferred)" if step.inferred else step.text
            frame = () if step.frame is None else (step.frame,)
            for number in dict.fromkeys((*frame, *step.evidence)):
                found.setdefault(number, []).append(words)
        return found

    def sequence(self, *, style: str = "both") -> Picture:
        """The journey as a sequence chart: time goes down, interfaces are side by side.

        `style` is "light", "dark", or "both", which has no background and reads on either.
        Raises LabkitError for another.
        """
        from labkit.journey.packets import in_short
        from labkit.render import sequence

        frames = [
            (step, None if step.frame is None else self.recording.event(step.frame))
            for _, step in self.walk()
        ]
        rows = [sequence.Row(step, in_short(frame)) for step, frame in frames]
        state = self.recording.state(self.ends)
        title = f"{self.title} (recorded)" if self.recording.is_replayed else self.title
        return sequence.draw(rows, state, self.begins, title=title, style=style)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    __repr__ = __str__

    def after(self, step: Step) -> float:
        """Milliseconds from the journey's first step to this one."""
        if not isinstance(step, Step):
            raise LabkitError(
                f"{naming.shown(step)} is not a step.", hint="Take one of journey[…]."
            )
        return (step.at - (self._steps[0].at if self._steps else self.begins)) / 1e6

    def _lines(self) -> Iterator[str]:
        yield self.title
        numbers = itertools.count(1)
        for depth, step in self.walk():
            mark = " (inferred)" if step.inferred else ""
            after = f"{self.after(step):9.3f} ms"
            place = f"{step.host} {step.interface}" if step.interface else step.host
            indent = "   " * depth
            yield f"{next(numbers):3d} {after}  {indent}{step.kind} · {place}: {step.text}{mark}"
        yield from self._remarks()

    def _remarks(self) -> Iterator[str]:
        if self.recording.is_replayed:
            yield "Recorded: no kernel is at work here now."
        if self.finding:
            yield f"Why: {self.finding.text}"
            if self.finding.fine:
                yield "In order before it: " + "; ".join(self.finding.fine) + "."
            if self.finding.remaining:
                yield "Not told apart: " + "; ".join(self.finding.remaining) + "."
            if self.finding.advice:
                yield f"Next: {self.finding.advice}"
        if self.noise:
            yield f"Besides: {len(self.noise)} other events in the background (see .noise)."
        if self.left_out:
            yield f"{self.left_out} more frames were captured, too many to explain one by one."
        if self.lost:
            yield f"{self.lost} frames were not captured: they came too fast."

    def _repr_html_(self) -> str:
        rows = []
        for number, (depth, step) in enumerate(self.walk(), 1):
            cells = [
                str(number),
                f"{self.after(step):.3f} ms",
                f"{step.host} {step.interface}" if step.interface else step.host,
                step.kind,
                f"{'↳ ' * depth}{step.text}{' (inferred)' if step.inferred else ''}",
                " ".join(f"#{number}" for number in step.evidence),
            ]
            rows.append(cells)
        columns = ("step", "after", "where", "what", "in words", "evidence")
        notes = "".join(f"<p>{html.escape(line)}</p>" for line in self._remarks())
        return html_table(self.title, columns, rows) + notes

    def to_html(self, path: str | Path) -> Path:
        """Writes the player and this journey as one HTML file, which plays without Jupyter.

        It needs nothing beside it and no network. Raises LabkitError where it cannot be written.
        """
        from labkit.widgets.export import write

        return write(self, path)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from labkit.widgets import Player

        return Player(self)._repr_mimebundle_(**options)
