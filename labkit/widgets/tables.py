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

FEW = 20
"""Changed rows that are sent again with each update, at most."""
MANY = 50
"""Changed rows that are sent again with every `FEW` changes, at least; or an eighth of all rows."""


class Tables(LiveView):
    """The neighbour tables of hosts and the forwarding databases of bridges, live.

    `selection` names them, ``("host", name)`` or ``("bridge", interface)``; None is all.

    The trait `snapshot` has all rows of some time, `since` what is different at a later time, and
    `changes` what is different from that now: for a table's id the `rows` that are new or changed,
    and the ids of those that are `gone`. So a long table costs little while little of it changes.
    """

    heeds = (ev.Applied, ev.LinkSet, ev.LinkRemoved, *ev.TABLES, ev.NamespaceRemoved)
    _esm = static("shared.js") + static("rows.js") + static("tables.js")
    _css = static("labkit.css")

    since = traitlets.Dict(help="What differs from the snapshot, by table.").tag(sync=True)
    changes = traitlets.Dict(help="What differs from both, by table.").tag(sync=True)

    def __init__(
        self,
        recording: Recording | Replay,
        selection: Sequence[tuple[str, str]] | None = None,
    ) -> None:
        self.selection = selection
        self._maker = Maker(selection)
        self._base: list[Table] = []  # as in the snapshot
        self._later: list[Table] = []  # as in the snapshot and `since`
        self._since: dict[str, Any] | None = {}
        self._whole: dict[str, Any] = {"tables": []}
        super().__init__(recording)

    def picture(self, state: State) -> dict[str, Any]:
        """What has changed since all rows were sent; or all rows, where much has."""
        tables = self._maker.tables(state)
        changes = _changes(self._later, tables)
        if changes is None or _count(changes) > FEW:
            self._since, changes = _changes(self._base, tables), {}
            self._later = tables
            most = max(MANY, sum(len(table.rows) for table in tables) // 8)
            if self._since is None or _count(self._since) > most:
                self._base, self._since = tables, {}
                self._whole = {"tables": [table.whole() for table in tables]}
        return {
            "snapshot": self._whole,
            "since": self._since,
            "changes": changes,
            "words": in_words(tables),
        }

    def text(self, state: State) -> str:
        """The tables in words: what has been learned where, and who knows whom."""
        return in_words(Maker(self.selection).tables(state))


def _changes(base: list[Table], tables: list[Table]) -> dict[str, Any] | None:
    """What is different from some earlier time, by table; None where the tables are others."""
    if [table.heading for table in tables] != [table.heading for table in base]:
        return None
    pairs = zip(base, tables, strict=True)
    return {new.heading["id"]: new.since(old) for old, new in pairs if new is not old}


def _count(changes: dict[str, Any]) -> int:
    return sum(len(change["rows"]) + len(change["gone"]) for change in changes.values())
