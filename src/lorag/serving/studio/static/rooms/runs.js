// Comparisons: the list of all, one of them, and the start of a new one.

import { get, post, reportAddress } from "../api.js";
import { announce, count, failure, field, h, head, put, redraw, select, when } from "../dom.js";
import { accuracyPlot, shares } from "./plot.js";
import { capital, drawnStages, watch, WATCH_MS } from "./stages.js";

const ARMS = ["base", "finetuned", "retrieval", "both"];
const CHOSEN = { retrieval: "retrieval", finetuning: "finetuned", both: "both" };
const STATES = {
  running: "Running",
  finished: "Finished",
  stopped: "Stopped",
  failed: "Failed",
  unfinished: "Unfinished",
};
const LEAD =
  "A comparison asks the same questions of the base model, a finetune, retrieval and both, and says which to use.";

const state = (run) => h("span", { class: `state ${run.state}` }, STATES[run.state]);
const runLink = (run) => `#/run/${encodeURIComponent(run)}`;

/** The arms that are compared, in the last phase that was measured. */
function lastArms(run) {
  const phase = run.arms.some((arm) => arm.phase === "after") ? "after" : "before";
  return ARMS.flatMap((name) => run.arms.filter((arm) => arm.arm === name && arm.phase === phase));
}

export async function showRuns(room) {
  const runs = await get("runs");
  const start = h("a", { class: "button primary", href: "#/new" }, "New comparison");
  put(room, head("Runs", LEAD, start));
  if (runs.length === 0) {
    put(
      room,
      h(
        "div",
        { class: "empty" },
        h("h2", null, "No comparison yet"),
        h(
          "p",
          null,
          "Start one on your own documents and questions, or on the documents of an invented company that come with Lorag.",
        ),
      ),
    );
    return;
  }
  put(
    room,
    h(
      "ul",
      { class: "runs" },
      runs.map((run) => h("li", null, listed(run))),
    ),
  );
}

function listed(run) {
  const done = run.state === "finished";
  const about = [
    h("span", null, run.name),
    h("span", null, when(run.changed)),
    done && h("span", null, count(run.questions, "question")),
  ];
  return h(
    "a",
    { class: "run", href: runLink(run.run) },
    h(
      "div",
      null,
      done ? h("p", { class: "what" }, capital(run.verdict.choice)) : h("p", { class: "what" }, state(run)),
      done && h("p", { class: "sentence" }, run.verdict.sentence),
      h("p", { class: "meta" }, about),
    ),
    done && shares(lastArms(run), CHOSEN[run.verdict.choice]),
  );
}

export async function showRun(room, name, ending) {
  const run = await get("run", { run: name });
  put(room, h("a", { class: "back", href: "#/runs" }, "All runs"));
  const top = h("div");
  const body = h("div");
  put(room, top, body);
  if (run.state === "finished") {
    top.append(head(run.name, when(run.changed), ...finishedActions(run)));
    await showFinished(body, run);
  } else {
    await showUnfinished(top, body, run, ending);
  }
}

function finishedActions(run) {
  return [
    run.has_report &&
      h(
        "a",
        { class: "button primary", href: reportAddress(run.run), target: "_blank", rel: "noopener" },
        "Open the report",
      ),
    h("a", { class: "button", href: `#/review/${encodeURIComponent(run.run)}` }, "Review answers"),
  ].filter(Boolean);
}

async function showFinished(body, run) {
  const { verdict } = run;
  const reasons = verdict.reasons.map((reason) => h("li", null, reason));
  body.append(
    h(
      "div",
      { class: `card verdict ${verdict.choice}` },
      h("strong", null, capital(verdict.choice)),
      h("p", null, verdict.sentence),
      h("details", { class: "small" }, h("summary", null, "Reasons"), h("ul", null, reasons)),
    ),
    h(
      "section",
      { class: "block" },
      h("h2", null, heading(run)),
      accuracyPlot(lastArms(run), CHOSEN[verdict.choice]),
    ),
    await besideSection(run),
    await answersSection(run),
  );
}

/** The run beside another one, which is chosen there. */
async function besideSection(run) {
  const others = (await get("runs")).filter((other) => other.state === "finished" && other.run !== run.run);
  if (others.length === 0) return "";
  const place = h("div");
  const choose = select("other", [["", "None"], ...others.map((other) => [other.run, other.name])], "", {
    class: "filter",
    "aria-label": "Run to compare with this one",
  });
  choose.addEventListener("change", () => {
    const other = others.find((one) => one.run === choose.value);
    place.replaceChildren(other ? h("div", { class: "beside" }, [run, other].map(inShort)) : "");
  });
  return h(
    "section",
    { class: "block" },
    h("div", { class: "between" }, h("h2", null, "Compare with another run"), choose),
    place,
  );
}

function inShort(run) {
  return h(
    "div",
    null,
    h("h3", null, run.name, ": ", run.verdict.choice),
    h("p", { class: "small soft" }, `${heading(run)}, ${count(run.questions, "question")}`),
    accuracyPlot(lastArms(run), CHOSEN[run.verdict.choice]),
  );
}

function heading(run) {
  return run.arms.some((arm) => arm.phase === "after") ? "Right answers after the update" : "Right answers";
}

async function answersSection(run) {
  const answers = await get("run/answers", { run: run.run });
  const phase = run.arms.some((arm) => arm.phase === "after") ? "after" : "before";
  const list = h("ul", { class: "answers" });
  const kinds = [
    ["split", "Where the arms disagree"],
    ["wrong", "Where no arm is right"],
    ["all", "All questions"],
  ];
  const choose = select("kind", kinds, "split", { class: "filter", "aria-label": "Questions to show" });
  const draw = () => {
    const shown = answers
      .map((entry) => ({
        ...entry,
        replies: ARMS.flatMap((arm) => entry.replies.filter((r) => r.arm === arm && r.phase === phase)),
      }))
      .filter(({ replies }) => {
        const right = replies.filter((reply) => reply.correct).length;
        if (choose.value === "split") return right > 0 && right < replies.length;
        return choose.value === "all" || right === 0;
      });
    list.replaceChildren(...shown.map((entry) => answered(entry, phase)));
    if (shown.length === 0) list.append(h("li", { class: "soft" }, "None."));
    announce(count(shown.length, "question"));
  };
  choose.addEventListener("change", draw);
  draw();
  return h(
    "section",
    { class: "block" },
    h("div", { class: "between" }, h("h2", null, "Answers"), choose),
    list,
  );
}

function answered(entry, phase) {
  const references =
    entry[phase].length > 0
      ? `Reference: ${entry[phase].flat().join(" · ")}`
      : "The documents do not answer this: a refusal is right.";
  const replies = entry.replies.map((reply) =>
    h(
      "div",
      null,
      h(
        "p",
        { class: "small" },
        h(
          "span",
          { class: `mark ${reply.correct ? "right" : "wrong"}` },
          reply.correct ? "✓ right" : "✗ wrong",
        ),
        ` · ${reply.arm}`,
      ),
      h("p", null, reply.text || reply.error || "(empty)"),
    ),
  );
  return h(
    "li",
    null,
    h("h3", null, entry.question),
    h("p", { class: "small soft" }, references),
    h("div", { class: "replies" }, replies),
  );
}

/** Shows a run that is not finished, and asks how far it is until it is. */
async function showUnfinished(top, body, first, ending) {
  let run = first;
  let next = 0;
  let shown = null;
  let drawing = Promise.resolve();
  const problem = h("div", { class: "alerts" });
  const lost = h("div", { class: "alerts" });
  const stages = h("ul", { class: "stages" });
  const log = h("pre", { class: "log", tabindex: "0", role: "region", "aria-label": "Output of the run" });
  const replies = h("ul", { class: "answers" });
  const answers = h("section", { class: "block" }, h("h2", null, "Answers as they come"), replies);
  const drawn = h("section", null, h("h2", null, "Progress"), stages);
  body.append(lost, problem, drawn, answers, h("section", { class: "block" }, h("h2", null, "Output"), log));
  const act = async (path) => {
    try {
      await post(path, { run: run.run });
      problem.replaceChildren();
    } catch (error) {
      problem.replaceChildren(failure(error));
    }
    await draw();
  };
  // One at a time: two would ask for the same rows.
  const draw = () => {
    drawing = drawing.then(drawNow, drawNow);
    return drawing;
  };
  const drawNow = async () => {
    run = await get("run", { run: first.run });
    if (ending.aborted) return;
    if (run.state !== shown) {
      shown = run.state;
      redraw(top, head(run.name, state(run), ...actions(run, act)));
      announce(STATES[run.state]);
    }
    stages.replaceChildren(...drawnStages(run.stages, run.state));
    drawn.hidden = run.stages.length === 0;
    const lines = run.lines.join("\n") || "Nothing yet.";
    if (log.textContent !== lines) {
      log.textContent = lines;
      log.scrollTop = log.scrollHeight;
    }
    const found = await get("run/rows", { run: first.run, after: next });
    next = found.next;
    replies.prepend(...found.rows.reverse().map(arrived));
    answers.hidden = replies.children.length === 0;
  };
  await draw();
  const again = async () => {
    await draw();
    if (run.state !== "finished") return run.state === "running" ? WATCH_MS : 5 * WATCH_MS;
    redraw(top, head(run.name, when(run.changed), ...finishedActions(run)));
    body.replaceChildren();
    await showFinished(body, run);
    return null;
  };
  watch(again, lost, ending);
}

function actions(run, act) {
  const button = (text, path, kind) =>
    h("button", { type: "button", class: kind, onclick: () => act(path) }, text);
  if (run.state === "running") return [button("Stop", "run/stop")];
  if (run.can_resume) return [button("Resume", "run/resume", "primary")];
  return [];
}

function arrived(row) {
  return h(
    "li",
    null,
    h("h3", null, row.question),
    h("p", { class: "small soft" }, row.phase === "after" ? `${row.arm}, after the update` : row.arm),
    h("p", { class: "passage-text" }, row.text || row.error || "(empty)"),
  );
}

export async function showNew(room) {
  const files = await get("files");
  const none = [["", "None"]];
  const rows = (name) => select(name, [...none, ...files.rows], "");
  const problem = h("div", { class: "alerts" });
  const demo = h(
    "button",
    { type: "button", onclick: () => start({ demo: true, model: form.elements.model.value }) },
    "Run the demo",
  );
  const form = h(
    "form",
    { onsubmit: submit },
    h(
      "div",
      { class: "fields" },
      field(
        "Documents",
        select("documents", [["", "Choose a folder"], ...files.folders], "", { required: true }),
        "A folder of pdf, office, html, text or mail files.",
      ),
      field(
        "Questions",
        select("questions", [["", "Choose a file"], ...files.rows], "", { required: true }),
        "A JSONL of question, answers and doc_ids.",
      ),
      field(
        "Training conversations",
        rows("train"),
        "Without them, they are made from the questions’ other wordings or the documents.",
      ),
      field(
        "Documents after an update",
        select("update", [...none, ...files.folders], ""),
        "Shows what stays right when documents change.",
      ),
      field(
        "Model",
        h("input", { name: "model", placeholder: "the default", autocomplete: "off", spellcheck: "false" }),
        ["A name that ", h("code", null, "lorag models list"), " shows, a folder, or OWNER/NAME of a hub."],
      ),
      field(
        "Name of the run",
        h("input", { name: "name", autocomplete: "off", maxlength: "60", placeholder: "the date and time" }),
      ),
      field(
        "Questions to ask",
        h("input", { name: "limit", type: "number", min: "1", placeholder: "2000" }),
        "A fixed sample of that many.",
      ),
      field(
        "Minutes for the finetune",
        h("input", { name: "budget", type: "number", min: "0.1", step: "0.1", placeholder: "20" }),
        "To choose, train and update it.",
      ),
    ),
    h("div", { class: "actions block" }, h("button", { class: "primary" }, "Start the comparison"), demo),
  );
  async function start(given) {
    problem.replaceChildren();
    try {
      const { run } = await post("runs", given);
      location.hash = runLink(run);
    } catch (error) {
      problem.replaceChildren(failure(error));
      problem.scrollIntoView({ block: "nearest" });
    }
  }
  function submit(event) {
    event.preventDefault();
    start(Object.fromEntries(new FormData(form)));
  }
  put(
    room,
    h("a", { class: "back", href: "#/runs" }, "All runs"),
    head(
      "New comparison",
      "It runs in its own process: closing this page or stopping the server does not end it.",
    ),
    problem,
    form,
  );
  if (files.folders.length === 0) {
    problem.append(
      h(
        "p",
        { class: "note" },
        "There is no folder of documents here yet. Add some in Documents, or run the demo, which brings its own.",
      ),
    );
  }
}
