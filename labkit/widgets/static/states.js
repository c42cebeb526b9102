// The states of a neighbour row and the ways between them, with the rows that are there now.

const BOX = { w: 212, h: 92 };
const PLACES = {
  INCOMPLETE: [112, 86], REACHABLE: [422, 86], STALE: [732, 86],
  FAILED: [112, 286], PROBE: [422, 286], DELAY: [732, 286],
};
// From, to, what makes a row go that way, and where that is written.
const WAYS = [
  ["INCOMPLETE", "REACHABLE", "an answer", [267, 76]],
  ["REACHABLE", "STALE", "15 to 45 s", [577, 76]],
  ["STALE", "DELAY", "it is used", [776, 190]],
  ["DELAY", "PROBE", "5 s", [577, 276]],
  ["PROBE", "REACHABLE", "an answer", [466, 190]],
  ["PROBE", "FAILED", "3 in vain", [267, 276]],
  ["INCOMPLETE", "FAILED", "3 in vain", [52, 190], -24],
  ["FAILED", "INCOMPLETE", "needed again", [186, 190], 24],
];
const FIT = 3; // rows that a box has room for

function arrow(svg, points) {
  const [[x1, y1], [x2, y2]] = points.slice(-2);
  const turn = (Math.atan2(y2 - y1, x2 - x1) * 180) / Math.PI;
  draw(svg, "path", { d: `M${points.map((point) => point.join(",")).join("L")}`, class: "lk-way" });
  draw(svg, "path", { d: "M-9,-4.5L0,0L-9,4.5z", class: "lk-tip", transform: `translate(${x2},${y2}) rotate(${turn})` });
}

function way(svg, [from, to, words, [x, y], shift = 0]) {
  const [x1, y1] = PLACES[from];
  const [x2, y2] = PLACES[to];
  const across = Math.sign(x2 - x1) * BOX.w / 2;
  const down = Math.sign(y2 - y1) * BOX.h / 2;
  arrow(svg, [[x1 + across + shift, y1 + down], [x2 - across + shift, y2 - down]]);
  draw(svg, "text", { x, y, class: "lk-soft" }, words);
}

function render({ model, el }) {
  const { body, say, hear, relight, end } = frame(model, el, "neighbour states");
  const scroll = make(body, "div", "lk-scroll");
  const svg = draw(scroll, "svg", { viewBox: "0 0 844 350", role: "img" });
  svg.style.width = "844px";
  svg.style.minWidth = "560px";
  arrow(svg, [[552, 16], [732, 16], [732, 40]]);
  draw(svg, "text", { x: 540, y: 20, class: "lk-soft lk-end" }, "noted from somebody's question");
  arrow(svg, [[62, 16], [112, 16], [112, 40]]);
  draw(svg, "text", { x: 54, y: 20, class: "lk-soft lk-end" }, "needed");
  WAYS.forEach((one) => way(svg, one));
  const boxes = new Map();
  for (const [name, [x, y]] of Object.entries(PLACES)) {
    const group = draw(svg, "g", { class: "lk-state" });
    draw(group, "rect", { x: x - BOX.w / 2, y: y - BOX.h / 2, width: BOX.w, height: BOX.h, rx: 10 });
    draw(group, "text", { x, y: y - 28, class: "lk-strong" }, name);
    const meaning = draw(group, "text", { x, y: y - 13, class: "lk-meaning" });
    const lines = draw(group, "g");
    boxes.set(name, { group, meaning, lines, x, y, held: null });
  }

  function update() {
    const { states = [] } = model.get("snapshot");
    svg.setAttribute("aria-label", model.get("words"));
    for (const { name, meaning, rows } of states) {
      const box = boxes.get(name);
      box.meaning.textContent = meaning;
      const held = JSON.stringify(rows);
      if (held === box.held) continue;
      for (const { text } of rows) {
        if (box.held !== null && !box.held.includes(JSON.stringify(text))) say(`${text} is now ${name}`);
      }
      box.held = held;
      box.group.classList.toggle("lk-here", rows.length > 0);
      box.lines.replaceChildren();
      const shown = rows.length > FIT ? rows.slice(0, FIT - 1) : rows;
      shown.forEach(({ text, keys }, line) => {
        const at = { x: box.x, y: box.y + 6 + line * 15 };
        draw(box.lines, "text", { ...at, class: "lk-row", "data-keys": keys.join(" ") }, text);
      });
      if (rows.length > FIT) {
        const more = `and ${rows.length - FIT + 1} more`;
        draw(box.lines, "text", { x: box.x, y: box.y + 6 + (FIT - 1) * 15, class: "lk-soft" }, more);
      }
    }
    relight();
  }
  hear({ snapshot: update, words: update });
  update();
  return end;
}

export default { render };
