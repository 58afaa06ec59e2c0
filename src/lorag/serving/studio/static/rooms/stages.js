// A job that runs: its stages, and the page that asks how far it is.

import { announce, failure, h, span } from "../dom.js";
import { lossCurve } from "./plot.js";

export const WATCH_MS = 1000;

export const capital = (text) => text[0].toUpperCase() + text.slice(1);

/**
 * Calls `draw` every so often until it gives no time to wait, or the room is left. Where the server cannot be reached,
 * `place` has the reason, until it can.
 */
export function watch(draw, place, ending) {
  const again = async () => {
    if (ending.aborted) return;
    let wait = WATCH_MS;
    try {
      wait = await draw();
      if (place.hasChildNodes()) {
        place.replaceChildren();
        announce("Connected again.");
      }
    } catch (error) {
      if (!place.hasChildNodes())
        place.append(failure(new Error(`${error.message} This page tries again every second.`)));
    }
    if (wait) setTimeout(again, wait);
  };
  setTimeout(again, WATCH_MS);
}

/** The stages of a job, each with its progress and, while it runs, the time left. */
export function drawnStages(stages, state) {
  return stages.map((stage) => drawnStage(stage, state));
}

function drawnStage(stage, runState) {
  const done = stage.done >= stage.total;
  const took = stage.at - stage.begun;
  const left =
    stage.done > 0 && !done && runState === "running"
      ? `about ${span((took / stage.done) * (stage.total - stage.done))} left`
      : "";
  const bar = h("progress", { max: stage.total || 1, value: stage.done, "aria-label": stage.stage });
  return h(
    "li",
    null,
    h("span", null, capital(stage.stage)),
    bar,
    h(
      "span",
      { class: "left small soft number" },
      done ? span(took) : left || `${stage.done} of ${stage.total}`,
    ),
    stage.note && h("span", { class: "note-line" }, stage.note),
    lossCurve(stage.losses),
  );
}
