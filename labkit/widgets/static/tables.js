// ARP and CAM tables: a row that comes, changes or goes is noticed at a glance.

const QUIET = 6; // empty ARP caches up to this many stand on their own; more are named in one line

// The table as it is now: the rows of the snapshot, with those put in that have changed since.
function merged(table, change) {
  if (!change) return table;
  const rows = new Map(table.rows.map((row) => [row.id, row]));
  for (const row of change.rows) rows.set(row.id, row);
  for (const id of change.gone) rows.delete(id);
  const inOrder = [...rows.values()].sort((a, b) => (a.order < b.order ? -1 : 1));
  return { ...table, rows: inOrder };
}

// Work is done for the rows that have changed alone: a bridge of 100 hosts has 300.
function updateTable(view, table, { say, left, showAge, still }) {
  const present = new Set();
  const last = new Map();
  for (const row of table.rows) {
    present.add(row.id);
    let known = view.known.get(row.id);
    const home = row.shown ? view.rows : view.others;
    if (!known || known.leaving) {
      known?.tr.remove();
      clearTimeout(known?.leaving);
      const tr = document.createElement("tr");
      tr.setAttribute("role", "row");
      tr.setAttribute("tabindex", "-1");
      known = { tr };
      view.known.set(row.id, known);
      fillRow(tr, row, table.columns, false);
      if (!view.fresh && row.shown) {
        mark(tr, "lk-new");
        say(`${table.title}: new, ${row.words}`);
      }
    } else if (known.row !== row) {
      const altered = fillRow(known.tr, row, table.columns, !view.fresh);
      if (altered && row.shown) say(`${table.title}: ${row.words}`);
    }
    if (known.row !== row) {
      known.row = row;
      showAge(known);
    }
    const before = last.get(home);
    const place = before ? before.nextSibling : home.firstChild;
    if (known.tr !== place) home.insertBefore(known.tr, place);
    last.set(home, known.tr);
  }
  for (const [id, known] of view.known) {
    if (present.has(id) || known.leaving) continue;
    known.tr.classList.remove("lk-new");
    known.tr.classList.add("lk-left");
    if (known.tr.parentNode === view.rows) say(`${table.title}: gone, ${known.row.words}`);
    const stay = still() ? 0 : NOTICED; // in the past, only what was there at that instant is shown
    known.leaving = setTimeout(() => {
      known.tr.remove();
      if (view.known.get(id) === known) view.known.delete(id);
      left(view);
    }, stay);
  }
  const hidden = table.rows.filter((row) => !row.shown).length;
  view.more.hidden = hidden === 0;
  put(view.summary, `${hidden} permanent and multicast ${hidden === 1 ? "row" : "rows"}`);
  view.empty.hidden = view.rows.children.length > 0;
  view.fresh = false;
}

function render({ model, el }) {
  const { root, body, say, now, relight, end } = frame(model, el, "tables");
  const grid = make(body, "div", "lk-grid");
  const quiet = make(body, "details", "lk-more lk-quiet");
  const quietSummary = make(quiet, "summary");
  quietSummary.setAttribute("tabindex", "-1");
  const quietNames = make(quiet, "p", "lk-names");
  const blank = make(body, "p", "lk-empty",
    "No tables yet. Each host that you add has an ARP cache, and each bridge a CAM table.");
  const views = new Map();
  const refresh = roving(body, "tbody tr, summary");
  let tables = new Map();
  let started = false;
  let named = "";

  const still = () => Boolean(model.get("status").moment || model.get("status").recorded);
  const isEmpty = (table) => table.kind === "arp" && table.rows.length === 0;

  function left(view) {
    const held = view.wrap.contains(document.activeElement);
    view.empty.hidden = view.rows.children.length > 0;
    if (!held) update();
    else refresh();
  }

  // The tables now. One of which nothing has changed is the same object as before.
  function current() {
    const changes = model.get("changes");
    const before = tables;
    tables = new Map();
    for (const base of model.get("snapshot").tables ?? []) {
      const change = JSON.stringify(changes[base.id] ?? null);
      const known = before.get(base.id);
      const same = known?.base === base && known.change === change;
      const table = same ? known.table : merged(base, changes[base.id]);
      tables.set(base.id, { base, change, table });
    }
    return [...tables.values()].map(({ table }) => table);
  }

  function update() {
    const tables = current();
    blank.hidden = tables.length > 0;
    const empty = tables.filter(isEmpty);
    const fold = empty.length > QUIET;
    // One that just became empty stays while its last row is still shown going.
    const stays = (table) => !fold || !isEmpty(table) || views.get(table.id)?.known.size > 0;
    const standing = tables.filter(stays);
    const present = new Set(standing.map((table) => table.id));
    for (const [id, view] of views) {
      if (!present.has(id)) {
        view.wrap.remove();
        views.delete(id);
      }
    }
    standing.forEach((table, index) => {
      if (!views.has(table.id)) views.set(table.id, buildTable(grid, table, !started));
      const view = views.get(table.id);
      // Moving a node takes the focus from what is in it: only where the order has changed.
      if (grid.children[index] !== view.wrap) {
        grid.insertBefore(view.wrap, grid.children[index] ?? null);
      }
      if (view.table === table) return;
      view.table = table;
      updateTable(view, table, { say, left, showAge, still });
    });
    nameQuiet(tables.filter((table) => !stays(table)));
    started = true;
    refresh();
    relight();
  }

  function nameQuiet(tables) {
    quiet.hidden = tables.length === 0;
    const names = tables.map((table) => table.title);
    if (names.join(" ") === named) return;
    named = names.join(" ");
    quietSummary.textContent = `${names.length} empty ARP caches: no MAC address needed yet`;
    quietNames.replaceChildren();
    for (const table of tables) {
      const name = make(quietNames, "span", "lk-chip", table.title);
      name.dataset.keys = table.keys.join(" ");
    }
  }

  function showAge(known) {
    if (known.row.updated == null || known.leaving) return;
    const text = ageText(Math.max(0, now() - known.row.updated) / 1000);
    put(known.tr.lastElementChild.firstElementChild, text);
  }

  function ages() {
    for (const view of views.values()) view.known.forEach(showAge);
  }
  const traits = ["snapshot", "changes"];
  for (const trait of traits) model.on(`change:${trait}`, update);
  model.on("change:status", ages);
  update();
  ages();
  const timer = setInterval(ages, 1000);
  return () => {
    clearInterval(timer);
    for (const trait of traits) model.off(`change:${trait}`, update);
    model.off("change:status", ages);
    for (const view of views.values()) {
      for (const known of view.known.values()) clearTimeout(known.leaving);
    }
    end();
    root.remove();
  };
}

export default { render };
