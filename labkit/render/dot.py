"""The topology as a Graphviz graph: hosts, bridges with their ports, cables."""

from __future__ import annotations

import re
from collections import Counter

import graphviz

from labkit.model.events import LinkSet
from labkit.model.operations import MACHINE
from labkit.model.state import Cable, HostInfo, State
from labkit.model.text import visible

FOLD_OVER = 12
"""Hosts with a single cable, to the same bridge, of which more than this are folded."""
SHOWN = 4
"""How many of them stay when they are folded."""
INTERFACES = 8
"""How many interfaces a host's box lists; the rest are counted."""
MACHINE_TITLE = f"{MACHINE} (the host's own network stack)"

GREY = "#767676"
SHARED = [f"in the network of {MACHINE}"]


class Plan:
    """What is drawn: which hosts stand alone, and which are folded at which bridge."""

    def __init__(self, state: State, *, fold: bool = True) -> None:
        self.state = state
        self.machine = state.space(MACHINE)
        self.bridges = [
            link for _, link in sorted(self.machine.links.items()) if link.kind == "bridge"
        ]
        known = {link.index for link in self.bridges}
        self.bridge_of = {
            link.index: link.master for link in self.machine.links.values() if link.master in known
        }
        self.cables = list(state.cables())
        self.ends = [end for cable in self.cables for end in (cable.a, cable.b)]
        self.folded: dict[int, list[str]] = {}
        if fold:
            for bridge, names in self._leaves().items():
                if len(names) > FOLD_OVER:
                    self.folded[bridge] = names[SHOWN:]
        self.hidden = {name for names in self.folded.values() for name in names}
        self.hosts = [host for host in self._all_hosts() if host.netns not in self.hidden]

    def _leaves(self) -> dict[int, list[str]]:
        """For each bridge, the namespaces whose only cable leads to it."""
        ends = Counter(netns for netns, _ in self.ends)
        leaves: dict[int, list[str]] = {}
        for cable in self.cables:
            for near, far in ((cable.a, cable.b), (cable.b, cable.a)):
                master = self.bridge_of.get(far[1]) if far[0] == MACHINE else None
                if near[0] != MACHINE and ends[near[0]] == 1 and master:
                    leaves.setdefault(master, []).append(near[0])
        return leaves

    def _all_hosts(self) -> list[HostInfo]:
        """The lab's hosts, and namespaces that a cable leads to and that nobody has named."""
        machine_is_cabled = any(
            netns == MACHINE and index not in self.bridge_of for netns, index in self.ends
        )
        hosts = [
            host for host in self.state.hosts.values() if host.name != MACHINE or machine_is_cabled
        ]
        named = {host.netns for host in hosts} | {MACHINE}
        others = dict.fromkeys(netns for netns, _ in self.ends if netns not in named)
        return hosts + [HostInfo(netns, netns) for netns in others]

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
            return f"b{master}:p{index}" if master else node_id(MACHINE)
        return node_id(netns)

    def drawn(self) -> list[Cable]:
        """The cables that are drawn, the upper end (a bridge's, where there is one) as `a`."""
        found = []
        for cable in self.cables:
            a, b = self.node_of(cable.a), self.node_of(cable.b)
            if a is None or b is None:
                continue
            swap = b.startswith("b") and not a.startswith("b")
            found.append(Cable(cable.b, cable.a) if swap else cable)
        return found


def lines_of(state: State, netns: str) -> list[str]:
    """What is written in a host's box below its name: its interfaces, addresses and MACs."""
    found = [
        i for i in state.interfaces(netns) if i.name != "lo" and (netns != MACHINE or i.addresses)
    ]
    lines = []
    for interface in found[:INTERFACES]:
        lines.append(" ".join([interface.name, *interface.addresses]))
        if netns != MACHINE:
            lines.append(interface.mac)
    left_out = len(found) - INTERFACES
    return [*lines, f"and {left_out} more interfaces"] if left_out > 0 else lines


def lines_for(state: State, host: HostInfo) -> list[str]:
    """The lines of a host's box; one that shares the machine's network says so."""
    if host.netns == MACHINE and host.name != MACHINE:
        return SHARED
    return lines_of(state, host.netns)


def diagram(state: State, *, fold: bool = True, notes: bool = True) -> graphviz.Graph:
    """The topology as a still picture, which Jupyter shows as SVG.

    `notes` writes "no carrier" at cables that have none; the live view does so itself.
    """
    plan = Plan(state, fold=fold)
    graph = graphviz.Graph("lab", engine="dot")
    graph.attr(nodesep="0.5", ranksep="0.95", bgcolor="transparent", fontname="Helvetica")
    graph.attr("node", shape="box", fontname="Helvetica", fontsize="13", margin="0.16,0.10")
    graph.attr("edge", fontname="Helvetica", fontsize="11", fontcolor=GREY, penwidth="1.4")
    graph.attr("edge", labeldistance="2.2", labelangle="-40")
    inside = [host for host in plan.hosts if host.netns == MACHINE]
    if plan.bridges or inside:
        with graph.subgraph(name="cluster_machine") as machine:
            machine.attr(label=MACHINE_TITLE, labeljust="l", style="rounded", color="#9e9e9e")
            machine.attr(fontname="Helvetica", fontsize="13", fontcolor=GREY, margin="16")
            for bridge in plan.bridges:
                _draw_bridge(machine, plan, bridge)
            for host in inside:
                _draw_host(machine, state, host)
    for host in plan.hosts:
        if host.netns != MACHINE:
            _draw_host(graph, state, host)
    for index, names in plan.folded.items():
        title = f"{len(names)} more hosts"
        style = {"style": "dashed", "color": GREY, "fontcolor": GREY}
        graph.node(f"f{index}", title, width=_width(title), **style)
        graph.edge(f"b{index}:fold:s", f"f{index}", id=f"fold{index}", **style)
    for number, cable in enumerate(plan.drawn()):
        _draw_cable(graph, plan, number, cable, notes=notes)
    return graph


def _draw_bridge(graph: graphviz.Graph, plan: Plan, bridge: LinkSet) -> None:
    addresses = " ".join(plan.machine.addresses.get(bridge.index, ()))
    cells = [f"<p{p}> {_record(plan.machine.name_of(p))}" for p in plan.ports(bridge.index)]
    if bridge.index in plan.folded:
        cells.append(f"<fold> {len(plan.folded[bridge.index])} more ports")
    title = f"{bridge.name}  {addresses}".strip()
    label = f"{_record(title)}\\n{_record(bridge.mac)}"
    graph.node(
        f"b{bridge.index}",
        "{" + label + ("|{" + "|".join(cells) + "}" if cells else "") + "}",
        shape="record",
        style="filled",
        fillcolor="#dbeafe",
        color="#0072B2",
        fontcolor="#111111",
        width=_width(title),
    )


def _draw_host(graph: graphviz.Graph, state: State, host: HostInfo) -> None:
    lines = lines_for(state, host)
    graph.node(
        node_id(host.name),
        _text("\n".join([host.name, *lines])),
        style="rounded,filled",
        fillcolor="#fff7ed",
        color="#D55E00",
        fontcolor="#111111",
        width=_width(host.name, *lines),
    )


def _draw_cable(
    graph: graphviz.Graph, plan: Plan, number: int, cable: Cable, *, notes: bool
) -> None:
    ends = (cable.a, cable.b)
    nodes = [str(plan.node_of(end)) for end in ends]
    links = [plan.state.link(*end) for end in ends]
    # A port stands in its bridge's box, and a host's only interface in the host's.
    names = [
        f" {link.name} "
        if link and node[0] == "h" and len(plan.state.space(link.netns).links) > 2
        else ""
        for node, link in zip(nodes, links, strict=True)
    ]
    works = all(link and link.has_carrier for link in links)
    if nodes[0].startswith("b") and not nodes[1].startswith("b"):
        nodes[0] += ":s"  # out of the port's lower edge, not round the bridge's side
    graph.edge(
        nodes[0],
        nodes[1],
        taillabel=_text(names[0]),
        headlabel=_text(names[1]),
        label="no carrier" if notes and not works else "",
        style="solid" if works else "dashed",
        color=GREY,
        id=f"cable{number}",
    )


def node_id(name: str) -> str:
    """A host's Graphviz node: a colon would be read as a port, so it is spelled out."""
    return "h" + re.sub(r"[^A-Za-z0-9]", lambda m: f"_{ord(m[0]):x}_", name)


def _record(text: str) -> str:
    """Text for a record's field, of which Graphviz gives some characters a meaning."""
    return re.sub(r"([\\{}|<> ])", r"\\\1", visible(text)).replace("&", "&amp;")


def _text(lines: str) -> str:
    """Text of a label, of which Graphviz gives backslashes and entities a meaning."""
    return str(graphviz.escape("\n".join(map(visible, lines.split("\n"))).replace("&", "&amp;")))


def _width(title: str, *lines: str) -> str:
    """A least width in inches: the live view's type runs wider than Graphviz expects."""
    widest = max(8.8 * len(title), 7.1 * max(map(len, lines), default=0))
    return f"{(widest + 26) / 72:.2f}"
