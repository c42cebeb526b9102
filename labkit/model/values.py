"""What the kernel's tables hold, as frozen values.

These are the values a learner meets: ``host.interfaces``, ``host.routes``,
``host.neighbours``, ``bridge.ports`` and ``bridge.fdb`` are `Table`s of them.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any, Generic, TypeVar, overload

import msgspec

from labkit.model.text import visible


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """One network interface of a namespace.

    `peer` is ``"host:interface"`` for a veth end whose other end is in the lab;
    `bridge` names the bridge this interface is a port of.
    """

    name: str
    mac: str
    addresses: tuple[str, ...] = ()
    is_up: bool = False
    has_carrier: bool = False
    peer: str | None = None
    bridge: str | None = None


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """One port of a bridge. `state` is the kernel's spanning-tree state (`bridge(8)`)."""

    name: str
    mac: str
    state: str
    is_up: bool = False
    has_carrier: bool = False
    peer: str | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the main routing table. `gateway` is None for a direct (on-link) route."""

    destination: str
    gateway: str | None
    interface: str
    scope: str


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the neighbour table (for IPv4: the ARP cache), `ip-neighbour(8)`.

    `state` is the kernel's own name: INCOMPLETE, REACHABLE, STALE, DELAY, PROBE,
    FAILED, NOARP or PERMANENT. `mac` is None while it is not known.
    """

    address: str
    mac: str | None
    state: str
    interface: str


class FdbEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a bridge's forwarding database (the "CAM table"), `bridge(8)`.

    `kind` is learned, permanent (a port's own address) or multicast. `age` is the
    number of seconds since a frame from `mac` last came in; None for rows that do not age.
    """

    mac: str
    port: str
    vlan: int | None
    kind: str
    age: float | None


T = TypeVar("T", bound=msgspec.Struct)


class Table(tuple[T, ...], Generic[T]):
    """A sequence of rows that prints as a plain-text table and displays as an HTML one.

    Slices are Tables too; everything else is as for a tuple.
    """

    row_type: type[T]
    title: str

    def __new__(cls, row_type: type[T], rows: Iterable[T], title: str = "") -> Table[T]:
        self = super().__new__(cls, rows)
        self.row_type = row_type
        self.title = title
        return self

    @overload  # type: ignore[override]
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Table[T]: ...
    def __getitem__(self, index: int | slice) -> T | Table[T]:
        if isinstance(index, slice):
            return Table(self.row_type, super().__getitem__(index), self.title)
        return super().__getitem__(index)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the rows' fields, in order."""
        return self.row_type.__struct_fields__

    def _cells(self) -> list[list[str]]:
        return [[as_text(getattr(row, name)) for name in self.columns] for row in self]

    def __repr__(self) -> str:
        rows = [list(self.columns), *self._cells()]
        widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        if not self:
            lines.append("(empty)")
        return "\n".join(lines)

    __str__ = __repr__

    def _repr_html_(self) -> str:
        empty = f'<tr><td colspan="{len(self.columns)}"><em>empty</em></td></tr>'
        return html_table(self.title, self.columns, self._cells(), empty=empty)


def html_table(
    title: str, columns: Iterable[str], rows: Iterable[Iterable[str]], *, empty: str = ""
) -> str:
    """A table of text in HTML; `empty` is the body where there is no row."""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body or empty}</tbody></table>"


def as_text(value: Any) -> str:
    """A cell's text, the same in every form of a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}"
    if isinstance(value, tuple):
        return " ".join(value) or "-"
    return visible(str(value))
