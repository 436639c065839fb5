// A small line chart: pure functions, tested by `node --test`, and the elements of a drawing.

/** Round numbers that cover 0..top. @param {number} top @returns {number[]} */
export function ticks(top, about = 4) {
  if (!(top > 0) || !isFinite(top)) return [0];
  const rough = top / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => +(i * step).toPrecision(6));
}

/** 1, 2 and 5 times the powers of ten from low to high; both ends if there are none. At most about six. */
export function logTicks(low, high) {
  const found = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10)
    found.push(...[1, 2, 5].map((m) => +(m * power).toPrecision(3)).filter((value) => value >= low && value <= high));
  const decades = found.filter((value) => Number.isInteger(+Math.log10(value).toFixed(9)));
  if (found.length > 6) return decades.length >= 2 ? decades : found.filter((_, i) => i % 3 === 0);
  return found.length ? found : [low, high];
}

/** A tick's label: at most three digits; small numbers as 2e-4. @param {number} value */
export function short(value) {
  const text = String(+value.toPrecision(3));
  return text.length > 6 ? (+value.toPrecision(3)).toExponential() : text;
}

/** A value of three significant digits; large and small ones with an exponent. @param {number} value */
export function significant(value) {
  const size = Math.abs(value);
  if (value === 0 || !isFinite(value)) return String(value);
  if (size < 1e-3 || size >= 1e5) return value.toExponential(2);
  return size >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}

/** The last step of an axis that grows with a run: 8, 16, 32 … and at most the run's own number of steps, if that is
 * known. @param {number} newest the newest step @param {number} total 0 while unknown */
export function axisEnd(newest, total) {
  let end = 8;
  while (end < newest) end *= 2;
  return total ? Math.max(newest, Math.min(end, total)) : end;
}

/** The states of a run that is over. */
export const ENDED = ["completed", "stopped", "failed", "lost"];

/** Which of a run's steps the axis shows; a narrow chart has no place for why. */
export function describeAxis(right, { total, state }, width) {
  const text = `steps 0 to ${right} of ${total}`;
  return ENDED.includes(state) || width < 460 ? text : `${text}; the axis grows with the run`;
}

/** The labels of an axis of steps; one that would be cut at the right edge of the drawing ends at its own step. */
export function stepLabels(right, x, y, width) {
  const steps = ticks(right, Math.max(2, Math.min(10, width / 90))).filter(Number.isInteger);
  return steps.map((step) => {
    const isCut = x(step) + 4 * String(step).length > width; // a digit is 7 px wide
    return svg("text", { x: x(step), y, "text-anchor": isCut ? "end" : "middle" }, String(step));
  });
}

/** The points that no line reaches: the values before and after them are missing.
 * @param {[number, number|null][]} points */
export function lonePoints(points) {
  const isKnown = (point) => point !== undefined && point[1] !== null && isFinite(point[1]);
  return points.filter((point, i) => isKnown(point) && !isKnown(points[i - 1]) && !isKnown(points[i + 1]));
}

/** The last point with a value at or before a step. @param {[number, number|null][]} points @param {number} step */
export function nearest(points, step) {
  return points.filter(([at, value]) => at <= step && value !== null).at(-1) ?? null;
}

/** Points to an SVG path; a missing value breaks the line. @param {[number, number|null][]} points */
export function path(points, x, y) {
  let pen = "M";
  let d = "";
  for (const [step, value] of points) {
    if (value === null || !isFinite(value)) {
      pen = "M";
      continue;
    }
    d += `${pen}${x(step).toFixed(1)},${y(value).toFixed(1)}`;
    pen = "L";
  }
  return d;
}

/** 4:05, or 1:04:05 from an hour. @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

const SVG = "http://www.w3.org/2000/svg";

/** An element of a drawing. @param {string} tag @param {Record<string, any>} attributes */
export function svg(tag, attributes, text = "") {
  const node = document.createElementNS(SVG, tag);
  // eslint-disable-next-line no-restricted-syntax -- the lint sees to the names where `svg` is called
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  if (text) node.textContent = text;
  return node;
}
