// A document in its passages, in a window over the room.

import { get } from "../api.js";
import { count, failure, h } from "../dom.js";

/** Opens the passages of a document; the one that begins at `start` is marked and in sight. */
export async function openPassages(id, start = null) {
  const dialog = document.getElementById("passages");
  const list = h("ol", { class: "passages" });
  const about = h("p", { class: "small soft" }, "");
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  dialog.replaceChildren(
    h("header", null, h("div", null, h("h2", { id: "passages-title" }, id), about), close),
    list,
  );
  dialog.showModal();
  try {
    const { passages } = await get(`passages/${id.split("/").map(encodeURIComponent).join("/")}`);
    about.textContent = count(passages.length, "passage");
    for (const passage of passages) list.append(drawn(passage, passage.start === start));
    list.querySelector(".cited")?.scrollIntoView({ block: "start" });
  } catch (error) {
    list.append(h("li", null, failure(error)));
  }
}

function drawn(passage, cited) {
  const where =
    [passage.place, passage.heading].filter(Boolean).join(" · ") ||
    `characters ${passage.start} to ${passage.end}`;
  return h(
    "li",
    { class: cited ? "cited" : null },
    h("p", { class: "small soft" }, cited ? `Cited · ${where}` : where),
    h("p", { class: "passage-text" }, passage.text.trim()),
  );
}
