const ROW = 30; // pixels a line is high
const HEAD = 22; // pixels of the line of heads, which stays at the top
const PART = 100; // lines asked for at once
const SPARE = 8; // lines drawn beyond either edge
const SORTS = ["row", "length", "likeness", "finding", "source"];
const HEADS = ["row", "status", "found", "question", "answer"];
const KEYS = { k: "keep", d: "drop" };

function render({ model, el }) {
  guardKeys(el);
  let lines = new Map(); // place -> line, of those that have come
  let asked = new Set(); // parts that were asked for
  let chosen = 0;
  let waiting = null; // the row that is to be opened when the keys rest
  const pending = new Set(); // ids whose decision is not on the disk yet

  // --- above: what is shown -------------------------------------------------------------------------------------------
  const search = make("input", { type: "search", placeholder: "Search  ( / )", "aria-label": "Search rows" });
  const finding = make("select", { "aria-label": "Finding" });
  const status = make("select", { "aria-label": "Status" });
  const source = make("select", { "aria-label": "Source" });
  const sort = make(
    "select",
    { "aria-label": "Sort by" },
    SORTS.map((name) => new Option(`by ${name}`, name)),
  );
  const order = make("button", {
    type: "button",
    className: "etabli-button",
    textContent: "↑",
    "aria-label": "Ascending",
  });
  const counted = make("small", { role: "status", className: "etabli-counted" });
  const bar = make("div", { className: "etabli-tools" }, [search, finding, status, source, sort, order, counted]);
  let descending = false;
  const drawOrder = () => {
    order.textContent = descending ? "↓" : "↑";
    order.setAttribute("aria-label", descending ? "Descending" : "Ascending");
  };
  const choose = () =>
    model.send({
      type: "choose",
      search: search.value,
      finding: finding.value,
      status: status.value,
      source: source.value,
      sort: sort.value,
      descending,
    });
  let typing;
  search.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose(), 250);
  };
  for (const select of [finding, status, source, sort]) select.onchange = choose;
  order.onclick = () => {
    descending = !descending;
    drawOrder();
    choose();
  };

  // --- the lines: as many elements as are in view, moved about ----------------------------------------------------------
  const view = make("div", { className: "etabli-lines-view", tabIndex: 0, role: "grid", "aria-label": "Rows" });
  const heads = make(
    "div",
    { className: "etabli-heads", role: "row" },
    HEADS.map((name) => make("span", { textContent: name, role: "columnheader" })),
  );
  const tall = make("div", { className: "etabli-tall", role: "rowgroup" });
  view.append(make("div", { className: "etabli-rowgroup", role: "rowgroup" }, [heads]), tall);
  const pool = [];
  const lineElement = () => {
    const cells = ["place", "status", "found", "asked", "answer"].map((name) =>
      make("span", { className: `etabli-cell-${name}`, role: "gridcell" }),
    );
    const line = make("div", { className: "etabli-line", role: "row" }, cells);
    line.onclick = () => select(Number(line.dataset.place));
    tall.append(line);
    return line;
  };
  const need = (place) => {
    const part = Math.floor(place / PART);
    if (lines.has(place) || asked.has(part)) return;
    asked.add(part);
    model.send({ type: "lines", start: part * PART });
  };
  const fill = (line, place) => {
    const held = lines.get(place);
    line.dataset.place = place;
    line.style.transform = `translateY(${place * ROW}px)`;
    line.setAttribute("aria-rowindex", place + 1);
    line.setAttribute("aria-selected", String(place === chosen));
    line.id = place === chosen ? `${view.dataset.name}-chosen` : "";
    line.dataset.status = held ? (pending.has(held.id) ? "pending" : held.status) : "";
    const texts = held
      ? [held.at, pending.has(held.id) ? "saving…" : held.status, held.found.join(", "), held.asked, held.answer]
      : [place, "…", "", "", ""];
    texts.forEach((text, at) => {
      if (line.children[at].textContent !== String(text)) line.children[at].textContent = text;
    });
  };
  const paint = () => {
    const found = model.get("found");
    const [first, last] = inView(view.scrollTop, view.clientHeight || 360, found);
    while (pool.length < last - first) pool.push(lineElement());
    pool.forEach((line, at) => {
      line.hidden = first + at >= last;
      if (!line.hidden) fill(line, first + at);
      else line.id = "";
    });
    if (chosen >= first && chosen < last) view.setAttribute("aria-activedescendant", `${view.dataset.name}-chosen`);
    else view.removeAttribute("aria-activedescendant"); // it was scrolled out of view
    if (last > first) {
      need(first);
      need(last - 1);
    }
  };
  let frame = 0;
  const soon = () => {
    if (!frame)
      frame = requestAnimationFrame(() => {
        frame = 0;
        paint();
      });
  };
  view.onscroll = soon;
  view.dataset.name = `etabli-${Math.random().toString(36).slice(2, 8)}`;

  const open = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const held = lines.get(chosen);
      if (held) model.send({ type: "open", id: held.id });
    }, 60);
  };
  const select = (place) => {
    const found = model.get("found");
    if (!found) return;
    chosen = Math.max(0, Math.min(found - 1, place));
    const top = chosen * ROW;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + ROW + HEAD > view.scrollTop + view.clientHeight)
      view.scrollTop = top + ROW + HEAD - view.clientHeight;
    need(chosen);
    soon();
    open();
  };

  // --- below: the row that is open --------------------------------------------------------------------------------------
  const why = make("input", {
    placeholder: "Reason of the next decisions  ( r )",
    "aria-label": "Reason",
    className: "etabli-why",
  });
  const button = (label, act) => {
    const made = make("button", { type: "button", className: "etabli-button", textContent: label });
    made.onclick = () => {
      act();
      view.focus();
    };
    return made;
  };
  const decide = (do_, text) => {
    const held = lines.get(chosen);
    if (!held) return;
    pending.add(held.id);
    model.send({ type: "decide", do: do_, id: held.id, why: why.value, ...(text === undefined ? {} : { text }) });
    if (do_ === "keep" || do_ === "drop") select(chosen + 1);
    else soon();
  };
  const actions = make("div", { className: "etabli-tools" }, [
    button("Keep (K)", () => decide("keep")),
    make("button", { type: "button", className: "etabli-button", textContent: "Fix (F)", onclick: () => edit() }),
    button("Drop (D)", () => decide("drop")),
    button("Undo (U)", () => takeBack()),
    button("Apply filters again (A)", () => model.send({ type: "apply" })),
    why,
  ]);
  const takeBack = () => model.send({ type: "undo" });
  const detail = scroller("etabli-detail", "The chosen row");
  const saved = make("small", { role: "status" });
  const edit = () => {
    const shown = model.get("detail");
    const held = lines.get(chosen);
    if (!shown.messages || !held || shown.id !== held.id) {
      saved.textContent = "The row is still being opened: press F again.";
      open();
      return;
    }
    const text = make("textarea", { value: shown.last, rows: 5, "aria-label": "The last answer, rewritten" });
    const done = () => {
      detail.querySelector(".etabli-edit")?.remove();
      view.focus();
    };
    const save = () => {
      decide("fix", text.value);
      done();
    };
    text.onkeydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
      if (event.key === "Escape") done();
    };
    const keep = make("button", {
      type: "button",
      className: "etabli-button",
      textContent: "Save (Ctrl+Enter)",
      onclick: save,
    });
    const leave = make("button", {
      type: "button",
      className: "etabli-button",
      textContent: "Cancel (Esc)",
      onclick: done,
    });
    detail.querySelector(".etabli-edit")?.remove();
    detail.prepend(make("div", { className: "etabli-edit" }, [text, keep, leave]));
    text.focus();
  };

  view.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(view.clientHeight / ROW) - 1);
    const moves = {
      ArrowDown: chosen + 1,
      ArrowUp: chosen - 1,
      PageDown: chosen + page,
      PageUp: chosen - page,
      Home: 0,
      End: Infinity,
    };
    const acts = {
      f: edit,
      u: takeBack,
      a: () => model.send({ type: "apply" }),
      r: () => why.focus(),
      "/": () => search.focus(),
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key in moves) select(moves[key]);
    else if (key in KEYS) decide(KEYS[key]);
    else if (key in acts) acts[key]();
    else return;
    event.preventDefault();
  };
  for (const input of [search, why])
    input.onkeydown = (event) => {
      if (event.key === "Enter" || event.key === "Escape") view.focus();
    };

  // --- what comes from the kernel ---------------------------------------------------------------------------------------
  const take = (start, come) => come.forEach((line, at) => lines.set(start + at, line));
  const drawAll = () => {
    lines = new Map();
    asked = new Set();
    take(0, model.get("first"));
    const found = model.get("found");
    const total = model.get("total");
    tall.style.height = `${found * ROW}px`;
    view.style.height = `${Math.min(330, Math.max(3, found) * ROW + 2) + HEAD}px`;
    view.setAttribute("aria-rowcount", found);
    counted.textContent = found === total ? `${total} rows` : `${found} of ${total} rows`;
    chosen = Math.min(chosen, Math.max(0, found - 1));
    paint();
    if (found) open();
  };
  const drawFacets = () => {
    const facets = model.get("facets");
    const now = model.get("asked");
    for (const [name, select] of Object.entries({ finding, status, source })) {
      const names = Object.entries(facets[name] ?? {});
      select.replaceChildren(
        new Option(`any ${name}`, ""),
        ...names.map(([key, count]) => new Option(`${key} (${count})`, key)),
      );
      const chosen = now[name] ?? "";
      if (chosen && !(chosen in (facets[name] ?? {}))) select.append(new Option(`${chosen} (0)`, chosen));
      select.value = chosen;
      select.hidden = name === "source" && names.length < 2;
    }
    sort.value = now.sort || SORTS[0];
    descending = Boolean(now.descending);
    drawOrder();
    if (document.activeElement !== search) search.value = now.search ?? ""; // not while it is typed
  };
  const drawDetail = () => {
    const row = model.get("detail");
    if (detail.querySelector(".etabli-edit") && detail.dataset.row === row.id) return; // do not take away what is being typed
    detail.dataset.row = row.id ?? "";
    detail.replaceChildren(...(row.id ? about(row) : []));
  };
  const drawSaved = () => {
    const count = model.get("decided");
    saved.textContent = count
      ? `${count} decision${count > 1 ? "s" : ""} of ${model.get("author")} on the disk`
      : `Deciding as ${model.get("author")}`;
  };
  const received = (message) => {
    if (message.type === "lines" && message.version === model.get("version")) take(message.start, message.lines);
    if (message.type === "refused") pending.delete(message.id);
    if (message.type === "nothing") saved.textContent = "Nothing is left to undo.";
    if (message.type === "line") {
      pending.delete(message.line.id);
      for (const [place, line] of lines) if (line.id === message.line.id) lines.set(place, message.line);
      if (message.undone) {
        const place = [...lines].find(([, line]) => line.id === message.line.id)?.[0];
        if (place !== undefined) select(place);
      }
    }
    soon();
  };
  model.on("msg:custom", received);
  const undo = [
    follow(model, ["version"], drawAll),
    follow(model, ["facets", "version"], drawFacets),
    follow(model, ["detail"], drawDetail),
    follow(model, ["decided", "author"], drawSaved),
    () => model.off("msg:custom", received),
  ];
  el.append(bar, view, errorLine(model), actions, saved, detail);
  const resized = new ResizeObserver(soon);
  resized.observe(view);
  return () => {
    resized.disconnect();
    clearTimeout(waiting);
    clearTimeout(typing);
    undo.forEach((each) => each());
  };
}

/** Which lines are to be drawn: [first, one after the last]. */
function inView(top, height, found) {
  const first = Math.max(0, Math.floor(top / ROW) - SPARE);
  return [Math.min(first, found), Math.min(found, Math.ceil((top + height) / ROW) + SPARE)];
}

/** All about a row. */
function about(row) {
  const turn = (one) =>
    make("section", {}, [make("small", { textContent: one.role }), make("pre", { textContent: visible(one.content) })]);
  const said = row.decision
    ? [
        make("p", {}, [
          make("b", { textContent: row.status }),
          ` by ${row.decision.by}${row.decision.why ? `: ${row.decision.why}` : ""}`,
        ]),
      ]
    : [];
  const reasons = row.reasons.map((reason) =>
    make("li", { className: reason.rejects ? "etabli-rejects" : "" }, [
      make("b", { textContent: reason.filter }),
      ` ${reason.why}`,
    ]),
  );
  const facts = Object.entries({ id: row.id, ...row.about })
    .map(([name, value]) => `${name} ${value}`)
    .join(" · ");
  const like = row.like
    ? [
        make("h2", { textContent: `${row.like.test ? "Test row" : "Row"} ${row.like.id}, and what differs here` }),
        marked(row.like.difference),
      ]
    : [];
  return [
    ...said,
    make("ul", { className: "etabli-reasons" }, reasons),
    ...row.messages.map(turn),
    ...like,
    make("p", {}, [make("small", { textContent: facts })]),
  ];
}

export default widget(render);
