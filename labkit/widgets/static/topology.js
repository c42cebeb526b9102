// The topology: boxes and cables where Graphviz put them, link states and traffic as they change.

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
  const group = draw(parent, "g", { class: `lk-${thing.kind ?? "port"}`, tabindex: "-1" });
  group.dataset.keys = thing.keys.join(" ");
  if (thing.holds) group.dataset.holds = thing.holds.join(" ");
  group.dataset.lmSuppressShortcuts = "true";
  group.dataset.item = thing.id;
  group.setAttribute("role", thing.kind === "fold" ? "button" : "img");
  group.setAttribute("aria-label", label);
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
    const box = rect(cell, port, 5, 4);
    box.setAttribute("y", port.y + 2);
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
  const group = draw(svg, "g", { class: "lk-cable", "aria-hidden": "true" });
  group.dataset.kind = cable.kind;
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

function render({ model, el }) {
  const { root, body, say, relight, end } = frame(model, el, "topology");
  const scroll = make(body, "div", "lk-scroll");
  const info = make(body, "p", "lk-info");
  info.setAttribute("aria-hidden", "true");
  const tiles = make(body, "div", "lk-tiles");
  tiles.setAttribute("role", "list");
  const blank = make(body, "p", "lk-empty",
    "Nothing here yet but the machine's own network stack. Add a bridge and some hosts.");
  // Not on the SVG itself: one with a listener for focus would be a stop for Tab of its own.
  const refresh = roving(scroll, "[data-item]");
  const refreshTiles = roving(tiles, ".lk-tile");
  let shown = null;
  let layout = {};
  let cables = new Map();
  let ends = new Map();
  let traffic = null;
  let summary = null;
  let open = null;
  let under = null;
  const folds = () => (layout.nodes ?? []).filter((node) => node.kind === "fold");
  const find = (id) => scroll.querySelector(`[data-item="${CSS.escape(id)}"]`);

  function redraw() {
    const focused = document.activeElement?.dataset?.item;
    scroll.replaceChildren();
    cables = new Map();
    ends = new Map();
    const width = (layout.width ?? 0) + 2 * PAD;
    const height = (layout.height ?? 0) + 2 * PAD;
    blank.hidden = (layout.nodes ?? []).length > 0;
    scroll.hidden = info.hidden = !blank.hidden;
    const svg = draw(scroll, "svg", { viewBox: `${-PAD} ${-PAD} ${width} ${height}` });
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", "topology");
    svg.dataset.lmSuppressShortcuts = "true";
    svg.style.width = `${width * 1.15}px`;
    svg.style.minWidth = `${width * 0.8}px`; // smaller, and it would be hard to read: scroll
    if (layout.machine) {
      const group = draw(svg, "g", { class: "lk-machine" });
      rect(group, layout.machine, 10);
      write(group, layout.machine.x + 12, layout.machine.y + 14, layout.machine.title);
    }
    for (const cable of layout.cables ?? []) cables.set(cable.id, drawCable(svg, cable));
    for (const node of layout.nodes ?? []) {
      if (node.kind === "bridge") drawBridge(svg, node, ends);
      else drawHost(svg, node);
    }
    refresh();
    if (focused) find(focused)?.focus();
    for (const { id } of folds()) {
      const fold = find(id);
      const toggle = () => {
        open = open === id ? null : id;
        fillTiles();
        showLinks();
      };
      fold.addEventListener("click", toggle);
      fold.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        toggle();
      });
    }
    fillTiles();
  }

  function fillTiles() {
    const focused = tiles.contains(document.activeElement) && document.activeElement.dataset.keys;
    tiles.replaceChildren();
    for (const node of folds()) {
      find(node.id)?.setAttribute("aria-expanded", String(open === node.id));
      if (open !== node.id) continue;
      tiles.setAttribute("aria-label", node.title);
      for (const tile of node.tiles) {
        const box = make(tiles, "div", "lk-tile");
        box.setAttribute("tabindex", "-1");
        box.setAttribute("role", "listitem");
        box.dataset.keys = tile.keys.join(" ");
        box.dataset.end = tile.end;
        make(box, "strong", "", tile.title);
        make(box, "span", "", tile.text);
        if (box.dataset.keys === focused) box.focus();
      }
    }
    tiles.hidden = tiles.children.length === 0;
    refreshTiles();
  }

  function pulse(cable, downwards) {
    cable.group.classList.add("lk-busy");
    clearTimeout(cable.quiet);
    cable.quiet = setTimeout(() => cable.group.classList.remove("lk-busy"), 700);
    if (STILL.matches || document.hidden) return;
    const dot = draw(cable.group, "circle", { r: 4.5, class: "lk-dot" });
    const length = cable.line.getTotalLength();
    const began = performance.now();
    const step = (now) => {
      const part = Math.max(0, Math.min(1, (now - began) / 600));
      const at = cable.line.getPointAtLength(length * (downwards ? part : 1 - part));
      dot.setAttribute("cx", at.x);
      dot.setAttribute("cy", at.y);
      if (part < 1 && dot.isConnected) requestAnimationFrame(step);
      else dot.remove();
    };
    requestAnimationFrame(step);
  }

  function showLinks() {
    const links = model.get("snapshot").links ?? {};
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
    for (const tile of tiles.children) {
      tile.classList.toggle("lk-down", links[tile.dataset.end]?.[1] === false);
    }
    relight();
  }

  // What the pointer or the focus is on, with its counters, in one line below.
  function tell() {
    const keys = under?.closest?.("[data-keys]")?.dataset.keys.split(" ") ?? [];
    const counted = (at) => {
      const [received, sent] = traffic?.[at] ?? [0, 0];
      return `${received.toLocaleString()} packets in, ${sent.toLocaleString()} out`;
    };
    let text = "";
    for (const [at, port] of ends) {
      if (keys[0] !== port.keys[0]) continue;
      const to = port.peer ? ` · cable to ${port.peer}` : "";
      text = `${port.title} · port of ${port.bridge}, ${port.state}${to} · ${counted(at)}`;
    }
    for (const cable of cables.values()) {
      if (cable.kind !== "cable" || keys[0] !== cable.keys[0]) continue;
      text = `${cable.title} · ${cable.works ? "carrier" : "no carrier"} · ${counted(cable.a)}`;
    }
    put(info, text);
  }
  body.addEventListener("mouseover", (event) => { under = event.target; tell(); });
  body.addEventListener("mouseleave", () => { under = null; tell(); });
  body.addEventListener("focusin", (event) => { under = event.target; tell(); });

  function update() {
    const snapshot = model.get("snapshot");
    const words = model.get("words");
    const text = JSON.stringify(snapshot.layout ?? {});
    if (text !== shown) {
      shown = text;
      layout = snapshot.layout ?? {};
      redraw();
    }
    showLinks();
    if (summary !== null && summary !== words) say(words.split(". ")[0]);
    summary = words;
    tell();
  }

  function flow() {
    const before = traffic;
    traffic = model.get("traffic") ?? {};
    tell();
    if (!before) return;
    const grown = (at, which) => (traffic[at]?.[which] ?? 0) > (before[at]?.[which] ?? 0);
    for (const cable of cables.values()) {
      if (cable.kind !== "cable") continue;
      // A counter of either end tells of both: what one received, the other sent.
      const upper = cable.a in traffic;
      const at = upper ? cable.a : cable.b;
      if (grown(at, 1)) pulse(cable, upper);
      if (grown(at, 0)) pulse(cable, !upper);
    }
    for (const node of folds()) {
      const cable = cables.get(node.id);
      if (!cable) continue;
      if (node.tiles.some((tile) => grown(tile.end, 1))) pulse(cable, true);
      if (node.tiles.some((tile) => grown(tile.end, 0))) pulse(cable, false);
    }
    for (const tile of tiles.children) {
      if (!grown(tile.dataset.end, 0) && !grown(tile.dataset.end, 1)) continue;
      tile.classList.add("lk-busy");
      clearTimeout(tile.quiet);
      tile.quiet = setTimeout(() => tile.classList.remove("lk-busy"), 700);
    }
  }
  model.on("change:snapshot", update);
  model.on("change:traffic", flow);
  update();
  flow();
  return () => {
    model.off("change:snapshot", update);
    model.off("change:traffic", flow);
    end();
    root.remove();
  };
}

export default { render };
