const FLIPS = ["fixed", "broken", "both", "neither"];
const GAP_HEADS = ["score", "against", "interval", "difference", ...FLIPS, "McNemar"];

function render({ model, el }) {
  guardKeys(el);
  const warnings = make("div");
  const lines = make("ul", { className: "etabli-lines" });
  const forest = make("table");
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
  const all = make("details", {}, [
    make("summary", { textContent: "All scores, each on the same rows" }),
    scroll(scores, "Scores"),
  ]);
  const forestView = scroller("etabli-scroll etabli-forest", "Every system with its interval", [forest]);
  el.append(
    warnings,
    lines,
    errorLine(model),
    forestView,
    gapsTitle,
    scroll(gaps, "Differences"),
    rows,
    more,
    all,
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
    const drawn = cells("td", line.map(content));
    drawn.children[first].className = "etabli-subject"; // in sight when the table is scrolled
    return drawn;
  };
  /** An interval and its estimate on a bar; `zero` is where no difference lies. */
  const bar = (place, label, zero) => {
    const line = make("i", { hidden: zero === undefined });
    line.style.left = `${zero}%`;
    const reach = make("b", { className: `etabli-${kind(place)}` });
    reach.style.left = `${place.left}%`;
    reach.style.width = `${place.width}%`;
    const dot = make("u");
    dot.style.left = `${place.dot}%`;
    return make("div", { className: "etabli-bar", role: "img", "aria-label": label }, [line, reach, dot]);
  };
  const drawForest = ({ title: what, score, slice, ends, lines: systems }) => {
    const axis = make(
      "span",
      { className: "etabli-axis" },
      ends.map((end) => make("small", { textContent: end })),
    );
    const subject = model.get("view").subject;
    const line = (one) => [
      one.arm,
      bar(one, one.text),
      one.text === "—" ? one.text : number(one.text, { score, slice, arm: one.arm }),
      make("span", { className: `etabli-gap-${kind(one)}`, textContent: one.gap }),
    ];
    forest.replaceChildren(
      cells("th", [what, axis, "score [95 % interval]", `${subject} minus it`]),
      ...systems.map((one) => cells("td", line(one))),
    );
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
      bar(gap, gap.text, gap.zero),
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
    forestView.hidden = !view.forest?.lines;
    if (view.forest?.lines) drawForest(view.forest);
    scores.replaceChildren(
      cells("th", view.heads.map(term)),
      ...view.scores.map((line) => drawScore(line, view.heads, view.first)),
    );
    gapsTitle.textContent = view.gaps.length ? `Row by row: what ${view.subject} fixed and broke` : "";
    const [first, rest] = parted(view.gaps);
    gaps.replaceChildren(...(first.length ? [cells("th", GAP_HEADS.map(term))] : []), ...first.map(drawGap));
    others.replaceChildren(cells("th", GAP_HEADS.map(term)), ...rest.map(drawGap));
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

/** One row: who is right, and its prompt; unfolded, every answer against the truth; again, prompt and raw output. */
function drawRow(row) {
  const entry = (name, text) => make("section", {}, [make("small", { textContent: name }), text]);
  const plain = (text) => make("pre", { textContent: visible(text), dir: "auto" });
  const answer = (one) => {
    const said = entry(
      `${one.arm} ${one.mark}${one.answer === row.truth ? "" : " · struck: the truth alone, green: this answer alone"}`,
      one.answer === row.truth ? plain(one.answer) : marked(wordDifference(row.truth, one.answer)),
    );
    if (one.cut) said.append(cutMark());
    if (one.rendered) {
      said.append(
        make("details", {}, [
          make("summary", { textContent: "prompt and raw output" }),
          plain(one.rendered),
          make("hr"),
          plain(one.raw),
        ]),
      );
    }
    return said;
  };
  const sign = ({ arm, mark }) => {
    const colour = { "✓": "better", "✗": "worse" }[mark] ?? "unclear";
    return make("span", {}, [
      `${arm} `,
      make("b", { className: `etabli-gap-${colour}`, textContent: mark.slice(0, 8) }),
    ]);
  };
  const marks = make("span", { className: "etabli-marks" }, row.answers.map(sign));
  const fold = make("details", { className: "etabli-row" }, [make("summary", {}, [marks, visible(row.prompt)])]);
  fold.ontoggle = () => {
    // differences are computed when somebody looks
    if (fold.open && fold.children.length === 1)
      fold.append(entry("truth", plain(row.truth)), ...row.answers.map(answer));
  };
  return fold;
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
