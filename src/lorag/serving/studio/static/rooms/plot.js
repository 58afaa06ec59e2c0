// The share of right answers of each arm with its interval, drawn.

import { h, percent, svg } from "../dom.js";

const [LEFT, RIGHT, WIDTH, ROW, TOP] = [104, 524, 600, 40, 32];
const x = (share) => LEFT + share * (RIGHT - LEFT);

/** The arms of one phase as dots on a line from 0 to 100 %. */
export function accuracyPlot(arms, chosen) {
  const bottom = TOP + ROW * arms.length;
  const said = arms.map((arm) => `${arm.arm} ${percent(arm.correct.mean)} %`).join(", ");
  const lines = [0, 0.25, 0.5, 0.75, 1].flatMap((share) => [
    svg("line", { class: "grid", x1: x(share), x2: x(share), y1: TOP - 8, y2: bottom }),
    svg("text", { class: "tick", x: x(share), y: TOP - 16, "text-anchor": "middle" }, `${percent(share)} %`),
  ]);
  const marks = arms.map((arm, row) => {
    const y = TOP + ROW * (row + 0.5);
    const { low, high } = arm.correct.interval;
    const whisker = `M${x(low)} ${y}H${x(high)}M${x(low)} ${y - 5}v10M${x(high)} ${y - 5}v10`;
    return svg(
      "g",
      { class: arm.arm === chosen ? "chosen" : null },
      svg("text", { x: 0, y: y + 5 }, arm.arm),
      svg("path", { class: "whisker", d: whisker }),
      svg("circle", { class: "dot", cx: x(arm.correct.mean), cy: y, r: 5 }),
      svg("text", { x: WIDTH, y: y + 5, "text-anchor": "end" }, `${percent(arm.correct.mean)} %`),
    );
  });
  const label = `Right answers with 95 % intervals: ${said}`;
  return svg(
    "svg",
    { class: "plot", viewBox: `0 0 ${WIDTH} ${bottom + 8}`, role: "img", "aria-label": label },
    lines,
    marks,
  );
}

/** The four arms as four figures, for a list. */
export function shares(arms, chosen) {
  const figures = arms.map((arm) =>
    h(
      "div",
      { class: arm.arm === chosen ? "chosen" : null },
      h("dt", null, arm.arm),
      h("dd", null, percent(arm.correct.mean), h("span", { class: "small soft" }, " %")),
    ),
  );
  return h("dl", { class: "shares", "aria-label": "Right answers" }, figures);
}

/** The losses of a training as a line from the first to the last; nothing for fewer than three. */
export function lossCurve(losses) {
  if (losses.length < 3) return null;
  const [width, height] = [600, 72];
  const most = Math.max(...losses);
  const points = losses.map(
    (loss, step) =>
      `${((width * step) / (losses.length - 1)).toFixed(1)},${(height - (height - 4) * (loss / most)).toFixed(1)}`,
  );
  const label = `Training loss, from ${losses[0].toFixed(2)} to ${losses.at(-1).toFixed(2)}`;
  return svg(
    "svg",
    {
      class: "curve",
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
    },
    svg("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }),
  );
}
