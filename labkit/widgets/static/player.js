// The journey player. What it shows is finished data; what the user does is one number, `step`.

const READING = [900, 34]; // ms to read a sentence: at least, and for each letter
const NAMED = 6; // evidence that is named at once; the rest can be opened
const EMPTY = {
  protocol: "", inferred: false, evidence: [], unnamed: 0, frame: null, moves: [], rows: [],
  parent: null, depth: 0, scene: 0, tables: {},
};
const SPEEDS = [["0.25", "¼×"], ["0.5", "½×"], ["1", "1×"], ["2", "2×"], ["4", "4×"]];

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
  const { root, body, hear, relight, end } = frame(model, el, ["journey", data.title].filter(Boolean).join(" · "));
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
  const controls = make(main, "div", "lk-controls", null, { role: "group", "aria-label": "playing" });
  const telling = make(main, "div", "lk-telling");
  const side = make(main, "div", "lk-side");
  const lower = make(body, "div", "lk-lower");
  lower.hidden = !steps.length;

  // Transport
  const keys = make(controls, "div", "lk-keys");
  const key = (name, label, act) => {
    const made = button(keys, "lk-key", null, label, act);
    icon(made, name);
    return made;
  };
  key("first", "First step (Home)", () => jump(0));
  key("back", "Step back (left arrow)", () => move(-1));
  const play = key("play", "Play (space)", toggle);
  play.classList.add("lk-play");
  key("forward", "Step forward (right arrow)", () => move(1));
  key("last", "Last step (End)", () => jump(steps.length - 1));
  const slide = { type: "range", min: "0", "aria-label": "step" };
  const scrubber = make(controls, "input", "lk-scrubber", null, slide);
  scrubber.addEventListener("input", () => { pause(); go(visible[Number(scrubber.value)], false); });
  const count = make(controls, "span", "lk-count");
  const speed = choice(controls, "speed", SPEEDS, () => { if (playing) plan(); });
  speed.value = "1";
  const protocols = [...new Set(steps.map((step) => step.protocol).filter(Boolean))];
  const shows = [["", "everything"], ...protocols.map((p) => [p, `${p} alone`])];
  const filter = choice(controls, "show", shows, choose);
  filter.parentElement.hidden = protocols.length < 2;

  // The step in words
  const facts = make(telling, "p", "lk-facts");
  const sentence = make(telling, "p", "lk-sentence");
  const proofs = make(telling, "p", "lk-proofs");
  const spoken = make(telling, "p", "lk-words", null, { "aria-live": "polite" });
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
  const back = button(right, "lk-link lk-back", "back to the step", "", closeEvent);
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
    const title = "Why it failed";
    const box = make(parent, "section", "lk-finding", null, { tabindex: "-1", "aria-label": title });
    make(box, "h3", "", title);
    make(box, "p", "lk-sentence", finding.text);
    const lists = [["In order before it", finding.fine, "lk-fine"], ["Not told apart by the evidence", finding.remaining, "lk-open"]];
    for (const [heading, all, style] of lists) {
      if (!all.length) continue;
      make(box, "h4", "", heading);
      const held = make(box, "ul", style);
      for (const each of all) make(held, "li", "", each);
    }
    if (finding.advice) {
      const next = make(box, "p", "lk-advice");
      make(next, "strong", "", "Next: ");
      make(next, "span", "", finding.advice);
    }
    prove(make(box, "p", "lk-proofs"), finding);
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
    if (!steps.length) return;
    const { target, key } = event;
    const inList = list.contains(target);
    if (target.matches("select") || (target === scrubber && key !== " ")) return;
    if (key === " " && target.matches("button, summary") && !inList) return;
    press(event, {
      " ": toggle,
      ArrowRight: () => move(1),
      ArrowLeft: () => move(-1),
      Home: () => jump(0),
      End: () => jump(steps.length - 1),
      ...(inList ? { ArrowDown: () => move(1), ArrowUp: () => move(-1) } : {}),
      ...(right.classList.contains("lk-opened") ? { Escape: closeEvent } : {}),
    });
  }
  root.addEventListener("keydown", onKey);

  const follow = () => { if (steps.length && model.get("step") !== at) { pause(); go(model.get("step"), true); } };
  hear({ step: follow });
  if (steps.length) {
    scrubber.max = String(visible.length - 1);
    showPlaying();
    go(model.get("step"), false);
  }
  return () => {
    clearTimeout(timer);
    end();
  };
}

export default { render };
