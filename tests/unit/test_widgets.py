"""Live views without a browser: snapshots, what is sent and when, and how views end."""

from __future__ import annotations

import json
import threading
import time

import pytest

from labkit import LabkitError, Recording
from labkit.model import events as ev
from labkit.widgets import Tables, Topology, live
from labkit.widgets import topology as topology_module
from labkit.widgets.timeline import Scrubber
from tests.unit.test_model import M, learned, scene
from tests.unit.test_sharing import shown

LATE = 10  # seconds after which a test gives up; none waits so long


@pytest.fixture
def recording():
    recording = Recording("docker0")
    for event in scene():
        recording.append(event)
    yield recording
    recording.append(ev.Closed(at=time.time_ns(), reason="the test ended"))
    for thread in threads():
        thread.join(LATE)
    assert not threads()


def neighbour(state="REACHABLE", mac="02:42:ac:11:00:03"):
    return ev.NeighbourSet(
        at=time.time_ns(), netns="nginx-1", index=4, address="172.17.0.3", state=state, mac=mac
    )


def traffic(received=1, sent=1):
    return ev.Traffic(at=time.time_ns(), netns=M, index=3, received=received, sent=sent)


def seen(view, trait):
    """An event that is set with the trait's next change, and the list of its values."""
    changed, values = threading.Event(), []

    def note(change):
        values.append(change.new)
        changed.set()

    view.observe(note, trait)
    return changed, values


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("labkit ")]


def all_end():
    for thread in threads():
        thread.join(LATE)
    return not threads()


def tables_in(view):
    """The tables that a browser shows."""
    return shown({"snapshot": view.snapshot, "since": view.since, "changes": view.changes})


def table(view, name):
    return next(t for t in tables_in(view) if t["title"] == name)


def test_a_row_shows_state_meaning_owner_and_keys(recording):
    recording.append(neighbour())
    (row,) = table(Tables(recording), "nginx-1")["rows"]
    assert row["cells"] == [
        ["172.17.0.3", ""],
        ["02:42:ac:11:00:03", "nginx-2 eth0"],
        ["REACHABLE", "confirmed a moment ago"],
        ["eth0", ""],
    ]
    assert row["keys"] == ["ip:172.17.0.3", "mac:02:42:ac:11:00:03"]


def test_every_state_of_the_kernel_is_explained(recording):
    for state in (
        "INCOMPLETE",
        "REACHABLE",
        "STALE",
        "DELAY",
        "PROBE",
        "FAILED",
        "NOARP",
        "PERMANENT",
        "X",
    ):
        recording.append(neighbour(state, mac=None))
        (row,) = table(Tables(recording, [("host", "nginx-1")]), "nginx-1")["rows"]
        assert row["cells"][2][0] == state
        assert bool(row["cells"][2][1]) is (state != "X")
        assert "unknown MAC" in row["words"]


def test_a_permanent_row_is_its_ports_own_or_set_by_hand(recording):
    own = next(e.mac for e in scene() if isinstance(e, ev.LinkSet) and (e.netns, e.index) == (M, 3))
    for mac in (own, "02::77"):
        recording.append(
            ev.FdbSet(at=1, netns=M, bridge=2, port=3, mac=mac, kind="permanent", vlan=None)
        )
    notes = {
        row["cells"][0][0]: row["cells"][2] for row in table(Tables(recording), "docker0")["rows"]
    }
    assert notes == {
        own: ["permanent", "this port's own"],
        "02::77": ["permanent", "set by hand"],
    }


def test_learned_rows_come_first_and_a_move_keeps_the_row(recording):
    own = ev.FdbSet(at=1, netns=M, bridge=2, port=3, mac="02::0", kind="permanent")
    for event in (own, learned(3)):
        recording.append(event)
    before = table(Tables(recording), "docker0")["rows"]
    assert [(r["kind"], r["shown"]) for r in before] == [("learned", True), ("permanent", False)]
    assert before[0]["updated"] == 2_000
    recording.append(learned(5, at=3_000_000_000))
    after = table(Tables(recording), "docker0")["rows"]
    assert after[0]["id"] == before[0]["id"], "so that the port is marked as changed"
    assert after[0]["cells"][1] == ["veth1", "→ nginx-2:eth0"]


def test_a_vlan_is_named(recording):
    recording.append(
        ev.FdbSet(at=1, netns=M, bridge=2, port=3, mac="02::9", kind="learned", vlan=7, updated=1)
    )
    assert "vlan 7" in table(Tables(recording), "docker0")["rows"][0]["cells"][2][1]


def test_a_selection_is_kept_and_what_is_not_there_is_left_out(recording):
    chosen = [("host", "nginx-2"), ("bridge", "docker0"), ("host", "nobody")]
    assert [t["title"] for t in Tables(recording, chosen).snapshot["tables"]] == [
        "nginx-2", "docker0",
    ]  # fmt: skip


def test_as_text(recording):
    for event in (learned(3), neighbour()):
        recording.append(event)
    text = str(Tables(recording))
    assert "docker0, fdb (CAM table): 02:42:ac:11:00:02 is behind veth0 (nginx-1 eth0)." in text
    assert "nginx-1, neighbours (ARP cache): 172.17.0.3 is at 02:42:ac:11:00:03, REACHABLE." in text
    assert "Empty: machine, nginx-2." in text
    assert str(Topology(recording)).startswith("2 hosts, 1 bridge, 2 cables.")
    bundle = Topology(recording)._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"].startswith("2 hosts")


def test_an_event_updates_the_view(recording):
    view = Tables(recording)
    changed, values = seen(view, "words")
    recording.append(learned(3))
    assert changed.wait(LATE)
    assert "is behind veth0" in values[-1]
    assert view.beat > 0


def test_an_event_while_the_first_snapshot_is_made_is_not_missed(recording, monkeypatch):
    publish, published = Tables._publish, threading.Event()
    calls = []

    def late(self):
        alive = publish(self)
        calls.append(alive)
        if len(calls) == 1:
            recording.append(learned(3))
        else:
            published.set()
        return alive

    monkeypatch.setattr(Tables, "_publish", late)
    view = Tables(recording)
    assert published.wait(LATE)
    assert "is behind veth0" in view.words


def test_many_events_become_few_updates(recording, monkeypatch):
    """While one update is under way, all that happens waits for a single next one."""
    picture = Tables.picture
    view = Tables(recording)
    entered, go_on, calls, last = threading.Event(), threading.Event(), [], threading.Event()

    def held(self, state):
        done = picture(self, state)
        calls.append(sum(len(table["rows"]) for table in shown(done)))
        entered.set()
        go_on.wait(LATE)
        if calls[-1] == 501:
            last.set()
        return done

    monkeypatch.setattr(Tables, "picture", held)
    recording.append(learned(3))
    assert entered.wait(LATE)
    for i in range(500):
        recording.append(learned(3, mac=f"02:00:00:00:{i // 256:02x}:{i % 256:02x}"))
    go_on.set()
    assert last.wait(LATE)
    assert calls == [1, 501]
    view.close()


def test_what_changes_nothing_in_a_view_does_not_wake_it(recording):
    tables, topology = Tables(recording), Topology(recording)
    for event in (traffic(), ev.AddressSet(at=1, netns=M, index=2, address="10.0.0.1/8")):
        recording.append(event)
        assert not tables._dirty.is_set()
    topology._dirty.clear()
    started = ev.ProcessStarted(at=1, netns=M, job=1, host=M, command="true")
    for event in (neighbour(), learned(3), started, ev.ProcessEnded(at=1, job=1, exit_code=0)):
        recording.append(event)
        assert not topology._dirty.is_set()


def test_traffic_is_sent_without_the_layout(recording):
    view = Topology(recording)
    snapshot, sent = seen(view, "snapshot")
    counted, counters = seen(view, "traffic")
    recording.append(traffic(received=7, sent=9))
    assert counted.wait(LATE)
    assert counters[-1] == {f"{M}/3": [7, 9]}
    assert sent == []
    assert not snapshot.is_set()


def test_positions_are_found_again_only_when_the_shape_changes(recording, monkeypatch):
    asked = []
    real = topology_module.layout
    monkeypatch.setattr(topology_module, "layout", lambda state: asked.append(1) or real(state))
    view = Topology(recording)
    changed, _ = seen(view, "snapshot")
    link = recording.state().link("nginx-1", 4)
    fields = {name: getattr(link, name) for name in link.__struct_fields__}
    recording.append(ev.LinkSet(**{**fields, "has_carrier": False}))
    assert changed.wait(LATE)
    assert view.snapshot["links"]["nginx-1/4"] == [True, False, None]
    assert "Without carrier: nginx-1:eth0." in view.summary()
    assert asked == [1]


def test_lost_events_are_told(recording):
    view = Tables(recording)
    changed, values = seen(view, "status")
    recording.append(ev.Lost(at=time.time_ns(), what="netlink", count=12))
    assert changed.wait(LATE)
    assert values[-1]["lost"] == 12


def test_frames_that_are_left_out_are_told(recording):
    view = Tables(recording)
    changed, values = seen(view, "status")
    recording.append(ev.Lost(at=time.time_ns(), what="frames", count=7, netns="nginx-1"))
    assert changed.wait(LATE)
    assert (values[-1]["lost"], values[-1]["frames_lost"]) == (0, 7)


def test_an_error_shows_and_the_view_goes_on(recording, monkeypatch):
    view = Topology(recording)
    changed, values = seen(view, "status")
    with monkeypatch.context() as broken:
        broken.setenv("PATH", "/nonexistent")
        recording.append(ev.AddressSet(at=time.time_ns(), netns=M, index=2, address="10.0.0.1/8"))
        assert changed.wait(LATE)
    assert "apt-get install graphviz" in values[-1]["error"]
    changed.clear()
    recording.append(ev.AddressRemoved(at=time.time_ns(), netns=M, index=2, address="10.0.0.1/8"))
    assert changed.wait(LATE)
    assert values[-1]["error"] == ""
    assert LabkitError.__name__ not in values[-1]["error"]


def test_the_heart_beats_while_nothing_happens_and_nothing_is_computed(recording, monkeypatch):
    monkeypatch.setattr(live, "BEAT", 0.02)
    view = Tables(recording)
    monkeypatch.setattr(Tables, "picture", lambda *_: pytest.fail("computed without an event"))
    beaten = threading.Event()
    beats = []
    view.observe(lambda change: (beats.append(change.new), len(beats) > 2 and beaten.set()), "beat")
    assert beaten.wait(LATE)
    assert beats == sorted(beats)
    view.close()


def test_the_end_of_the_lab_ends_the_thread():
    recording = Recording("short")
    view = Tables(recording)
    changed, values = seen(view, "status")
    recording.append(ev.Closed(at=5_000_000, reason="it was closed"))
    assert changed.wait(LATE)
    assert values[-1]["closed"] == "it was closed"
    assert all_end()
    assert recording._listeners == []


def test_closing_a_view_ends_its_thread(recording):
    view = Topology(recording)
    assert [thread.daemon for thread in threads()] == [True]
    view.close()
    assert all_end()
    assert recording._listeners == []


def test_a_recorded_view_has_no_thread_and_says_so(tmp_path, recording):
    recording.append(learned(3))
    loaded = Recording.load(recording.save(tmp_path / "x.labkit"))
    view = Tables(loaded)
    assert threads() == []
    assert view.status["recorded"]
    assert view.beat == loaded.now() // 1_000_000 == 2_000
    assert loaded._listeners == []


def test_the_modules_need_nothing_from_outside():
    for view in (Topology, Tables, Scrubber):
        text = str(view._esm)
        assert text.count("export default") == 1
        for word in ("import ", "innerHTML", "insertAdjacentHTML", "eval(", "fetch(", "https:"):
            assert word not in text


def test_views_together_send_no_more_than_the_server_takes(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    line = live.Line()
    assert line.send(1000) == 0.0, "a small message waits for nothing"
    rests = [line.send(live.BANDWIDTH) for _ in range(3)]
    assert rests == pytest.approx([0.0, 1.0, 2.0], abs=0.01), "whichever view it is that sends"
    now[0] += 10
    assert line.send(live.BANDWIDTH) == 0.0


def test_what_a_view_sends_is_counted(recording, monkeypatch):
    sizes = []
    monkeypatch.setattr(live.LINE, "send", lambda size: sizes.append(size) or 0.0)
    view = Tables(recording)
    assert sizes[0] > len(json.dumps(view.snapshot))
    changed, _ = seen(view, "changes")
    recording.append(learned(3))
    assert changed.wait(LATE)
    assert 100 < sizes[-1] < 2000
    view.close()
