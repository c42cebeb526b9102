"""What a lab is in a notebook: its pictures, its checks, the magics that it brings along."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from labkit import naming
from labkit.errors import LabkitError
from labkit.hosts import Host
from labkit.model.state import State
from labkit.recording import Recording
from labkit.wiring import Bridge

if TYPE_CHECKING:
    import graphviz

    from labkit.journey.during import During
    from labkit.lab import Lab
    from labkit.lessons.mystery import Mystery
    from labkit.lessons.verdict import Verdict
    from labkit.render.chart import Picture
    from labkit.widgets import Timeline


class InNotebook:
    """The part of `Lab` that faces the notebook. What it needs is imported when it is asked for."""

    recording: Recording

    def diagram(self) -> graphviz.Graph:
        """The topology as it is now, as a still picture."""
        from labkit.render.dot import diagram

        return diagram(self._state(None))

    def watch(self, *things: Host | Bridge) -> Any:
        """Live ARP and CAM tables of those hosts and bridges; of all of them without arguments."""
        from labkit.widgets import Tables

        selection = []
        for thing in things:
            if not isinstance(thing, Host | Bridge) or thing.lab is not self:
                raise LabkitError(
                    f"{naming.shown(thing)} has no tables to watch here.",
                    hint="Name hosts and bridges of this lab.",
                )
            thing._check()
            if isinstance(thing, Host):
                selection.append(("host", thing.name))
            else:
                selection.append(("bridge", thing.interface))
        return Tables(self.recording, selection or None)

    def neighbour_states(self, *hosts: Host) -> Any:
        """The states of the hosts' neighbour rows as a live diagram; without arguments, of all."""
        from labkit.widgets import NeighbourStates

        return NeighbourStates(self.recording, [host.name for host in hosts] or None)

    def journey(self) -> During:
        """What happens in a block, step by step: ``with lab.journey() as seen: …``."""
        from labkit.journey.during import During

        return During(self.recording, lambda: cast("Lab", self)._state(None))

    def timeline(self) -> Timeline:
        """The topology and the tables at any instant: a slider over the whole session."""
        return self.recording.timeline()

    def lanes(
        self, start: int | None = None, end: int | None = None, *, style: str = "both"
    ) -> Picture:
        """The events of a time as a diagram, a lane a host: see `Recording.lanes`."""
        if self.recording.closed is None:
            self._state(None)  # when all that has happened so far has been told
        return self.recording.lanes(start, end, style=style)

    def check(self, name: str) -> Verdict:
        """Whether an exercise is done: passed, not yet, or could not tell. Raises LabkitError."""
        from labkit.lessons.exercise import check

        return check(name, lab=cast("Lab", self))

    @staticmethod
    def mystery(seed: int, *, level: int | None = None, launcher: str | None = None) -> Mystery:
        """A fresh small network with a fault in it, to be found and mended.

        The same seed plants the same fault; `level` 1, 2 or 3 chooses how hard it is to find.
        Raises LabkitError.
        """
        from labkit.lessons.mystery import Mystery

        return Mystery(seed, level=level, launcher=launcher)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from labkit.widgets import Topology

        return Topology(self.recording)._repr_mimebundle_(**options)

    def _add_magics(self) -> None:
        """Brings `%on` and `%%on` along, where this is a notebook (or IPython)."""
        if "IPython" in sys.modules:
            from labkit.lessons.magics import register_here

            register_here()

    def _state(self, netns: str | None) -> State:
        raise NotImplementedError
