const MEASURES = ["log-probability", "KL", "rank"];
// Of the list of answers: head, what it means, and a line's text.
const ANSWER_COLUMNS = [
  { name: "question", title: "The most moved answer stands first", textOf: (line) => visible(line.prompt) },
  { name: "tokens", title: "How many tokens the answer has", textOf: (line) => String(line.tokens) },
  { name: "largest", title: "The largest change of a token's log-probability", textOf: (line) => line.move.toFixed(2) },
  { name: "whole", title: "The change of the whole answer's log-probability", textOf: (line) => signed(line.total) },
  { name: "KL", title: GLOSSARY.KL, textOf: (line) => line.kl.toFixed(2) },
];
const TRUTH_HINT =
  "Each true token, given the true ones before it. Underlined: tuned would write another token here. Dotted: only the base would.";

function render({ model, el }) {
  guardKeys(el);
  const head = make("p", { className: "etabli-head" });
  const measures = make("div", { className: "etabli-tools", role: "radiogroup", "aria-label": "Shade by" });
  const heads = ANSWER_COLUMNS.map(({ name, title }) =>
    make("th", { scope: "col" }, [make("abbr", { title, textContent: name })]),
  );
  const lines = make("tbody");
  const list = make("table", { role: "grid", tabIndex: 0, "aria-label": "Answers, the most moved first" }, [
    make("thead", {}, [make("tr", {}, heads)]),
    lines,
  ]);
  const open = make("div");
  const told = make("div", { className: "etabli-told", "aria-live": "polite" });
  const hint = make("p", {}, [
    make("small", {
      textContent:
        "In the list ↑ ↓ choose an answer, Enter goes to its tokens; there ← → walk, n and p jump to the next and previous large move.",
    }),
  ]);
  const said = make("div");
  const truth = make("div", { className: "etabli-truth" });
  el.append(
    head,
    measures,
    make("div", { className: "etabli-answers" }, [list]),
    errorLine(model),
    open,
    told,
    truth,
    hint,
    said,
  );
  const name_ = `etabli-${Math.random().toString(36).slice(2)}`; // ids of the options, which the list names as active
  let wanted = 0; // the row that was asked for last
  let timer = 0;
  let tokens = null; // the strip that is open

  const valuesOf = (moves) => {
    const changes = moves.logp.map((after, at) => after - moves.base_logp[at]);
    if (model.get("measure") === "KL") return [moves.kl, 3];
    if (model.get("measure") === "rank")
      return [moves.rank.map((rank, at) => Math.log10(moves.base_rank[at] / rank)), 3];
    return [changes, 5];
  };
  const percent = (logp) => {
    const share = 100 * Math.exp(logp);
    return share >= 0.1 ? `${share.toFixed(1)} %` : share >= 0.0001 ? `${share.toFixed(4)} %` : "under 0.0001 %";
  };
  const choices = (top) => top.map(([text, logp]) => `${JSON.stringify(visible(text))} ${percent(logp)}`).join(", ");
  const teller = (moves, target) => (place) => {
    const text = moves.tokens[place];
    const change = moves.logp[place] - moves.base_logp[place];
    const chip = make("code", { className: "etabli-token", textContent: JSON.stringify(visible(text)) });
    const part = text === "" ? " a part of the sign that follows" : "";
    const moved = [` moved ${signed(change)} `, term("nats"), ", ", term("KL"), ` ${moves.kl[place].toFixed(3)}`];
    const rank = make("abbr", { title: GLOSSARY.rank, textContent: "choice" });
    const cells = (tag, contents) => contents.map((content) => make(tag, {}, [content]));
    const line = (name, logp, choice, top) =>
      make("tr", {}, [
        make("th", { scope: "row", textContent: name }),
        ...cells("td", [percent(logp), String(choice), choices(top)]),
      ]);
    target.replaceChildren(
      make("p", {}, [`token ${place}: `, chip, part, ...moved]),
      make("table", {}, [
        make("tr", {}, [make("td"), ...cells("th", ["probability", rank, "first choices"])]),
        line("base", moves.base_logp[place], moves.base_rank[place], moves.base_top[place]),
        line("tuned", moves.logp[place], moves.rank[place], moves.top[place]),
      ]),
    );
  };
  const drawRow = () => {
    const row = model.get("row");
    if (!row.moves) return;
    if (!list.contains(document.activeElement)) wanted = row.number; // opened from code
    const [values, full] = valuesOf(row.moves);
    const focused = tokens?.contains(document.activeElement);
    const tell = teller(row.moves, told);
    tokens = strip(row.moves.tokens, values, { full, label: "Tokens of the answer", tell, at: row.at });
    open.replaceChildren(
      make("p", { className: "etabli-asked", textContent: visible(row.prompt), dir: "auto" }),
      tokens,
      ...(row.cut ? [make("p", {}, [cutMark(), " The end that is measured here is not its own."])] : []),
    );
    tell(row.at);
    drawTruth(row.truth);
    if (focused) tokens.focus();
    mark();
  };
  const drawTruth = (content) => {
    truth.hidden = !content;
    if (!content) return;
    const { summary, moves } = content;
    if (!moves) return truth.replaceChildren(make("p", {}, [make("small", { textContent: summary })]));
    const details = make("div", { className: "etabli-told", "aria-live": "polite" });
    const tell = teller(moves, details);
    const [values, full] = valuesOf(moves);
    const at = Math.max(
      0,
      moves.rank.findIndex((rank) => rank > 1),
    ); // where tuned leaves the truth first
    const own = strip(moves.tokens, values, { full, label: "Tokens of the truth", tell, at });
    [...own.children].forEach((token, place) => {
      const other = moves.rank[place] > 1 ? "tuned" : moves.base_rank[place] > 1 ? "base" : "";
      if (other) /** @type {HTMLElement} */ (token).dataset.other = other;
    });
    const hint = make("p", {}, [make("small", { textContent: TRUTH_HINT })]);
    const isOpen = Boolean(truth.querySelector("details")?.open);
    truth.replaceChildren(
      make("details", { open: isOpen }, [make("summary", { textContent: summary }), hint, own, details]),
    );
    tell(at);
  };
  const mark = () => {
    [...lines.children].forEach((line, at) => line.setAttribute("aria-selected", String(at === wanted)));
    if (lines.children[wanted]) list.setAttribute("aria-activedescendant", lines.children[wanted].id);
    lines.children[wanted]?.scrollIntoView?.({ block: "nearest" });
  };
  const choose = (number) => {
    wanted = Math.max(0, Math.min(model.get("lines").length - 1, number));
    mark();
    clearTimeout(timer); // a key that is held down asks once, for where it ends
    timer = setTimeout(() => model.send({ type: "open", number: wanted }), 60);
  };
  const drawList = () => {
    const nodes = model.get("lines").map((line, at) => {
      const cells = ANSWER_COLUMNS.map(({ textOf }) => make("td", { textContent: textOf(line) }));
      cells[0].dir = "auto";
      if (line.cut) cells[1].prepend(cutMark(), " ");
      const node = make("tr", { id: `${name_}-${at}` }, cells);
      node.onclick = () => choose(at);
      return node;
    });
    lines.replaceChildren(...nodes);
    const { of, model: name, said: notes } = model.get("about");
    head.replaceChildren(
      `Answers of ${visible(of)}, against ${visible(name)} alone. Changes are in `,
      term("nats"),
      nodes.length ? "." : ". No answer was measured.",
    );
    for (const part of [list, measures, hint]) part.hidden = !nodes.length;
    said.replaceChildren(...notes.map((text) => make("p", {}, [make("small", { textContent: text })])));
    mark();
  };
  list.addEventListener("keydown", (event) => {
    const places = { ArrowDown: wanted + 1, ArrowUp: wanted - 1, Home: 0, End: model.get("lines").length - 1 };
    if (event.key in places) choose(places[event.key]);
    else if (event.key === "Enter") tokens?.focus();
    else return;
    event.preventDefault();
  });
  const buttons = MEASURES.map((name, at) => {
    const props = { textContent: name, title: GLOSSARY[name], className: "etabli-button" };
    const button = make("button", { type: "button", role: "radio", ...props });
    button.onclick = () => {
      model.set("measure", name);
      model.save_changes();
    };
    button.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const next = buttons[(at + step + MEASURES.length) % MEASURES.length];
      next.click();
      next.focus();
    };
    return button;
  });
  measures.append("Shade by", ...buttons);
  const MEANS = {
    "log-probability": "blue: likelier, orange: less likely",
    KL: "blue: the two expect different things",
    rank: "blue: moved up, orange: moved down",
  };
  const means = make("small");
  measures.append(means);
  const drawMeasure = () =>
    buttons.forEach((button) => {
      means.textContent = MEANS[model.get("measure")];
      const on = button.textContent === model.get("measure");
      button.setAttribute("aria-checked", String(on));
      button.tabIndex = on ? 0 : -1;
    });
  const undo = [
    follow(model, ["lines", "about"], drawList),
    follow(model, ["row", "measure"], drawRow),
    follow(model, ["measure"], drawMeasure),
  ];
  return () => {
    clearTimeout(timer);
    undo.forEach((each) => each());
  };
}

/** A number with its sign and two digits. @param {number} value */
function signed(value) {
  return `${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`;
}

export default widget(render);
