// The timeline's slider: the browser asks for an instant, and for another when that one is shown.

const HEIGHT = 44;
const KINDS = ["frames", "tables", "network"];
const MEANING = {
  frames: "lowest row: frames",
  tables: "middle row: ARP and CAM tables",
  network: "top row: hosts, cables, addresses, routes",
};
const SLOW = 1000; // ms without an answer after which the reason is told
const SPEEDS = [1, 10, 100];

const asSeconds = (nanoseconds) => `${(nanoseconds / 1e9).toFixed(3)} s`;

function strip(parent) {
  const box = make(parent, "div", "lk-strip");
  const svg = draw(box, "svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
  const paths = KINDS.map((kind) => draw(svg, "path", { "data-kind": kind }));
  const head = make(box, "div", "lk-head-line");
  const show = (columns) => {
    svg.setAttribute("viewBox", `0 0 ${Math.max(1, columns.length)} ${HEIGHT}`);
    // The strip shows when, and roughly how much: from 1 to 100,000 in a column.
    const tall = (count) => (count ? 7 + Math.min(5, Math.log10(count)) * 1.3 : 0);
    const lines = KINDS.map(() => []);
    columns.forEach((counts, x) => {
      counts.forEach((count, kind) => { // each kind in a row of its own
        const base = HEIGHT - 1 - kind * 14.5;
        if (count) lines[kind].push(`M${x + 0.5} ${base}V${base - tall(count)}`);
      });
    });
    paths.forEach((path, kind) => path.setAttribute("d", lines[kind].join("")));
  };
  const place = (part) => { head.style.left = `calc(8px + ${part} * (100% - 16px))`; };
  const partAt = (event) => {
    const area = svg.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - area.left) / area.width));
  };
  return { box, show, place, partAt };
}

function render({ model, el }) {
  const { root, body, hear, end } = frame(model, el, "timeline");
  const band = strip(body);
  const slide = { type: "range", step: "1", "aria-label": "instant of the session" };
  const slider = make(body, "input", "lk-slider", null, slide);
  const controls = make(body, "div", "lk-controls");
  button(controls, "", "‹ back", "back to the event before (left arrow)", () => step(-1));
  const play = button(controls, "", "▶", "play (space)", toggle);
  button(controls, "", "next ›", "on to the next event (right arrow)", () => step(1));
  const speed = make(controls, "select", "", null, { "aria-label": "speed" });
  for (const times of SPEEDS) make(speed, "option", "", `${times}×`).value = times;
  const last = button(controls, "", "live", "to the end (End)", () => seek(null));
  const clock = make(controls, "span", "lk-clock");
  const told = make(body, "p", "lk-told");
  const legend = make(body, "p", "lk-legend");
  for (const kind of KINDS) make(legend, "span", "", MEANING[kind], { "data-kind": kind });

  let wanted = model.get("position"); // where the hand is; null: at the end
  let asked; // sent, and not answered yet; undefined: nothing is
  let slow = null;
  let playing = null;
  let spoken = null;
  let holding = false;
  const extent = () => model.get("snapshot");
  const instant = () => wanted ?? extent().end ?? 0;

  function show() {
    const { first = 0, end: until = 0 } = extent();
    const at = Math.max(first, Math.min(until, instant()));
    slider.min = first;
    slider.max = until;
    slider.value = at;
    band.place(until > first ? (at - first) / (until - first) : 1);
    const text = `${asSeconds(at)} of ${asSeconds(until)}`;
    put(clock, text);
    const { recorded, closed, played } = model.get("status"); // at the end: whether the lab has ended
    const name = recorded || closed || played ? "end" : "live";
    put(last, name);
    last.setAttribute("aria-pressed", String(wanted === null));
    const words = model.get("told").words ?? "";
    // At the end of a live lab it moves on by itself: that is not read out.
    const valuetext = wanted === null ? `at the end, ${name}` : `${asSeconds(at)}. ${words}`;
    slider.setAttribute("aria-valuetext", valuetext);
    told.setAttribute("aria-live", wanted === null ? "off" : "polite");
    const late = slow === "late" ? "Waiting: a cell is running. The instant is shown when it ends." : "";
    const line = late || words;
    // Twenty times a second would be too much to hear.
    if (playing === null) put(told, line);
  }

  // One question at a time: the newest wish goes out when the last was answered.
  function ask() {
    if (asked !== undefined || wanted === model.get("position")) return;
    asked = wanted;
    clearTimeout(slow);
    slow = setTimeout(() => { slow = "late"; show(); }, SLOW);
    model.set("position", wanted);
    model.save_changes();
  }
  function answered() {
    const position = model.get("told").position ?? null;
    if (asked !== undefined && position === asked) {
      asked = undefined;
      clearTimeout(slow);
      slow = null;
      ask();
    }
    show();
  }
  function moved() { // by Python: a step, or timeline.at = …
    const position = model.get("position");
    if (asked === undefined && playing === null && !holding) wanted = position;
    show();
  }
  function seek(at) {
    const { first = 0, end: until = 0 } = extent();
    wanted = at === null ? null : Math.round(Math.max(first, Math.min(until, at)));
    show();
    ask();
  }
  function step(by) {
    stop();
    if (asked === undefined) model.send({ step: by });
  }
  function label(text, words) {
    play.textContent = text;
    play.setAttribute("aria-label", play.title = words);
  }
  function stop() {
    if (playing === null) return;
    clearInterval(playing);
    playing = null;
    label("▶", "play (space)");
    show();
  }
  function toggle() {
    if (playing !== null) return void stop();
    if (wanted === null) wanted = extent().first ?? 0;
    let before = performance.now();
    playing = setInterval(() => {
      const now = performance.now();
      const at = instant() + (now - before) * 1e6 * Number(speed.value);
      before = now;
      if (at >= (extent().end ?? 0)) {
        stop();
        seek(null);
      } else seek(at);
    }, STILL.matches ? 500 : 50);
    label("❚❚", "pause (space)");
    show();
  }

  slider.addEventListener("input", () => { stop(); seek(Number(slider.value)); });
  root.addEventListener("keydown", (event) => {
    const { first = 0, end: until = 0 } = extent();
    const page = (until - first) / 20;
    const held = event.target.closest("button, select");
    if (held && (event.key === " " || held.matches("select"))) return; // theirs
    press(event, {
      ArrowRight: () => step(1), ArrowUp: () => step(1),
      ArrowLeft: () => step(-1), ArrowDown: () => step(-1),
      PageUp: () => { stop(); seek(instant() + page); },
      PageDown: () => { stop(); seek(instant() - page); },
      Home: () => { stop(); seek(first); },
      End: () => { stop(); seek(null); },
      " ": toggle,
    });
  });
  const drag = (event) => {
    const { first = 0, end: until = 0 } = extent();
    seek(first + band.partAt(event) * (until - first));
  };
  band.box.addEventListener("pointerdown", (event) => {
    stop();
    holding = true;
    band.box.setPointerCapture(event.pointerId);
    slider.focus({ preventScroll: true });
    event.preventDefault();
    drag(event);
  });
  band.box.addEventListener("pointermove", (event) => { if (holding) drag(event); });
  for (const name of ["pointerup", "pointercancel"]) {
    band.box.addEventListener(name, () => { holding = false; });
  }

  const grown = () => { band.show(extent().columns ?? []); show(); };
  hear({ snapshot: grown, status: show, told: answered, position: moved });
  grown();
  return () => {
    clearInterval(playing);
    clearTimeout(slow);
    end();
  };
}

export default { render };
