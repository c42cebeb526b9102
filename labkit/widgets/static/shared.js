// What the views share: building elements, linked highlighting, status, theme-independent motion.
// Everything that comes from the lab goes in as text (textContent), never as markup.

const SVG = "http://www.w3.org/2000/svg";
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");
const HEARTBEAT = 7000; // ms without a beat after which the notebook kernel is taken for gone

function make(parent, name, className = "", text = null) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== null) element.textContent = text;
  parent.append(element);
  return element;
}

function draw(parent, name, attributes = {}, text = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  parent.append(element);
  return element;
}

// The same host, port or MAC is lit in every view of the page while one of them has it in hand.
function linked(root) {
  const keysOf = (event) => event.target.closest?.("[data-keys]")?.dataset.keys ?? "";
  const tell = (keys) =>
    document.dispatchEvent(new CustomEvent("labkit-highlight", { detail: keys }));
  root.addEventListener("mouseover", (event) => tell(keysOf(event)));
  root.addEventListener("mouseleave", () => tell(""));
  root.addEventListener("focusin", (event) => tell(keysOf(event)));
  root.addEventListener("focusout", () => tell(""));
  const light = (event) => {
    const wanted = new Set(event.detail.split(" ").filter(Boolean));
    for (const element of root.querySelectorAll("[data-keys]")) {
      const lit = element.dataset.keys.split(" ").some((key) => wanted.has(key));
      element.classList.toggle("lk-lit", lit);
    }
  };
  document.addEventListener("labkit-highlight", light);
  return () => document.removeEventListener("labkit-highlight", light);
}

// One stop for Tab; arrows, Home and End move among the items.
function roving(root, selector) {
  // What is in a closed <details> has a place on the page, but cannot take the focus.
  const items = () => [...root.querySelectorAll(selector)].filter((e) => e.checkVisibility());
  const refresh = () => {
    const all = items();
    const current = all.find((e) => e === document.activeElement) ?? all[0];
    for (const e of all) e.setAttribute("tabindex", e === current ? "0" : "-1");
  };
  root.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(document.activeElement);
    const moves = {
      ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1,
      Home: 0, End: all.length - 1,
    };
    if (at < 0 || !(event.key in moves)) return;
    event.preventDefault();
    event.stopPropagation();
    const next = all[Math.max(0, Math.min(all.length - 1, moves[event.key]))];
    for (const e of all) e.setAttribute("tabindex", e === next ? "0" : "-1");
    next.focus();
  });
  return refresh;
}

// The frame of a view: its heading, its badges, its words for screen readers.
function frame(model, el, what) {
  const root = make(el, "section", "lk");
  root.dataset.lmSuppressShortcuts = "true";
  const head = make(root, "header", "lk-head");
  const title = make(head, "span", "lk-title");
  make(head, "span", "lk-what", what);
  const badge = make(head, "span", "lk-badge");
  const notice = make(root, "p", "lk-notice");
  notice.setAttribute("role", "status");
  const body = make(root, "div", "lk-body");
  const words = make(root, "p", "lk-words");
  words.setAttribute("aria-live", "polite");

  let lastBeat = Date.now();
  let said = 0;
  let pending = null;
  function status() {
    const s = model.get("status");
    title.textContent = s.name ?? "";
    root.setAttribute("aria-label", `${s.name}: ${what}`);
    const gone = !s.closed && !s.recorded && Date.now() - lastBeat > HEARTBEAT;
    root.classList.toggle("lk-ended", Boolean(s.closed) && !s.recorded);
    root.classList.toggle("lk-gone", gone);
    badge.textContent = s.recorded ? "recorded" : s.closed || gone ? "ended" : "live";
    badge.dataset.kind = badge.textContent;
    const notes = [];
    if (s.error) notes.push(s.error);
    if (gone) notes.push("The notebook kernel has stopped or restarted. Run the cell again.");
    else if (s.closed && !s.recorded) notes.push(`The lab has ended: ${s.closed}.`);
    if (s.lost) notes.push(`${s.lost}× the kernel's events came too fast; the tables were read again.`);
    const text = notes.join("\n");
    if (notice.textContent !== text) notice.textContent = text;
    notice.hidden = !text;
  }
  function say() {
    pending = null;
    said = Date.now();
    words.textContent = model.get("snapshot").summary ?? "";
  }
  function speak() { // at most one announcement in three seconds
    pending ??= setTimeout(say, Math.max(0, said + 3000 - Date.now()));
  }
  const beat = () => { lastBeat = Date.now(); status(); };
  for (const trait of ["beat", "snapshot", "status"]) model.on(`change:${trait}`, beat);
  model.on("change:snapshot", speak);
  const timer = setInterval(status, 1000);
  status();
  say();
  const unlink = linked(root);
  const end = () => {
    clearInterval(timer);
    clearTimeout(pending);
    for (const trait of ["beat", "snapshot", "status"]) model.off(`change:${trait}`, beat);
    model.off("change:snapshot", speak);
    unlink();
  };
  return { root, body, end };
}
