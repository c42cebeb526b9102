// A table of rows, each with keys by which it is lit in other views.

const NOTICED = 3000; // ms for which a change stays marked

function ageText(seconds) {
  if (seconds < 90) return `${Math.floor(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

// The roles are spelled out: where narrow panes lay rows out as cards, they would be lost.
function buildRows(parent, table, hidden) {
  const node = make(parent, "table", "", null, { role: "table" });
  const caption = make(node, "caption", hidden ? "lk-words" : "");
  const name = make(caption, "span", "lk-name", table.title);
  if (!hidden) name.dataset.keys = table.keys.join(" ");
  make(caption, "span", "lk-what", hidden ? `, ${table.what}, further rows` : table.what);
  const head = make(node, "thead", hidden ? "lk-words" : "", null, { role: "rowgroup" });
  const line = make(head, "tr", "", null, { role: "row" });
  for (const column of table.columns) {
    make(line, "th", "", column, { scope: "col", role: "columnheader" });
  }
  return make(node, "tbody", "", null, { role: "rowgroup" });
}

function buildTable(parent, table, fresh) {
  const wrap = make(parent, "div", "lk-table", null, { "data-kind": table.kind });
  const rows = buildRows(wrap, table, false);
  const empty = make(wrap, "p", "lk-empty", table.empty);
  const more = make(wrap, "details", "lk-more");
  const summary = make(more, "summary", "", null, { tabindex: "-1" });
  const others = buildRows(more, table, true);
  return { wrap, rows, empty, more, summary, others, known: new Map(), fresh };
}

function fillRow(tr, row, columns, announce) {
  const keys = row.keys.join(" ");
  if (tr.dataset.keys !== keys) tr.dataset.keys = keys;
  if (tr.dataset.kind !== row.kind) tr.dataset.kind = row.kind;
  let altered = false;
  row.cells.forEach(([text, note], index) => {
    const td = tr.children[index] ?? make(tr, "td");
    if (td.dataset.text === text && td.dataset.note === note) return;
    const changed = announce && td.dataset.text !== undefined;
    td.setAttribute("role", index === 0 ? "rowheader" : "cell");
    td.dataset.column = columns[index];
    td.dataset.text = text;
    td.dataset.note = note;
    td.replaceChildren();
    make(td, "span", "lk-value", text);
    if (note) make(td, "span", "lk-note", note);
    if (changed) {
      altered = true;
      mark(td, "lk-changed");
    }
  });
  return altered;
}

// Strong for half of the time, then faint.
function mark(element, name) {
  clearTimeout(element.marked);
  element.classList.remove("lk-fading");
  element.classList.add(name);
  const end = () => element.classList.remove(name, "lk-fading");
  const fade = () => {
    element.classList.add("lk-fading");
    element.marked = setTimeout(end, NOTICED / 2);
  };
  element.marked = setTimeout(fade, NOTICED / 2);
}
