// ARP and CAM tables: a row that comes, changes or goes is noticed at a glance.

const NOTICED = 3000; // ms for which a change stays marked

function ageText(seconds) {
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

function buildTable(parent, table) {
  const wrap = make(parent, "div", "lk-table");
  const node = make(wrap, "table");
  const caption = make(node, "caption");
  const name = make(caption, "span", "lk-name", table.title);
  name.dataset.keys = table.keys.join(" ");
  make(caption, "span", "lk-what", table.what);
  const head = make(make(node, "thead"), "tr");
  for (const column of table.columns) make(head, "th", "", column).scope = "col";
  const rows = make(node, "tbody");
  const empty = make(wrap, "p", "lk-empty", table.empty);
  const more = make(wrap, "details", "lk-more");
  const summary = make(more, "summary");
  const others = make(make(more, "table"), "tbody");
  return { wrap, rows, empty, more, summary, others, known: new Map(), fresh: true };
}

function fillRow(tr, row, announce) {
  tr.dataset.keys = row.keys.join(" ");
  tr.dataset.kind = row.kind;
  row.cells.forEach(([text, note], index) => {
    const td = tr.children[index] ?? make(tr, "td");
    if (td.dataset.text === text && td.dataset.note === note) return;
    const changed = announce && td.dataset.text !== undefined;
    td.dataset.text = text;
    td.dataset.note = note;
    td.replaceChildren();
    make(td, "span", "lk-value", text);
    if (note) make(td, "span", "lk-note", note);
    if (changed) mark(td, "lk-changed");
  });
}

function mark(element, name) {
  element.classList.remove(name);
  void element.offsetWidth; // start the animation over
  element.classList.add(name);
  setTimeout(() => element.classList.remove(name), NOTICED);
}

function updateTable(view, table) {
  const present = new Set();
  let last = { main: null, more: null };
  for (const row of table.rows) {
    present.add(row.id);
    let known = view.known.get(row.id);
    const home = row.shown ? view.rows : view.others;
    if (!known || known.leaving) {
      known?.tr.remove();
      const tr = document.createElement("tr");
      tr.setAttribute("tabindex", "-1");
      known = { tr };
      view.known.set(row.id, known);
      fillRow(tr, row, false);
      if (!view.fresh && row.shown) mark(tr, "lk-new");
    } else {
      fillRow(known.tr, row, !view.fresh);
    }
    known.updated = row.updated;
    const slot = row.shown ? "main" : "more";
    const after = last[slot] ? last[slot].nextSibling : home.firstChild;
    if (known.tr !== after) home.insertBefore(known.tr, after);
    last[slot] = known.tr;
  }
  for (const [id, known] of view.known) {
    if (present.has(id) || known.leaving) continue;
    known.leaving = true;
    known.updated = null;
    known.tr.classList.add("lk-left");
    setTimeout(() => {
      known.tr.remove();
      if (view.known.get(id) === known) view.known.delete(id);
      view.refresh?.();
    }, NOTICED);
  }
  const hidden = table.rows.filter((row) => !row.shown).length;
  view.more.hidden = hidden === 0;
  view.summary.textContent = `${hidden} permanent and multicast rows`;
  view.refresh = () => {
    const any = view.rows.children.length > 0;
    view.empty.hidden = any;
  };
  view.refresh();
  view.fresh = false;
}

function render({ model, el }) {
  const { root, body, end } = frame(model, el, "tables");
  const grid = make(body, "div", "lk-grid");
  const views = new Map();
  const refresh = roving(grid, "tbody tr, summary");
  let offset = 0;

  function update() {
    const snapshot = model.get("snapshot");
    const tables = snapshot.tables ?? [];
    offset = model.get("status").recorded ? null : snapshot.at - Date.now();
    if (model.get("status").closed) offset = null;
    const present = new Set(tables.map((table) => table.id));
    for (const [id, view] of views) {
      if (!present.has(id)) { view.wrap.remove(); views.delete(id); }
    }
    tables.forEach((table, index) => {
      if (!views.has(table.id)) views.set(table.id, buildTable(grid, table));
      const view = views.get(table.id);
      // Moving a node takes the focus from what is in it: only where the order has changed.
      if (grid.children[index] !== view.wrap) grid.insertBefore(view.wrap, grid.children[index] ?? null);
      updateTable(view, table);
    });
    ages();
    refresh();
  }
  function ages() {
    const now = offset === null ? model.get("snapshot").at : Date.now() + offset;
    for (const view of views.values()) {
      for (const { tr, updated } of view.known.values()) {
        if (updated == null) continue;
        const td = tr.lastElementChild;
        td.textContent = ageText(Math.max(0, now - updated) / 1000);
      }
    }
  }
  model.on("change:snapshot", update);
  model.on("change:status", update);
  update();
  const timer = setInterval(ages, 1000);
  return () => {
    clearInterval(timer);
    model.off("change:snapshot", update);
    model.off("change:status", update);
    end();
    root.remove();
  };
}

export default { render };
