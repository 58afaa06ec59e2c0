// Answers of a run, blind and in random order, marked with one key each.

import { get, post, reportAddress } from "../api.js";
import { announce, count, failure, field, h, head, put, redraw, select } from "../dom.js";

const MARKS = [
  ["r", "right", "Right"],
  ["p", "partly", "Partly"],
  ["w", "wrong", "Wrong"],
  ["u", "unsupported", "Unsupported"],
];
const HINT = "Unsupported: right, but adds something that the documents do not say.";
const COUNTS = [30, 60, 120];

export async function showReview(room, given, ending) {
  const runs = (await get("runs")).filter((run) => run.state === "finished");
  put(
    room,
    head(
      "Review",
      "Mark answers without knowing who gave them. Your marks show how far the metric can be trusted, and decide where it cannot.",
    ),
  );
  if (runs.length === 0) {
    put(room, h("div", { class: "empty" }, h("p", null, "There is no finished comparison to review yet.")));
    return;
  }
  const run = select(
    "run",
    runs.map((one) => [one.run, one.name]),
    runs.some((one) => one.run === given) ? given : runs[0].run,
  );
  const reviewer = h("input", {
    name: "reviewer",
    maxlength: "80",
    autocomplete: "name",
    value: localStorage.getItem("reviewer") ?? "me",
  });
  const amount = select(
    "count",
    COUNTS.map((number) => [String(number), `at least ${number}`]),
    "30",
  );
  const place = h("div", { class: "block" });
  const found = h("section", { class: "block" });
  const table = { items: [], at: 0, busy: false };
  const settings = () => ({ run: run.value, reviewer: reviewer.value.trim(), count: Number(amount.value) });

  async function load() {
    localStorage.setItem("reviewer", reviewer.value);
    wait(true);
    try {
      table.items = await get("review", settings());
      table.at = following(table.items, -1);
      draw();
      wait(false);
      await drawAgreement(found, settings());
    } catch (error) {
      wait(false);
      table.items = [];
      found.replaceChildren();
      place.replaceChildren(failure(error));
    }
  }

  /** Until the answers are there, no key marks one: what is loaded would not have the mark. */
  function wait(busy) {
    table.busy = busy;
    place.ariaBusy = String(busy);
  }

  function draw() {
    const shown = table.items[table.at];
    redraw(place, shown ? judged(shown, table, act) : done(table.items, run.value));
  }

  async function act(what) {
    const shown = table.items[table.at];
    if (what === "back") table.at = Math.max(0, table.at - 1);
    else if (what === "skip") table.at = following(table.items, table.at);
    else if (shown && !table.busy) {
      table.busy = true;
      try {
        await post("review", { ...settings(), number: table.at, sha: shown.sha, mark: what });
      } catch (error) {
        place.prepend(failure(error));
        return;
      } finally {
        table.busy = false;
      }
      shown.mark = what;
      table.at = following(table.items, table.at);
      if (table.items.filter((item) => item.mark).length % 10 === 0 || table.at === table.items.length)
        drawAgreement(found, settings());
    }
    draw();
    announce(
      table.items[table.at] ? `Answer ${table.at + 1} of ${table.items.length}` : "All answers are marked.",
    );
  }

  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.target.closest("input, select, textarea")) return;
    const mark = MARKS.find(([key]) => key === event.key.toLowerCase());
    const what = mark?.[1] ?? { b: "back", s: "skip" }[event.key.toLowerCase()];
    if (what && table.items.length > 0) {
      event.preventDefault();
      act(what);
    }
  };
  addEventListener("keydown", keys, { signal: ending });
  for (const control of [run, reviewer, amount]) control.addEventListener("change", load);
  put(
    room,
    h(
      "div",
      { class: "settings" },
      field("Run", run),
      field("Your name", reviewer),
      field("Answers", amount),
    ),
    place,
    found,
  );
  await load();
}

/** The next answer without a mark; the number of answers where all have one. */
function following(items, at) {
  const after = items.findIndex((item, place) => place > at && !item.mark);
  return after === -1 ? items.length : after;
}

function judged(shown, table, act) {
  const marked = table.items.filter((item) => item.mark).length;
  const buttons = MARKS.map(([key, mark, text]) =>
    h(
      "button",
      {
        type: "button",
        "aria-pressed": String(shown.mark === mark),
        "aria-keyshortcuts": key,
        onclick: () => act(mark),
      },
      text,
      h("kbd", { "aria-hidden": "true" }, key),
    ),
  );
  const references =
    shown.references.length > 0
      ? shown.references.join(" · ")
      : "None: the documents do not answer it, and refusing is right.";
  const passages = shown.passages.map((passage) =>
    h(
      "li",
      null,
      h("p", { class: "small soft" }, passage.document_id),
      h("p", { class: "passage-text" }, passage.text.trim()),
    ),
  );
  return h(
    "article",
    { class: "judge" },
    h(
      "p",
      { class: "small soft number" },
      `Answer ${table.at + 1} of ${table.items.length}, ${marked} marked`,
    ),
    h("progress", { class: "hidden", max: table.items.length, value: marked, "aria-label": "Marked" }),
    h("h2", null, shown.question),
    h("p", null, h("span", { class: "soft" }, "Reference: "), references),
    h("blockquote", null, shown.answer || "(empty)"),
    h("div", { class: "marks" }, buttons),
    h(
      "p",
      { class: "small soft" },
      HINT,
      " Keys: ",
      h("kbd", null, "b"),
      " back, ",
      h("kbd", null, "s"),
      " skip.",
    ),
    passages.length > 0 &&
      h("details", null, h("summary", null, "What the documents say"), h("ol", { class: "hits" }, passages)),
  );
}

function done(items, run) {
  const problem = h("div");
  const write = h("button", { type: "button", onclick: save }, "Add the marks to the report");
  async function save() {
    try {
      await post("review/report", { run });
      problem.replaceChildren(
        h(
          "p",
          { class: "small" },
          "Written. ",
          h("a", { href: reportAddress(run), target: "_blank", rel: "noopener" }, "Open the report"),
        ),
      );
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
  }
  return h(
    "div",
    { class: "empty" },
    h("h2", null, `${count(items.length, "answer")} marked`),
    h("p", null, "Choose more answers above for narrower intervals."),
    write,
    problem,
  );
}

async function drawAgreement(place, { run }) {
  const found = await get("review/agreement", { run });
  place.replaceChildren(h("h2", null, "Agreement"));
  put(
    place,
    found.refused.map((line) => h("p", { class: "note" }, `Not counted: ${line}`)),
  );
  if (found.rows.length === 0) {
    put(place, h("p", { class: "soft" }, `Shown after ${found.fewest} marks: fewer would say little.`));
    return;
  }
  const headings = found.headings.map((text, column) =>
    h("th", { scope: "col", class: column > 0 ? "number" : null }, text),
  );
  const rows = found.rows.map(([first, ...rest]) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, first),
      rest.map((cell, column) =>
        h("td", { class: "number", "data-label": found.headings[column + 1] }, cell),
      ),
    ),
  );
  put(
    place,
    found.sentences.map((sentence) => h("p", { class: "lead" }, sentence)),
    h(
      "table",
      { class: "stack agreement" },
      h("thead", null, h("tr", null, headings)),
      h("tbody", null, rows),
    ),
  );
}
