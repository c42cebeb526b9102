// The topology: boxes and cables where Graphviz put them, link states and traffic as they change.

const PAD = 14;

function curve(path) {
  const [first, ...rest] = path;
  let d = `M${first[0]},${first[1]}`;
  for (let i = 0; i + 2 < rest.length; i += 3) {
    d += `C${rest.slice(i, i + 3).map((p) => p.join(",")).join(" ")}`;
  }
  return d;
}

function item(parent, thing, label) {
  const group = draw(parent, "g", { class: `lk-${thing.kind ?? "port"}`, tabindex: "-1" });
  group.dataset.keys = thing.keys.join(" ");
  group.dataset.lmSuppressShortcuts = "true";
  group.dataset.item = thing.id;
  group.setAttribute("role", thing.kind === "fold" ? "button" : "img");
  group.setAttribute("aria-label", label);
  return group;
}

function drawBridge(svg, node, ends) {
  const group = item(svg, node, `bridge ${node.title}, ${node.lines.join(", ")}`);
  draw(group, "rect", { x: node.x, y: node.y, width: node.w, height: node.h, rx: 8 });
  const middle = node.x + node.w / 2;
  const text = draw(group, "text", { x: middle, y: node.y + node.head / 2 - 8 });
  text.setAttribute("dominant-baseline", "central");
  draw(text, "tspan", { class: "lk-strong" }, node.title);
  const mac = node.lines.at(-1);
  if (node.lines.length > 1) draw(text, "tspan", { dx: 8 }, node.lines.slice(0, -1).join(" "));
  draw(group, "text", {
    x: middle, y: node.y + node.head / 2 + 9, "dominant-baseline": "central", class: "lk-soft",
  }, mac);
  for (const port of node.ports) {
    const cell = item(svg, port, `port ${port.title} of ${node.title}`);
    draw(cell, "rect", { x: port.x + 4, y: port.y + 2, width: port.w - 8, height: port.h - 6, rx: 5 });
    draw(cell, "text", {
      x: port.x + port.w / 2, y: port.y + port.h / 2 - 1, "dominant-baseline": "central",
    }, port.title);
    ends.set(port.end, cell);
  }
}

function drawHost(svg, node) {
  const group = item(svg, node, `host ${node.title}, ${node.lines.join(", ")}`);
  draw(group, "rect", { x: node.x, y: node.y, width: node.w, height: node.h, rx: 10 });
  const lines = [node.title, ...node.lines];
  const step = 16;
  const top = node.y + node.h / 2 - ((lines.length - 1) * step) / 2;
  lines.forEach((line, index) => {
    draw(group, "text", {
      x: node.x + node.w / 2, y: top + index * step, "dominant-baseline": "central",
      class: index === 0 ? "lk-strong" : "lk-soft",
    }, line);
  });
}

function render({ model, el }) {
  const { root, body, end } = frame(model, el, "topology");
  const scroll = make(body, "div", "lk-scroll");
  const tiles = make(body, "div", "lk-tiles");
  const blank = make(body, "p", "lk-empty",
    "Nothing here yet but the machine's own network stack. Add a bridge and some hosts.");
  let shown = null;
  let cables = new Map();
  let ends = new Map();
  let traffic = null;
  let open = null;
  let refresh = () => {};

  function redraw(layout) {
    const focused = document.activeElement?.dataset?.item;
    scroll.replaceChildren();
    cables = new Map();
    ends = new Map();
    const width = (layout.width ?? 0) + 2 * PAD;
    const height = (layout.height ?? 0) + 2 * PAD;
    const svg = draw(scroll, "svg", { viewBox: `${-PAD} ${-PAD} ${width} ${height}` });
    svg.setAttribute("role", "group");
    svg.setAttribute("aria-label", "topology");
    svg.dataset.lmSuppressShortcuts = "true";
    svg.style.width = `${width * 1.15}px`;
    svg.style.minWidth = `${Math.min(width, 560) * 0.8}px`;
    for (const cable of layout.cables ?? []) {
      const group = draw(svg, "g", { class: "lk-cable" });
      group.dataset.kind = cable.kind;
      const line = draw(group, "path", { d: curve(cable.path), class: "lk-line" });
      for (const label of cable.labels ?? []) {
        draw(group, "text", { x: label.x, y: label.y, "dominant-baseline": "central" }, label.text);
      }
      if (cable.id) {
        const middle = cable.path[Math.floor(cable.path.length / 2)];
        const cut = draw(group, "text", { class: "lk-cut", x: middle[0], y: middle[1] }, "✕");
        cut.setAttribute("dominant-baseline", "central");
        cables.set(cable.id, { ...cable, group, line });
      }
    }
    for (const node of layout.nodes ?? []) {
      if (node.kind === "bridge") drawBridge(svg, node, ends);
      else drawHost(svg, node);
    }
    blank.hidden = (layout.nodes ?? []).length > 0;
    scroll.hidden = !blank.hidden;
    fillTiles(layout);
    refresh = roving(svg, "[data-item]");
    refresh();
    if (focused) svg.querySelector(`[data-item="${CSS.escape(focused)}"]`)?.focus();
    for (const fold of svg.querySelectorAll(".lk-fold")) {
      const toggle = () => { open = open === fold.dataset.item ? null : fold.dataset.item; fillTiles(layout); };
      fold.addEventListener("click", toggle);
      fold.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        toggle();
      });
    }
  }

  function fillTiles(layout) {
    tiles.replaceChildren();
    for (const node of layout.nodes ?? []) {
      if (node.kind !== "fold") continue;
      const fold = scroll.querySelector(`[data-item="${CSS.escape(node.id)}"]`);
      fold?.setAttribute("aria-expanded", String(open === node.id));
      if (open !== node.id) continue;
      for (const tile of node.tiles) {
        const box = make(tiles, "div", "lk-tile");
        box.dataset.keys = tile.keys.join(" ");
        make(box, "strong", "", tile.title);
        make(box, "span", "", tile.text);
      }
    }
    tiles.hidden = tiles.children.length === 0;
  }

  function pulse(cable, backwards) {
    cable.group.classList.add("lk-busy");
    clearTimeout(cable.quiet);
    cable.quiet = setTimeout(() => cable.group.classList.remove("lk-busy"), 700);
    if (STILL.matches || document.hidden) return;
    const dot = draw(cable.group, "circle", { r: 4.5, class: "lk-dot" });
    const length = cable.line.getTotalLength();
    const began = performance.now();
    const step = (now) => {
      const part = Math.min(1, (now - began) / 600);
      const at = cable.line.getPointAtLength(length * (backwards ? 1 - part : part));
      dot.setAttribute("cx", at.x);
      dot.setAttribute("cy", at.y);
      if (part < 1 && dot.isConnected) requestAnimationFrame(step);
      else dot.remove();
    };
    requestAnimationFrame(step);
  }

  function update() {
    const snapshot = model.get("snapshot");
    const layout = snapshot.layout ?? {};
    const text = JSON.stringify(layout);
    if (text !== shown) {
      shown = text;
      redraw(layout);
    }
    const links = snapshot.links ?? {};
    for (const cable of cables.values()) {
      const working = [cable.a, cable.b].every((at) => links[at]?.[1]);
      cable.group.classList.toggle("lk-down", !working);
    }
    for (const [at, cell] of ends) {
      const state = links[at]?.[2] ?? "";
      cell.dataset.state = state;
      cell.setAttribute("aria-description", `port state ${state}`);
    }
    const before = traffic;
    traffic = snapshot.traffic ?? {};
    if (!before) return;
    for (const cable of cables.values()) {
      // A counter of either end tells of both: what one received, the other sent. The path is
      // drawn from the second end to the first.
      for (const [at, forth] of [[cable.a, false], [cable.b, true]]) {
        const [old, now] = [before[at], traffic[at]];
        if (!now) continue;
        if (now[1] > (old?.[1] ?? 0)) pulse(cable, !forth);
        if (now[0] > (old?.[0] ?? 0)) pulse(cable, forth);
        break;
      }
    }
  }
  model.on("change:snapshot", update);
  update();
  return () => {
    model.off("change:snapshot", update);
    end();
    root.remove();
  };
}

export default { render };
