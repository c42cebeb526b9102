// One instant of a journey: the tables and the diagram as they were then.

// The tables at a step, and the rows that it reads or writes.
function tableViews(parent, data) {
  const views = new Map();
  const refresh = roving(parent, "tbody tr, summary");

  // A row that was written says what stood in it before.
  function withPast(row, past) {
    const cells = row.cells.map(([text, note], index) => {
      const old = past?.cells[index][0];
      return old && old !== "-" && old !== text ? [text, `was ${old}`] : [text, note];
    });
    return { ...row, cells };
  }

  function showRow(view, row, home, place, marks, past) {
    let tr = view.known.get(row.id);
    if (!tr) {
      tr = document.createElement("tr");
      tr.setAttribute("role", "row");
      tr.setAttribute("tabindex", "-1");
      view.known.set(row.id, tr);
    }
    const touched = marks.filter(([, key]) => row.keys[0] === key);
    const written = touched.some((mark) => mark[2]);
    fillRow(tr, written ? withPast(row, past) : row, view.columns, false);
    tr.classList.toggle("lk-written", written);
    tr.classList.toggle("lk-added", written && !past);
    tr.classList.toggle("lk-read", touched.length > 0 && !written);
    if (place !== tr) home.insertBefore(tr, place);
    return { tr, touched };
  }

  function show(slot, picture, before, marks, clock, looked) {
    if (!views.has(slot)) {
      const view = buildTable(parent, picture, true);
      view.columns = picture.columns;
      view.missing = make(view.wrap, "p", "lk-missing");
      views.set(slot, view);
    }
    const view = views.get(slot);
    const missing = new Set(marks);
    const past = new Map(before.rows.map((number) => [data.rows[number].id, data.rows[number]]));
    const present = new Set();
    const next = new Map([[view.rows, view.rows.firstChild], [view.others, view.others.firstChild]]);
    for (const number of picture.rows) {
      const row = data.rows[number];
      present.add(row.id);
      const shown = row.shown || marks.some(([, key]) => row.keys[0] === key);
      const home = shown ? view.rows : view.others;
      const { tr, touched } = showRow(view, row, home, next.get(home), marks, past.get(row.id));
      next.set(home, tr.nextSibling);
      for (const mark of touched) missing.delete(mark);
      if (row.updated != null) {
        const age = ageText(Math.max(0, clock - row.updated) / 1000);
        tr.lastElementChild.firstElementChild.textContent = age;
      }
    }
    for (const [id, tr] of view.known) {
      if (present.has(id)) continue;
      tr.remove();
      view.known.delete(id);
    }
    view.wrap.classList.toggle("lk-in-hand", looked);
    view.wrap.hidden = picture.kind === "routes" && !looked; // they seldom change
    view.empty.hidden = view.rows.children.length > 0;
    const nothing = looked && marks.length === 0;
    view.missing.hidden = missing.size === 0 && !nothing;
    view.missing.textContent = nothing ? "Looked through: no row matches." : [...missing].map(([, key, written]) => {
      const name = key.slice(key.indexOf(":") + 1);
      return written ? `${name}: the row is gone.` : `Looked up ${name}: there is no such row.`;
    }).join(" ");
    const others = view.others.children.length;
    view.more.hidden = others === 0;
    view.summary.textContent = counted(others, "permanent or multicast row", "permanent or multicast rows");
  }

  return (tables, before, step) => {
    for (const [slot, number] of Object.entries(tables)) {
      const own = step.rows.filter((mark) => mark[0] === slot);
      const looked = own.length > 0 || (step.kind === "route" && slot === `routes:${step.host}`);
      show(slot, data.pictures[number], data.pictures[before[slot]], own, step.clock, looked);
    }
    refresh();
    const held = parent.querySelector(".lk-in-hand");
    if (!held) return;
    const [outer, inner] = [parent.getBoundingClientRect(), held.getBoundingClientRect()];
    if (inner.top < outer.top || inner.bottom > outer.bottom) parent.scrollTop += inner.top - outer.top;
  };
}

// The diagram at a step: the layout and the links of its scene, the frame, and where it is.
function stage(parent, data) {
  const scroll = make(parent, "div", "lk-scroll");
  const refresh = roving(scroll, "[data-item]");
  let shown = null;
  let drawn = null;
  let moving = null;
  let layout = {};
  const find = (id) => scroll.querySelector(`[data-item="${CSS.escape(id)}"]`);
  const boxes = () => layout.nodes.flatMap((node) => [node, ...(node.ports ?? [])]);

  function lay(number) {
    shown = number;
    layout = data.layouts[number];
    scroll.replaceChildren();
    drawn = drawTopology(scroll, layout);
    drawn.svg.style.minWidth = `${layout.width * 0.72}px`;
    moving = tokens(drawn.svg, layout, drawn.cables);
    for (const fold of scroll.querySelectorAll(".lk-fold")) fold.setAttribute("role", "img");
    refresh();
  }

  function place(step) {
    const all = boxes();
    for (const id of step.places) {
      const box = all.find((each) => each.id === id);
      if (box) return box;
    }
    return all.find((node) => node.holds?.some((key) => step.places.includes(key))) ?? null;
  }

  // The other copies of a flood: they wait where they arrived until their turn has been.
  function waiting(number) {
    const ends = [];
    const told = new Set();
    for (let at = number; at !== null; at = data.steps[at].parent) {
      told.add(data.steps[at].end);
      const { moves = [] } = data.steps[data.steps[at].parent] ?? {};
      for (const [, end, arrived] of moves) if (arrived) ends.push(end);
    }
    for (let at = number; at >= 0 && data.steps[at].depth > 0; at -= 1) told.add(data.steps[at].end);
    return ends.filter((end) => !told.has(end));
  }

  function show(number, time) {
    const step = data.steps[number];
    const scene = data.scenes[step.scene];
    if (scene.layout !== shown) lay(scene.layout);
    markLinks(drawn.cables, drawn.ends, scene.links, () => {});
    moving.clear();
    const box = place(step);
    for (const old of scroll.querySelectorAll(".lk-here")) old.classList.remove("lk-here");
    if (box) find(box.id)?.classList.add("lk-here");
    const frame = data.frames[step.frame];
    const kind = protocolClass(frame?.protocol ?? step.protocol);
    moving.wait(waiting(number), `${kind} lk-waiting`);
    const label = frame?.label || step.protocol;
    if (step.moves.length) moving.cross(step.moves, label, kind, time);
    else if (frame) moving.rest(step.end, box, label, kind);
    reveal(box);
    return box;
  }

  // In a narrow pane, what happens is brought into sight; the page itself does not move.
  function reveal(box) {
    if (!box || scroll.scrollWidth <= scroll.clientWidth) return;
    const scale = drawn.svg.getBoundingClientRect().width / (layout.width + 2 * PAD);
    const middle = (box.x + box.w / 2 + PAD) * scale;
    scroll.scrollTo({ left: middle - scroll.clientWidth / 2, behavior: STILL.matches ? "auto" : "smooth" });
  }
  return show;
}
