// ARP and CAM tables: a row that comes, changes or goes is noticed at a glance.

const QUIET = 6; // empty ARP caches up to this many stand on their own; more are named in one line

const MANY = 60; // rows up to which a table is shown in full; a longer one scrolls in itself

const earlier = (a, b) => a.order < b.order || (a.order === b.order && a.id < b.id);
const equal = (a, b) => a === b || JSON.stringify(a) === JSON.stringify(b);

// Rows in order, in parts of at most MANY: a row that comes makes the browser look again at those
// beside it in its part, and a part that is out of sight costs nothing (labkit.css).
function startList(body) {
  return { parts: [{ body, rows: [] }], size: 0 };
}

const listOf = (view, row) => (row.shown ? view.shown : view.folded);

// The part in which a row stands, or would stand, and its place there.
function place(list, row) {
  let part = list.parts.length - 1;
  while (part > 0 && (!list.parts[part].rows.length || earlier(row, list.parts[part].rows[0].row))) part -= 1;
  const { rows } = list.parts[part];
  let first = 0;
  let end = rows.length;
  while (first < end) {
    const middle = (first + end) >> 1;
    if (earlier(rows[middle].row, row)) first = middle + 1;
    else end = middle;
  }
  return [list.parts[part], first];
}

// A table's elements, and what they show: its rows by their ids, and in two lists in order.
function startTable(parent, table, fresh, context) {
  const view = buildTable(parent, table, fresh);
  Object.assign(view, { columns: table.columns, title: table.title });
  Object.assign(view, { shown: startList(view.rows), folded: startList(view.others) });
  view.what = view.rows.parentNode.querySelector(".lk-what");
  Object.assign(view, { dressed: false, base: null, change: null, basic: new Map() });
  view.more.addEventListener("toggle", () => {
    dress(view);
    context.folded();
  });
  return view;
}

// Many rows that nobody has asked for have no elements: a bridge of 1,000 ports has 2,000 of them.
function dress(view) {
  const wanted = view.more.open || view.folded.size <= MANY;
  if (view.dressed === wanted) return;
  view.dressed = wanted;
  for (const part of view.folded.parts) {
    part.rows.forEach((known, at) => {
      if (wanted) return seat(view, part, at);
      known.tr?.remove();
      known.tr = null;
    });
  }
}

// Puts the element of a row before that of the next; moving takes the focus, so only if needed.
function seat(view, part, at) {
  const known = part.rows[at];
  if (!known.row.shown && !view.dressed) return;
  if (!known.tr) {
    known.tr = document.createElement("tr");
    known.tr.setAttribute("role", "row");
    known.tr.setAttribute("tabindex", "-1");
    fillRow(known.tr, known.row, view.columns, false);
  }
  const { tr } = known;
  const next = part.rows[at + 1]?.tr ?? null;
  if (tr.parentNode !== part.body || tr.nextSibling !== next) part.body.insertBefore(tr, next);
}

function unlist(view, known) {
  const list = listOf(view, known.row);
  const [part, at] = place(list, known.row);
  if (part.rows[at] !== known) return;
  part.rows.splice(at, 1);
  list.size -= 1;
}

function enlist(view, known) {
  const list = listOf(view, known.row);
  const [part, at] = place(list, known.row);
  part.rows.splice(at, 0, known);
  list.size += 1;
  known.list = list;
  known.part = part;
  seat(view, part, at);
  if (part.rows.length > MANY) split(list, part);
}

function split(list, part) {
  const body = part.body.cloneNode(false);
  part.body.after(body);
  const later = { body, rows: part.rows.splice(MANY / 2) };
  for (const known of later.rows) {
    known.part = later;
    if (known.tr) body.append(known.tr);
  }
  list.parts.splice(list.parts.indexOf(part) + 1, 0, later);
}

// Lets go of a part without rows, but of the first.
function tidy({ list, part }) {
  if (part === list.parts[0] || part.rows.length || part.body.children.length) return;
  part.body.remove();
  list.parts = list.parts.filter((other) => other !== part);
}

function putRow(view, row, { say, showAge }) {
  let known = view.known.get(row.id);
  if (known && !known.leaving && equal(known.row, row)) {
    known.row = row;
    return;
  }
  if (!known || known.leaving) {
    known?.tr?.remove();
    clearTimeout(known?.leaving);
    known = { row };
    view.known.set(row.id, known);
    enlist(view, known);
    if (!view.fresh && row.shown) {
      mark(known.tr, "lk-new");
      say(`${view.title}: new, ${row.words}`);
    }
  } else {
    const before = known.row;
    const moves = before.order !== row.order || before.shown !== row.shown;
    if (moves) unlist(view, known);
    known.row = row;
    const altered = known.tr && fillRow(known.tr, row, view.columns, !view.fresh);
    if (moves) {
      const before = { list: known.list, part: known.part };
      enlist(view, known);
      tidy(before);
    }
    if (altered && row.shown) say(`${view.title}: ${row.words}`);
  }
  showAge(known);
}

function dropRow(view, known, { say, left, still }) {
  unlist(view, known);
  if (!known.tr) {
    tidy(known);
    view.known.delete(known.row.id);
    return;
  }
  known.tr.classList.remove("lk-new");
  known.tr.classList.add("lk-left");
  if (known.row.shown) say(`${view.title}: gone, ${known.row.words}`);
  const stay = still() ? 0 : NOTICED; // in the past, only what was there at that instant is shown
  known.leaving = setTimeout(() => {
    known.tr.remove();
    tidy(known);
    if (view.known.get(known.row.id) === known) view.known.delete(known.row.id);
    left(view);
  }, stay);
}

// Two changes, one after the other, as one.
function both(first, second) {
  if (!first || !second) return first ?? second;
  const rows = new Map([...first.rows, ...second.rows].map((row) => [row.id, row]));
  for (const id of second.gone) rows.delete(id);
  const gone = new Set([...first.gone, ...second.gone].filter((id) => !rows.has(id)));
  return { rows: [...rows.values()], gone: [...gone] };
}

const hasRows = (view) => view.shown.parts.some(({ body }) => body.children.length > 0);
const named = (change) => (change ? [...change.rows.map((row) => row.id), ...change.gone] : []);

// The snapshot's rows, with those put in that have changed since. Work is done for rows alone that
// the changes name, or named before; for all only when there is another snapshot.
function updateTable(view, base, change, context) {
  if (view.base === base && view.change === change) return;
  const ids = new Set([...named(view.change), ...named(change)]);
  if (view.base !== base) {
    view.basic = new Map(base.rows.map((row) => [row.id, row]));
    for (const id of [...view.known.keys(), ...view.basic.keys()]) ids.add(id);
  }
  const changed = new Map(change?.rows.map((row) => [row.id, row]));
  const gone = new Set(change?.gone);
  for (const id of ids) {
    const row = changed.get(id) ?? (gone.has(id) ? undefined : view.basic.get(id));
    const known = view.known.get(id);
    if (row) putRow(view, row, context);
    else if (known && !known.leaving) dropRow(view, known, context);
  }
  Object.assign(view, { base, change, fresh: false });
  dress(view);
  const count = view.folded.size;
  view.more.hidden = count === 0;
  put(view.summary, counted(count, "permanent or multicast row", "permanent or multicast rows"));
  view.empty.hidden = hasRows(view);
  const many = view.shown.size > MANY;
  put(view.what, many ? `${base.what}, ${view.shown.size.toLocaleString()} rows` : base.what);
  view.rows.parentNode.classList.toggle("lk-many", many);
  view.others.parentNode.classList.toggle("lk-many", count > MANY);
}

function render({ model, el }) {
  const { body, say, now, hear, relight, end } = frame(model, el, "tables");
  const grid = make(body, "div", "lk-grid");
  const quiet = make(body, "details", "lk-more lk-quiet");
  const quietSummary = make(quiet, "summary");
  quietSummary.setAttribute("tabindex", "-1");
  const quietNames = make(quiet, "p", "lk-names");
  const blank = make(body, "p", "lk-empty",
    "No tables yet. Each host that you add has an ARP cache, and each bridge a CAM table.");
  const views = new Map();
  const refresh = roving(body, "tbody tr, summary");
  const empty = new Set(); // ids of the ARP caches without a row
  let tables = new Map();
  let told = [];
  let changes = {}; // by table, since the snapshot
  let started = false;
  let called = "";

  const still = () => Boolean(model.get("status").moment || model.get("status").recorded);
  function folded() {
    refresh();
    relight();
  }
  const context = { say, left, showAge, still, folded };

  function left(view) {
    const held = view.wrap.contains(document.activeElement);
    view.empty.hidden = hasRows(view);
    if (!held) arrange();
    refresh();
  }

  function update() {
    const bases = model.get("snapshot").tables ?? [];
    const parts = [model.get("since") ?? {}, model.get("changes") ?? {}];
    const whole = bases.length !== tables.size || bases.some((base) => tables.get(base.id) !== base);
    if (!whole && parts[0] === told[0] && parts[1] === told[1]) return;
    tables = whole ? new Map(bases.map((base) => [base.id, base])) : tables;
    const before = Object.keys(changes);
    const ids = new Set(parts.flatMap(Object.keys));
    changes = Object.fromEntries([...ids].map((id) => [id, both(parts[0][id], parts[1][id])]));
    told = parts;
    const touched = whole ? tables.keys() : new Set([...before, ...ids]);
    let filled = whole; // whether a cache has got its first row, or lost its last
    const present = [];
    for (const id of touched) {
      const base = tables.get(id);
      if (!base) continue;
      const isEmpty = base.kind === "arp" && hasNone(base, changes[id]);
      if (isEmpty !== empty.has(id)) filled = true;
      if (isEmpty) empty.add(id);
      else empty.delete(id);
      present.push(id);
    }
    if (filled) arrange();
    for (const id of present) {
      const view = views.get(id);
      if (view) updateTable(view, tables.get(id), changes[id], context);
    }
    started = true;
    folded();
  }

  const hasNone = (base, change) => !change?.rows.length && base.rows.length === (change?.gone.length ?? 0);

  // Which tables stand, in which order; many empty ARP caches are named in one line.
  function arrange() {
    for (const id of empty) if (!tables.has(id)) empty.delete(id);
    blank.hidden = tables.size > 0;
    const fold = empty.size > QUIET;
    // One that just became empty stays while its last row is still shown going.
    const stays = (id) => !fold || !empty.has(id) || views.get(id)?.known.size > 0;
    for (const [id, view] of views) {
      if (tables.has(id) && stays(id)) continue;
      view.wrap.remove();
      views.delete(id);
    }
    let place = grid.firstElementChild;
    const quiet = [];
    for (const [id, table] of tables) {
      if (!stays(id)) {
        quiet.push(table);
        continue;
      }
      if (!views.has(id)) {
        const view = startTable(grid, table, !started, context);
        views.set(id, view);
        updateTable(view, table, changes[id], context);
      }
      const { wrap } = views.get(id);
      // Moving a node takes the focus from what is in it: only where the order has changed.
      if (place === wrap) place = wrap.nextElementSibling;
      else grid.insertBefore(wrap, place);
    }
    nameQuiet(quiet);
  }

  function nameQuiet(tables) {
    quiet.hidden = tables.length === 0;
    const names = tables.map((table) => table.title);
    if (names.join(" ") === called) return;
    called = names.join(" ");
    quietSummary.textContent = `${names.length} empty ARP caches: no MAC address needed yet`;
    quietNames.replaceChildren();
    for (const table of tables) {
      const name = make(quietNames, "span", "lk-chip", table.title);
      name.dataset.keys = table.keys.join(" ");
    }
  }

  function showAge(known) {
    if (known.row.updated == null || known.leaving || !known.tr) return;
    const text = ageText(Math.max(0, now() - known.row.updated) / 1000);
    put(known.tr.lastElementChild.firstElementChild, text);
  }

  function ages() {
    for (const view of views.values()) view.known.forEach(showAge);
  }
  hear({ snapshot: update, since: update, changes: update, status: ages });
  update();
  ages();
  const timer = setInterval(ages, 1000);
  return () => {
    clearInterval(timer);
    for (const view of views.values()) {
      for (const known of view.known.values()) clearTimeout(known.leaving);
    }
    end();
  };
}

export default { render };
