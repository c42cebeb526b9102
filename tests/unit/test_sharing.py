"""What is kept and shared is what computing everything anew would give."""

from __future__ import annotations

import copy
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import Recording
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.state import State
from labkit.widgets import Tables, Topology
from labkit.widgets import tables as tables_module
from labkit.widgets import topology as topology_module
from labkit.widgets.rows import TOLD, Maker
from labkit.widgets.states import NeighbourStates
from tests.unit.test_model import M, learned, scene

NETNS = st.sampled_from([M, "h1", "h2"])
INDEX = st.integers(1, 4)
MAC = st.sampled_from(["02::1", "02::2", "02::3"])
ADDRESS = st.sampled_from(["10.0.0.1", "10.0.0.2"])


def event(of, /, **fields):
    return st.builds(of, at=st.integers(1, 9), **fields)


def made(of, /, **fields):
    return event(ev.Applied, operation=st.builds(of, **fields))


HOST = {"name": st.sampled_from(["h1", "h2"]), "netns": NETNS}
ROUTE = {"netns": NETNS, "index": INDEX, "destination": st.just("default")}
ROW = {"netns": st.just(M), "bridge": st.just(1), "port": INDEX, "mac": MAC}
EVENTS = st.one_of(
    event(
        ev.LinkSet,
        netns=NETNS,
        index=INDEX,
        name=st.sampled_from(["eth0", "br0", "veth1"]),
        kind=st.sampled_from(["bridge", "veth"]),
        mac=MAC,
        has_carrier=st.booleans(),
        master=st.sampled_from([None, 1]),
        peer_netns=st.none() | NETNS,
        peer_index=st.none() | INDEX,
    ),
    event(ev.LinkRemoved, netns=NETNS, index=INDEX),
    event(ev.AddressSet, netns=NETNS, index=INDEX, address=ADDRESS),
    event(ev.AddressRemoved, netns=NETNS, index=INDEX, address=ADDRESS),
    event(ev.RouteSet, **ROUTE),
    event(ev.RouteRemoved, **ROUTE),
    event(
        ev.NeighbourSet,
        netns=NETNS,
        index=INDEX,
        address=ADDRESS,
        state=st.sampled_from(["REACHABLE", "STALE"]),
        mac=st.none() | MAC,
    ),
    event(ev.NeighbourRemoved, netns=NETNS, index=INDEX, address=ADDRESS),
    event(ev.FdbSet, kind=st.sampled_from(["learned", "permanent"]), updated=st.none(), **ROW),
    event(ev.FdbRemoved, **ROW),
    event(ev.Traffic, netns=NETNS, index=INDEX, received=INDEX, sent=INDEX),
    event(ev.SettingSet, netns=NETNS, name=st.sampled_from(["a", "b"]), value=st.just("1")),
    event(ev.FirewallSet, netns=NETNS, rules=st.sampled_from(["", "-A INPUT"])),
    event(ev.CountersSet, netns=NETNS, counters=st.just({"Ip.InNoRoutes": 1})),
    event(ev.NamespaceRemoved, netns=NETNS),
    made(op.AddHost, **HOST),
    made(op.RemoveHost, **HOST),
)
HISTORY = st.lists(EVENTS, max_size=40)


def contents(state):
    """All that a state holds, as values."""
    spaces = {
        netns: {name: copy.copy(table) for name, table in vars(space).items() if table}
        for netns, space in state.namespaces.items()
    }
    hosts = {host.name: (host.netns, host.forwarding) for host in state.hosts.values()}
    spaces = {netns: space for netns, space in spaces.items() if space}
    return state.at, hosts, list(state.applied), spaces


def shown(traits):
    """The tables that a browser makes of the traits: the snapshot with the changes put in."""
    tables = []
    for table in traits["snapshot"]["tables"]:
        rows = {row["id"]: row for row in table["rows"]}
        for part in ("since", "changes"):
            change = traits[part].get(table["id"], {"rows": [], "gone": []})
            rows |= {row["id"]: row for row in change["rows"]}
            for id_ in change["gone"]:
                del rows[id_]
        tables.append({**table, "rows": sorted(rows.values(), key=lambda row: row["order"])})
    return tables


def anew(state):
    return [table.whole() for table in Maker(None).tables(state)]


@settings(deadline=None)
@given(HISTORY, HISTORY)
def test_copies_never_see_what_happens_to_each_other(history, other):
    state = State()
    copies = []
    for number, happened in enumerate(history):
        copies.append((state.copy(), history[:number]))
        state.apply(happened)
        if number < len(other):  # a copy goes its own way, too, and a copy of that
            forked = state.copy()
            copies.append((forked.copy(), history[: number + 1]))
            forked.apply(other[number])
            copies.append((forked, [*history[: number + 1], other[number]]))
    for twin, before in [*copies, (state, history)]:
        assert contents(twin) == contents(State.after(before))


def test_a_table_is_the_same_object_until_it_is_written_into():
    state = State.after([*scene(), learned(3)])
    before = state.copy().space(M)
    state.apply(ev.Traffic(at=9, netns=M, index=3, received=1, sent=1))
    after = state.copy().space(M)
    assert after.fdb is before.fdb
    assert after.links is before.links
    assert after.traffic is not before.traffic


@settings(deadline=None)
@given(HISTORY, st.integers(0, 4), st.integers(0, 4))
def test_kept_tables_are_as_made_anew(history, many, few):
    view = Tables(Recording("kept", live=False))
    state = State()
    with (
        mock.patch.object(tables_module, "MANY", many),
        mock.patch.object(tables_module, "FEW", few),
    ):
        for number, happened in enumerate(history):
            state.apply(happened)
            traits = view.picture(state.copy())
            expected = State.after(history[: number + 1])
            assert shown(traits) == anew(expected)
            assert traits["words"] == view.text(expected)


@settings(deadline=None)
@given(HISTORY)
def test_a_kept_topology_is_as_made_anew(history):
    places = mock.patch.object(
        topology_module, "layout", lambda state: {"shape": topology_module.shape_of(state)}
    )
    with places:
        view = Topology(Recording("kept", live=False))
        state = State()
        for number, happened in enumerate(history):
            state.apply(happened)
            kept = view.picture(state.copy())
            fresh = Topology(Recording("fresh", live=False))
            assert kept == fresh.picture(State.after(history[: number + 1]))


@settings(deadline=None)
@given(HISTORY)
def test_kept_neighbour_states_are_as_made_anew(history):
    view = NeighbourStates(Recording("kept", live=False))
    state = State()
    for number, happened in enumerate(history):
        state.apply(happened)
        fresh = NeighbourStates(Recording("fresh", live=False))
        assert view.picture(state.copy()) == fresh.picture(State.after(history[: number + 1]))


def test_an_update_carries_the_changed_row_alone():
    view = Tables(Recording("many", live=False))
    state = State.after(scene())
    for i in range(300):
        state.apply(learned(3, mac=f"02:00:00:00:{i // 256:02x}:{i % 256:02x}"))
    before = view.picture(state.copy())
    state.apply(learned(5, mac="02:00:00:00:ff:ff"))
    after = view.picture(state.copy())
    assert after["snapshot"] is before["snapshot"]
    ((id_, change),) = after["changes"].items()
    assert id_ == "bridge:docker0"
    assert [row["cells"][0][0] for row in change["rows"]] == ["02:00:00:00:ff:ff"]
    assert len(shown(after)[0]["rows"]) == 301
    for i in range(tables_module.FEW):
        state.apply(learned(3, mac=f"02:00:00:00:fe:{i:02x}"))
    later = view.picture(state.copy())
    assert later["snapshot"] is before["snapshot"]
    assert later["changes"] == {}
    assert len(later["since"][id_]["rows"]) == 1 + tables_module.FEW
    assert shown(later) == anew(state)
    state.apply(learned(3, mac="02:00:00:00:ff:ff"))
    last = view.picture(state.copy())
    assert last["since"] is later["since"]
    assert len(last["changes"][id_]["rows"]) == 1
    assert shown(last) == anew(state)
    for i in range(tables_module.MANY):
        state.apply(learned(3, mac=f"02:00:00:01:00:{i:02x}"))
    whole = view.picture(state.copy())
    assert whole["changes"] == whole["since"] == {}
    count = 301 + tables_module.FEW + tables_module.MANY
    assert len(whole["snapshot"]["tables"][0]["rows"]) == count
    assert whole["words"].count("is behind veth0") == TOLD
    assert f"and {count - TOLD} more" in whole["words"]
