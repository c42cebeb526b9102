"""The pure parts: the fold, the tables, names and addresses, the recording's file."""

from __future__ import annotations

import gzip

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import LabkitError, Recording, naming
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model import wire
from labkit.model.state import State
from labkit.model.values import Neighbour, Table
from labkit.render.dot import diagram
from labkit.widgets.tables import Tables
from labkit.widgets.topology import Topology

M = "machine"


def scene():
    """The text's scene as events."""
    at = 1_000_000_000
    return [
        ev.LinkSet(at=at, netns=M, index=2, name="docker0", kind="bridge", mac="02:42:00:00:00:01"),
        ev.AddressSet(at=at, netns=M, index=2, address="172.17.0.1/16"),
        *[
            event
            for i, name in enumerate(("nginx-1", "nginx-2"))
            for event in (
                ev.Applied(at=at, operation=op.AddHost(name=name, netns=name)),
                ev.LinkSet(
                    at=at, netns=name, index=4 + 2 * i, name="eth0", kind="veth",
                    mac=f"02:42:ac:11:00:0{2 + i}", is_up=True, has_carrier=True,
                    peer_netns=M, peer_index=3 + 2 * i,
                ),
                ev.AddressSet(at=at, netns=name, index=4 + 2 * i, address=f"172.17.0.{2 + i}/16"),
                ev.LinkSet(
                    at=at, netns=M, index=3 + 2 * i, name=f"veth{i}", kind="veth", mac=f"02::{i}",
                    is_up=True, has_carrier=True, master=2, port_state="forwarding",
                    peer_netns=name, peer_index=4 + 2 * i,
                ),
            )
        ],
    ]  # fmt: skip


def learned(port, at=2_000_000_000, mac="02:42:ac:11:00:02"):
    return ev.FdbSet(at=at, netns=M, bridge=2, port=port, mac=mac, kind="learned", updated=at)


def test_the_fold_gives_tables():
    state = State.after([*scene(), learned(3)])
    assert [p.peer for p in state.ports(2)] == ["nginx-1:eth0", "nginx-2:eth0"]
    assert state.interfaces("nginx-1")[0].addresses == ("172.17.0.2/16",)
    (row,) = state.fdb(2, now=5_000_000_000)
    assert (row.mac, row.port, row.age) == ("02:42:ac:11:00:02", "veth0", 3.0)
    assert len(list(state.cables())) == 2


def test_a_mac_is_learned_at_one_port_only():
    state = State.after([*scene(), learned(3), learned(5, at=3_000_000_000)])
    assert [row.port for row in state.fdb(2)] == ["veth1"]


def test_what_hangs_on_a_link_goes_with_it():
    state = State.after([*scene(), learned(3), ev.LinkRemoved(at=3, netns=M, index=3)])
    assert state.fdb(2) == ()
    assert [p.name for p in state.ports(2)] == ["veth1"]


def test_a_copy_stands_alone():
    state = State.after(scene())
    twin = state.copy()
    twin.apply(ev.AddressSet(at=9, netns=M, index=2, address="10.0.0.1/8"))
    twin.apply(ev.LinkRemoved(at=9, netns="nginx-1", index=4))
    assert state.space(M).addresses[2] == ("172.17.0.1/16",)
    assert state.link("nginx-1", 4)


def test_state_at_any_time_is_the_fold_up_to_then():
    recording = Recording("long", live=False)
    for i in range(5000):
        recording.append(learned(3 + 2 * (i % 2), at=i * 1000))
    for i in (0, 1, 1999, 2000, 2001, 4321, 4999):
        assert recording.state(i * 1000).fdb(2) == State.after(recording.events[: i + 1]).fdb(
            2, now=i * 1000
        )


def test_a_table_prints_and_displays():
    rows = [Neighbour(address="<b>", mac=None, state="FAILED", interface="eth0")]
    table = Table(Neighbour, rows, "t")
    assert str(table) == "address  mac  state   interface\n<b>      -    FAILED  eth0"
    assert "&lt;b&gt;" in table._repr_html_()
    assert table[0] is rows[0]
    assert isinstance(table[:1], Table)
    assert "(empty)" in str(Table(Neighbour, []))


def test_a_recording_comes_back_as_it_was(tmp_path):
    recording = Recording("scene")
    for event in scene():
        recording.append(event)
    loaded = Recording.load(recording.save(tmp_path / "x.labkit"))
    assert loaded.events == recording.events
    assert (loaded.name, loaded.live) == ("scene", False)
    assert not list(tmp_path.glob("*.part"))


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # its time would be in the name of the test


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", packed(b""), packed(b"{}"), packed(b"[1]"),
     packed(b'{"format":"labkit recording","version":99}'),
     packed(b'{"format":"labkit recording","version":1}\n{"type":"Nonsense"}'),
     packed(b'{"format":"labkit recording","version":1}')[:-9]],
)  # fmt: skip
def test_a_damaged_recording_says_so(tmp_path, content):
    path = tmp_path / "bad.labkit"
    path.write_bytes(content)
    with pytest.raises(LabkitError, match="could not be read"):
        Recording.load(path)


def test_a_recording_that_cannot_be_saved_says_so(tmp_path):
    with pytest.raises(LabkitError, match="could not be saved"):
        Recording("x").save(tmp_path / "no" / "such" / "folder")


def test_events_survive_the_wire():
    for event in [
        *scene(),
        learned(3),
        ev.Lost(at=1, what="x", count=3),
        ev.Closed(at=1, reason=""),
    ]:
        assert msgspec.json.decode(msgspec.json.encode(event), type=wire.Message) == event


@given(st.text())
def test_names_are_right_or_refused(name):
    try:
        naming.check_name(name, "host")
    except LabkitError as error:
        assert error.hint  # noqa: PT017
    else:
        assert len(naming.interface_name(name)) <= naming.KERNEL_NAME
        assert "/" not in name


@given(st.one_of(st.text(), st.none(), st.integers(), st.ip_addresses().map(lambda a: f"{a}/20")))
def test_addresses_are_right_or_refused(text):
    try:
        naming.check_address(text)
    except LabkitError as error:
        assert error.hint  # noqa: PT017


def test_made_macs_are_local_unicast_and_stable():
    mac = naming.made_mac("a", "b")
    assert mac == naming.made_mac("a", "b") != naming.made_mac("ab")
    assert int(mac[:2], 16) & 3 == 2
    assert naming.check_mac(mac) == mac


def test_a_diagram_takes_any_name():
    name = '{<b>|"x" }\\'
    events = [ev.LinkSet(at=1, netns=M, index=7, name=name, kind="veth", master=2)]
    svg = diagram(State.after([*scene(), *events])).pipe("svg").decode()
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg


def test_views_of_a_recording():
    recording = Recording("seen", live=False)
    for event in [*scene(), learned(3)]:
        recording.append(event)
    topology, tables = Topology(recording), Tables(recording)
    assert topology.status["error"] == tables.status["error"] == ""
    assert topology.status["recorded"]
    assert {n["title"] for n in topology.snapshot["layout"]["nodes"]} == {
        "docker0", "nginx-1", "nginx-2",
    }  # fmt: skip
    assert "docker0 joins nginx-1:eth0, nginx-2:eth0" in topology.summary()
    cam = tables.snapshot["tables"][0]
    assert cam["rows"][0]["cells"][0] == ["02:42:ac:11:00:02", "nginx-1 eth0"]
    assert "02:42:ac:11:00:02 is behind veth0" in tables.summary()


def test_an_error_in_a_view_shows_in_the_view(monkeypatch):
    monkeypatch.setattr(Tables, "picture", lambda *_: 1 / 0)
    assert "ZeroDivisionError" in Tables(Recording("x", live=False)).status["error"]


def test_an_error_shows_without_a_traceback():
    error = LabkitError("what was asked", hint="what next")
    assert error._render_traceback_() == ["LabkitError: what was asked\n→ what next"]
