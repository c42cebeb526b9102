"""The topology as a Graphviz graph: hosts, bridges with their ports, cables."""

from __future__ import annotations

import re
from collections import Counter

import graphviz

from labkit.model.operations import MACHINE
from labkit.model.state import State

FOLD_OVER = 12
"""Hosts with a single cable, to the same bridge, of which more than this are folded."""
SHOWN = 4
"""How many of them stay when they are folded."""


class Plan:
    """What is drawn: which hosts stand alone, and which are folded at which bridge."""

    def __init__(self, state: State, *, fold: bool = True) -> None:
        self.state = state
        self.machine = state.space(MACHINE)
        self.bridges = [
            link for _, link in sorted(self.machine.links.items()) if link.kind == "bridge"
        ]
        self.bridge_of = {link.index: link.master for link in self.machine.links.values()}
        self.cables = list(state.cables())
        ends = Counter(end[0] for cable in self.cables for end in (cable.a, cable.b))
        self.folded: dict[int, list[str]] = {}
        leaves: dict[int, list[str]] = {}
        for cable in self.cables:
            for near, far in ((cable.a, cable.b), (cable.b, cable.a)):
                master = self.bridge_of.get(far[1]) if far[0] == MACHINE else None
                if near[0] != MACHINE and ends[near[0]] == 1 and master:
                    leaves.setdefault(master, []).append(near[0])
        for bridge, names in leaves.items():
            if fold and len(names) > FOLD_OVER:
                self.folded[bridge] = names[SHOWN:]
        self.hidden = {name for names in self.folded.values() for name in names}
        self.hosts = [host for host in state.hosts.values() if host.netns not in self.hidden]

    def ports(self, bridge: int) -> list[int]:
        """The indices of a bridge's ports that are drawn one by one."""
        return [
            link.index
            for _, link in sorted(self.machine.links.items())
            if link.master == bridge and link.peer_netns not in self.hidden
        ]

    def node_of(self, end: tuple[str, int]) -> str | None:
        """The Graphviz node (and port) that a cable's end is drawn at; None when folded."""
        netns, index = end
        if netns in self.hidden:
            return None
        if netns == MACHINE:
            master = self.bridge_of.get(index)
            return f"b{master}:p{index}" if master else _id("h", MACHINE)
        return _id("h", netns)


def lines_of(state: State, netns: str) -> list[str]:
    """What is written in a host's box below its name: an interface and its addresses a line."""
    lines = []
    for interface in state.interfaces(netns):
        if interface.name == "lo" or (netns == MACHINE and not interface.addresses):
            continue
        lines.append(" ".join([interface.name, *interface.addresses]))
        if netns != MACHINE:
            lines.append(interface.mac)
    return lines


def diagram(state: State, *, fold: bool = True) -> graphviz.Graph:
    """The topology as a still picture, which Jupyter shows as SVG."""
    plan = Plan(state, fold=fold)
    graph = graphviz.Graph("lab", engine="dot")
    graph.attr(nodesep="0.5", ranksep="0.9", bgcolor="transparent")
    graph.attr("node", shape="box", fontname="Helvetica", fontsize="13", margin="0.16,0.10")
    graph.attr("edge", fontname="Helvetica", fontsize="11", penwidth="1.4")
    graph.attr("edge", labeldistance="2.2", labelangle="-40")
    for bridge in plan.bridges:
        addresses = " ".join(plan.machine.addresses.get(bridge.index, ()))
        cells = [f"<p{p}> {_record(plan.machine.name_of(p))}" for p in plan.ports(bridge.index)]
        if bridge.index in plan.folded:
            cells.append(f"<fold> {len(plan.folded[bridge.index])} more ports")
        head = _record(f"{bridge.name}  {addresses}".strip()) + rf"\n{bridge.mac}"
        label = "{" + head + ("|{" + "|".join(cells) + "}" if cells else "") + "}"
        graph.node(
            f"b{bridge.index}",
            label,
            shape="record",
            style="filled",
            fillcolor="#dbeafe",
            color="#0072B2",
            fontcolor="#111111",
        )
        if bridge.index in plan.folded:
            graph.node(
                f"f{bridge.index}",
                f"{len(plan.folded[bridge.index])} more hosts",
                style="dashed",
                color="#767676",
                fontcolor="#767676",
            )
            graph.edge(f"b{bridge.index}:fold", f"f{bridge.index}", color="#767676", style="dashed")
    for host in plan.hosts:
        if host.name == MACHINE and not _machine_is_cabled(plan):
            continue
        shared = host.netns == MACHINE and host.name != MACHINE
        lines = [f"in the network of {MACHINE}"] if shared else lines_of(state, host.netns)
        label = "\n".join([host.name, *lines])
        graph.node(
            _id("h", host.name),
            graphviz.escape(label),
            style="rounded,filled",
            fillcolor="#fff7ed",
            color="#D55E00",
            fontcolor="#111111",
        )
    for cable in plan.cables:
        ends = (cable.a, cable.b)
        a, b = (plan.node_of(end) for end in ends)
        if a is None or b is None:
            continue
        if not b.startswith("b") or a.startswith("b"):  # bridges stand above their hosts
            a, b = b, a
            ends = (cable.b, cable.a)
        links = [state.link(*end) for end in ends]
        working = all(link and link.has_carrier for link in links)
        names = [
            # A host's only interface is named in its box already.
            f" {link.name} "
            if link and len(state.space(netns).links) > 2 and node[0] == "h"
            else ""
            for node, link, (netns, _) in zip((a, b), links, ends, strict=True)
        ]
        graph.edge(
            b,
            a,
            taillabel=graphviz.escape(names[1]),
            headlabel=graphviz.escape(names[0]),
            style="solid" if working else "dashed",
            color="#767676",
            id="|".join(f"{netns}/{index}" for netns, index in ends),
        )
    return graph


def _machine_is_cabled(plan: Plan) -> bool:
    ends = (end for cable in plan.cables for end in (cable.a, cable.b))
    return any(netns == MACHINE and not plan.bridge_of.get(index) for netns, index in ends)


def _id(kind: str, name: str) -> str:
    """A node's name: a colon would be read as a port, so it is spelled out."""
    return kind + re.sub(r"[^A-Za-z0-9_]", lambda m: f"_{ord(m[0]):x}_", name)


def _record(text: str) -> str:
    """Text for a record's field, of which Graphviz gives some characters a meaning."""
    return re.sub(r"([\\{}|<> ])", r"\\\1", text)
