"""The charts: what they hold, that they are told in words, and that they read on any page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from labkit import LabkitError, Recording
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.state import State
from labkit.render import ageing, chart, lanes, sequence
from tests.unit.test_model import M, learned, scene

S = 1_000_000_000
COLD = Path(__file__).with_name("data") / "cold-ping.labkit"
"""A cold ping from nginx-1 to nginx-2, with nginx-3 looking on, as a real kernel had it."""
MAC = "02:42:ac:11:00:02"


def recorded(*events, first=None):
    recording = Recording("docker0", live=False)
    for event in [*(first or scene()), *events]:
        recording.append(event)
    return recording


def neighbour(at, state, address="172.17.0.3", netns="nginx-1"):
    return ev.NeighbourSet(at=at, netns=netns, index=4, address=address, state=state)


def frame(at, netns="nginx-1", index=4, packet_type="outgoing", mac=MAC):
    data = b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + b"\x08\x06" + bytes(28)
    return ev.Frame(at=at, netns=netns, index=index, packet_type=packet_type, data=data)


def collected(*events, start=1 * S, end=9 * S):
    rows = [(i, event) for i, event in enumerate([*scene(), *events])]
    return {lane.name: lane for lane in lanes.collect(State(), rows, start, end)}


def spans(lane, address="172.17.0.3"):
    return [(span.state, span.begin // S, span.end // S) for span in lane.neighbours[address]]


def test_neighbour_states_are_spans():
    found = collected(
        neighbour(2 * S, "INCOMPLETE"),
        neighbour(3 * S, "REACHABLE"),
        neighbour(4 * S, "REACHABLE"),
        neighbour(5 * S, "STALE"),
        ev.NeighbourRemoved(at=6 * S, netns="nginx-1", index=4, address="172.17.0.3"),
        neighbour(7 * S, "FAILED"),
    )
    assert spans(found["nginx-1"]) == [
        ("INCOMPLETE", 2, 3), ("REACHABLE", 3, 5), ("STALE", 5, 6), ("FAILED", 7, 9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        ev.LinkRemoved(at=4 * S, netns="nginx-1", index=4),
        ev.NamespaceRemoved(at=4 * S, netns="nginx-1"),
    ],
)
def test_a_row_ends_with_what_it_hangs_on(event):
    found = collected(neighbour(2 * S, "REACHABLE"), event)
    assert spans(found["nginx-1"]) == [("REACHABLE", 2, 4)]


def test_what_was_there_before_begins_at_the_edge():
    state = State.after([*scene(), neighbour(2 * S, "STALE")])
    (lane,) = (one for one in lanes.collect(state, [], 4 * S, 6 * S) if one.name == "nginx-1")
    assert spans(lane) == [("STALE", 4, 6)]


def test_frames_and_learning_are_in_their_lanes():
    found = collected(
        frame(2 * S),
        frame(2 * S + 1, M, 3, "broadcast"),
        learned(3, at=2 * S + 2),
        learned(3, at=3 * S),
        frame(3 * S, M, 2, "host"),
        ev.FdbRemoved(at=5 * S, netns=M, bridge=2, port=3, mac=MAC),
        ev.FdbSet(at=5 * S, netns=M, bridge=2, port=3, mac="02::9", kind="permanent"),
    )
    assert list(found) == ["docker0", "nginx-1", "nginx-2"]
    bridge = found["docker0"]
    assert (len(bridge.sent), len(bridge.received)) == (0, 2), "its ports', and its own"
    assert bridge.learned == [2 * S + 2], "a refresh is not learning"
    assert bridge.forgotten == [5 * S]
    assert found["nginx-1"].sent == [2 * S]


def test_hosts_stand_in_the_order_in_which_they_were_made():
    events = [ev.Applied(at=1, operation=op.AddHost(name=f"h{i}", netns=f"h{i}")) for i in (2, 1)]
    found = lanes.collect(State(), list(enumerate([frame(1, "h1"), *events])), 0, 9)
    assert [lane.name for lane in found] == ["h2", "h1"]


def test_the_lanes_in_words_and_as_a_picture():
    recording = recorded(frame(2 * S), neighbour(3 * S, "FAILED"), neighbour(4 * S, "STALE"))
    picture = recording.lanes()
    assert str(picture).startswith("Lanes of docker0: 3 s from ")
    assert "nginx-1: 1 frames sent; 0 received; 172.17.0.3 FAILED, STALE." in str(picture)
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert 'src="data:image/svg+xml;base64,' in bundle["text/html"]


def test_hostile_names_stay_text():
    hosts = [ev.Applied(at=S, operation=op.AddHost(name='"><b>$x_1$', netns='"><b>$x_1$'))]
    picture = recorded(frame(2 * S), first=hosts).lanes()
    markup = picture._repr_mimebundle_()["text/html"]
    assert "<b>" not in markup
    assert markup.count("<") == 1
    assert "<b>" not in picture.svg()


def test_a_storm_is_drawn_in_full_and_quickly():
    rows = [(i, frame(S + i * 10_000)) for i in range(50_000)]
    picture = lanes.draw(State.after(scene()), rows, S, 2 * S, name="storm")
    assert "50000 frames" in str(picture)
    assert len(picture.svg()) < 1_000_000


def test_frames_that_were_not_captured_are_told():
    lost = [ev.Lost(at=2 * S, what="frames", count=n, netns=M) for n in (70, 7)]
    other = ev.Lost(at=2 * S, what="changes of links and tables", count=5)
    recording = recorded(frame(2 * S), learned(3, at=3 * S), *lost, other)
    for picture in (recording.lanes(), recording.ageing("docker0")):
        assert "77 more were not captured" in str(picture)
        assert "77 more were not captured" in picture.figure.axes[0].get_title(loc="left")
    assert "not captured" not in str(recorded(frame(2 * S)).lanes())


def lives(*events, bridge=2):
    state = State.after(scene())
    rows = list(enumerate(events))
    return ageing.collect(state, rows, bridge)


def test_a_frame_from_a_mac_makes_its_row_young_again():
    found = lives(
        frame(2 * S, M, 3, "host"),
        learned(3, at=2 * S + 50),
        frame(4 * S, M, 3, "host"),
        frame(5 * S, M, 3, "outgoing"),
        frame(5 * S, M, 5, "host"),
        frame(6 * S, "nginx-1", 4, "host"),
        ev.FdbRemoved(at=9 * S, netns=M, bridge=2, port=3, mac=MAC),
    )
    (life,) = found[MAC]
    assert [at // S for at in life.heard] == [2, 4], "only what came in at its port"
    assert (life.end, life.how) == (9 * S, "removed")
    xs, ys = ageing._curve(life, chart.Scale(2 * S, 9 * S))
    assert [round(x) for x in xs] == [0, 2, 2, 7]
    assert [round(y) for y in ys] == [0, 2, 0, 5]


def test_a_moved_mac_has_two_lives_and_a_removed_port_ends_one():
    found = lives(
        learned(3, at=2 * S), learned(5, at=3 * S), ev.LinkRemoved(at=4 * S, netns=M, index=5)
    )
    assert [(life.port, life.end, life.how) for life in found[MAC]] == [
        (3, 3 * S, "moved"), (5, 4 * S, "removed"),
    ]  # fmt: skip


@pytest.mark.parametrize(("gone", "how"), [(7, "aged out"), (4, "removed")])
def test_aged_out_and_removed_are_told_apart_by_the_age(gone, how):
    bridge = op.AddBridge(name="docker0", interface="docker0", mac="02::1", ageing=5)
    recording = recorded(
        ev.Applied(at=S, operation=bridge),
        learned(3, at=2 * S),
        ev.FdbRemoved(at=gone * S, netns=M, bridge=2, port=3, mac=MAC),
    )
    text = str(recording.ageing("docker0"))
    assert "(ageing time 5 s)" in text
    assert f"{MAC} (nginx-1 eth0): heard of once" in text
    assert f"; {how} at " in text


def test_of_many_addresses_the_rest_is_counted():
    many = [learned(3, at=2 * S + i, mac=f"02:00:00:00:00:{i:02x}") for i in range(34)]
    picture = recorded(*many, frame(9 * S)).ageing("docker0")
    assert "4 more MAC addresses are not drawn" in str(picture)


def test_nothing_learned_is_said():
    assert "Nothing was learned" in str(recorded(frame(2 * S)).ageing("docker0"))


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda r: r.ageing("eth9"), "no bridge 'eth9'"),
        (lambda r: r.lanes(style="pink"), "no style 'pink'"),
        (lambda r: r.lanes(9 * S, 10 * S), "Nothing is recorded in that time"),
        (lambda r: Recording("x", live=False).lanes(), "Nothing is recorded"),
    ],
)
def test_what_cannot_be_drawn_is_told(ask, said):
    with pytest.raises(LabkitError, match=said):
        ask(recorded(frame(2 * S)))


@pytest.fixture(scope="module")
def journey():
    recording = Recording.load(COLD)
    (request,) = [
        e.at for e in recording.events if isinstance(e, ev.RouteLookup) and e.netns == "nginx-1"
    ]
    return recording.journey(request)


def drawn_texts(picture):
    return [text.get_text() for text in picture.figure.axes[0].texts]


def test_the_sequence_has_every_step_in_order(journey):
    picture = journey.sequence()
    told = str(picture).partition(": ")[2].rstrip(". ").split("; ")
    steps = sorted((step for _, step in journey.walk()), key=lambda step: step.at)
    assert told[-len(steps) + 1 :] == [f"{s.kind} at {s.host}" for s in steps][1:]
    texts = drawn_texts(picture)
    for words in ("ARP who-has 172.17.0.3", "ARP is-at 172.17.0.3", "echo-request 1",
                  "echo-reply 1", "flood", "machine\ndocker0", "nginx-3\neth0"):  # fmt: skip
        assert words in texts, words
    first = steps[0].at - journey.begins
    assert f"{first / 1e6:.3f} ms" in texts
    assert sum("(inferred)" in " ".join(text.split()) for text in texts) == sum(
        step.inferred for step in steps if not step.moves
    )


def test_arrows_go_where_the_frame_went(journey):
    """Each move is an arrow; those through the bridge begin with a dotted way."""
    picture = journey.sequence()
    axes = picture.figure.axes[0]
    arrows = [text for text in axes.texts if getattr(text, "arrowprops", None)]
    assert len(arrows) == sum(len(step.moves) for _, step in journey.walk())
    heads = [text.get_text() for text in axes.texts if text.get_va() == "bottom"]
    lines = [text for text in heads if "\n" in text]
    ways = [(lines[arrow.xyann[0]], lines[arrow.xy[0]]) for arrow in arrows]
    state = journey.recording.state()
    port = {
        name: f"docker0\n{link.name}"
        for link in state.space(M).links.values()
        if (name := link.peer_netns)
    }
    assert ways[0] == ("nginx-1\neth0", port["nginx-1"])
    assert set(ways[1:3]) == {(port[n], f"{n}\neth0") for n in ("nginx-2", "nginx-3")}
    assert ways[-1] == (port["nginx-1"], "nginx-1\neth0")
    crossings = [line for line in axes.lines if line.is_dashed()]
    assert len(crossings) == 5, "two copies, and three frames that were forwarded"


def test_many_bystanders_share_a_line(journey, monkeypatch):
    monkeypatch.setattr(sequence, "WIDE", 4)
    picture = journey.sequence()
    texts = drawn_texts(picture)
    assert "others\n1 hosts" in texts
    assert "nginx-3\neth0" not in texts
    assert "nginx-2\neth0" in texts
    assert "2 steps of those that only look on are not drawn" in str(picture)


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("color", [chart.BLUE, chart.GREEN, chart.RED, chart.PURPLE, chart.GREY])
@pytest.mark.parametrize("page", ["#ffffff", "#111111"])
def test_every_colour_reads_on_light_and_dark(color, page):
    assert contrast(color, page) >= 3


@pytest.mark.parametrize("name", ["light", "dark"])
def test_words_read_well_on_their_own_paper(name):
    style = chart.STYLES[name]
    assert contrast(style.ink, style.paper) >= 7
    assert contrast(style.soft, style.paper) >= 4.5


def test_pyplot_is_never_imported():
    code = (
        f"from labkit import Recording; r = Recording.load({str(COLD)!r}); "
        "r.lanes().png(); r.ageing('docker0').svg(); r.journey().sequence().png(); "
        "import sys; print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_pictures_are_the_same_each_time():
    recording = Recording.load(COLD)
    assert recording.lanes().png() == recording.lanes().png()
