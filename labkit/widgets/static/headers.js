// A frame in hand: the fields that matter at this step, every field, and the bytes.

const WIDTH = 16; // bytes in a line

function headers(parent) {
  const bar = make(parent, "div", "lk-bar", null, { "aria-hidden": "true" });
  const list = make(parent, "div", "lk-layers");
  const bytes = make(parent, "details", "lk-bytes");
  const summary = make(bytes, "summary");
  // The fields say the same, in words.
  const dump = make(bytes, "div", "lk-dump", null, { "aria-hidden": "true" });
  const readout = make(bytes, "p", "lk-readout");
  bytes.open = parent.clientWidth === 0 || parent.clientWidth > 330;
  const opened = new Set();
  let shown = null;
  let fields = [];
  let cells = [];
  let rows = [];

  const covers = (field, at) => at >= field.offset && at < field.offset + field.size;

  function point(field) {
    for (const [at, cell] of cells.entries()) {
      cell.classList.toggle("lk-pointed", field !== null && covers(field, at));
    }
    for (const row of rows) row.classList.toggle("lk-pointed", row.field === field);
    if (!field) {
      readout.textContent = "Point at a field or a byte to find it in the other.";
      return;
    }
    const last = field.offset + field.size - 1;
    const where = field.size > 1 ? `bytes ${field.offset} to ${last}` : `byte ${field.offset}`;
    readout.textContent = `${where}: ${field.layer} ${field.name} = ${field.value}`;
  }

  // The one with the fewest bytes: where bits are counted, several share one.
  function fieldAt(at) {
    const found = fields.filter((field) => covers(field, at));
    return found.sort((a, b) => a.size - b.size)[0] ?? null;
  }

  function fill(frame, matters) {
    fields = [];
    rows = [];
    bar.replaceChildren();
    list.replaceChildren();
    for (const [layer, all] of frame.layers) {
      const held = all.map(([name, value, offset, size]) => (
        { layer, name, value, offset, size, matters: matters.includes(`${layer}.${name}`) }
      ));
      const size = held.reduce((sum, f) => Math.max(sum, f.offset + f.size), 0)
        - Math.min(...held.map((f) => f.offset));
      const part = make(bar, "span", "", layer);
      part.style.flexGrow = String(Math.max(size, 1));
      drawLayer(layer, held);
      fields.push(...held);
    }
    drawBytes(frame);
    point(null);
  }

  function drawLayer(layer, held) {
    const box = make(list, "section", "lk-layer");
    const head = make(box, "div", "lk-layer-head");
    make(head, "strong", "", layer);
    const table = make(box, "dl");
    for (const field of held) {
      const style = field.matters ? "lk-field lk-matters" : "lk-field";
      const row = make(table, "div", style, null, { tabindex: "-1" });
      row.field = field;
      make(row, "dt", "", field.name);
      make(row, "dd", "", field.value);
      rows.push(row);
    }
    const rest = held.filter((field) => !field.matters).length;
    if (!rest) return;
    const toggle = button(head, "lk-link", null, "", () => {
      if (!opened.delete(layer)) opened.add(layer);
      open();
    });
    const open = () => {
      const all = opened.has(layer);
      box.classList.toggle("lk-all", all);
      toggle.setAttribute("aria-expanded", String(all));
      toggle.textContent = all ? "fewer" : held.length === 1 ? "1 field" : `all ${held.length} fields`;
      refresh();
    };
    open();
  }

  function drawBytes(frame) {
    dump.replaceChildren();
    cells = [];
    const held = frame.hex.length / 2;
    summary.textContent = held < frame.length
      ? `The first ${held} of ${frame.length} bytes` : `All ${held} bytes`;
    for (let start = 0; start < held; start += WIDTH) {
      const line = make(dump, "div", "lk-dump-line");
      make(line, "span", "lk-offset", start.toString(16).padStart(4, "0"));
      const hex = make(line, "span", "lk-hex");
      let text = "";
      for (let at = start; at < Math.min(start + WIDTH, held); at += 1) {
        const byte = frame.hex.slice(2 * at, 2 * at + 2);
        const cell = make(hex, "span", "", byte, { "data-at": at });
        if (fields.some((field) => field.matters && covers(field, at))) {
          cell.classList.add("lk-matters");
        }
        cells.push(cell);
        const code = parseInt(byte, 16);
        text += code > 31 && code < 127 ? String.fromCharCode(code) : "·";
      }
      make(line, "span", "lk-ascii", text);
    }
  }

  const aim = (event) => {
    const row = event.target.closest?.(".lk-field");
    const at = event.target.dataset?.at;
    if (row) point(row.field);
    else if (at !== undefined) point(fieldAt(Number(at)));
  };
  parent.addEventListener("mouseover", aim);
  parent.addEventListener("focusin", aim);
  parent.addEventListener("mouseleave", () => point(null));
  const refresh = roving(list, ".lk-field");

  return function show(frame, matters) {
    for (const part of [bar, list, bytes]) part.hidden = !frame;
    const key = frame ? `${frame.hex} ${matters.join(" ")}` : "";
    if (key === shown) return;
    shown = key;
    if (frame) fill(frame, matters);
    refresh();
  };
}
