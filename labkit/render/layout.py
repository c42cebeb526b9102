"""Where Graphviz puts things: positions for the live view."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from labkit.errors import LabkitError
from labkit.model.events import LinkSet
from labkit.model.operations import MACHINE
from labkit.model.state import Cable, HostInfo, State
from labkit.render.dot import MACHINE_TITLE, Plan, diagram, lines_for, node_id

NO_MAC = "00:00:00:00:00:00"


def layout(state: State) -> dict[str, Any]:
    """Boxes, ports and cables with their places, in points, y downwards.

    Raises LabkitError where Graphviz's program `dot` is missing or fails.
    """
    plan = Plan(state)
    if not (plan.bridges or plan.hosts):
        return {"width": 0, "height": 0, "nodes": [], "cables": [], "machine": None}
    drawn = _run_dot(diagram(state, notes=False).source)
    _, height, width, _ = (float(n) for n in drawn["bb"].split(","))
    objects = {thing["name"]: thing for thing in drawn.get("objects", ())}
    nodes = [
        *(_bridge(plan, bridge, objects[f"b{bridge.index}"]) for bridge in plan.bridges),
        *(_fold(plan, bridge, objects[f"f{bridge}"]) for bridge in plan.folded),
        *(_host(plan, host, objects[node_id(host.name)]) for host in plan.hosts),
    ]
    machine = objects.get("cluster_machine")
    cables = plan.drawn()
    return {
        "width": width,
        "height": height,
        "machine": {**_rect(machine["bb"]), "title": MACHINE_TITLE} if machine else None,
        "nodes": nodes,
        "cables": [_cable(plan, edge, cables) for edge in drawn.get("edges", ())],
    }


def titles(drawn: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a layout shows, each by the names it has: hosts, bridges, ports, and the machine."""
    if drawn["machine"]:
        yield from (("machine", MACHINE), ("machine", f"the {MACHINE}"))
    for node in drawn["nodes"]:
        for item in (node, *node.get("ports", ())):
            yield item["id"], item["title"]


def _run_dot(source: str) -> Any:
    try:
        done = subprocess.run(
            ["dot", "-Tjson", "-y"],  # y downwards
            input=source, capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
    except FileNotFoundError:
        raise LabkitError(
            "The picture cannot be drawn: Graphviz's program dot is missing.",
            hint="Install it: sudo apt-get install graphviz",
        ) from None
    except (subprocess.SubprocessError, OSError) as error:
        raise LabkitError(f"The picture cannot be drawn: dot failed: {error}.") from error
    return json.loads(done.stdout)


def _rect(box: str) -> dict[str, float]:
    x1, y1, x2, y2 = (float(n) for n in box.split(","))
    return {"x": x1, "y": y2, "w": x2 - x1, "h": y1 - y2}


def _box(node: dict[str, Any]) -> dict[str, float]:
    x, y = (float(n) for n in node["pos"].split(","))
    w, h = float(node["width"]) * 72, float(node["height"]) * 72
    return {"x": x - w / 2, "y": y - h / 2, "w": w, "h": h}


def keys_of(state: State, netns: str) -> list[str]:
    """The keys under which a namespace's own MACs and addresses are highlighted."""
    space = state.space(netns)
    macs = [link.mac for link in space.links.values() if link.mac not in ("", NO_MAC)]
    names = {index: link.name for index, link in space.links.items()}
    found = [a for index, many in space.addresses.items() if names.get(index) != "lo" for a in many]
    return [f"mac:{mac}" for mac in macs] + [f"ip:{a.partition('/')[0]}" for a in found]


def owners_of(state: State) -> dict[str, str]:
    """Whose a MAC is, where the lab knows."""
    return {
        link.mac: f"{netns} {link.name}"
        for netns, space in state.namespaces.items()
        for link in space.links.values()
        if link.mac not in ("", NO_MAC)
    }


def _host(plan: Plan, host: HostInfo, node: Any) -> dict[str, Any]:
    own = host.netns != MACHINE
    return {
        **_box(node),
        "id": f"host:{host.name}",
        "kind": "host",
        "title": host.name,
        "lines": lines_for(plan.state, host),
        "keys": [f"host:{host.name}", *(keys_of(plan.state, host.netns) if own else ())],
    }


def _bridge(plan: Plan, link: LinkSet, node: Any) -> dict[str, Any]:
    head, *cells = (_rect(rect) for rect in node["rects"].split())
    addresses = plan.machine.addresses.get(link.index, ())
    ports = []
    for cell, index in zip(cells, plan.ports(link.index), strict=False):
        port = plan.machine.links[index]
        ports.append(
            {
                **cell,
                "id": f"port:{port.name}",
                "keys": [f"port:{port.name}", f"mac:{port.mac}"],
                "title": port.name,
                "peer": plan.state.peer(port) or "",
                "end": f"{MACHINE}/{index}",
            }
        )
    return {
        **_box(node),
        "id": f"bridge:{link.name}",
        "kind": "bridge",
        "title": link.name,
        "lines": [*addresses, link.mac],
        "head": head["h"],
        "keys": [
            *(f"bridge:{link.name}", f"port:{link.name}", f"mac:{link.mac}"),
            *(f"ip:{a.partition('/')[0]}" for a in addresses),
        ],
        "ports": ports,
        "rest": cells[-1] if link.index in plan.folded and cells else None,
        "folded": len(plan.folded.get(link.index, ())),
    }


def _fold(plan: Plan, bridge: int, node: Any) -> dict[str, Any]:
    names = plan.folded[bridge]
    ports = {
        link.peer_netns: f"{MACHINE}/{link.index}"
        for link in plan.machine.links.values()
        if link.master == bridge
    }
    tiles = [_tile(plan.state, name, ports.get(name, "")) for name in names]
    return {
        **_box(node),
        "id": f"fold:{plan.machine.name_of(bridge)}",
        "kind": "fold",
        "title": f"{len(names)} more hosts",
        "lines": [],
        "keys": [],
        "holds": [key for tile in tiles for key in tile["keys"]],
        "tiles": tiles,
    }


def _tile(state: State, netns: str, end: str) -> dict[str, Any]:
    found = [i for i in state.interfaces(netns) if i.name != "lo"]
    return {
        "title": netns,
        "text": " ".join(address for i in found for address in i.addresses),
        "keys": [f"host:{netns}", *keys_of(state, netns)],
        "end": end,
    }


def _cable(plan: Plan, edge: dict[str, Any], cables: list[Cable]) -> dict[str, Any]:
    path = [
        [float(n) for n in point.split(",")]
        for point in edge["pos"].split()
        if not point.startswith(("s,", "e,"))
    ]
    if edge["id"].startswith("fold"):
        bridge = plan.machine.name_of(int(edge["id"].removeprefix("fold")))
        return {"id": f"fold:{bridge}", "path": path, "kind": "fold"}
    cable = cables[int(edge["id"].removeprefix("cable"))]
    ends = (cable.a, cable.b)
    links = [plan.state.link(*end) for end in ends]
    labels = []
    for which, link in (("tail_lp", links[0]), ("head_lp", links[1])):
        if which in edge and link:
            x, y = (float(n) for n in edge[which].split(","))
            labels.append({"x": x, "y": y, "text": link.name})
    upper, lower = (f"{netns}/{index}" for netns, index in ends)
    names = [f"{netns} {link.name}" for (netns, _), link in zip(ends, links, strict=True) if link]
    ports = [f"port:{link.name}" for link in links if link and link.netns == MACHINE]
    return {
        "id": f"{upper}|{lower}",
        "kind": "cable",
        "path": path,
        "labels": labels,
        "a": upper,
        "b": lower,
        "title": " ⇄ ".join(names),
        "keys": [f"cable:{upper}|{lower}", *ports],
    }
