"""What a lab shows: the topology, the tables, and the session in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from labkit.errors import LabkitError
from labkit.hosts import Host
from labkit.model.state import State
from labkit.recording import Recording
from labkit.wiring import Bridge

if TYPE_CHECKING:
    import graphviz

    from labkit.widgets import Timeline


class Views:
    """The part of a lab that looks at its recording."""

    recording: Recording

    def _state(self, netns: str | None) -> State:
        raise NotImplementedError

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

    def timeline(self) -> Timeline:
        """The topology and the tables at any instant: a slider over the whole session."""
        return self.recording.timeline()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        from labkit.widgets import Topology

        return Topology(self.recording)._repr_mimebundle_(**options)
