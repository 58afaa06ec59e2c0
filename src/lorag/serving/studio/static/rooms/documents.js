// Documents: dropped in, listed with their state, opened in passages, and searched.

import { get, post, remove, upload } from "../api.js";
import { announce, count, failure, h, head, put, redraw } from "../dom.js";
import { openPassages } from "./passages.js";
import { drawnStages, watch, WATCH_MS } from "./stages.js";

const VIA = {
  dense: "by meaning",
  lexical: "by words",
  hybrid: "by both",
  reranked: "reranked",
  second: "second search",
  evidence: "given",
};

export async function showDocuments(room, given, ending) {
  const found = await get("documents");
  const list = h("div");
  const lost = h("div", { class: "alerts" });
  const stages = h("ul", { class: "stages" });
  const loads = h("ul", { class: "loads", "aria-live": "polite", "aria-label": "Uploads" });
  const button = h("button", { type: "button", onclick: readOrStop }, "Read the folder");
  let isRunning = false;
  let shown = "";

  function draw(now) {
    const { state, ...reading } = now.reading;
    const wasRunning = isRunning;
    isRunning = state === "running";
    button.textContent = isRunning ? "Stop reading" : "Read the folder";
    stages.replaceChildren(...(isRunning ? drawnStages(reading.stages, state) : []));
    if (wasRunning && !isRunning) loads.prepend(load(found.folder, ...outcome(state, reading)));
    const listed = JSON.stringify([now.documents, now.total, now.unread.length > 0]);
    if (listed !== shown) drawList(list, now, loads, refresh);
    shown = listed;
    list.querySelector(".unread")?.replaceChildren(...drawnUnread(now));
    if (isRunning && !wasRunning) watch(again, lost, ending);
  }

  async function again() {
    await refresh();
    return isRunning ? WATCH_MS : null;
  }

  async function refresh() {
    draw(await get("documents"));
  }

  async function readOrStop() {
    try {
      await post(isRunning ? "documents/stop" : "documents/read");
      await refresh();
    } catch (error) {
      loads.prepend(load(found.folder, error.message, "wrong"));
    }
  }

  put(
    room,
    head("Documents", `Files you add go into ${found.folder}/ and are searchable at once.`, button),
    lost,
    dropZone(found, (files) => take(files, found, loads, refresh)),
    stages,
    loads,
    searchSection(),
    h("section", { class: "block" }, list),
  );
  draw(found);
}

/** What came of reading the folder, and whether that is bad news. */
function outcome(state, reading) {
  if (state === "stopped") return ["Stopped: nothing was added."];
  if (state !== "finished")
    return [reading.reason || "Reading ended early; read the folder again.", "wrong"];
  const said = `${reading.added} added, ${reading.updated} updated, ${count(reading.refused, "file")} refused`;
  return [[said, ...reading.notes].join("\n")];
}

function load(name, said, kind) {
  return h("li", null, h("strong", null, name), h("span", { class: kind ?? "soft" }, said));
}

function dropZone(found, take) {
  const input = h("input", {
    type: "file",
    id: "files",
    multiple: true,
    onchange: () => take([...input.files]),
  });
  const most = Math.round(found.limits.bytes / 1e6);
  const kinds = found.limits.suffixes
    .filter((suffix) => !suffix.startsWith(".json"))
    .map((suffix) => suffix.slice(1));
  const zone = h(
    "div",
    { class: "drop" },
    h("p", null, "Drop files here, or ", h("label", { for: "files" }, "choose them"), input),
    h("p", { class: "small soft" }, `${kinds.join(", ")}; up to ${most} MB each`),
  );
  const over = (event) => {
    event.preventDefault();
    zone.classList.toggle("over", event.type === "dragover");
  };
  zone.addEventListener("dragover", over);
  zone.addEventListener("dragleave", over);
  zone.addEventListener("drop", (event) => {
    over(event);
    take([...event.dataTransfer.files]);
  });
  return zone;
}

/** Uploads one file after the other; each says what became of it. */
async function take(files, found, loads, refresh) {
  if (files.length > found.limits.documents) {
    loads.prepend(
      load(
        count(files.length, "file"),
        `At most ${found.limits.documents.toLocaleString("en")} documents are accepted; choose fewer files.`,
        "wrong",
      ),
    );
    return;
  }
  for (const file of files) {
    const entry = load(file.name, "Reading …");
    loads.prepend(entry);
    try {
      if (file.size > found.limits.bytes)
        throw new Error(`Larger than ${Math.round(found.limits.bytes / 1e6)} MB; split it.`);
      const done = await upload(file);
      entry.replaceWith(load(file.name, [`Read: ${done.result}`, ...done.notes].join("\n")));
    } catch (error) {
      entry.replaceWith(load(file.name, `Refused. ${error.message}`, "wrong"));
    }
  }
  await refresh();
}

function searchSection() {
  const query = h("input", {
    type: "search",
    "aria-label": "Search the passages",
    placeholder: "Search the passages",
  });
  const hits = h("ol", { class: "hits" });
  const submit = async (event) => {
    event.preventDefault();
    if (!query.value.trim()) return;
    try {
      const found = await post("search", { query: query.value });
      hits.replaceChildren(...found.map(hit));
      if (found.length === 0) hits.replaceChildren(h("li", { class: "soft" }, "No passage fits."));
      announce(count(found.length, "passage"));
    } catch (error) {
      hits.replaceChildren(failure(error));
    }
  };
  return h(
    "section",
    { class: "block" },
    h("h2", null, "Search"),
    h("form", { class: "search", role: "search", onsubmit: submit }, query, h("button", null, "Search")),
    hits,
  );
}

function hit(found) {
  const where = [found.document_id, found.place, found.heading].filter(Boolean).join(", ");
  return h(
    "li",
    null,
    h(
      "p",
      { class: "score" },
      found.score.toFixed(3),
      h("br"),
      h("span", { class: "small soft" }, VIA[found.via] ?? found.via),
    ),
    h(
      "div",
      null,
      h(
        "button",
        { type: "button", class: "plain", onclick: () => openPassages(found.document_id, found.start) },
        where,
      ),
      h("p", { class: "passage-text" }, found.text.replace(/\s+/g, " ").trim()),
    ),
  );
}

/** The files of the folder that are not in the index, each with its state. */
function drawnUnread(found) {
  const waits = found.reading.state === "running" ? "Waiting" : "Not read yet; choose “Read the folder”.";
  const rows = found.unread.map(({ name, reason, is_read: isRead }) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, name),
      reason
        ? h("td", { class: "wrong", colspan: "3" }, `Refused: ${reason}`)
        : h("td", { class: "soft", colspan: "3" }, isRead ? "Read; searchable when all are read" : waits),
    ),
  );
  const rest = found.unread_total - found.unread.length;
  if (rest === 0) return rows;
  const said = `${count(rest, "more file")} not listed.`;
  return [...rows, h("tr", null, h("td", { class: "soft", colspan: "4" }, said))];
}

function drawList(list, found, loads, refresh) {
  if (found.total === 0 && found.unread.length === 0) {
    redraw(list, h("div", { class: "empty" }, h("h2", null, "No documents yet")));
    return;
  }
  const drop = async (id) => {
    if (!confirm(`Remove ${id} and its file?`)) return;
    try {
      await remove(id);
    } catch (error) {
      loads.prepend(load(id, error.message, "wrong"));
    }
    await refresh();
  };
  const rows = found.documents.map((document) =>
    h(
      "tr",
      null,
      h(
        "th",
        { scope: "row" },
        h(
          "button",
          { type: "button", class: "plain", onclick: () => openPassages(document.id) },
          document.id,
        ),
      ),
      h("td", null, document.title),
      h("td", { class: "number" }, count(document.passages, "passage")),
      h(
        "td",
        { class: "number" },
        h(
          "button",
          {
            type: "button",
            class: "plain small",
            "aria-label": `Remove ${document.id}`,
            onclick: () => drop(document.id),
          },
          "Remove",
        ),
      ),
    ),
  );
  const cut =
    found.documents.length < found.total &&
    `The first ${found.documents.length.toLocaleString("en")} are listed.`;
  redraw(
    list,
    h("h2", null, `${count(found.total, "document")}, ${count(found.passages, "passage")}`),
    cut && h("p", { class: "small soft" }, cut),
    h(
      "table",
      { class: "stack" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, "File"),
          h("th", { scope: "col" }, "Title"),
          h("th", { scope: "col", class: "number" }, "Cut into"),
          h("td", null),
        ),
      ),
      h("tbody", { class: "unread" }),
      h("tbody", null, rows),
    ),
  );
}
