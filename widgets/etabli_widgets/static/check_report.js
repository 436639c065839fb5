const SEVERITIES = ["error", "warning", "info"];
const LABELS = { error: "Errors", warning: "Warnings", info: "Info" };

function render({ model, el }) {
  guardKeys(el);
  const name = make("b");
  const summary = make("span");
  const next = make("p", { className: "etabli-next" });
  const chips = make("div", { className: "etabli-chips", role: "group", "aria-label": "Show one severity only" });
  const list = make("div", { className: "etabli-findings" });
  const more = make("div");
  /** @type {Map<string, any>} */
  let items = new Map(); // code -> its line and the part that a click opens
  let sections = []; // of each severity
  el.append(make("p", {}, [name, summary]), chips, next, errorLine(model), list, more);

  const close = (code) => {
    model.send({ type: "close" });
    items.get(code)?.button.focus();
  };
  const drawGroup = (group) => {
    const open = make("section", { className: "etabli-opened", hidden: true, "aria-label": `Rows of ${group.code}` });
    const button = make("button", { type: "button", className: "etabli-finding" }, [
      make("b", { textContent: group.count.toLocaleString("en") }),
      make("span", { dir: "auto", textContent: visible(group.why) }),
      make("code", { dir: "auto", textContent: visible(group.code) }),
    ]);
    button.onclick = () =>
      model.send(model.get("opened").code === group.code ? { type: "close" } : { type: "open", code: group.code });
    open.onkeydown = (event) => {
      if (event.key === "Escape") close(group.code);
    };
    items.set(group.code, { button, open, group });
    return make("li", {}, [button, open]);
  };
  const draw = () => {
    const view = model.get("view");
    items = new Map();
    name.textContent = visible(view.name);
    summary.textContent = `: ${visible(view.summary)}`;
    next.textContent = view.next;
    sections = SEVERITIES.map((severity) => [severity, view.groups.filter((group) => group.severity === severity)])
      .filter(([, groups]) => groups.length)
      .map(([severity, groups]) => drawSeverity(severity, groups.map(drawGroup)));
    list.replaceChildren(...(sections.length ? [drawHeads()] : []), ...sections);
    more.replaceChildren(...drawSections(view));
    drawOpened();
    drawFilter();
  };
  const drawFilter = () => {
    const groups = model.get("view").groups;
    const shown = model.get("severity");
    const counted = SEVERITIES.map((severity) => [severity, count(groups, severity)]).filter(([, found]) => found);
    const choices = [["", count(groups, "")], ...counted];
    chips.replaceChildren(...choices.map(([severity, found]) => chip(model, severity, found, severity === shown)));
    chips.hidden = counted.length < 2;
    for (const section of sections) section.hidden = Boolean(shown) && section.dataset.severity !== shown;
  };
  const drawOpened = () => {
    const opened = model.get("opened");
    for (const [code, { button, open, group }] of items) {
      const isOpen = code === opened.code;
      button.setAttribute("aria-expanded", String(isOpen));
      open.hidden = !isOpen;
      open.replaceChildren(...(isOpen ? drawRows(model, group, opened, () => close(code)) : []));
    }
  };
  const undo = [
    follow(model, ["view"], draw),
    follow(model, ["opened"], drawOpened),
    follow(model, ["severity"], drawFilter),
  ];
  return () => undo.forEach((each) => each());
}

/** The heads of the columns. */
function drawHeads() {
  const names = ["findings", "what was found", "code"];
  return make(
    "div",
    { className: "etabli-finding etabli-heads" },
    names.map((textContent) => make("span", { textContent })),
  );
}

/** The findings of one severity, under its name. */
function drawSeverity(severity, lines) {
  const label = make("p", { className: `etabli-severity etabli-${severity}`, textContent: LABELS[severity] });
  const list = make("ul", { "aria-label": LABELS[severity] }, lines);
  const section = make("section", {}, [label, list]);
  section.dataset.severity = severity;
  return section;
}

/** How many findings of a severity there are; of all if it is empty. */
function count(groups, severity) {
  return groups
    .filter((group) => !severity || group.severity === severity)
    .reduce((sum, group) => sum + group.count, 0);
}

/** A button that shows only the findings of one severity. */
function chip(model, severity, found, pressed) {
  const label = { "": "all", error: "errors", warning: "warnings", info: "info" }[severity];
  const button = make("button", { type: "button", className: "etabli-chip", "aria-pressed": String(pressed) }, [
    `${found.toLocaleString("en")} ${label}`,
  ]);
  button.onclick = () => {
    model.set("severity", severity);
    model.save_changes();
  };
  return button;
}

/** What is open under a finding: what to do, what can be copied, and its rows. */
function drawRows(model, group, opened, close) {
  const rows = scroller("etabli-rows", `Rows of ${group.code}`, opened.rows.map(drawRow));
  const tools = make("div", { className: "etabli-tools" }, [make("span", { textContent: describe(opened) })]);
  if (opened.numbers.length) tools.append(...copyButton("Copy the row numbers", opened.numbers.join(", ")));
  const shut = make("button", { type: "button", className: "etabli-button", textContent: "Close" });
  shut.onclick = close;
  tools.append(shut);
  /** @type {HTMLElement[]} */
  const parts = [make("p", { textContent: `→ ${visible(group.fix)}` }), tools, rows];
  if (opened.note) parts.splice(1, 0, make("p", { className: "etabli-hint", textContent: visible(opened.note) }));
  if (opened.rows.length < opened.found) {
    const button = make("button", { type: "button", className: "etabli-button", textContent: "Show more" });
    button.onclick = () => model.send({ type: "more" });
    parts.push(button);
  }
  if (opened.leave_out)
    parts.push(make("p", {}, ["To leave these rows out: ", make("code", { textContent: opened.leave_out })]));
  return parts;
}

/** How many findings are open, of how many rows. */
function describe({ rows, found, numbers }) {
  const first = rows.length < found ? `the first ${rows.length} of ` : "";
  const findings = `${first}${quantity(found, "finding")}`;
  return numbers.length ? `${findings}, in ${quantity(numbers.length, "row")}` : findings;
}

/** One row: where it is, and its texts; the part that the finding is about is marked. */
function drawRow(row) {
  const why = row.why ? ` · ${visible(row.why)}` : "";
  const head = make("small", { dir: "auto", textContent: `${visible(row.place)}${why}` });
  return make("article", {}, [head, ...row.parts.map(drawPart)]);
}

function drawPart({ name, text, span, is_meant: isMeant }) {
  const content = make("pre", { dir: "auto" });
  if (!text) content.append(make("small", { textContent: "(empty)" }));
  else if (!span) content.append(visible(text));
  else {
    const [start, end] = span; // counted in Unicode characters, as Python does
    const signs = [...text];
    const piece = (from, to) => visible(signs.slice(from, to).join(""));
    content.append(piece(0, start), make("mark", { textContent: piece(start, end) }), piece(end));
  }
  const className = isMeant ? "etabli-part" : "etabli-part etabli-context";
  return make("div", { className }, [make("small", { textContent: visible(name) }), content]);
}

/** A button that copies a text, and what is said of it. Where a page may not copy, the text is shown, selected. */
function copyButton(label, text) {
  const button = make("button", { type: "button", className: "etabli-button", textContent: label });
  const said = make("span", { role: "status" });
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = "Copied.";
    } catch {
      const field = make("textarea", { className: "etabli-numbers", readOnly: true, rows: 2, value: text });
      field.setAttribute("aria-label", "Row numbers");
      said.replaceChildren("Copy these: ", field);
      field.select();
    }
  };
  return [button, said];
}

/** What the check says of the file as a whole, and what was looked at. */
function drawSections({ groups, sections, preview, looked_at: lookedAt }) {
  const fold = (title, content, open) => make("details", { open }, [make("summary", { textContent: title }), content]);
  const lines = (texts) =>
    make(
      "ul",
      {},
      texts.map((text) => make("li", { textContent: visible(text) })),
    );
  const records = make(
    "ul",
    {},
    preview.map((text) => make("li", {}, [make("code", { textContent: visible(text) })])),
  );
  return [
    ...(groups.length ? [] : [make("p", { textContent: "Nothing found." })]),
    ...sections.map(([title, texts]) => fold(title, lines(texts), title === "Not run" || !groups.length)),
    ...(lookedAt.length ? [fold("Looked at", lines(lookedAt), !groups.length)] : []),
    ...(preview.length ? [fold("First rows, as they stand in the file", records, false)] : []),
  ];
}

export default widget(render);
