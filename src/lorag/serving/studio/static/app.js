// Which room is open: the part of the address behind "#". Each room draws itself, and returns how it is left.

import { failure, h } from "./dom.js";
import { showAsk } from "./rooms/ask.js";
import { showData } from "./rooms/data.js";
import { showDocuments } from "./rooms/documents.js";
import { showReview } from "./rooms/review.js";
import { showNew, showRun, showRuns } from "./rooms/runs.js";

const ROOMS = {
  runs: showRuns,
  run: showRun,
  new: showNew,
  ask: showAsk,
  documents: showDocuments,
  data: showData,
  review: showReview,
};
const BELONGS = { run: "runs", new: "runs" };
let leave = () => {};
let opened = 0;

async function open() {
  const [name, given] = location.hash.replace(/^#\/?/, "").split("/");
  const room = name in ROOMS ? name : "runs";
  const turn = ++opened;
  leave();
  leave = () => {};
  const main = document.getElementById("room");
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#/${BELONGS[room] ?? room}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const content = h("div");
  main.replaceChildren(content);
  main.setAttribute("aria-busy", "true");
  const ending = new AbortController();
  leave = () => ending.abort();
  try {
    await ROOMS[room](content, given ? decodeURIComponent(given) : "", ending.signal);
  } catch (error) {
    if (turn === opened) content.append(failure(error));
  }
  if (turn === opened) main.removeAttribute("aria-busy");
}

addEventListener("hashchange", () => {
  scrollTo(0, 0);
  const main = document.getElementById("room");
  open().then(() => main.contains(document.activeElement) || main.focus({ preventScroll: true }));
});
open();

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("room").focus();
});
