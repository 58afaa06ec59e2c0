// Training data: each row as it is read, with what is learned marked, and the rows that are refused.

import { get, upload } from "../api.js";
import { count, failure, field, h, head, put, redraw, select } from "../dom.js";

export async function showData(room, given) {
  const { rows: kinds } = await get("files");
  const problem = h("div", { class: "alerts" });
  put(
    room,
    head(
      "Data",
      "Training conversations as they are read. What the model learns to say is marked.",
      ...addFile(problem),
    ),
    problem,
  );
  if (kinds.length === 0) {
    const none = "There is no JSONL, JSON, CSV or TSV file in this folder yet.";
    put(room, h("div", { class: "empty" }, h("p", null, none)));
    return;
  }
  const chosen = kinds.includes(given)
    ? given
    : (kinds.find((name) => /train|chat|conversation/.test(name)) ?? kinds[0]);
  const file = select("file", kinds, chosen);
  const refused = h("input", { type: "checkbox", name: "refused" });
  const checked = h("div");
  const rows = h("div", { class: "block" });
  const draw = () => {
    drawCheck(checked, file.value);
    drawRows(rows, file.value, refused.checked, 0);
  };
  file.addEventListener("change", draw);
  refused.addEventListener("change", () => drawRows(rows, file.value, refused.checked, 0));
  put(
    room,
    h(
      "div",
      { class: "settings" },
      field("File", file),
      h("label", { class: "check" }, refused, "Refused rows only"),
    ),
    checked,
    rows,
  );
  draw();
}

/** The button by which a file of rows is added, and what it opens. */
function addFile(problem) {
  const input = h("input", {
    type: "file",
    hidden: true,
    accept: ".jsonl,.json,.csv,.tsv",
    "aria-label": "File to add",
    onchange: add,
  });
  const button = h("button", { type: "button", onclick: () => input.click() }, "Add a file");
  async function add() {
    try {
      const { file } = await upload(input.files[0], "data/files");
      location.hash = `#/data/${encodeURIComponent(file)}`;
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
    input.value = "";
  }
  return [button, input];
}

async function drawCheck(place, file) {
  place.dataset.asked = file;
  try {
    const report = await get("data/check", { file });
    if (place.dataset.asked !== file) return;
    const figures = [
      ["rows", report.rows],
      ["kept", report.kept],
      ["refused", report.rows - report.kept],
      ["repeated", report.repeated.rows],
      ["contradicting", report.contradicting.rows],
    ];
    place.replaceChildren(
      h(
        "dl",
        { class: "figures" },
        figures.map(([name, number]) =>
          h("div", null, h("dt", null, name), h("dd", null, number.toLocaleString("en"))),
        ),
      ),
      ...report.refused.map((finding) =>
        h("p", { class: "note bad" }, `${places(finding)}: ${finding.reason}`),
      ),
    );
    if (report.kept > 0) put(place, estimate(file, report.kept < report.rows));
  } catch (error) {
    place.replaceChildren(failure(error));
  }
}

/** The button that runs `lorag finetune --dry-run` on the file, which loads the model and times a few steps. */
function estimate(file, isRefused) {
  const told = h("p", { class: "small soft", "aria-live": "polite" });
  const button = h(
    "button",
    { type: "button", onclick: measure, disabled: isRefused },
    "Estimate the training",
  );
  if (isRefused) told.textContent = "A file with refused rows cannot be trained on; correct them first.";
  async function measure() {
    button.disabled = true;
    told.textContent = "Running lorag finetune --dry-run: it loads the model and times a few steps …";
    try {
      told.textContent = `lorag finetune --dry-run: ${(await get("data/estimate", { file })).takes}`;
    } catch (error) {
      told.textContent = error.message;
    }
    button.disabled = false;
  }
  return h("div", { class: "block" }, button, told);
}

/** "2 rows, in lines 3 and 7". */
function places({ rows, first }) {
  const lines = rows > first.length ? `${first.join(", ")}, …` : first.join(" and ");
  return `${count(rows, "row")}, in ${rows === 1 ? "line" : "lines"} ${lines}`;
}

/** A row in the template of the model, whose tokenizer takes seconds to load. */
async function drawSeen(place, file, number) {
  try {
    const tokens = await get("data/tokens", { file, row: number });
    if (!tokens)
      throw new Error("The default model is not on this machine yet; get it with `lorag models fetch`.");
    const row = [...tokens.example, ...tokens.text];
    const reason = tokens.refused[0]?.reason ?? `It is longer than ${tokens.max_tokens} tokens.`;
    if (row.length === 0) throw new Error(reason);
    place.replaceChildren(...row.map((part) => (part.supervised ? h("mark", null, part.text) : part.text)));
  } catch (error) {
    place.replaceChildren(error.message);
  }
}

async function drawRows(place, file, refused, start) {
  const asked = `${file} ${refused} ${start}`;
  place.dataset.asked = asked;
  try {
    const found = await get("data/rows", { file, refused, start });
    if (place.dataset.asked !== asked) return;
    const end = start + found.rows.length;
    const turn = (text, to, possible) =>
      h(
        "button",
        { type: "button", disabled: !possible, onclick: () => drawRows(place, file, refused, to) },
        text,
      );
    redraw(
      place,
      h("h2", null, refused ? count(found.total, "refused row") : count(found.total, "row")),
      h(
        "ol",
        { class: "rows" },
        found.rows.map((row) => drawn(row, file)),
      ),
    );
    if (found.total > found.page) {
      put(
        place,
        h(
          "div",
          { class: "pages" },
          turn("Earlier", Math.max(0, start - found.page), start > 0),
          h("span", { class: "small soft number" }, `${start + 1} to ${end} of ${found.total}`),
          turn("Later", end, end < found.total),
        ),
      );
    }
  } catch (error) {
    place.replaceChildren(failure(error));
  }
}

function drawn(row, file) {
  const line = h("span", { class: "small soft number" }, `line ${row.line}`);
  if (row.reason) return h("li", null, line, h("p", { class: "wrong" }, `Refused: ${row.reason}`));
  const said = row.messages.flatMap((message) => [
    h("dt", null, message.role),
    h("dd", null, message.learned ? h("span", { class: "learned" }, message.content) : message.content),
  ]);
  const text = h(
    "pre",
    { class: "log", tabindex: "0", role: "region", "aria-label": "As the model sees it" },
    "Reading …",
  );
  const seen = h("details", null, h("summary", { class: "small" }, "As the model sees it"), text);
  seen.addEventListener("toggle", () => drawSeen(text, file, row.row), { once: true });
  return h("li", null, line, h("div", null, h("dl", null, said), seen));
}
