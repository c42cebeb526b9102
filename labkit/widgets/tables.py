"""Live ARP and CAM tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets

from labkit.model import events as ev
from labkit.model.state import State
from labkit.recording import Recording
from labkit.widgets.live import LiveView, static
from labkit.widgets.replay import Replay
from labkit.widgets.rows import Maker, Table, in_words

MANY = 50
"""Changed rows that are sent again with each update; when there are more, all rows are."""


class Tables(LiveView):
    """The neighbour tables of hosts and the forwarding databases of bridges, live.

    `selection` names them, ``("host", name)`` or ``("bridge", interface)``; None is all.

    The trait `snapshot` has all rows of some time, `changes` what is different since then: for
    a table's id the `rows` that are new or changed, and the ids of those that are `gone`.
    """

    heeds = (
        ev.Applied,
        ev.LinkSet,
        ev.LinkRemoved,
        ev.NeighbourSet,
        ev.NeighbourRemoved,
        ev.FdbSet,
        ev.FdbRemoved,
        ev.NamespaceRemoved,
    )
    _esm = static("shared.js") + static("rows.js") + static("tables.js")
    _css = static("labkit.css")

    changes = traitlets.Dict(help="What differs from the snapshot, by table.").tag(sync=True)

    def __init__(
        self,
        recording: Recording | Replay,
        selection: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        self.selection = selection
        self._maker = Maker(selection)
        self._base: list[Table] = []
        self._whole: dict[str, Any] = {"tables": []}
        super().__init__(recording)

    def picture(self, state: State) -> dict[str, Any]:
        """What has changed since all rows were sent; or all rows, where much has."""
        tables = self._maker.tables(state)
        changes: dict[str, Any] = {}
        if [table.heading for table in tables] == [table.heading for table in self._base]:
            changes = {
                table.heading["id"]: table.since(base)
                for table, base in zip(tables, self._base, strict=True)
                if table is not base
            }
            many = sum(len(c["rows"]) + len(c["gone"]) for c in changes.values()) > MANY
        else:
            many = True
        if many:
            self._base, changes = tables, {}
            self._whole = {"tables": [table.whole() for table in tables]}
        return {"snapshot": self._whole, "changes": changes, "words": in_words(tables)}

    def text(self, state: State) -> str:
        """The tables in words: what has been learned where, and who knows whom."""
        return in_words(Maker(self.selection).tables(state))
