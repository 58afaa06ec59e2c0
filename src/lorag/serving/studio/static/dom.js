// Elements from plain values. What files and models said becomes text nodes and never markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  return put(element, ...children);
}

/** Adds the children to an element; null, undefined and false are left out. */
export function put(element, ...children) {
  element.append(
    ...children.flat().filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** An HTML element; properties that begin with "on" are listeners. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** The top of a room: its title, a line on what it is for, and what can be done in it. */
export function head(title, lead, ...actions) {
  document.title = `${title} · Lorag`;
  const text = h("div", null, h("h1", null, title), lead && h("p", { class: "lead" }, lead));
  return h("div", { class: "head" }, text, actions.length > 0 && h("div", { class: "actions" }, actions));
}

/** Replaces the children of `place`; where one of them had the focus, the first heading there gets it. */
export function redraw(place, ...children) {
  const held = place.contains(document.activeElement);
  place.replaceChildren();
  put(place, ...children);
  const heading = held && place.querySelector("h1, h2");
  if (heading) {
    heading.tabIndex = -1;
    heading.focus();
  }
}

/** A labelled control, with a hint below it. */
export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", null, label), control, hint && h("small", null, hint));
}

/** A choice among values; pairs of value and text are shown by their text. */
export function select(name, values, chosen, properties) {
  const options = values.map((entry) => {
    const [value, text] = Array.isArray(entry) ? entry : [entry, entry];
    return h("option", { value, selected: value === chosen }, text);
  });
  return h("select", { name, ...properties }, options);
}

/** A message that stays, for what went wrong. */
export function failure(error) {
  return h("p", { class: "note bad", role: "alert" }, error.message);
}

/** Says something to those who cannot see it. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** "1 passage", "2 passages". */
export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A share of 0 to 1 in percent, without the sign. */
export function percent(share) {
  return Math.round(100 * share).toString();
}

/** A time in seconds of the epoch, for people. */
export function when(seconds) {
  const format = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat("en-GB", format).format(new Date(1000 * seconds));
}

/** A stretch of seconds, for people. */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
