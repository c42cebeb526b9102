// The drawing of a topology: boxes and cables where Graphviz put them.

const PAD = 12;
const STEP = 16; // from one line of a box to the next

function curve(path) {
  const [first, ...rest] = path;
  let d = `M${first[0]},${first[1]}`;
  for (let i = 0; i + 2 < rest.length; i += 3) {
    d += `C${rest.slice(i, i + 3).map((p) => p.join(",")).join(" ")}`;
  }
  return d;
}

function rect(parent, { x, y, w, h }, rx, inset = 0) {
  return draw(parent, "rect", {
    x: x + inset, y: y + inset, width: w - 2 * inset, height: h - 2 * inset, rx,
  });
}

function write(parent, x, y, text, className = "") {
  return draw(parent, "text", { x, y, class: className, "dominant-baseline": "central" }, text);
}

function item(parent, thing, label) {
  const group = draw(parent, "g", {
    class: `lk-${thing.kind ?? "port"}`,
    role: thing.kind === "fold" ? "button" : "img",
    tabindex: "-1",
    "aria-label": label,
    "data-item": thing.id,
    "data-place": thing.id,
    "data-keys": thing.keys.join(" "),
    "data-lm-suppress-shortcuts": "true",
  });
  if (thing.holds) group.dataset.holds = thing.holds.join(" ");
  return group;
}

function drawBridge(svg, node, ends) {
  const group = item(svg, node, `bridge ${node.title}, ${node.lines.join(", ")}`);
  rect(group, node, 8);
  const middle = node.x + node.w / 2;
  const line = node.y + node.head / 2;
  const text = write(group, middle, line - 8);
  draw(text, "tspan", { class: "lk-strong" }, node.title);
  if (node.lines.length > 1) draw(text, "tspan", { dx: 8 }, node.lines.slice(0, -1).join(" "));
  write(group, middle, line + 9, node.lines.at(-1), "lk-soft");
  for (const port of node.ports) {
    const cell = item(svg, port, "");
    rect(cell, port, 5, 4).setAttribute("y", port.y + 2);
    write(cell, port.x + port.w / 2, port.y + port.h / 2 - 1, port.title);
    ends.set(port.end, { ...port, cell, bridge: node.title });
  }
  if (node.rest) {
    const cell = draw(svg, "g", { class: "lk-rest", "aria-hidden": "true" });
    const { x, y, w, h } = node.rest;
    write(cell, x + w / 2, y + h / 2 - 1, `${node.folded} more ports`);
  }
}

function drawHost(svg, node) {
  const label = node.kind === "fold" ? node.title : `host ${node.title}, ${node.lines.join(", ")}`;
  const group = item(svg, node, label);
  rect(group, node, 10);
  const lines = [node.title, ...node.lines];
  const top = node.y + node.h / 2 - ((lines.length - 1) * STEP) / 2;
  lines.forEach((line, index) => {
    const style = node.kind === "fold" ? "" : index === 0 ? "lk-strong" : "lk-soft";
    write(group, node.x + node.w / 2, top + index * STEP, line, style);
  });
}

function drawCable(svg, cable) {
  const group = draw(svg, "g", { class: "lk-cable", "aria-hidden": "true", "data-kind": cable.kind });
  const d = curve(cable.path);
  if (cable.keys) group.dataset.keys = cable.keys.join(" ");
  if (cable.kind === "cable") draw(group, "path", { d, class: "lk-reach" });
  const line = draw(group, "path", { d, class: "lk-line" });
  for (const { x, y, text } of cable.labels ?? []) write(group, x, y, text);
  if (cable.kind === "cable") {
    const middle = line.getPointAtLength(line.getTotalLength() * 0.6);
    const cut = draw(group, "g", { class: "lk-cut" });
    rect(cut, { x: middle.x - 48, y: middle.y - 10, w: 96, h: 20 }, 10);
    write(cut, middle.x, middle.y, "✕ no carrier");
  }
  return { ...cable, group, line };
}

// All of it into `scroll`: the SVG, its cables by their name, its ports by the end of their cable.
function drawTopology(scroll, layout) {
  const cables = new Map();
  const ends = new Map();
  const width = (layout.width ?? 0) + 2 * PAD;
  const height = (layout.height ?? 0) + 2 * PAD;
  const svg = draw(scroll, "svg", {
    viewBox: `${-PAD} ${-PAD} ${width} ${height}`,
    role: "group",
    "aria-label": "topology",
    "data-lm-suppress-shortcuts": "true",
  });
  svg.style.width = `${width * 1.15}px`;
  svg.style.minWidth = `${width * 0.8}px`; // smaller, and it would be hard to read: scroll
  if (layout.machine) {
    const group = draw(svg, "g", { class: "lk-machine", "data-place": "machine" });
    rect(group, layout.machine, 10);
    write(group, layout.machine.x + 12, layout.machine.y + 14, layout.machine.title);
  }
  for (const cable of layout.cables ?? []) cables.set(cable.id, drawCable(svg, cable));
  for (const node of layout.nodes ?? []) {
    if (node.kind === "bridge") drawBridge(svg, node, ends);
    else drawHost(svg, node);
  }
  return { svg, cables, ends };
}

// Which cables have carrier, and the state of each port. A change of a cable is told to `say`.
function markLinks(cables, ends, links, say) {
  for (const cable of cables.values()) {
    if (cable.kind !== "cable") continue;
    const works = [cable.a, cable.b].every((at) => links[at]?.[1]);
    cable.group.classList.toggle("lk-down", !works);
    if (cable.works !== undefined && cable.works !== works) {
      say(`${cable.title}: ${works ? "carrier is back" : "no carrier"}`);
    }
    cable.works = works;
  }
  for (const [at, port] of ends) {
    const [up, , state] = links[at] ?? [];
    port.state = up === false ? "down" : state ?? "";
    port.cell.dataset.state = state ?? "";
    const label = `port ${port.title} of ${port.bridge}, ${port.state}`;
    port.cell.setAttribute("aria-label", port.peer ? `${label}, cable to ${port.peer}` : label);
  }
}
