// Frames on their way through the diagram: each a label that moves along a cable.

const CROSSING = 1000; // ms that a frame takes through a cable, at normal speed
const CLOSE = 17; // how far from a cable's end a frame rests, so that it hides no name
const LABELLED = 5; // more copies than this go without a label each

function protocolClass(protocol) {
  const known = ["ARP", "ICMP", "TCP", "UDP", "DNS", "DHCP", "STP", "VXLAN"];
  return known.includes(protocol) ? `lk-is-${protocol.toLowerCase()}` : "lk-is-other";
}

// The tokens of one drawing. `layout` is what it shows, `cables` its drawn cables by name.
function tokens(svg, layout, cables) {
  const under = draw(svg, "g", { class: "lk-trails", "aria-hidden": "true" });
  svg.insertBefore(under, svg.querySelector(".lk-bridge, .lk-host, .lk-fold"));
  const over = draw(svg, "g", { class: "lk-tokens", "aria-hidden": "true" });
  const ways = new Map(); // an end of a cable → how to leave it
  for (const cable of cables.values()) {
    if (cable.kind !== "cable") continue;
    ways.set(cable.a, { cable, downwards: true });
    ways.set(cable.b, { cable, downwards: false });
  }
  for (const node of layout.nodes ?? []) {
    const cable = node.kind === "fold" && cables.get(node.id);
    if (!cable) continue;
    for (const tile of node.tiles) ways.set(tile.end, { cable, downwards: true });
  }
  let run = 0; // the animation under way; another number ends it

  function way(start, end) {
    if (ways.has(start)) return ways.get(start);
    const back = ways.get(end); // from a host that is folded away
    return back && { cable: back.cable, downwards: !back.downwards };
  }

  // Where a frame is after a part of a way, keeping clear of the boxes at its ends.
  function along({ cable, downwards }, part) {
    const length = cable.line.getTotalLength();
    const room = Math.min(CLOSE, length / 3);
    const gone = room + (length - 2 * room) * part;
    return cable.line.getPointAtLength(downwards ? gone : length - gone);
  }

  function token(label, kind) {
    const group = draw(over, "g", { class: `lk-token ${kind}` });
    const w = label ? 7.3 * label.length + 16 : 14;
    draw(group, "rect", { x: -w / 2, y: label ? -11 : -7, width: w, height: label ? 22 : 14, rx: 11 });
    if (label) write(group, 0, 0.5, label);
    return group;
  }

  const put = (group, { x, y }) => group.setAttribute("transform", `translate(${x},${y})`);

  function cross(move, label, kind) {
    const [start, end, arrived] = move;
    const going = way(start, end);
    const d = going.cable.line.getAttribute("d");
    const trail = draw(under, "path", { d, class: `lk-trail ${kind}` });
    const length = trail.getTotalLength();
    trail.setAttribute("stroke-dasharray", String(length));
    const group = token(label, kind);
    return (part) => {
      const gone = arrived ? part : part * 0.55;
      put(group, along(going, gone));
      trail.setAttribute("stroke-dashoffset", String((going.downwards ? 1 : -1) * length * (1 - gone)));
      if (!arrived && part === 1 && !group.classList.contains("lk-lost")) {
        group.classList.add("lk-lost");
        const cross = draw(over, "g", { class: "lk-cross" });
        draw(cross, "circle", { r: 12 });
        draw(cross, "path", { d: "M-5,-5L5,5M5,-5L-5,5" });
        put(cross, along(going, gone));
      }
    };
  }

  // Hosts that are folded away share a cable: one frame stands for theirs.
  function apart(all, wayOf) {
    const seen = new Set();
    return all.filter((each) => {
      const going = wayOf(each);
      const key = going && `${going.cable.id} ${going.downwards}`;
      return going && !seen.has(key) && seen.add(key);
    });
  }

  // A frame that stands still: at the end of its cable, or at the upper edge of a box.
  function rest(end, box, label, kind) {
    const leave = ways.get(end);
    if (leave) return put(token(label, kind), along(leave, 0));
    if (box) put(token(label, kind), { x: box.x + box.w / 2, y: box.y });
    return undefined;
  }

  return {
    clear() {
      run += 1;
      under.replaceChildren();
      over.replaceChildren();
    },
    rest,
    wait(ends, kind) {
      for (const end of apart(ends, (each) => ways.get(each))) rest(end, null, "", kind);
    },
    // Shows frames crossing; `time` 0 shows them across at once.
    cross(moves, label, kind, time) {
      const mine = run;
      const some = apart(moves, ([start, end]) => way(start, end));
      const all = some.map((move) => cross(move, some.length > LABELLED ? "" : label, kind));
      const set = (part) => all.forEach((place) => place(part));
      if (!time) return set(1);
      set(0);
      let began = null;
      const tick = (now) => {
        if (mine !== run || !over.isConnected) return;
        began ??= now;
        const part = Math.min(1, (now - began) / time);
        set(part < 0.5 ? 2 * part * part : 1 - (2 - 2 * part) ** 2 / 2);
        if (part < 1) requestAnimationFrame(tick);
      };
      requestAnimationFrame(tick);
      return undefined;
    },
  };
}
