"""Where Graphviz puts things: positions for the live view."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from labkit.errors import LabkitError
from labkit.model.operations import MACHINE
from labkit.model.state import State
from labkit.render.dot import Plan, _id, _machine_is_cabled, diagram, lines_of


def layout(state: State) -> dict[str, Any]:
    """Boxes, ports and cables with their places, in points, y downwards.

    Raises LabkitError where Graphviz's program `dot` is missing or fails.
    """
    source = diagram(state).source
    try:
        done = subprocess.run(
            ["dot", "-Tjson"], input=source, capture_output=True, text=True, check=True, timeout=30
        )
    except FileNotFoundError:
        raise LabkitError(
            "The picture cannot be drawn: Graphviz's program dot is missing.",
            hint="Install it: sudo apt-get install graphviz",
        ) from None
    except (subprocess.SubprocessError, OSError) as error:
        raise LabkitError(f"The picture cannot be drawn: dot failed: {error}.") from error
    drawn = json.loads(done.stdout)
    height = float(drawn["bb"].split(",")[3])
    places = {node["name"]: node for node in drawn.get("objects", ()) if "pos" in node}
    plan = Plan(state)
    nodes = [_bridge(plan, link.index, places, height) for link in plan.bridges]
    nodes += [_fold(plan, bridge, places, height) for bridge in plan.folded]
    for host in plan.hosts:
        if host.name == MACHINE and not _machine_is_cabled(plan):
            continue
        nodes.append(_host(plan, host.name, host.netns, places, height))
    return {
        "width": float(drawn["bb"].split(",")[2]),
        "height": height,
        "nodes": nodes,
        "cables": [_cable(plan, edge, height) for edge in drawn.get("edges", ())],
    }


def _box(node: dict[str, Any], height: float) -> dict[str, float]:
    x, y = (float(n) for n in node["pos"].split(","))
    w, h = float(node["width"]) * 72, float(node["height"]) * 72
    return {"x": x - w / 2, "y": height - y - h / 2, "w": w, "h": h}


def _host(plan: Plan, name: str, netns: str, places: Any, height: float) -> dict[str, Any]:
    shared = netns == MACHINE and name != MACHINE
    space = plan.state.space(netns)
    macs = [] if shared else [f"mac:{link.mac}" for link in space.links.values() if link.mac]
    return {
        **_box(places[_id("h", name)], height),
        "id": f"host:{name}",
        "kind": "host",
        "title": name,
        "lines": [f"in the network of {MACHINE}"] if shared else lines_of(plan.state, netns),
        "keys": [f"host:{name}", *(m for m in macs if m != "mac:00:00:00:00:00:00")],
    }


def _bridge(plan: Plan, index: int, places: Any, height: float) -> dict[str, Any]:
    link = plan.machine.links[index]
    node = places[f"b{index}"]
    rectangles = [[float(n) for n in rect.split(",")] for rect in node["rects"].split()]
    ports = []
    for number, port in enumerate(plan.ports(index), start=1):
        x1, y1, x2, y2 = rectangles[number]
        known = plan.machine.links[port]
        ports.append(
            {
                "id": f"port:{known.name}",
                "keys": [f"port:{known.name}", f"mac:{known.mac}"],
                "title": known.name,
                "end": f"{MACHINE}/{port}",
                "x": x1,
                "y": height - y2,
                "w": x2 - x1,
                "h": y2 - y1,
            }
        )
    return {
        **_box(node, height),
        "id": f"bridge:{link.name}",
        "kind": "bridge",
        "title": link.name,
        "lines": [*plan.machine.addresses.get(index, ()), link.mac],
        "head": rectangles[0][3] - rectangles[0][1],
        "keys": [f"bridge:{link.name}", f"port:{link.name}", f"mac:{link.mac}"],
        "ports": ports,
    }


def _fold(plan: Plan, bridge: int, places: Any, height: float) -> dict[str, Any]:
    names = plan.folded[bridge]
    return {
        **_box(places[f"f{bridge}"], height),
        "id": f"fold:{plan.machine.name_of(bridge)}",
        "kind": "fold",
        "title": f"{len(names)} more hosts",
        "lines": [],
        "keys": [],
        "tiles": [_tile(plan.state, name) for name in names],
    }


def _tile(state: State, netns: str) -> dict[str, Any]:
    found = [i for i in state.interfaces(netns) if i.name != "lo"]
    return {
        "title": netns,
        "text": " ".join(address for i in found for address in i.addresses),
        "keys": [f"host:{netns}", *(f"mac:{i.mac}" for i in found)],
    }


def _cable(plan: Plan, edge: dict[str, Any], height: float) -> dict[str, Any]:
    points = [
        [float(n) for n in point.split(",")]
        for point in edge["pos"].split()
        if not point.startswith(("s,", "e,"))
    ]
    path = [[x, height - y] for x, y in points]
    if "id" not in edge:
        return {"id": "", "path": path, "kind": "fold"}
    first, second = (end.rsplit("/", 1) for end in edge["id"].split("|"))
    links = [plan.state.link(netns, int(index)) for netns, index in (first, second)]
    labels = []
    for which, link in (("head_lp", links[0]), ("tail_lp", links[1])):
        if which in edge and link:
            x, y = (float(n) for n in edge[which].split(","))
            labels.append({"x": x, "y": height - y, "text": link.name})
    return {
        "id": edge["id"],
        "kind": "cable",
        "path": path,
        "labels": labels,
        "a": f"{first[0]}/{first[1]}",
        "b": f"{second[0]}/{second[1]}",
    }
