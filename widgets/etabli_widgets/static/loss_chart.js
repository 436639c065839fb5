// The run monitor's chart: losses, gradient norm and learning rate over one axis of steps, and a line that reads values.

const LEFT = 48; // px of the axis' labels
const RIGHT = 12;
const GAP = 24; // px above each panel, for its title
const MEAN = 8; // losses, or groups of them, in the running mean: as run_monitor.py takes it

/** What the running mean is the mean of. @param {{losses: number}} groupSizes */
export function nameMean(groupSizes) {
  return `mean of ${MEAN * groupSizes.losses} steps`;
}

/** What is drawn of a long run's values: the lowest and highest of each group. @param {number} size of a group */
export function nameExtremes(size, unit = "steps") {
  return size > 1 ? `, lowest and highest of each ${size} ${unit}` : "";
}

/** Is there anything to draw? @param {[number, number|null][]} points */
export function hasValue(points) {
  return points.some(([, value]) => value !== null);
}

/** The panels that have anything to show: title, height in px, lines from below to above. */
function panelsOf(data) {
  const { losses, heldOut, means, norms, rates, earlier } = data;
  const note = nameExtremes(data.groupSizes.losses);
  const panels = [
    {
      title: "loss",
      high: 190,
      lines: [
        ["etabli-earlier", earlier.losses ?? []],
        ["etabli-loss", losses],
        ["etabli-mean", means],
        ["etabli-held-out", heldOut],
      ],
    },
    { title: "gradient norm", note, high: 48, lines: [["etabli-norm", norms]] },
    { title: "learning rate", note, high: 48, lines: [["etabli-rate", rates]] },
  ];
  return panels.filter((panel) => panel.lines.some(([, points]) => hasValue(points)));
}

/** The axis' last step: as far as the run is, and as the earlier run was when this one has ended. */
function lastStep({ losses, heldOut, earlier, total, state }) {
  const end = (points) => points?.at(-1)?.[0] ?? 0;
  const newest = axisEnd(Math.max(end(losses), end(heldOut)), total);
  return ENDED.includes(state) ? Math.max(newest, end(earlier.losses)) : newest;
}

/** The data up to a step: an earlier run may have gone further. */
function upTo(data, last) {
  const { earlier } = data;
  return { ...data, earlier: { ...earlier, losses: earlier.losses?.filter(([step]) => step <= last) } };
}

/** Draw all panels. Returns the drawing's geometry: step to x, x to step, height. */
function drawChart(chart, all, width, isLog) {
  chart.replaceChildren();
  const right = lastStep(all);
  const data = upTo(all, right);
  const x = (step) => LEFT + (step / right) * (width - LEFT - RIGHT);
  let top = 0;
  for (const [number, panel] of panelsOf(data).entries()) {
    drawPanel(chart, panel, x, top + GAP, width, isLog && number === 0);
    if (number === 0) drawMarks(chart, data.marks, x, GAP, panel.high);
    top += GAP + panel.high;
  }
  if (right < data.total)
    chart.append(svg("text", { x: width - RIGHT, y: GAP - 9, "text-anchor": "end" }, describeAxis(right, data, width)));
  chart.append(...stepLabels(right, x, top + 15, width));
  const height = top + 20;
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.setAttribute("height", String(height));
  const stepAt = (pixel) => Math.round(((pixel - LEFT) / (width - LEFT - RIGHT)) * right);
  return { x, stepAt: (pixel) => Math.max(0, Math.min(right, stepAt(pixel))), bottom: top, right };
}

function drawPanel(chart, { title, note = "", high, lines }, x, top, width, isLog) {
  const values = lines.flatMap(([, points]) => points.map(([, value]) => value)).filter((value) => value !== null);
  const { y, marks } = isLog ? logScale(values, top, high) : linearScale(values, top, high);
  const heading = svg("text", { x: LEFT, y: top - 9, class: "etabli-title" }, title + note);
  if (GLOSSARY[title]) heading.append(svg("title", {}, GLOSSARY[title]));
  chart.append(heading);
  for (const tick of marks) {
    chart.append(svg("line", { class: "etabli-grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    chart.append(svg("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
  }
  for (const [name, points] of lines) {
    chart.append(svg("path", { class: name, d: path(points, x, y) }));
    const dots = name === "etabli-held-out" ? points.filter(([, value]) => value !== null) : lonePoints(points);
    for (const [step, value] of dots) chart.append(svg("circle", { class: name, cx: x(step), cy: y(value), r: 3 }));
  }
}

function linearScale(values, top, high) {
  const most = Math.max(...values) * 1.05 || 1;
  return {
    y: (value) => top + (1 - value / most) * high,
    marks: high > 100 ? ticks(most) : [...new Set([0, Math.max(...values)])],
  };
}

/** Losses of 0 have no logarithm: they lie on the lower edge. */
function logScale(values, top, high) {
  const above = values.filter((value) => value > 0);
  const [low, most] = above.length ? [Math.min(...above), Math.max(...above)] : [0.1, 1];
  const span = Math.log(most / low) || 1;
  const y = (value) => top + (1 - Math.log(Math.max(value, low) / low) / span) * high;
  return { y, marks: logTicks(low, most) };
}

/** What happened between the steps: a small triangle for each checkpoint, a named line for retries and resumes. */
function drawMarks(chart, marks, x, top, high) {
  for (const [step, kind, text] of marks) {
    const title = svg("title", {}, `${kind} after step ${step}${text ? `: ${visible(text)}` : ""}`);
    const at = x(step);
    const group = svg("g", { class: `etabli-mark etabli-${kind}` });
    if (kind === "checkpoint") {
      group.append(svg("path", { d: `M${at - 4},${top + high}h8l-4,-7z` }));
    } else {
      group.append(svg("line", { x1: at, x2: at, y1: top, y2: top + high }));
      group.append(svg("text", { x: at + 3, y: top + 9 }, kind));
    }
    group.append(title);
    chart.append(group);
  }
}

/** What the chart says of one step, as a line of text. */
function readout(data, step) {
  const { losses, heldOut, means, norms, rates, earlier, marks } = data;
  const parts = [`step ${step}`];
  const add = (name, points) => {
    const point = nearest(points, step);
    if (point) parts.push(`${name} ${significant(point[1])}${point[0] === step ? "" : ` (step ${point[0]})`}`);
  };
  add("loss", losses);
  add(nameMean(data.groupSizes), means);
  add("held-out loss", heldOut);
  if (earlier.name) add(`loss of ${visible(earlier.name)}`, earlier.losses);
  add("gradient norm", norms);
  add("learning rate", rates);
  parts.push(...marks.filter((mark) => mark[0] === step).map((mark) => mark[1]));
  return parts.join(" · ");
}

/** The chart with its legend and its line for reading: pointer, arrow keys, Home and End move it. A screen reader hears
 * the values. @param {Node} legend names the lines of the first panel, right above it
 * @returns {{nodes: Node[], show: (data: any) => void, close: () => void}} */
export function lossChart(legend) {
  const chart = svg("svg", { class: "etabli-chart", tabindex: 0, role: "slider", "aria-label": "Step in the chart" });
  const cursor = svg("line", { class: "etabli-cursor" });
  const line = make("p", { className: "etabli-readout" });
  const log = make("button", { type: "button", className: "etabli-chip", textContent: "Logarithmic" });
  log.setAttribute("aria-pressed", "false");
  const head = make("div", { className: "etabli-top" }, [legend, log]);
  let data = null;
  let drawn = null;
  let step = null; // where the reader's line is; null: at the newest step
  const newestStep = () => data.losses.at(-1)?.[0] ?? data.heldOut.at(-1)?.[0] ?? 0;
  const read = () => {
    const at = step ?? newestStep();
    line.textContent = readout(data, at);
    for (const [name, value] of Object.entries({ x1: drawn.x(at), x2: drawn.x(at), y1: GAP, y2: drawn.bottom }))
      // eslint-disable-next-line no-restricted-syntax -- four names, a line above
      cursor.setAttribute(name, String(value));
    chart.setAttribute("aria-valuemin", "0");
    chart.setAttribute("aria-valuemax", String(drawn.right));
    chart.setAttribute("aria-valuenow", String(at));
    chart.setAttribute("aria-valuetext", line.textContent);
  };
  const draw = () => {
    if (!data) return;
    drawn = drawChart(chart, data, chart.clientWidth || 640, log.getAttribute("aria-pressed") === "true");
    chart.append(cursor);
    read();
  };
  const moveTo = (to) => {
    step = to === null ? null : Math.max(0, Math.min(drawn.right, to));
    read();
  };
  chart.addEventListener("pointermove", (event) =>
    moveTo(drawn.stepAt(event.clientX - chart.getBoundingClientRect().left)),
  );
  chart.addEventListener("pointerleave", () => moveTo(null));
  chart.addEventListener("keydown", (event) => {
    const at = step ?? newestStep();
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: newestStep(), Escape: null }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveTo(to);
  });
  log.onclick = () => {
    log.setAttribute("aria-pressed", String(log.getAttribute("aria-pressed") !== "true"));
    draw();
  };
  const show = (now) => {
    data = now;
    draw();
  };
  return { nodes: [head, line, chart], show, close: onNewWidth(chart, draw) };
}
