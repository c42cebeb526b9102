// The pages' own script: puts each recorded view where it was displayed. It asks nobody for anything.

(() => {
  // What is wider or higher than its place can be reached with Tab, to be scrolled by keys.
  function reach(box) {
    const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    if (scrolls === box.hasAttribute("tabindex")) return;
    if (!scrolls) for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    else {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", box.matches(".code") ? "code" : box.matches(".lk-table") ? "table" : "output");
    }
  }
  const watcher = new ResizeObserver((entries) => entries.forEach(({ target }) => reach(target)));
  for (const box of document.querySelectorAll(".code, pre.output, .scroll")) watcher.observe(box);

  const holder = document.getElementById("labkit-data");
  if (!holder) return;
  const views = JSON.parse(holder.textContent);
  const predictions = new Map(); // model id → the places that the reader has locked

  // A view's values after a cell; before it, where `before`.
  function valuesAt(view, cell, before = false) {
    let values = view.traits;
    for (const [number, later] of Object.entries(view.later)) {
      if (before ? Number(number) < cell : Number(number) <= cell) values = { ...view.traits, ...later };
    }
    return { ...values };
  }

  function graded(id, view, values) {
    const chosen = predictions.get(id);
    return chosen ? { ...values, chosen, locked: true, outcome: view.outcomes[chosen.join(",")] ?? values.outcome } : values;
  }

  function mount(place) {
    if (place.dataset.mounted) return;
    place.dataset.mounted = "true";
    const id = place.dataset.view;
    const cell = Number(place.dataset.at);
    const view = views[id];
    const changed = "changed" in place.dataset;
    const now = valuesAt(view, cell);
    const values = graded(id, view, changed ? valuesAt(view, cell, true) : now);
    const model = stand(values);
    place.replaceChildren();
    LABKIT_VIEWS[view.kind]({ model, el: place });
    place.firstElementChild.setAttribute("role", "group"); // a page of so many views needs fewer landmarks
    for (const box of place.querySelectorAll(".lk-table")) watcher.observe(box);
    if (changed) { // first as it was, so that what this cell changed is marked
      Object.assign(values, now); // all of it, before any is told
      for (const name of Object.keys(now)) model.set(name, now[name]);
    }
    if (view.kind === "PredictionView" && !now.outcome.answer) model.on("change:wish", () => lock(id, model));
  }

  // A prediction is locked here, and graded where the lesson grades it.
  function lock(id, model) {
    predictions.set(id, [...model.get("chosen")].sort((a, b) => a - b));
    model.set("note", "Read on: the experiment below was really run, and its outcome is shown beside your prediction.");
    model.set("locked", true);
    for (const fold of document.querySelectorAll(`[data-graded="${CSS.escape(id)}"]`)) {
      const place = fold.querySelector(".view");
      fold.firstElementChild.textContent = "What was seen, beside your prediction";
      delete place.dataset.mounted;
      fold.open = true;
      mount(place);
    }
  }

  // What is folded is drawn when it is opened: until then it has no size.
  for (const place of document.querySelectorAll(".view")) {
    const fold = place.closest("details");
    if (!fold) mount(place);
    else fold.addEventListener("toggle", () => { if (fold.open) mount(place); });
  }
})();
