const FLIPS = ["fixed", "broken", "both", "neither"];
const GAP_HEADS = ["score", "against", "interval", "difference", ...FLIPS, "McNemar"];

function render({ model, el }) {
  guardKeys(el);
  const warnings = make("div");
  const lines = make("ul", { className: "etabli-lines" });
  const scores = make("table");
  const gaps = make("table");
  const others = make("table");
  const othersTitle = make("summary");
  const gapsTitle = make("h2");
  const facts = make("table");
  const made = make("details", {}, [make("summary", { textContent: "How it was made" }), facts]);
  const rows = make("section", { className: "etabli-rows", "aria-label": "Rows behind a number" });
  let pressed = null; // the button that opened the rows: focus goes back there
  const scroll = (table, label) => scroller("etabli-scroll", label, [table]);
  const more = make("details", {}, [othersTitle, scroll(others, "Differences by other scores")]);
  el.append(
    warnings,
    lines,
    errorLine(model),
    make("h2", { textContent: "Each on the same rows" }),
    scroll(scores, "Scores"),
    gapsTitle,
    scroll(gaps, "Differences"),
    more,
    rows,
    made,
  );

  /** A number that opens its rows. */
  const number = (text, asked) => {
    const label = `${title(asked, model.get("view").subject)}: ${text}`;
    const button = make("button", {
      type: "button",
      textContent: text,
      className: "etabli-number",
      "aria-label": label,
    });
    button.onclick = () => {
      pressed = button;
      model.send({ type: "open", ...asked });
    };
    button.dataset.asked = JSON.stringify(asked);
    return button;
  };
  const shut = () => {
    model.send({ type: "close" });
    pressed?.focus();
  };
  const cells = (tag, contents) =>
    make(
      "tr",
      {},
      contents.map((content) => make(tag, tag === "th" ? { scope: "col" } : {}, [content])),
    );

  const drawScore = (line, heads, first) => {
    const [score, slice] = line;
    const opens = (text, at) => at >= first && text !== "—";
    const content = (text, at) => (opens(text, at) ? number(text, { score, slice, arm: heads[at] }) : String(text));
    return cells("td", line.map(content));
  };
  const bar = (gap) => {
    const zero = make("i");
    zero.style.left = `${gap.zero}%`;
    const reach = make("b", { className: `etabli-${kind(gap)}` });
    reach.style.left = `${gap.left}%`;
    reach.style.width = `${gap.width}%`;
    const dot = make("u");
    dot.style.left = `${gap.dot}%`;
    return make("div", { className: "etabli-bar", role: "img", "aria-label": gap.text }, [zero, reach, dot]);
  };
  const flips = (gap) => {
    const { score, slice, against } = gap;
    const counted = (which) => number(String(gap.flips[which]), { score, slice, against, which });
    return FLIPS.map((which) => (gap.flips ? counted(which) : ""));
  };
  const drawGap = (gap) =>
    cells("td", [
      make("span", {}, [gap.score, make("small", { textContent: ` ${gap.slice}, n = ${gap.n}` })]),
      gap.against,
      bar(gap),
      gap.text,
      ...flips(gap),
      gap.chance,
    ]);

  const draw = () => {
    const view = model.get("view");
    warnings.replaceChildren(
      ...view.warnings.map((text) => make("p", { className: "etabli-hint", textContent: text })),
    );
    lines.replaceChildren(
      ...view.lines.map((line) => make("li", { className: `etabli-${kind(line)}`, textContent: line.text })),
    );
    scores.replaceChildren(
      cells("th", view.heads),
      ...view.scores.map((line) => drawScore(line, view.heads, view.first)),
    );
    gapsTitle.textContent = view.gaps.length ? `${view.subject} minus each other` : "";
    const [first, rest] = parted(view.gaps);
    gaps.replaceChildren(...(first.length ? [cells("th", GAP_HEADS)] : []), ...first.map(drawGap));
    others.replaceChildren(cells("th", GAP_HEADS), ...rest.map(drawGap));
    othersTitle.textContent = `By ${[...new Set(rest.map((gap) => gap.score))].join(" and by ")}`;
    more.hidden = !rest.length;
    facts.replaceChildren(
      ...view.facts.map(([name, value]) => cells("td", [name, make("code", { textContent: value })])),
    );
  };
  const drawRows = () => {
    const { asked, rows: shown, found } = model.get("opened");
    const open = Boolean(asked);
    for (const button of el.querySelectorAll(".etabli-number"))
      button.setAttribute("aria-pressed", String(open && same(JSON.parse(button.dataset.asked), asked)));
    rows.hidden = !open;
    if (!open) return;
    const close = make("button", { type: "button", textContent: "Close", className: "etabli-button" });
    close.onclick = shut;
    const more = found > shown.length ? ` (the first ${shown.length})` : "";
    const said = `${title(asked, model.get("view").subject)}: ${found} rows${more}`;
    const head = make("div", { className: "etabli-top" }, [make("b", { textContent: said, role: "status" }), close]);
    rows.replaceChildren(head, ...shown.map(drawRow));
    rows.scrollIntoView({ block: "nearest" });
    if (pressed) close.focus({ preventScroll: true });
  };
  const undo = [follow(model, ["view"], draw), follow(model, ["opened"], drawRows)];
  rows.addEventListener("keydown", (event) => {
    if (event.key === "Escape") shut();
  });
  return () => undo.forEach((each) => each());
}

/** One row: its prompt; unfolded, every answer; unfolded again, the whole prompt and the raw output. */
function drawRow(row) {
  const entry = (name, text) =>
    make("section", {}, [make("small", { textContent: name }), make("pre", { textContent: text })]);
  const answers = row.answers.map((one) => {
    const said = entry(`${one.arm} ${one.mark}`, one.answer);
    if (one.rendered) {
      said.append(
        make("details", {}, [
          make("summary", { textContent: "prompt and raw output" }),
          make("pre", { textContent: one.rendered }),
          make("hr"),
          make("pre", { textContent: one.raw }),
        ]),
      );
    }
    return said;
  });
  return make("details", { className: "etabli-row" }, [
    make("summary", { textContent: row.prompt }),
    entry("truth", row.truth),
    ...answers,
  ]);
}

/** The differences by the score that decides, and all others. */
function parted(gaps) {
  const decides = gaps.length ? gaps[0].score : "";
  return [gaps.filter((gap) => gap.score === decides), gaps.filter((gap) => gap.score !== decides)];
}

/** better, worse or unclear: what colour it has. */
function kind(held) {
  return ["better", "worse"].includes(held.verdict) ? held.verdict : "unclear";
}

/** What the open rows are. */
function title(asked, subject) {
  const place = `${asked.score}, ${asked.slice}`;
  const said = {
    fixed: `${subject} right, ${asked.against} wrong`,
    broken: `${subject} wrong, ${asked.against} right`,
    both: "both right",
    neither: "both wrong",
  }[asked.which];
  return said ? `${asked.which} (${place}): ${said}` : `${place}: ${asked.arm}`;
}

/** Do two flat objects say the same? */
function same(one, other) {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}

export default widget(render);
