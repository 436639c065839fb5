const FLIPS = ["fixed", "broken", "both", "neither"];
const NOT_SCORED = "(not scored)";
const KINDS = { better: "better", worse: "worse", unclear: "can't be told" };

function render({ model, el }) {
  guardKeys(el);
  const warnings = make("div");
  const lines = make("ul", { className: "etabli-lines" });
  const sliceLines = make("ul", { className: "etabli-lines", tabIndex: 0, "aria-label": "Verdicts on slices" });
  const slicesTitle = make("summary");
  const slices = make("details", {}, [slicesTitle, sliceLines]);
  const noScores = make("p", { textContent: "No score is left to be shown." });
  const forest = make("table");
  const scores = make("table");
  const gaps = make("table");
  const others = make("table");
  const othersTitle = make("summary");
  const gapsTitle = make("summary");
  const facts = make("table");
  const scroll = (table, label) => scroller("etabli-scroll", label, [table]);
  const made = make("details", {}, [make("summary", { textContent: "How it was made" }), scroll(facts, "Settings")]);
  const rows = make("section", { className: "etabli-rows", "aria-label": "Rows behind a number" });
  let pressed = null; // the button that opened the rows: focus goes back there
  const changes = make("details", {}, [gapsTitle, scroll(gaps, "Rows that changed")]);
  const more = make("details", {}, [othersTitle, scroll(others, "Differences by other scores")]);
  const all = make("details", {}, [
    make("summary", { textContent: "All scores, each on the same rows" }),
    scroll(scores, "Scores"),
  ]);
  const forestView = scroller("etabli-scroll etabli-forest", "Every system, and its difference from the first", [
    forest,
  ]);
  el.append(warnings, lines, noScores, errorLine(model), forestView, slices, changes, rows, more, all, made);

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
  /** The interval of a difference and its value on a bar, whose middle is zero; without a difference zero alone. */
  const bar = (gap) => {
    const zero = make("i");
    if (!gap) return make("div", { className: "etabli-bar" }, [zero]);
    const reach = make("b", { className: `etabli-${kind(gap)}` });
    reach.style.left = `${gap.left}%`;
    reach.style.width = `${gap.width}%`;
    const value = make("u");
    value.style.left = `${gap.dot}%`;
    return make("div", { className: "etabli-bar", role: "img", "aria-label": gap.text }, [zero, reach, value]);
  };
  /** A system's score over its own interval; without one, how many rows were scored. */
  const drawSystemScore = ({ arm, text, note, interval }, score, slice) => {
    if (!interval) return make("span", {}, [`${text} `, make("small", { textContent: note })]);
    const reach = make("span");
    reach.style.left = `${interval.left}%`;
    reach.style.width = `${interval.width}%`;
    const value = make("u");
    value.style.left = `${interval.dot}%`;
    const own = make("div", { className: "etabli-own" }, [reach, value]);
    return make("div", {}, [number(text, { score, slice, arm }), own]);
  };
  const drawForest = ({ title: heading, score, slice, from, to, lines: systems }) => {
    const parts = ["worse ←", "0", "→ better"].map((text) => make("span", { textContent: text }));
    const axis = make("span", { className: "etabli-axis" }, parts);
    const ends = [from, to].map((text) => make("span", { textContent: text }));
    const scale = make("span", { className: "etabli-scale" }, ends);
    const line = (system) => [
      system.arm,
      drawSystemScore(system, score, slice),
      bar(system.gap),
      make("span", {
        className: system.gap ? `etabli-gap-${kind(system.gap)}` : "",
        textContent: system.gap?.text ?? "",
      }),
    ];
    forest.replaceChildren(
      cells("th", [
        heading,
        make("span", {}, ["score [95 % interval]", scale]),
        axis,
        `${model.get("view").subject} minus it`,
      ]),
      ...systems.map((system) => cells("td", line(system))),
    );
  };
  /** How many rows changed in a way; a click opens them, if there are any. */
  const flips = (gap, which) => {
    const { score, slice, against } = gap;
    return gap.flips[which] ? number(String(gap.flips[which]), { score, slice, against, which }) : "0";
  };
  /** Differences as a table of the columns that say something; `isPlotted`: their intervals stand above. */
  const drawGaps = (table, items, isPlotted) => {
    const name = (gap) => [gap.score, make("small", { textContent: ` ${gap.slice}, n = ${gap.n}` })];
    const flipped = items.some((gap) => gap.flips) ? FLIPS : [];
    const counts = flipped.map((which) => [which, (gap) => (gap.flips ? flips(gap, which) : "")]);
    const columns = Object.entries({
      score: (gap) => make("span", {}, name(gap)),
      against: (gap) => gap.against,
      ...(isPlotted ? {} : { interval: bar, difference: (gap) => gap.text }),
      ...Object.fromEntries(counts),
      ...(items.some((gap) => gap.chance) ? { McNemar: (gap) => gap.chance } : {}),
    });
    const heads = columns.map(([head]) => term(head));
    const lines = items.map((gap) => columns.map(([, cell]) => cell(gap)));
    table.replaceChildren(cells("th", heads), ...lines.map((line) => cells("td", line)));
  };

  const drawLines = (list, items) =>
    list.replaceChildren(
      ...items.map((line) => make("li", { className: `etabli-${kind(line)}`, textContent: line.text })),
    );
  /** Build what is folded when it is opened, and again on every change while it is open: slices may be thousands. */
  const folds = new Map([
    [slices, () => drawLines(sliceLines, model.get("view").lines.slice(1))],
    [changes, () => drawGaps(gaps, parted(model.get("view").gaps)[0], isPlotted(model.get("view")))],
    [more, () => drawGaps(others, parted(model.get("view").gaps)[1], false)],
    [all, () => drawScores(model.get("view"))],
  ]);
  const drawScores = (view) =>
    scores.replaceChildren(
      cells("th", view.heads.map(term)),
      ...view.scores.map((line) => drawScore(line, view.heads, view.first)),
    );
  for (const [fold, build] of folds)
    fold.ontoggle = () => {
      if (!fold.open) return;
      build();
      markPressed();
    };
  const draw = () => {
    const view = model.get("view");
    warnings.replaceChildren(
      ...view.warnings.map((text) => make("p", { className: "etabli-hint", textContent: text })),
    );
    drawLines(lines, view.lines.slice(0, 1));
    slices.hidden = view.lines.length < 2;
    slicesTitle.textContent = summariseSlices(view.lines.slice(1));
    forestView.hidden = !view.forest?.lines;
    if (view.forest?.lines) drawForest(view.forest);
    noScores.hidden = view.scores.length > 0;
    all.hidden = !view.scores.length;
    const [first, rest] = parted(view.gaps);
    const isFlipped = first.some((gap) => gap.flips);
    gapsTitle.textContent = isFlipped ? `Row by row: what ${view.subject} fixed and broke` : "Slice by slice";
    changes.hidden = !isFlipped && isPlotted(view);
    othersTitle.textContent = `By ${[...new Set(rest.map((gap) => gap.score))].join(" and by ")}`;
    more.hidden = !rest.length;
    facts.replaceChildren(
      ...view.facts.map(([name, value]) => cells("td", [name, make("code", { textContent: value })])),
    );
    for (const [fold, build] of folds) if (fold.open) build();
  };
  const markPressed = () => {
    const { asked } = model.get("opened");
    for (const button of el.querySelectorAll(".etabli-number"))
      button.setAttribute("aria-pressed", String(Boolean(asked) && same(JSON.parse(button.dataset.asked), asked)));
  };
  const drawRows = () => {
    const { asked, rows: shown, found } = model.get("opened");
    const open = Boolean(asked);
    markPressed();
    rows.hidden = !open;
    if (!open) return;
    const close = make("button", { type: "button", textContent: "Close", className: "etabli-button" });
    close.onclick = shut;
    const more = found > shown.length ? ` (the first ${shown.length})` : "";
    const heading = `${title(asked, model.get("view").subject)}: ${quantity(found, "row")}${more}`;
    const head = make("div", { className: "etabli-top" }, [make("b", { textContent: heading, role: "status" }), close]);
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
      `${one.arm} ${one.mark || NOT_SCORED}${one.answer === row.truth ? "" : " · struck: the truth alone, green: this answer alone"}`,
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
  const marks = make("span", { className: "etabli-marks" }, row.answers.filter(({ mark }) => mark).map(sign));
  const fold = make("details", { className: "etabli-row" }, [make("summary", {}, [marks, visible(row.prompt)])]);
  fold.ontoggle = () => {
    // differences are computed when somebody looks
    if (fold.open && fold.children.length === 1)
      fold.append(entry("truth", plain(row.truth)), ...row.answers.map(answer));
  };
  return fold;
}

/** Do the intervals of the score that decides all stand in the plot? */
function isPlotted(view) {
  return parted(view.gaps)[0].every((gap) => gap.slice === view.forest?.slice);
}

/** How the verdicts on slices fell. */
function summariseSlices(lines) {
  const kinds = lines.map(kind);
  const counts = Object.entries(KINDS).map(([name, words]) => [kinds.filter((each) => each === name).length, words]);
  const parts = counts.filter(([count]) => count).map(([count, words]) => `${count} ${words}`);
  return `On ${quantity(lines.length, "slice")}: ${parts.join(", ")}`;
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
