// What the views share: building elements, linked highlighting, status, spoken changes.
// Everything that comes from the lab goes in as text (textContent), never as markup.

const SVG = "http://www.w3.org/2000/svg";
const STILL = window.matchMedia("(prefers-reduced-motion: reduce)");
const HEARTBEAT = 6500; // ms without a beat after which the notebook kernel is taken for gone
const SPEAK = 3000; // ms between two announcements to a screen reader, at least
const SAID = 5; // changes named in one announcement; the rest are counted

function add(parent, element, attributes, text) {
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  parent.append(element);
  return element;
}

function make(parent, name, className = "", text = null, attributes = {}) {
  const element = document.createElement(name);
  if (className) element.className = className;
  return add(parent, element, attributes, text);
}

function draw(parent, name, attributes = {}, text = null) {
  return add(parent, document.createElementNS(SVG, name), attributes, text);
}

function button(parent, name, text, label, act) {
  const named = label ? { "aria-label": label, title: label } : {};
  const made = make(parent, "button", name, text, { type: "button", ...named });
  made.addEventListener("click", act);
  return made;
}

const counted = (number, one, many) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

// Writing what is there already would cost the browser a layout.
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Calls functions when traits change, by the traits' names, until what it returns is called.
function listen(model, heard) {
  const all = Object.entries(heard);
  for (const [trait, hear] of all) model.on(`change:${trait}`, hear);
  return () => { for (const [trait, hear] of all) model.off(`change:${trait}`, hear); };
}

// The same host, port or MAC is lit in every view of the lab while one of them has it in hand.
// Others may take part: a "labkit-highlight" event on the document, its detail
// {lab, keys}, keys like "host:nginx-1", "port:veth9c02e56", "mac:02:42:…", "ip:172.17.0.2".
function linked(root, lab) {
  let current = "";
  const keysOf = (element) => element?.closest?.("[data-keys]")?.dataset.keys ?? "";
  const focused = () => (root.contains(document.activeElement) ? document.activeElement : null);
  const tell = (keys) => {
    if (keys === current) return;
    const detail = { lab: lab(), keys };
    document.dispatchEvent(new CustomEvent("labkit-highlight", { detail }));
  };
  let lit = false; // whether anything is: mostly nothing is, and then there is nothing to look for
  const relight = () => {
    const wanted = new Set(current.split(" ").filter(Boolean));
    if (!lit && wanted.size === 0) return;
    lit = wanted.size > 0;
    for (const element of root.querySelectorAll("[data-keys]")) {
      const { keys, holds = "" } = element.dataset; // what stands for others is lit with them
      const own = lit && `${keys} ${holds}`.split(" ").some((key) => wanted.has(key));
      if (element.classList.contains("lk-lit") !== own) element.classList.toggle("lk-lit", own);
    }
  };
  const light = (event) => {
    if (event.detail.lab !== lab()) return;
    current = event.detail.keys;
    relight();
  };
  root.addEventListener("mouseover", (event) => tell(keysOf(event.target) || keysOf(focused())));
  root.addEventListener("mouseleave", () => tell(keysOf(focused())));
  root.addEventListener("focusin", (event) => tell(keysOf(event.target)));
  root.addEventListener("focusout", () => tell(""));
  document.addEventListener("labkit-highlight", light);
  return { relight, end: () => document.removeEventListener("labkit-highlight", light) };
}

// Does what a key stands for, by its name, and keeps the key from the notebook and the page.
function press(event, acts) {
  if (!(event.key in acts) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  acts[event.key]();
}

// One stop for Tab; arrows, Home and End move among the items, which come with tabindex -1.
function roving(root, selector) {
  // What is in a closed <details> has a place on the page, but cannot take the focus.
  const takes = (element) => root.contains(element) && element.checkVisibility();
  const items = () => [...root.querySelectorAll(selector)].filter(takes);
  let last = null; // where the user was, if ever
  let stop = null;
  const refresh = () => {
    if (last && !takes(last)) last = null;
    const now = last ?? [...root.querySelectorAll(selector)].find(takes) ?? null;
    if (now === stop) return;
    stop?.setAttribute("tabindex", "-1");
    now?.setAttribute("tabindex", "0");
    stop = now;
  };
  root.addEventListener("keydown", (event) => {
    const all = items();
    const at = all.indexOf(document.activeElement);
    if (at < 0) return;
    const to = (place) => () => all[Math.max(0, Math.min(all.length - 1, place))].focus();
    press(event, {
      ArrowDown: to(at + 1), ArrowRight: to(at + 1), ArrowUp: to(at - 1), ArrowLeft: to(at - 1),
      Home: to(0), End: to(all.length - 1),
    });
  });
  root.addEventListener("focusin", (event) => {
    if (!event.target.matches(selector)) return;
    last = event.target;
    refresh();
  });
  return refresh;
}

// The frame of a view: its heading, its badges, its words for screen readers. `hear` listens to
// traits as `listen` does, until `end`, which takes the view away.
function frame(model, el, what) {
  const root = make(el, "section", "lk", null, { "data-lm-suppress-shortcuts": "true" });
  const head = make(root, "header", "lk-head");
  const title = make(head, "span", "lk-title");
  make(head, "span", "lk-what", what);
  const badge = make(head, "span", "lk-badge");
  const about = make(head, "span", "lk-words"); // the badge's tooltip, for who cannot see it
  const notice = make(root, "p", "lk-notice", null, { role: "status" });
  const body = make(root, "div", "lk-body");
  const summary = make(root, "p", "lk-words");
  const spoken = make(root, "p", "lk-words", null, { "aria-live": "polite" });

  const linking = linked(root, () => model.get("status").name);
  let lastBeat = Date.now();
  let gone = false;
  function status() {
    const s = model.get("status");
    put(title, s.name ?? "");
    const called = `${s.name}: ${what}`;
    if (root.getAttribute("aria-label") !== called) root.setAttribute("aria-label", called);
    gone = !s.still && !s.closed && !s.recorded && Date.now() - lastBeat > HEARTBEAT;
    root.classList.toggle("lk-ended", Boolean(s.closed) && !s.recorded);
    root.classList.toggle("lk-gone", gone);
    const kind = s.moment ? "moment" : s.recorded || s.played ? "recorded" : s.closed ? "ended" : gone ? "disconnected" : "live";
    if (badge.dataset.kind !== kind) badge.dataset.kind = kind;
    const live = kind === "live" && s.launcher ? `live, ${s.launcher}` : kind;
    // A view of a timeline says which instant it shows.
    put(badge, s.moment ? s.moment + (s.played ? ", recorded" : "") : live);
    const played = s.played ?? "";
    if (badge.title !== played) badge.title = played;
    put(about, played);
    const notes = [];
    if (s.error) notes.push(s.error);
    if (gone) notes.push("The notebook kernel has stopped or restarted. Run the cell again.");
    else if (s.closed && !s.recorded) notes.push(`The lab has ended: ${s.closed}.`);
    if (s.lost) {
      const many = counted(s.lost, "kernel event was", "kernel events were");
      notes.push(`${many} lost: they came too fast. The tables were read again.`);
    }
    if (s.frames_lost) {
      const many = counted(s.frames_lost, "frame was", "frames were");
      notes.push(`${many} not captured: they came too fast.`);
    }
    if (s.forgotten) {
      notes.push(`The log keeps the newest: ${s.forgotten.toLocaleString()} older events are forgotten.`);
    }
    const text = notes.join("\n");
    put(notice, text);
    if (notice.hidden !== !text) notice.hidden = !text;
  }

  // The log's clock, seen from the browser's: the message that took least time tells best.
  let skew = -Infinity;
  let frozen = 0;
  function clock() {
    skew = Math.max(skew, model.get("beat") - Date.now());
  }
  function now() { // where time does not run, it stands at the last that was heard
    const s = model.get("status");
    if (s.recorded || s.closed || s.moment) return model.get("beat");
    if (!gone) frozen = Date.now() + skew;
    return frozen;
  }

  let said = 0;
  let pending = null;
  let news = [];
  function speak() {
    pending = null;
    said = Date.now();
    const more = news.length > SAID ? `, and ${news.length - SAID} more changes` : "";
    spoken.textContent = news.slice(0, SAID).join(". ") + more;
    news = [];
  }
  function say(text) {
    news = [...news.filter((old) => old !== text), text];
    pending ??= setTimeout(speak, Math.max(200, said + SPEAK - Date.now()));
  }
  const describe = () => put(summary, model.get("words"));
  const heard = () => { lastBeat = Date.now(); clock(); status(); };
  const forget = [];
  const hear = (callbacks) => forget.push(listen(model, callbacks));
  hear({ beat: heard, status: heard, words: describe }); // every message from the kernel brings a beat
  const timer = setInterval(status, 1000);
  clock();
  status();
  describe();
  const end = () => {
    clearInterval(timer);
    clearTimeout(pending);
    for (const each of forget) each();
    linking.end();
    root.remove();
  };
  return { root, body, say, now, hear, relight: linking.relight, end };
}
