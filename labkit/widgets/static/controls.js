// Icons, choices, and where and when in words.

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
  const style = `lk-icon lk-icon-${name}`;
  const svg = draw(parent, "svg", { viewBox: "0 0 16 16", class: style, "aria-hidden": "true" });
  draw(svg, "path", { d: ICONS[name] });
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
