// The journey player. What it shows is finished data; what the user does is one number, `step`.

const READING = [900, 34]; // ms to read a sentence: at least, and for each letter
const NAMED = 6; // evidence that is named at once; the rest can be opened
const EMPTY = {
  protocol: "", inferred: false, evidence: [], unnamed: 0, frame: null, moves: [], rows: [],
  parent: null, depth: 0, scene: 0, tables: {},
};
const SPEEDS = [["0.25", "¼×"], ["0.5", "½×"], ["1", "1×"], ["2", "2×"], ["4", "4×"]];

const ICONS = {
  first: "M3 3V13M8.5 3.5L4.5 8l4 4.5zM14 3.5L10 8l4 4.5z",
  back: "M4 3V13M12.5 3L6 8l6.5 5z",
  play: "M4.5 2.5L13.5 8l-9 5.5z",
  pause: "M5 3V13M11 3V13",
  forward: "M12 3V13M3.5 3L10 8l-6.5 5z",
  last: "M13 3V13M7.5 3.5L11.5 8l-4 4.5zM2 3.5L6 8l-4 4.5z",
};

function icon(parent, name) {
  parent.replaceChildren();
  const svg = draw(parent, "svg", { viewBox: "0 0 16 16", class: `lk-icon lk-icon-${name}` });
  svg.setAttribute("aria-hidden", "true");
  draw(svg, "path", { d: ICONS[name] });
}

function button(parent, name, text, label, act) {
  const made = make(parent, "button", name, text);
  made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  if (label) made.title = label;
  made.addEventListener("click", act);
  return made;
}

function choice(parent, label, options, act) {
  const wrap = make(parent, "label", "lk-choice");
  make(wrap, "span", "", label);
  const select = make(wrap, "select");
  for (const [value, text] of options) make(select, "option", "", text).value = value;
  select.addEventListener("change", () => act(select.value));
  return select;
}

function afterText(ms) {
  const sign = ms < 0 ? "−" : "+";
  const size = Math.abs(ms);
  return sign + (size < 1000 ? `${size.toFixed(3)} ms` : `${(size / 1000).toFixed(3)} s`);
}
const whereText = ({ host, interface: at }) => [host, at === host ? "" : at].filter(Boolean).join(" ");
const counted = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

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
    view.summary.textContent = counted(others, "permanent or multicast row", "permanent and multicast rows");
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
    const own = [];
    for (let at = number; at !== null; at = data.steps[at].parent) {
      const parent = data.steps[at].parent;
      own.push(data.steps[at].end);
      if (parent === null) break;
      for (const [, end, arrived] of data.steps[parent].moves) if (arrived) ends.push(end);
    }
    const told = new Set(own);
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

function render({ model, el }) {
  const data = { ...model.get("snapshot") };
  const full = (step) => ({
    ...EMPTY, ...data.wheres[step.where], ...step,
    text: data.texts[step.text], clock: data.began + step.after,
  });
  const steps = data.steps = (data.steps ?? []).map(full);
  data.frames = (data.frames ?? []).map((each) => (
    { ...each, layers: each.layers.map((number) => data.layers[number]) }
  ));
  const noise = (data.noise ?? []).map(full);
  const { root, body, relight, end } = frame(model, el, ["journey", data.title].filter(Boolean).join(" · "));
  root.classList.add("lk-player");
  root.tabIndex = -1; // a click anywhere in it, and its keys work
  const tables = [];
  for (const step of steps) tables.push({ ...(tables.at(-1) ?? data.begin), ...step.tables });

  const told = [];
  if (data.lost) told.push(`${counted(data.lost, "frame was", "frames were")} not captured: they came too fast.`);
  if (data.left_out) told.push(`${counted(data.left_out, "more frame was", "more frames were")} captured, too many to explain one by one.`);
  if (data.more) told.push(`${counted(data.more, "more step is", "more steps are")} not shown here. Print the journey for all, or ask for one of a shorter time.`);
  if (told.length) make(body, "p", "lk-notice", told.join("\n"));
  if (!steps.length && !model.get("status").error) make(body, "p", "lk-empty", "Nothing was captured in that time.");

  const main = make(body, "div", "lk-main");
  main.hidden = !steps.length;
  const picture = make(main, "div", "lk-picture");
  const controls = make(main, "div", "lk-controls");
  const telling = make(main, "div", "lk-telling");
  const side = make(main, "div", "lk-side");
  const lower = make(body, "div", "lk-lower");
  lower.hidden = !steps.length;

  // Transport
  controls.setAttribute("role", "group");
  controls.setAttribute("aria-label", "playing");
  const keys = make(controls, "div", "lk-keys");
  const key = (name, label, act) => {
    const made = button(keys, "lk-key", null, label, act);
    icon(made, name);
    return made;
  };
  key("first", "First step (Home)", () => jump(0));
  key("back", "Step back (left arrow)", () => move(-1));
  const play = key("play", "Play (space)", () => toggle());
  play.classList.add("lk-play");
  key("forward", "Step forward (right arrow)", () => move(1));
  key("last", "Last step (End)", () => jump(steps.length - 1));
  const scrubber = make(controls, "input", "lk-scrubber");
  scrubber.type = "range";
  scrubber.min = "0";
  scrubber.setAttribute("aria-label", "step");
  scrubber.addEventListener("input", () => { pause(); go(visible[Number(scrubber.value)], false); });
  const count = make(controls, "span", "lk-count");
  const speed = choice(controls, "speed", SPEEDS, () => replan());
  speed.value = "1";
  const protocols = [...new Set(steps.map((step) => step.protocol).filter(Boolean))];
  const filter = choice(controls, "show", [["", "everything"], ...protocols.map((p) => [p, `${p} alone`])],
    (value) => choose(value));
  filter.parentElement.hidden = protocols.length < 2;

  // The step in words
  const facts = make(telling, "p", "lk-facts");
  const sentence = make(telling, "p", "lk-sentence");
  const proofs = make(telling, "p", "lk-proofs");
  const spoken = make(telling, "p", "lk-words");
  spoken.setAttribute("aria-live", "polite");
  const why = data.finding && drawFinding(telling, data.finding);

  // All steps
  make(side, "h3", "lk-sub", "Steps");
  const list = make(side, "ol", "lk-steps");
  const items = steps.map((step, number) => {
    const li = make(list, "li");
    const item = button(li, "lk-step", null, "", () => { pause(); go(number, true); });
    item.tabIndex = -1;
    item.style.setProperty("--depth", String(Math.min(step.depth, 4)));
    item.classList.add(protocolClass(step.protocol));
    make(item, "span", "lk-number", String(number + 1));
    const words = make(item, "span", "lk-step-words");
    make(words, "span", "lk-step-kind", `${step.kind} · ${whereText(step)}`);
    make(words, "span", "lk-step-text", step.text);
    if (step.inferred) make(words, "span", "lk-inferred", "inferred");
    return item;
  });
  const outcome = why && button(make(list, "li"), "lk-step lk-outcome", "✕ Why it failed", "", () => {
    if (filter.value) choose(filter.value = "");
    jump(steps.length - 1);
    why.focus();
  });
  if (data.noises) drawNoise(side);

  // Tables and headers
  const left = make(lower, "div", "lk-tables");
  make(left, "h3", "lk-sub", "Tables at this step");
  const showTables = tableViews(make(left, "div", "lk-grid"), data);
  const right = make(lower, "div", "lk-frame");
  const frameTitle = make(right, "h3", "lk-sub");
  const back = button(right, "lk-link lk-back", "back to the step", "", () => closeEvent());
  const eventFields = make(right, "dl", "lk-event");
  const noFrame = make(right, "p", "lk-empty", "No frame is in hand at this step.");
  const showHeaders = headers(make(right, "div", "lk-headers"));

  const showStage = stage(picture, data);
  let visible = steps.map((_, number) => number);
  let at = -1;
  let playing = false;
  let timer = null;
  let opener = null;

  function proof(parent, number) {
    const event = data.events[number];
    const made = button(parent, "lk-proof", `evidence #${number}`, "", () => openEvent(number, made));
    if (event) made.title = [event.kind, event.where].filter(Boolean).join(" · ");
    return made;
  }

  function prove(parent, { evidence, unnamed = 0 }) {
    for (const number of evidence.slice(0, NAMED)) proof(parent, number);
    const rest = evidence.slice(NAMED);
    if (!rest.length) return;
    const more = button(parent, "lk-link", `and ${(rest.length + unnamed).toLocaleString()} more`, "", () => {
      const first = rest.map((number) => proof(parent, number))[0];
      if (unnamed) make(parent, "span", "lk-after", `and ${unnamed.toLocaleString()} more in the recording`);
      more.remove();
      first.focus();
    });
  }

  function drawFinding(parent, finding) {
    const box = make(parent, "section", "lk-finding");
    box.tabIndex = -1;
    box.setAttribute("aria-label", "Why it failed");
    make(box, "h3", "", "Why it failed");
    make(box, "p", "lk-sentence", finding.text);
    const lists = [["In order before it", finding.fine, "lk-fine"], ["Not told apart by the evidence", finding.remaining, "lk-open"]];
    for (const [title, all, style] of lists) {
      if (!all.length) continue;
      make(box, "h4", "", title);
      const held = make(box, "ul", style);
      for (const each of all) make(held, "li", "", each);
    }
    if (finding.advice) {
      const next = make(box, "p", "lk-advice");
      make(next, "strong", "", "Next: ");
      make(next, "span", "", finding.advice);
    }
    const proofs = make(box, "p", "lk-proofs");
    prove(proofs, finding);
    return box;
  }

  function drawNoise(parent) {
    const fold = make(parent, "details", "lk-more lk-noise");
    make(fold, "summary", "", `${counted(data.noises, "other event", "other events")} in the background`);
    const all = make(fold, "ul");
    for (const step of noise) {
      const li = make(all, "li");
      make(li, "span", "", `${step.kind} · ${whereText(step)} · ${afterText(step.after)}: ${step.text} `);
      prove(li, step);
    }
    const rest = data.noises - noise.length;
    if (rest) make(all, "li", "", `and ${rest.toLocaleString()} more`);
  }

  // Events

  function openEvent(number, from) {
    pause();
    opener = from;
    const event = data.events[number];
    frameTitle.textContent = `Evidence #${number}: ${event.kind}`;
    eventFields.replaceChildren();
    const fields = [["where", event.where], ["when", afterText(event.after ?? 0)], ...event.fields];
    for (const [name, value] of fields) {
      if (!value) continue;
      const row = make(eventFields, "div");
      make(row, "dt", "", name);
      make(row, "dd", "", value);
    }
    eventFields.hidden = back.hidden = false;
    noFrame.hidden = true;
    showHeaders(data.frames[event.frame], data.otherwise);
    right.classList.add("lk-opened");
    right.scrollIntoView({ block: "nearest" });
    back.focus({ preventScroll: true });
  }

  function closeEvent() {
    showFrame();
    if (opener?.isConnected) opener.focus();
    else play.focus();
    opener = null;
  }

  function showFrame() {
    const step = steps[at];
    const held = data.frames[step.frame];
    right.classList.remove("lk-opened");
    eventFields.hidden = back.hidden = true;
    noFrame.hidden = Boolean(held);
    frameTitle.textContent = held ? `The frame: ${held.label}` : "The frame";
    showHeaders(held, data.matters[step.kind] ?? data.otherwise);
  }

  // Steps

  function tell(step) {
    facts.replaceChildren();
    make(facts, "span", `lk-kind ${protocolClass(step.protocol)}`, step.kind);
    const place = make(facts, "span", "lk-place", whereText(step));
    place.dataset.keys = step.places.join(" ");
    make(facts, "span", "lk-after", afterText(step.after));
    if (step.inferred) {
      make(facts, "span", "lk-inferred", "inferred").title = "No event tells it; it follows from others.";
    }
    sentence.textContent = step.text;
    proofs.replaceChildren();
    prove(proofs, step);
    const inferred = step.inferred ? " Inferred." : "";
    spoken.textContent = `Step ${at + 1} of ${steps.length}, ${whereText(step)}. ${step.text}${inferred}`;
  }

  function go(number, animate) {
    const old = items[at];
    at = Math.max(0, Math.min(steps.length - 1, number));
    const step = steps[at];
    const time = animate && !STILL.matches && !document.hidden ? CROSSING / Number(speed.value) : 0;
    showStage(at, time);
    tell(step);
    showTables(tables[at], tables[at - 1] ?? data.begin, step);
    showFrame();
    if (why) why.hidden = at !== steps.length - 1;
    const held = list.contains(document.activeElement);
    old?.removeAttribute("aria-current");
    if (old) old.tabIndex = -1;
    items[at].setAttribute("aria-current", "step");
    items[at].tabIndex = 0;
    if (held) items[at].focus({ preventScroll: true });
    const item = items[at].parentElement;
    const { scrollTop, clientHeight } = list;
    const top = item.offsetTop - list.offsetTop;
    if (top < scrollTop || top + item.offsetHeight > scrollTop + clientHeight) {
      list.scrollTop = top - clientHeight / 3;
    }
    scrubber.value = String(Math.max(0, visible.indexOf(at)));
    scrubber.style.setProperty("--done", `${(100 * scrubber.value) / Math.max(1, scrubber.max)}%`);
    scrubber.setAttribute("aria-valuetext", `step ${at + 1}, ${step.kind}`);
    count.textContent = `${at + 1} / ${steps.length}`;
    relight();
    if (model.get("step") !== at) {
      model.set("step", at);
      model.save_changes();
    }
  }

  const beside = (by) => {
    const after = visible.findIndex((number) => number >= at);
    const here = after < 0 ? visible.length : after;
    return by > 0 ? visible[visible[here] === at ? here + 1 : here] : visible[here - 1];
  };

  function move(by) {
    pause();
    const next = beside(by);
    if (next !== undefined) go(next, by > 0);
  }

  function jump(number) {
    pause();
    go(number === 0 ? visible[0] : visible.at(-1), false);
  }

  function choose(protocol) {
    visible = steps.map((_, number) => number)
      .filter((number) => !protocol || steps[number].protocol === protocol);
    const kept = new Set(visible);
    items.forEach((item, number) => { item.parentElement.hidden = !kept.has(number); });
    scrubber.max = String(visible.length - 1);
    if (!kept.has(at)) go(beside(1) ?? visible.at(-1), false);
    else scrubber.value = String(visible.indexOf(at));
  }

  // Playing

  function plan() {
    clearTimeout(timer);
    const step = steps[at];
    const crossing = step.moves.length && !STILL.matches ? CROSSING : 0;
    const reading = READING[0] + READING[1] * step.text.length;
    timer = setTimeout(() => {
      const next = beside(1);
      if (next === undefined) return pause();
      go(next, true);
      return plan();
    }, (reading + crossing) / Number(speed.value));
  }

  function replan() {
    if (playing) plan();
  }

  function showPlaying() {
    icon(play, playing ? "pause" : "play");
    play.dataset.playing = String(playing);
    play.setAttribute("aria-label", playing ? "Pause (space)" : "Play (space)");
    play.title = play.getAttribute("aria-label");
  }

  function pause() {
    clearTimeout(timer);
    playing = false;
    showPlaying();
  }

  function toggle() {
    if (playing) return pause();
    playing = true;
    showPlaying();
    go(beside(1) === undefined ? visible[0] : at, true);
    return plan();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !steps.length) return;
    const { target, key } = event;
    const inList = list.contains(target);
    if (target.matches("select") || (target === scrubber && key !== " ")) return;
    if (key === " " && target.matches("button, summary") && !inList) return;
    const acts = {
      " ": toggle,
      ArrowRight: () => move(1),
      ArrowLeft: () => move(-1),
      Home: () => jump(0),
      End: () => jump(steps.length - 1),
      ...(inList ? { ArrowDown: () => move(1), ArrowUp: () => move(-1) } : {}),
      ...(right.classList.contains("lk-opened") ? { Escape: closeEvent } : {}),
    };
    if (!(key in acts)) return;
    event.preventDefault();
    event.stopPropagation();
    acts[key]();
  }
  root.addEventListener("keydown", onKey);

  const follow = () => { if (model.get("step") !== at) { pause(); go(model.get("step"), true); } };
  model.on("change:step", follow);
  if (steps.length) {
    scrubber.max = String(visible.length - 1);
    showPlaying();
    go(model.get("step"), false);
  }
  return () => {
    clearTimeout(timer);
    model.off("change:step", follow);
    end();
    root.remove();
  };
}

export default { render };
