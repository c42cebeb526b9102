// The topology: boxes and cables where Graphviz put them, link states and traffic as they change.

const WAY = 40; // places on a cable where a dot can be
const FRAME = 30; // ms between two moves of the dots, at least

function render({ model, el }) {
  const { body, say, hear, relight, end } = frame(model, el, "topology");
  const scroll = make(body, "div", "lk-scroll");
  const info = make(body, "p", "lk-info", null, { "aria-hidden": "true" });
  const tiles = make(body, "div", "lk-tiles", null, { role: "list" });
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
    blank.hidden = (layout.nodes ?? []).length > 0;
    scroll.hidden = info.hidden = !blank.hidden;
    ({ cables, ends } = drawTopology(scroll, layout));
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
        const box = make(tiles, "div", "lk-tile", null, {
          tabindex: "-1", role: "listitem", "data-keys": tile.keys.join(" "), "data-end": tile.end,
        });
        make(box, "strong", "", tile.title);
        make(box, "span", "", tile.text);
        if (box.dataset.keys === focused) box.focus();
      }
    }
    tiles.hidden = tiles.children.length === 0;
    refreshTiles();
  }

  // The dots on their way, all moved together. Where a path leads is asked once: each question
  // after a move would cost the browser a layout.
  const dots = new Set();
  let moved = 0;
  function move(now) {
    if (now - moved >= FRAME) {
      moved = now;
      for (const each of dots) {
        const part = Math.max(0, Math.min(1, (now - each.began) / 600));
        if (part === 1 || !each.dot.isConnected) {
          each.dot.remove();
          dots.delete(each);
          continue;
        }
        const { x, y } = each.way[Math.round((each.downwards ? part : 1 - part) * WAY)];
        each.dot.setAttribute("cx", x);
        each.dot.setAttribute("cy", y);
      }
    }
    if (dots.size) requestAnimationFrame(move);
  }

  function busy(element) {
    element.classList.add("lk-busy");
    clearTimeout(element.quiet);
    element.quiet = setTimeout(() => element.classList.remove("lk-busy"), 700);
  }

  function pulse(cable, downwards) {
    busy(cable.group);
    if (STILL.matches || document.hidden) return;
    if (!cable.way) {
      const length = cable.line.getTotalLength() / WAY;
      cable.way = Array.from({ length: WAY + 1 }, (_, i) => cable.line.getPointAtLength(i * length));
    }
    const { x, y } = cable.way[downwards ? 0 : WAY];
    const dot = draw(cable.group, "circle", { r: 4.5, cx: x, cy: y, class: "lk-dot" });
    if (!dots.size) requestAnimationFrame(move);
    dots.add({ dot, way: cable.way, downwards, began: performance.now() });
  }

  function showLinks() {
    const links = model.get("snapshot").links ?? {};
    markLinks(cables, ends, links, say);
    for (const tile of tiles.children) {
      tile.classList.toggle("lk-down", links[tile.dataset.end]?.[1] === false);
    }
    relight();
  }

  // What the pointer or the focus is on, with its counters, in one line below.
  function tell() {
    const keys = under?.closest?.("[data-keys]")?.dataset.keys.split(" ") ?? [];
    const packets = (at) => {
      const [received, sent] = traffic?.[at] ?? [0, 0];
      return `${received.toLocaleString()} packets in, ${sent.toLocaleString()} out`;
    };
    let text = "";
    for (const [at, port] of ends) {
      if (keys[0] !== port.keys[0]) continue;
      const to = port.peer ? ` · cable to ${port.peer}` : "";
      text = `${port.title} · port of ${port.bridge}, ${port.state}${to} · ${packets(at)}`;
    }
    for (const cable of cables.values()) {
      if (cable.kind !== "cable" || keys[0] !== cable.keys[0]) continue;
      text = `${cable.title} · ${cable.works ? "carrier" : "no carrier"} · ${packets(cable.a)}`;
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
      if (grown(tile.dataset.end, 0) || grown(tile.dataset.end, 1)) busy(tile);
    }
  }
  hear({ snapshot: update, traffic: flow });
  update();
  flow();
  return end;
}

export default { render };
