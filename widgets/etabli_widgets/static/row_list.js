// The list of a table's rows: as many elements as are in view, moved about; lines are asked for as they come into view.

const ROW = 30; // pixels a line is high
const HEAD = 66; // pixels of the line of heads, which stays at the top
const TALLEST = 400; // pixels of the lines in view
const PART = 100; // lines asked for at once
const SPARE = 8; // lines drawn beyond either edge
const ASK_MS = 250; // between two looks at what has to be asked for: four a second
const MOST_LINES = 6000; // that are kept; what is far from the view is asked for again

/** Which lines are to be drawn: [first, one after the last]. */
export function inView(top, height, found) {
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  return [Math.min(first, found), Math.min(found, Math.ceil((top + height) / ROW) + SPARE)];
}

/** The place a key leads to, or null. */
export function placeAfter(key, place, page) {
  const moves = {
    ArrowDown: place + 1,
    ArrowUp: place - 1,
    PageDown: place + page,
    PageUp: place - page,
    Home: 0,
    End: Infinity,
  };
  return moves[key] ?? null;
}

/** The list. `state`: lines (place -> line), pending (ids), chosen and anchor (places), isOther (other rows were asked for). */
function rowList({ model, state, marks, heads, open }) {
  const view = make("div", { className: "etabli-lines-view", tabIndex: 0, role: "grid", "aria-label": "Rows" });
  view.setAttribute("aria-multiselectable", "true");
  const tall = make("div", { className: "etabli-tall", role: "rowgroup" });
  view.append(make("div", { className: "etabli-rowgroup", role: "rowgroup" }, [heads.line]), tall);
  view.dataset.name = `etabli-${Math.random().toString(36).slice(2, 8)}`;
  const pool = [];
  let parts = new Set(); // parts that were asked for
  let asking;
  let lastAsk = -ASK_MS;
  let isDrawn = false;

  const lineElement = () => {
    const box = make("input", { type: "checkbox", tabIndex: -1 });
    const mark = make("span", { className: "etabli-cell-mark", role: "gridcell" }, [box]);
    const cells = COLUMNS.map(({ name }) => make("span", { className: `etabli-cell-${name}`, role: "gridcell" }));
    const line = make("div", { className: "etabli-line", role: "row" }, [mark, ...cells]);
    line.onclick = (event) => {
      const place = Number(line.dataset.place);
      if (event.shiftKey) extend(place);
      else if (event.target === box || event.ctrlKey || event.metaKey) toggle(place);
      else select(place);
      view.focus({ preventScroll: true });
    };
    tall.append(line);
    return line;
  };
  const statusOf = (line) => (state.pending.has(line.id) ? "saving…" : line.status);
  const textsOf = (line, shownNames) => ({
    row: line.at,
    status: statusOf(line),
    finding: findingText({ status: statusOf(line), found: line.found }, shownNames.has("status")),
    source: visible(line.source),
    length: line.length,
    question: line.asked,
    answer: line.answer,
  });
  const fill = (element, place, shownNames) => {
    const line = state.lines.get(place);
    const isMarked = Boolean(line) && marks.has(line.at);
    const isChosen = place === state.chosen;
    element.dataset.place = place;
    element.style.transform = `translateY(${place * ROW}px)`;
    element.setAttribute("aria-rowindex", place + 1);
    element.setAttribute("aria-selected", String(isMarked || (isChosen && !marks.count())));
    element.toggleAttribute("data-chosen", isChosen);
    element.toggleAttribute("data-marked", isMarked);
    element.id = isChosen ? `${view.dataset.name}-chosen` : "";
    element.dataset.status = line ? (state.pending.has(line.id) ? "pending" : line.status) : "";
    const box = element.firstChild.firstChild;
    box.checked = isMarked;
    box.setAttribute("aria-label", `Select row ${line ? line.at : place}`);
    const texts = line ? textsOf(line, shownNames) : { row: "…" };
    COLUMNS.forEach(({ name }, at) => {
      const cell = element.children[at + 1];
      const text = String(texts[name] ?? "");
      cell.hidden = !shownNames.has(name);
      if (cell.textContent === text) return;
      cell.textContent = text;
      if (name === "finding" || name === "source") cell.title = text;
    });
  };
  const bounds = () => inView(view.scrollTop, view.clientHeight || TALLEST, model.get("found"));
  const paint = () => {
    const [first, last] = bounds();
    const shownNames = new Set(heads.columns().map(({ name }) => name));
    while (pool.length < last - first) pool.push(lineElement());
    pool.forEach((element, at) => {
      element.hidden = first + at >= last;
      if (!element.hidden) fill(element, first + at, shownNames);
      else element.id = "";
    });
    if (state.chosen >= first && state.chosen < last)
      view.setAttribute("aria-activedescendant", `${view.dataset.name}-chosen`);
    else view.removeAttribute("aria-activedescendant"); // it was scrolled out of view
    heads.all.checked = marks.shown() > 0 && marks.shown() === model.get("found");
    heads.all.indeterminate = marks.count() > 0 && !heads.all.checked;
    asking ??= setTimeout(() => ask(), Math.max(0, lastAsk + ASK_MS - performance.now()));
  };
  const { soon, cancel } = inNextFrame(paint);
  view.onscroll = soon;

  /** Ask for the lines in view, and for the chosen one. */
  const ask = () => {
    asking = undefined;
    const [first, last] = bounds();
    if (!model.get("found")) return;
    for (const place of [first, last - 1, state.chosen]) {
      const part = Math.floor(place / PART);
      if (parts.has(part)) continue;
      lastAsk = performance.now();
      parts.add(part);
      model.send({ type: "lines", start: part * PART });
    }
    if (state.lines.size > MOST_LINES) forget(first, last);
  };
  const forget = (first, last) => {
    for (const place of state.lines.keys())
      if (place < first - 10 * PART || place > last + 10 * PART) state.lines.delete(place);
    parts = new Set([...state.lines.keys()].filter((place) => place % PART === 0).map((place) => place / PART));
  };

  const go = (place) => {
    const found = model.get("found");
    if (!found) return false;
    state.chosen = Math.max(0, Math.min(found - 1, place));
    const top = state.chosen * ROW;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + ROW + HEAD > view.scrollTop + view.clientHeight)
      view.scrollTop = top + ROW + HEAD - view.clientHeight;
    soon();
    open();
    return true;
  };
  const select = (place) => {
    if (go(place)) state.anchor = state.chosen;
  };
  const toggle = (place) => {
    const line = state.lines.get(place);
    if (!line) return;
    select(place);
    marks.change({ do: marks.has(line.at) ? "remove" : "add", rows: [line.at] });
  };
  /** Select from the anchor to a place. */
  const extend = (place) => {
    if (!go(place)) return;
    const [start, last] = [Math.min(state.anchor, state.chosen), Math.max(state.anchor, state.chosen)];
    marks.change({ do: "replace", start, stop: last + 1 });
  };
  return {
    view,
    soon,
    select,
    toggle,
    extend,
    page: () => Math.max(1, Math.floor((view.clientHeight - HEAD) / ROW) - 1),
    take: (start, come) => come.forEach((line, at) => state.lines.set(start + at, line)),
    /** The lines are old: ask for those in view again, and show the old ones until then. */
    renew() {
      parts = new Set();
      soon();
    },
    resize() {
      const { grid, width } = heads.template();
      view.style.setProperty("--etabli-columns", grid);
      view.style.setProperty("--etabli-width", `${width}px`);
    },
    drawAll() {
      const found = model.get("found");
      state.lines.clear();
      const first = model.get("first");
      first.forEach((line, at) => state.lines.set(at, line));
      parts = new Set(first.length === found ? [0] : []);
      tall.style.height = `${found * ROW}px`;
      view.style.height = `${Math.min(TALLEST, Math.max(3, found) * ROW + 2) + HEAD}px`;
      tall.toggleAttribute("data-empty", !found);
      view.setAttribute("aria-rowcount", String(found));
      if (state.isOther) state.chosen = view.scrollTop = 0; // another question begins at its top
      state.isOther = false;
      state.chosen = Math.min(state.chosen, Math.max(0, found - 1));
      state.anchor = state.chosen;
      paint();
      if (found && (isDrawn || !model.get("detail").id)) open(); // code may have opened a row before
      isDrawn = true;
    },
    close: () => {
      clearTimeout(asking);
      cancel();
    },
  };
}
