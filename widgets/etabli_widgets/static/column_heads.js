// The line of heads of a table: names that sort, widths that can be changed, and a small chart of each column.

const CHART_HEIGHT = 24; // pixels
const STEP = 16; // pixels by which a key changes a width
const NARROWEST = 44;

/** Columns, in their order; one without a width takes its share of what is left. `from`: pixels of the list from which
 * there is room for it. Question and answer always get more than half of the list. */
export const COLUMNS = [
  { name: "row", width: 52, from: 420 },
  { name: "status", width: 76, from: 900 },
  { name: "finding", width: 92 },
  { name: "source", width: 68, from: 640 },
  { name: "length", width: 66, from: 900 },
  { name: "question", least: 76 },
  { name: "answer", least: 76 },
];

/** The columns that a list of so many pixels has room for; a list that is not laid out yet has room for all. */
export function columnsFor(listWidth) {
  return COLUMNS.filter(({ from = 0 }) => !listWidth || listWidth >= from);
}

/** What the finding column says: also the status where that has no column, unless the row just stays. */
export function findingText({ status, found }, hasStatusColumn) {
  const findings = found.join(", ");
  if (hasStatusColumn || status === "stays") return findings;
  return findings ? `${status}: ${findings}` : status;
}

/** A number for a person: thousands with commas. @param {number} value */
export function grouped(value) {
  return Math.round(value).toLocaleString("en");
}

/** Numbers from one to another with their noun: "3 – 10 chars"; "1 char" if both are the same. */
function rangeText(low, high, between, noun) {
  const [first, last] = [grouped(low), grouped(high)];
  const unit = noun && ` ${noun}${last === "1" ? "" : "s"}`;
  return `${first === last ? last : `${first}${between}${last}`}${unit}`;
}

/** What a chart says in words: for its caption, and for who can't see it.
 * @param {{kind: string, labels: string[], edges: number[], counts: number[], shown: number[]}} chart */
export function chartCaption(chart) {
  const total = chart.counts.reduce((sum, count) => sum + count, 0);
  if (!total) return "";
  if (chart.kind === "categories") return `${chart.labels[0]} ${Math.round((100 * chart.counts[0]) / total)} %`;
  return rangeText(chart.edges[0], chart.edges.at(-1), " – ", chart.kind === "lengths" ? "char" : "");
}

/** What each bar stands for. @returns {string[]} */
export function barNames(chart) {
  const noun = chart.kind === "lengths" ? "character" : "";
  return chart.counts.map((count, at) => {
    const name =
      chart.kind === "categories" ? chart.labels[at] : rangeText(chart.edges[at], chart.edges[at + 1], " to ", noun);
    const part = chart.shown[at] === count ? "" : `, ${grouped(chart.shown[at])} of them shown`;
    return `${name}: ${grouped(count)} row${count === 1 ? "" : "s"}${part}`;
  });
}

/** Where the bars stand, in parts of 100: of numbers all are equally wide, of categories as wide as their share.
 * Returned are x, width, and the heights of all rows and of those shown, from 0 to 1. What is there is seen. */
export function barBoxes(chart) {
  const total = chart.counts.reduce((sum, count) => sum + count, 0);
  const most = Math.max(...chart.counts);
  const isShare = chart.kind === "categories";
  const seen = (share) => (share > 0 ? Math.max(share, 0.06) : 0);
  let x = 0;
  return chart.counts.map((count, at) => {
    const width = isShare ? (100 * count) / total : 100 / chart.counts.length;
    const height = isShare ? 1 : seen(count / most);
    const part = isShare ? seen(chart.shown[at] / count) : seen(chart.shown[at] / most);
    x += width;
    return { x: x - width, width: width || 0, height, part: part || 0 };
  });
}

function drawChart(name, chart) {
  const names = barNames(chart);
  const label = `${name}: ${names.slice(0, 6).join("; ")}${names.length > 6 ? " …" : ""}`;
  const className = chart.kind === "categories" ? "etabli-shares" : "etabli-bars";
  const drawing = svg("svg", {
    class: className,
    viewBox: `0 0 100 ${CHART_HEIGHT}`,
    preserveAspectRatio: "none",
    role: "img",
  });
  drawing.setAttribute("aria-label", visible(label));
  barBoxes(chart).forEach(({ x, width, height, part }, at) => {
    const bar = svg("g", {});
    const gap = Math.min(1, width / 4);
    const box = (share, className) =>
      svg("rect", {
        x: x.toFixed(2),
        width: (width - gap).toFixed(2),
        y: (CHART_HEIGHT * (1 - share)).toFixed(1),
        height: (CHART_HEIGHT * share).toFixed(1),
        class: className,
      });
    bar.append(box(height, "etabli-all"), box(part, "etabli-part-shown"), box(1, "etabli-hover"));
    bar.append(svg("title", {}, visible(names[at])));
    drawing.append(bar);
  });
  return drawing;
}

/** The heads. `sortBy(name)` is called by a click; `resized()` while a width changes. */
function columnHeads({ model, sortBy, resized, markAll }) {
  const all = make("input", { type: "checkbox", "aria-label": "Select all rows shown", tabIndex: -1 });
  all.onclick = () => markAll(all.checked);
  const first = make("span", { role: "columnheader", className: "etabli-cell-mark" }, [all]);
  const heads = COLUMNS.map((column) => head(column));
  const line = make("div", { className: "etabli-heads", role: "row" }, [first, ...heads.map(({ cell }) => cell)]);
  let widths = { ...model.get("widths") };
  let listWidth = 0;

  function head({ name }) {
    const button = make("button", { type: "button", className: "etabli-head", tabIndex: name === "row" ? 0 : -1 });
    button.title = `Sort by ${name}. Keys: arrows go to other columns, Shift and an arrow change the width.`;
    button.onclick = () => sortBy(name);
    button.onkeydown = (event) => byKey(event, name);
    const chart = make("span", { className: "etabli-histogram" });
    const caption = make("small", { className: "etabli-caption" });
    const grip = make("span", { className: "etabli-grip" });
    grip.onpointerdown = (event) => drag(event, name, grip);
    grip.ondblclick = () => resize(name, null);
    const cell = make("span", { role: "columnheader" }, [button, chart, caption, grip]);
    cell.dataset.column = name;
    return { name, cell, button, chart, caption };
  }
  const shownHeads = () => heads.filter(({ cell }) => !cell.hidden);
  const save = () => {
    model.set("widths", { ...widths });
    model.save_changes();
  };
  function resize(name, width, isDone = true) {
    if (width === null) delete widths[name];
    else widths = { ...widths, [name]: Math.max(NARROWEST, Math.round(width)) };
    resized();
    if (isDone) save();
  }
  const widthOf = (name) => heads.find((one) => one.name === name).cell.getBoundingClientRect().width;
  function byKey(event, name) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.shiftKey) return resize(name, widthOf(name) + STEP * step);
    const others = shownHeads();
    const here = Math.max(0, Math.min(others.length - 1, others.findIndex((one) => one.name === name) + step));
    others.forEach(({ button }, at) => (button.tabIndex = at === here ? 0 : -1));
    others[here].button.focus();
  }
  function drag(event, name, grip) {
    event.preventDefault();
    const [from, width] = [event.clientX, widthOf(name)];
    grip.setPointerCapture(event.pointerId);
    grip.onpointermove = (move) => resize(name, width + move.clientX - from, false);
    grip.onpointerup = () => {
      grip.onpointermove = grip.onpointerup = null;
      if (widths[name]) save();
    };
  }
  const columns = () => columnsFor(listWidth).filter(({ name }) => name !== "source" || hasSources(model));
  return {
    line,
    all,
    columns,
    draw() {
      const [charts, order] = [model.get("histograms"), model.get("asked")];
      const names = columns().map(({ name }) => name);
      for (const { name, cell, button, chart, caption } of heads) {
        cell.hidden = !names.includes(name);
        const isSorted = (order.sort || "row") === name;
        const direction = order.descending ? "descending" : "ascending";
        cell.setAttribute("aria-sort", isSorted ? direction : "none");
        button.textContent = `${name}${isSorted ? (order.descending ? " ↓" : " ↑") : ""}`;
        chart.replaceChildren(...(charts[name] ? [drawChart(name, charts[name])] : []));
        caption.textContent = charts[name] ? visible(chartCaption(charts[name])) : "";
      }
    },
    /** The columns as CSS writes them, and how wide they are at least. */
    template() {
      const sizes = columns().map(({ name, width, least }) => {
        const size = widths[name] ?? width;
        return size ? [`${size}px`, size] : [`minmax(${least}px, 1fr)`, least];
      });
      const total = sizes.reduce((sum, [, size]) => sum + Number(size) + 8, 16 + 20);
      return { grid: ["20px", ...sizes.map(([css]) => css)].join(" "), width: total };
    },
    /** Leave columns out that a narrow list has no room for. Returns whether that has changed. */
    fit(width) {
      const before = columnsFor(listWidth).length;
      listWidth = width;
      return before !== columnsFor(listWidth).length;
    },
    follow: () =>
      follow(model, ["widths"], () => {
        widths = { ...model.get("widths") };
        resized();
      }),
  };
}

/** Is there more than one source? Otherwise its column says nothing. */
function hasSources(model) {
  return Object.keys(model.get("facets").source ?? {}).length > 1;
}
