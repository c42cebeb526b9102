"""Pictures: what is drawn and where, whatever the names."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET

import pytest

from labkit import LabkitError
from labkit.model import events as ev
from labkit.model import operations as op
from labkit.model.state import State
from labkit.render import layout as layout_module
from labkit.render.dot import FOLD_OVER, SHOWN, Plan, diagram, lines_of
from labkit.render.layout import layout

M = "machine"
HOSTILE = ["<b>x", "<<x>>", '"];x[label="', "{a|b}", "a\\N\\l", "&amp;", "a:b:c", "<!--", "é 你"]


def link(netns, index, name, **fields):
    known = {"kind": "veth", "mac": f"02:00:00:00:{index // 256:02x}:{index % 256:02x}"}
    state = {"is_up": True, "has_carrier": True}
    return ev.LinkSet(at=1, netns=netns, index=index, name=name, **{**known, **state, **fields})


def pair(a, b, **fields):
    """A cable: two (netns, index, name, master) ends."""
    for here, there in ((a, b), (b, a)):
        netns, index, name, master = here
        yield link(
            netns, index, name, master=master, peer_netns=there[0], peer_index=there[1], **fields
        )


def bridged(count, names=None, port="veth{}".format, **fields):
    names = names or [f"h{i}" for i in range(1, count + 1)]
    events = [
        link(M, 2, "br0", kind="bridge"),
        ev.AddressSet(at=1, netns=M, index=2, address="10.0.0.254/8"),
    ]
    for i, name in enumerate(names):
        events.append(ev.Applied(at=1, operation=op.AddHost(name=name, netns=name)))
        events += pair((name, 1000 + i, "eth0", None), (M, 10 + i, port(i), 2), **fields)
        events.append(ev.AddressSet(at=1, netns=name, index=1000 + i, address=f"10.0.1.{i}/8"))
    return State.after(events)


def svg(state, **options):
    return ET.fromstring(diagram(state, **options).pipe("svg"))


def texts(state, **options):
    return "\n".join(
        "".join(e.itertext()) for e in svg(state, **options).iter() if e.tag.endswith("text")
    )


def inside(thing, box, slack=1.0):
    return (
        box["x"] - slack <= thing["x"]
        and box["y"] - slack <= thing["y"]
        and thing["x"] + thing["w"] <= box["x"] + box["w"] + slack
        and thing["y"] + thing["h"] <= box["y"] + box["h"] + slack
    )


def test_a_diagram_names_hosts_ports_addresses_and_macs():
    said = texts(bridged(2))
    for text in (
        *("h1", "h2", "eth0 10.0.1.0/8", "02:00:00:00:03:e8", "veth0", "veth1"),
        *("br0", "10.0.0.254/8", "02:00:00:00:00:02", "machine (the host's own network stack)"),
    ):
        assert text in said


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_drawn_as_it_is(name):
    state = bridged(1, names=[name], port=lambda _: name)
    elements = {e.tag.rpartition("}")[2] for e in svg(state).iter()}
    assert elements <= {"svg", "g", "title", "polygon", "polyline", "path", "text", "a"}
    if " " not in name and "amp" not in name:
        assert texts(state).count(name) >= 2, "the host and the port"
    found = layout(state)
    assert [n["title"] for n in found["nodes"]] == ["br0", name]
    assert found["nodes"][0]["ports"][0]["title"] == name
    (cable,) = found["cables"]
    assert {cable["a"], cable["b"]} == {f"{M}/10", f"{name}/1000"}


def test_the_machine_encloses_its_bridges_and_those_who_share_its_network():
    state = bridged(2)
    state.apply(ev.Applied(at=1, operation=op.AddHost(name="web", netns=M)))
    found = layout(state)
    at = {node["title"]: node for node in found["nodes"]}
    assert inside(at["br0"], found["machine"])
    assert inside(at["web"], found["machine"])
    assert not inside(at["h1"], found["machine"])
    assert at["web"]["lines"] == ["in the network of machine"]
    assert all(inside(port, at["br0"]) for port in at["br0"]["ports"])


def test_a_cable_joins_its_port_to_its_host():
    found = layout(bridged(2))
    at = {node["id"]: node for node in found["nodes"]}
    for cable, host, port in zip(
        found["cables"], ("host:h1", "host:h2"), at["bridge:br0"]["ports"], strict=True
    ):
        (x1, y1), (x2, y2) = cable["path"][0], cable["path"][-1]
        assert port["x"] <= x1 <= port["x"] + port["w"]
        assert y1 < y2
        assert at[host]["x"] - 2 <= x2 <= at[host]["x"] + at[host]["w"] + 2
        assert cable["keys"][1] == port["keys"][0]


def test_host_to_host_and_bridge_to_bridge():
    events = [link(M, 2, "br0", kind="bridge"), link(M, 3, "br1", kind="bridge")]
    events += pair((M, 4, "up0", 2), (M, 5, "up1", 3))
    for name in ("a", "b"):
        events.append(ev.Applied(at=1, operation=op.AddHost(name=name, netns=name)))
    events += pair(("a", 6, "eth0", None), ("b", 7, "eth0", None))
    events += pair(("a", 8, "eth1", None), (M, 9, "veth1", 2))
    events.append(link("a", 1, "lo"))
    found = layout(State.after(events))
    assert len(found["cables"]) == 3
    labels = sorted(label["text"] for cable in found["cables"] for label in cable["labels"])
    assert labels == ["eth0", "eth1"], "a host with several interfaces names them at the cable"


def test_a_namespace_that_nobody_named_is_drawn_where_a_cable_leads_to_it():
    events = [link(M, 2, "br0", kind="bridge"), *pair(("c0ffee", 6, "eth0", None), (M, 5, "v", 2))]
    assert [n["title"] for n in layout(State.after(events))["nodes"]] == ["br0", "c0ffee"]


@pytest.mark.parametrize("count", [FOLD_OVER, FOLD_OVER + 1, 100])
def test_many_hosts_fold(count):
    found = layout(bridged(count))
    kinds = [node["kind"] for node in found["nodes"]]
    folds = [node for node in found["nodes"] if node["kind"] == "fold"]
    if count <= FOLD_OVER:
        assert (kinds.count("host"), folds) == (count, [])
        return
    assert kinds.count("host") == SHOWN
    (fold,) = folds
    assert fold["title"] == f"{count - SHOWN} more hosts"
    assert len(fold["tiles"]) == count - SHOWN
    assert fold["tiles"][0] == {
        "title": "h5", "text": "10.0.1.4/8", "end": f"{M}/14",
        "keys": ["host:h5", "mac:02:00:00:00:03:ec", "ip:10.0.1.4"],
    }  # fmt: skip
    assert found["width"] < 1200, "readable without unfolding"
    assert len(found["nodes"][0]["ports"]) == SHOWN


def test_a_diagram_can_be_had_unfolded():
    said = texts(bridged(30), fold=False)
    assert "h30" in said
    assert "more hosts" not in said


def test_a_cable_without_carrier_says_so():
    assert "no carrier" in texts(bridged(1, has_carrier=False))
    assert "no carrier" not in texts(bridged(1))
    assert "no carrier" not in texts(bridged(1, has_carrier=False), notes=False)


def test_a_port_of_an_unknown_bridge_is_no_port():
    assert Plan(State.after([link(M, 5, "veth0", master=99)])).bridge_of == {}


def test_a_host_with_many_interfaces_lists_some():
    state = State.after([link("h", i, f"eth{i}") for i in range(20)])
    assert lines_of(state, "h")[-1] == "and 12 more interfaces"


def test_nothing_to_draw_needs_no_graphviz(monkeypatch):
    monkeypatch.setattr(layout_module, "_run_dot", lambda _: pytest.fail("dot was called"))
    assert layout(State())["nodes"] == []


def test_without_graphviz_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(LabkitError, match="apt-get install graphviz"):
        layout(bridged(2))


def test_a_failing_dot_is_reported(monkeypatch):
    def fail(*args, **_):
        raise subprocess.CalledProcessError(1, "dot")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(LabkitError, match="dot failed"):
        layout(bridged(2))
