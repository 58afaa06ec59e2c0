// Questions to up to four assistants at once, their answers side by side with numbered sources.

import { ask, get } from "../api.js";
import { announce, failure, field, h, head, put, select } from "../dom.js";
import { openPassages } from "./passages.js";

const LOADING_MS = 3000;
const NAMES = { base: "Base", finetuned: "Finetuned", retrieval: "Retrieval", both: "Both" };

export async function showAsk(room, given, ending) {
  const known = await get("assistants");
  let histories = new Map();
  let running = null;
  const turns = h("div", { "aria-live": "off" });
  const adapter = select(
    "adapter",
    [
      ["", known.adapters.length > 0 ? "None" : "None here yet"],
      ...known.adapters.map((one) => [one.adapter, `${shortName(one.adapter)} on ${one.base}`]),
    ],
    known.adapters.at(-1)?.adapter ?? "",
  );
  const boxes = known.columns.map((column) => h("input", { type: "checkbox", name: column, value: column }));
  const needs = (column) => ({
    tuned: ["finetuned", "both"].includes(column),
    searched: ["retrieval", "both"].includes(column),
  });
  const settle = () => {
    for (const box of boxes) {
      const { tuned, searched } = needs(box.value);
      box.disabled = (tuned && !adapter.value) || (searched && !known.has_index);
      if (box.disabled) box.checked = false;
    }
  };
  settle();
  for (const box of boxes) box.checked = !box.disabled;
  adapter.addEventListener("change", () => {
    settle();
    for (const box of boxes) if (needs(box.value).tuned) box.checked = !box.disabled;
    running?.abort();
    histories = new Map();
  });
  const question = h("textarea", {
    name: "question",
    rows: "1",
    placeholder: "Ask something",
    "aria-label": "Question",
  });
  const button = h("button", { class: "primary" }, "Ask");
  const form = h("form", { class: "composer", onsubmit: submit }, question, button);
  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  ending.addEventListener("abort", () => running?.abort());

  async function submit(event) {
    event.preventDefault();
    if (running) {
      running.abort();
      return;
    }
    const asked = question.value.trim();
    const columns = boxes.filter((box) => box.checked).map((box) => box.value);
    if (!asked || columns.length === 0) return;
    running = new AbortController();
    button.textContent = "Stop";
    question.value = "";
    const grid = h("div", { class: "columns" });
    grid.style.setProperty("--columns", columns.length);
    const turn = h("article", { class: "turn" }, h("h2", null, asked), grid);
    turns.append(turn);
    turn.scrollIntoView({ block: "start" });
    const { signal } = running;
    const said = await Promise.all(
      columns.map((column) => answerIn(grid, column, asked, adapter.value, histories, signal)),
    );
    running = null;
    button.textContent = "Ask";
    announce(["The answers are complete.", ...said].join(" "));
    if ([document.body, button].includes(document.activeElement)) question.focus();
  }

  put(
    room,
    head(
      "Ask",
      "One question to the base model, a finetune, retrieval and both. Answers are streamed, and every source opens at its passage.",
    ),
    h(
      "div",
      { class: "settings" },
      h(
        "fieldset",
        null,
        h("legend", null, "Answer with"),
        boxes.map((box) => h("label", { class: "check" }, box, NAMES[box.value])),
      ),
      field("Adapter", adapter),
    ),
    !known.has_index &&
      h(
        "p",
        { class: "note" },
        "Retrieval needs documents: ",
        h("a", { href: "#/documents" }, "add some"),
        ".",
      ),
    turns,
    form,
  );
  question.focus();
}

/** One column of one turn, from the empty answer to its sources. Returns what there is to announce. */
async function answerIn(grid, column, asked, adapter, histories, signal) {
  const text = h("p", { class: "reply-text waiting" });
  const cell = h("div", null, h("h3", null, NAMES[column]), text);
  grid.append(cell);
  const history = histories.get(column) ?? [];
  const messages = [...history, { role: "user", content: asked }];
  const begun = performance.now();
  let said = "";
  const slow = setTimeout(() => announceLoading(cell, text), LOADING_MS);
  try {
    const done = await ask(
      column,
      { adapter, messages },
      (piece) => {
        said += piece;
        text.append(piece);
        cell.querySelector(".loading")?.remove();
      },
      signal,
    );
    histories.set(column, [...messages, { role: "assistant", content: said }]);
    text.replaceChildren(...withCitations(said, done.sources));
    put(cell, sourceList(done.sources), footing(done, performance.now() - begun));
    return `${NAMES[column]}: ${said}`;
  } catch (error) {
    if (error.name === "AbortError") put(cell, h("p", { class: "small soft" }, "Stopped."));
    else put(cell, failure(error));
    return "";
  } finally {
    clearTimeout(slow);
    cell.querySelector(".loading")?.remove();
    text.classList.remove("waiting");
  }
}

function announceLoading(cell, text) {
  if (!text.textContent)
    put(
      cell,
      h(
        "p",
        { class: "small soft loading" },
        "Waiting for the model. Its first answer takes longer while it loads.",
      ),
    );
}

/** ".lorag/runs/first/adapter" is "runs/first" for people. */
function shortName(adapter) {
  return adapter.replace(/^\.lorag\//, "").replace(/\/adapter$/, "");
}

function footing(done, milliseconds) {
  const words = [
    `${(milliseconds / 1000).toFixed(1)} s`,
    done.tokens !== null && `${done.tokens} tokens`,
    done.finish === "length" && "cut at the limit",
  ];
  return h("p", { class: "small soft number footing" }, words.filter(Boolean).join(" · "));
}

/** The text with each number in brackets as a button that opens the source of that number. */
function withCitations(text, sources) {
  return text.split(/(\[\d{1,2}\])/).map((part) => {
    const source = sources[Number(/^\[(\d+)\]$/.exec(part)?.[1]) - 1];
    return source
      ? h(
          "button",
          {
            type: "button",
            class: "plain cite",
            onclick: () => openPassages(source.document_id, source.start),
          },
          part,
        )
      : part;
  });
}

function sourceList(sources) {
  if (sources.length === 0) return null;
  const entries = sources.map((source, place) =>
    h(
      "li",
      null,
      h("span", { class: "soft number" }, `${place + 1}.`),
      h(
        "button",
        { type: "button", class: "plain", onclick: () => openPassages(source.document_id, source.start) },
        [source.document_id, source.place, source.heading].filter(Boolean).join(", "),
      ),
      h("span", { class: "soft number" }, source.score.toFixed(2)),
    ),
  );
  return h("ol", { class: "sources", "aria-label": "Sources" }, entries);
}
