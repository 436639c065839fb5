const KEYS = { k: "keep", d: "drop" };
const HELD_MS = 250; // rows that are chosen faster than this are not opened: a key is held
const DECISIONS = { keep: "Keep", drop: "Drop" };

function render({ model, el }) {
  guardKeys(el);
  const state = { lines: new Map(), pending: new Set(), chosen: 0, anchor: 0, isOther: false };
  let waiting; // for the row that is to be opened when the keys rest
  let isUnopened = false;
  let lastChoice = -HELD_MS;
  const saved = make("small", { role: "status" });
  const redraw = () => {
    list.soon();
    map.soon();
    drawMarked();
  };
  const marks = rowMarks(model, state.lines, () => redraw());

  // --- above: what is shown -------------------------------------------------------------------------------------------
  const filters = tableFilters({ model, send: (query) => choose(query) });
  const choose = (query) => {
    marks.send(); // "only these" has to know them
    state.isOther = true;
    model.send({ type: "choose", ...query });
  };
  const heads = columnHeads({
    model,
    sortBy: (name) => filters.sortBy(name),
    resized: () => list?.resize(),
    markAll: (isOn) => marks.change(isOn ? { do: "add", start: 0, stop: model.get("found") } : { do: "replace" }),
  });
  const map = rowMap({ model, marks });

  // --- the list and the row beside it -----------------------------------------------------------------------------------
  const open = () => {
    clearTimeout(waiting);
    const isHeld = performance.now() - lastChoice < HELD_MS;
    lastChoice = performance.now();
    const ask = () => {
      const line = state.lines.get(state.chosen);
      isUnopened = !line; // it is on its way
      if (line && line.id !== model.get("detail").id) model.send({ type: "open", id: line.id });
    };
    waiting = setTimeout(() => ask(), isHeld ? HELD_MS : 60);
  };
  let list;
  list = rowList({ model, state, marks, heads, open });
  const { view } = list;
  const detail = rowDetail({ model, rewrite: (text) => decideOne("fix", text), leave: () => view.focus() });

  // --- decisions --------------------------------------------------------------------------------------------------------
  const why = make("input", {
    placeholder: "Reason of the next decisions (R)",
    "aria-label": "Reason",
    className: "etabli-why",
  });
  const button = (label, act) => {
    const made = make("button", { type: "button", className: "etabli-button", textContent: label });
    made.onclick = () => {
      act();
      view.focus({ preventScroll: true });
    };
    return made;
  };
  /** Say why no row can be decided about. */
  const sayMissing = (key) => {
    const isEmpty = !model.get("found");
    saved.textContent = isEmpty ? "No row is chosen." : `The row is still being opened: press ${key} again.`;
  };
  const decideOne = (do_, text) => {
    const line = state.lines.get(state.chosen);
    if (!line) return sayMissing("the key");
    state.pending.add(line.id);
    model.send({ type: "decide", do: do_, id: line.id, why: why.value, ...(text === undefined ? {} : { text }) });
    if (do_ === "keep" || do_ === "drop") list.select(state.chosen + 1);
    else list.soon();
  };
  const decide = (do_) => {
    if (!marks.count()) return decideOne(do_);
    marks.send();
    saved.textContent = `Saving ${quantity(marks.count(), "decision")} …`;
    model.send({ type: "decide_marked", do: do_, why: why.value });
  };
  const fix = () => {
    const line = state.lines.get(state.chosen);
    if (line && model.get("detail").id === line.id) return detail.edit();
    sayMissing("F");
    open();
  };
  const deciders = Object.entries(DECISIONS).map(([name]) => ({ name, button: button("", () => decide(name)) }));
  const takeBack = () => model.send({ type: "undo" });
  const apply = () => {
    saved.textContent = "Applying the filters …";
    model.send({ type: "apply" });
  };
  const fixer = make("button", { type: "button", className: "etabli-button", textContent: "Fix (F)", onclick: fix });
  const only = button("Only these", () => filters.setSelected(!model.get("asked").selected));
  const none = button("Select none (Esc)", () => marks.change({ do: "replace" }));
  const markedCount = make("b", { role: "status" });
  const marked = make("span", { className: "etabli-marked" }, [markedCount, only, none]);
  const drawMarked = () => {
    const count = marks.count();
    const isOnly = Boolean(model.get("asked").selected);
    marked.hidden = !count && !isOnly;
    const hidden = marks.shown() === null ? 0 : count - marks.shown();
    markedCount.textContent = `${grouped(count)} selected${hidden ? `, ${grouped(hidden)} of them not shown` : ""}`;
    only.setAttribute("aria-pressed", String(isOnly));
    for (const { name, button } of deciders) {
      button.textContent = `${DECISIONS[name]}${count ? ` ${grouped(count)}` : ""} (${name[0].toUpperCase()})`;
      button.disabled = !count && !model.get("found");
    }
    fixer.disabled = !model.get("found");
  };
  const actions = make("div", { className: "etabli-tools" }, [
    deciders[0].button,
    fixer,
    deciders[1].button,
    button("Undo (U)", takeBack),
    button("Apply filters again (A)", apply),
    why,
  ]);

  // --- keys -------------------------------------------------------------------------------------------------------------
  const acts = {
    f: fix,
    u: takeBack,
    a: apply,
    r: () => why.focus(),
    "/": () => filters.search.focus(),
    " ": () => list.toggle(state.chosen),
    Escape: () => marks.count() && marks.change({ do: "replace" }),
  };
  view.onkeydown = (event) => {
    if (event.target instanceof Element && event.target.closest(".etabli-heads")) return; // they have keys of their own
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const isAll = key === "a" && (event.ctrlKey || event.metaKey);
    if (isAll) marks.change({ do: "add", start: 0, stop: model.get("found") });
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else {
      const place = placeAfter(event.key, state.chosen, list.page());
      if (place !== null) (event.shiftKey ? list.extend : list.select)(place);
      else if (key in KEYS) decide(KEYS[key]);
      else if (key in acts) acts[key]();
      else return;
    }
    event.preventDefault();
  };
  for (const input of [filters.search, why])
    input.onkeydown = (event) => {
      if (event.key === "Enter" || event.key === "Escape") view.focus();
    };

  // --- what comes from the kernel ---------------------------------------------------------------------------------------
  const drawSaved = () => {
    const count = model.get("decided");
    saved.textContent = count
      ? `${quantity(count, "decision")} of ${model.get("author")} on the disk`
      : `Deciding as ${model.get("author")}`;
  };
  const news = {
    lines({ version, start, lines }) {
      if (version !== model.get("version")) return;
      list.take(start, lines);
      if (isUnopened) open();
    },
    refused({ id = "" }) {
      state.pending.delete(id);
      drawSaved();
    },
    nothing: () => (saved.textContent = "Nothing is left to undo."),
    line({ line }) {
      state.pending.delete(line.id);
      for (const [place, old] of state.lines) if (old.id === line.id) state.lines.set(place, line);
    },
    changed({ text, place }) {
      list.renew();
      if (text) saved.textContent = text;
      if (place !== undefined && place !== null) list.select(place);
    },
    place({ place, row }) {
      if (place === null) saved.textContent = `Row ${row} is not among the rows shown.`;
      else list.select(place);
    },
  };
  const received = (message) => {
    news[message.type]?.(message);
    list.soon();
  };
  model.on("msg:custom", received);
  const main = make("div", { className: "etabli-main" }, [view, errorLine(model), actions, saved]);
  const panes = make("div", { className: "etabli-panes" }, [main, detail.pane]);
  el.append(make("div", { className: "etabli-bar" }, [...filters.parts, map.toggle, filters.counted]), map.panel);
  el.append(marked, make("div", { className: "etabli-width" }, [panes]));
  const drawAbove = () => {
    heads.draw();
    filters.draw();
    list.resize();
    drawMarked();
  };
  drawAbove();
  const undo = [
    follow(model, ["facets", "histograms", "asked"], onceATurn(drawAbove)),
    follow(model, ["version"], () => {
      list.drawAll();
      filters.count();
    }),
    heads.follow(),
    map.follow(),
    follow(model, ["detail"], () => {
      detail.draw();
      const { place } = model.get("detail");
      if (Number.isInteger(place) && place !== state.chosen) list.select(place); // code has opened it
    }),
    follow(model, ["decided", "author"], drawSaved),
    () => model.off("msg:custom", received),
    marks.close,
    map.close,
    list.close,
    filters.close,
  ];
  const watched = new ResizeObserver(() => {
    if (heads.fit(view.clientWidth)) {
      heads.draw();
      list.resize();
    }
    list.soon();
  });
  watched.observe(view);
  return () => {
    watched.disconnect();
    clearTimeout(waiting);
    undo.forEach((each) => each());
  };
}

/** A function that draws once for all changes that come together. */
function onceATurn(draw) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      draw();
    });
  };
}

export default widget(render);
