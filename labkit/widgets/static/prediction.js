// A prediction: radio buttons or checkboxes, a lock, then prediction beside evidence. What is in
// the lab's topology can be picked there, too: each such place stands for one of the choices.

const PATIENCE = 4000; // ms after which a kernel that has not locked is said not to answer
const COLUMNS = ["choice", "your prediction", "what was seen"];
let views = 0;

function render({ model, el }) {
  // Or a key would act on the notebook, and an arrow move among its cells.
  const silent = { "data-lm-suppress-shortcuts": "true" };
  const root = make(el, "section", "lk lk-predict", null, silent);
  const head = make(root, "header", "lk-head");
  make(head, "span", "lk-title", "Predict");
  const badge = make(head, "span", "lk-badge");
  const body = make(root, "div", "lk-body");
  const spoken = make(root, "p", "lk-words", null, { "aria-live": "polite" });
  const group = `labkit-prediction-${(views += 1)}`;
  const form = make(body, "form");
  const fields = make(form, "fieldset");
  make(fields, "legend", "", model.get("question"));
  const { layout, targets = {} } = model.get("diagram");
  const places = new Map(); // the drawing's groups, each with its place among the choices
  const inputs = model.get("choices").map((text) => {
    const label = make(fields, "label", "lk-choice");
    const type = model.get("several") ? "checkbox" : "radio";
    const input = make(label, "input", "", null, { type, name: group, ...silent });
    make(label, "span", "", text);
    return input;
  });
  if (layout) {
    // The choices below say the same.
    const picture = make(fields, "div", "lk-scroll lk-pick", null, { "aria-hidden": "true" });
    fields.insertBefore(picture, fields.children[1]);
    drawTopology(picture, layout);
    for (const group of picture.querySelectorAll("[data-place]")) {
      if (group.dataset.place in targets) places.set(group, targets[group.dataset.place]);
    }
    picture.addEventListener("click", ({ target }) => {
      const input = inputs[places.get(target.closest("[data-place]"))];
      if (!input || input.disabled) return;
      input.checked = input.type === "radio" || !input.checked;
      choose();
    });
  }
  const acts = make(form, "div", "lk-acts");
  const submit = make(acts, "button", "lk-lock", "Lock it in", { type: "submit", ...silent });
  const note = make(acts, "span", "lk-note-line", null, { role: "status" });
  const result = make(body, "div", "lk-outcome");
  let waiting = null;

  function choose() {
    model.set("chosen", inputs.flatMap((input, index) => (input.checked ? [index] : [])));
    model.save_changes();
    update();
  }
  function lock(event) {
    event.preventDefault();
    if (model.get("locked") || submit.disabled) return;
    model.set("wish", model.get("wish") + 1);
    model.save_changes();
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      note.textContent = "The notebook kernel does not answer. It may be busy or have restarted: "
        + "then run this cell again.";
    }, PATIENCE);
  }

  function update() {
    const locked = model.get("locked");
    const outcome = model.get("outcome");
    const graded = Boolean(outcome.answer);
    const chosen = new Set(model.get("chosen"));
    inputs.forEach((input, index) => {
      input.checked = chosen.has(index);
      input.disabled = locked || graded;
    });
    for (const [group, index] of places) {
      group.classList.toggle("lk-picked", chosen.has(index));
      group.classList.toggle("lk-pickable", !locked && !graded);
    }
    submit.disabled = locked || chosen.size === 0;
    submit.textContent = locked ? "Locked" : "Lock it in";
    const many = model.get("several") ? "Choose one or more" : "Choose";
    const open = `${many}${places.size ? ", here or in the picture" : ""}, then lock.`;
    note.textContent = model.get("note")
      || (locked ? "Now run the next cell and see." : chosen.size ? "Lock it before you go on." : open);
    badge.textContent = graded ? outcome.answer : locked ? "locked" : "open";
    form.hidden = graded;
    result.hidden = !graded;
    if (graded) show(outcome, chosen);
  }

  function show(outcome, chosen) {
    result.replaceChildren();
    const seen = new Set(outcome.seen);
    const table = make(make(result, "div", "lk-table"), "table");
    make(table, "caption", "", model.get("question"));
    const heading = make(make(table, "thead"), "tr");
    for (const text of COLUMNS) make(heading, "th", "", text, { scope: "col" });
    const rows = make(table, "tbody");
    model.get("choices").forEach((text, index) => {
      const row = make(rows, "tr");
      const [mine, real] = [chosen.has(index), seen.has(index)];
      if (mine || real) row.dataset.agree = mine === real ? "yes" : "no";
      [text, mine ? "● predicted" : "–", real ? "● seen" : "–"].forEach((words, place) => {
        make(row, "td", "", words, { "data-column": COLUMNS[place] });
      });
    });
    make(result, "p", "lk-grade", outcome.words);
    const list = make(result, "ul", "lk-evidence");
    for (const text of outcome.evidence) make(list, "li", "", text);
    list.hidden = outcome.evidence.length === 0;
  }

  const locked = () => {
    clearTimeout(waiting);
    if (model.get("locked")) spoken.textContent = "Your prediction is locked.";
    update();
  };
  const graded = () => {
    spoken.textContent = model.get("outcome").words ?? "";
    update();
  };
  const noted = () => { clearTimeout(waiting); update(); };
  form.addEventListener("change", choose);
  form.addEventListener("submit", lock);
  const forget = listen(model, {
    chosen: update, locked, outcome: graded, note: noted, wish: update,
  });
  update();
  return () => {
    clearTimeout(waiting);
    forget();
  };
}

export default { render };
