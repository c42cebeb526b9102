"""What a lab is in a notebook: its pictures, its checks, the magics that it brings along."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from labkit.errors import LabkitError
from labkit.hosts import Host
from labkit.model.state import State
from labkit.recording import Recording
from labkit.wiring import Bridge

if TYPE_CHECKING:
    import graphviz

    from labkit.lab import Lab
    from labkit.lessons.exercise import Checked
    from labkit.lessons.mystery import Mystery


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
            if not isinstance(thing, Host | Bridge):
                raise LabkitError(
                    f"{thing!r} has no tables to watch.", hint="Name hosts and bridges of the lab."
                )
            if isinstance(thing, Host):
                selection.append(("host", thing.name))
            else:
                selection.append(("bridge", thing.interface))
        return Tables(self.recording, selection or None)

    def check(self, name: str) -> Checked:
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
