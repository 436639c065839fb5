const KEYS = {
  ArrowLeft: "left",
  1: "left",
  ArrowRight: "right",
  2: "right",
  ArrowDown: "tie",
  t: "tie",
  0: "tie",
  x: "both bad",
};
const BUTTONS = [
  ["left", "← Left is better"],
  ["tie", "↓ Tie"],
  ["both bad", "x Both bad"],
  ["right", "Right is better →"],
];
const NOT_COUNTED = "The names are told: votes from here on are kept and do not count.";
const ONE_CUT = "Only one of the two was cut: this may tell whose it is. Judge what is there.";

function render({ model, el }) {
  guardKeys(el);
  const count = make("b");
  const look = make("button", {
    type: "button",
    textContent: "Who is who?",
    title: "Ends the blind vote: votes after this do not count",
    className: "etabli-button",
  });
  const bar = make("progress", { className: "etabli-progress", "aria-label": "Pairs voted on" });
  const asked = make("pre", { className: "etabli-asked", dir: "auto" });
  const left = make("pre", { dir: "auto" });
  const right = make("pre", { dir: "auto" });
  const heads = ["Left", "Right"].map((name) => make("b", { textContent: name }));
  const cuts = [cutMark(), cutMark()];
  const side = (name, at, text) =>
    make("section", { "aria-label": `${name} answer` }, [
      make("div", { className: "etabli-top" }, [heads[at], cuts[at]]),
      text,
    ]);
  const sides = make("div", { className: "etabli-sides" }, [side("Left", 0, left), side("Right", 1, right)]);
  const oneCut = make("p", { className: "etabli-hint", textContent: ONE_CUT });
  const buttons = BUTTONS.map(([choice, text]) => {
    const button = make("button", { type: "button", textContent: text, className: "etabli-button" });
    button.onclick = () => vote(choice);
    return button;
  });
  const last = make("p", { className: "etabli-last", role: "status", "aria-live": "polite" });
  const watched = make("p", { className: "etabli-watched", "aria-live": "polite" });
  const said = make("div");
  const told = make("div", { className: "etabli-told-who", tabIndex: -1 });
  const booth = make(
    "div",
    { className: "etabli-booth", tabIndex: 0, role: "application", "aria-label": "Vote with the arrow keys" },
    [
      make("div", { "aria-live": "polite" }, [asked, sides, oneCut]),
      make("div", { className: "etabli-votes" }, buttons),
    ],
  );
  const hint = make("p", {}, [
    make("small", {
      textContent:
        "Click the answers or press Tab, then: ← left, → right, ↓ tie, x both bad, Page Up and Page Down to scroll. A vote can't be taken back.",
    }),
  ]);
  const voting = make("div", {}, [booth, hint]);
  const further = make("details", {}, [
    make("summary", { textContent: "Go on voting" }),
    make("p", { className: "etabli-hint", textContent: NOT_COUNTED }),
  ]);
  el.append(
    make("div", { className: "etabli-top" }, [count, look]),
    bar,
    told,
    voting,
    errorLine(model),
    last,
    watched,
    said,
  );

  let pending = 0; // the pair that was voted on last: a second press before the next one is there is none
  const vote = (choice) => {
    const { number } = model.get("pair");
    if (!number || number === pending) return;
    pending = number;
    model.send({ type: "vote", choice, number });
  };
  look.onclick = () => model.send({ type: "look" });
  booth.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const pages = { PageDown: 1, PageUp: -1 };
    if (event.key in pages)
      for (const text of [left, right]) text.scrollBy(0, pages[event.key] * 0.8 * text.clientHeight);
    else if (!(event.key in KEYS)) return;
    else if (!event.repeat) vote(KEYS[event.key]); // a key held down is one vote
    event.preventDefault();
  });
  const reset = () => (pending = 0); // dealt with: one that could not be kept may be given again
  model.on("change:heard", reset);

  const draw = () => {
    const pair = model.get("pair");
    const isTold = Boolean(model.get("told").verdict);
    count.textContent = describeProgress(pair.number, model.get("done"), model.get("total"), isTold);
    bar.max = model.get("total") || 1;
    bar.value = model.get("done");
    asked.textContent = visible(pair.prompt ?? "");
    left.replaceChildren(...answerNodes(pair.left, pair.thoughts?.[0]));
    right.replaceChildren(...answerNodes(pair.right, pair.thoughts?.[1]));
    [left, right].forEach((node, at) => {
      node.scrollTop = 0;
      node.classList.toggle("etabli-empty", pair.number !== undefined && ![pair.left, pair.right][at]);
      const place = ["Left", "Right"][at];
      heads[at].textContent = pair.names ? `${place} · ${visible(pair.names[at])}` : place; // only once it is told
      cuts[at].hidden = !pair.cut?.[at];
    });
    oneCut.hidden = isTold || Boolean(pair.cut?.[0]) === Boolean(pair.cut?.[1]);
    const isFolding = isTold && !further.parentNode;
    const isStranded =
      (isFolding || !pair.number) && [voting, look].some((part) => part.contains(document.activeElement));
    if (isFolding) {
      further.append(booth, hint);
      voting.replaceChildren(further);
    }
    voting.hidden = !pair.number;
    if (isStranded) {
      told.hidden = false;
      told.focus(); // the keys have somewhere to go
    }
    const { lengths, choice } = model.get("last");
    last.textContent = choice
      ? `Last vote: ${choice}. Left had ${quantity(lengths[0], "character")}, right ${lengths[1]}.`
      : "";
    watched.textContent = model.get("watched");
    watched.hidden = look.hidden = isTold; // then the verdict says it
    said.replaceChildren(
      ...model.get("said").map((text) => make("p", {}, [make("small", { textContent: visible(text) })])),
    );
  };
  const drawTold = () => {
    const held = model.get("told");
    told.hidden = !held.verdict;
    if (!held.verdict) return;
    const row = (tag, cells) =>
      make(
        "tr",
        {},
        cells.map((text) => make(text ? tag : "td", { textContent: visible(text) })), // a head has a text
      );
    const table = make("table", {}, [row("th", held.heads), ...held.rows.map((cells) => row("td", cells))]);
    const notes = held.notes.map((text) => make("p", {}, [make("small", { textContent: visible(text) })]));
    const verdict = make("p", { className: "etabli-verdict", textContent: visible(held.verdict) });
    verdict.dataset.kind = held.kind;
    const compared = make("p", { textContent: visible(held.compared), hidden: !held.compared });
    told.replaceChildren(compared, verdict, scroller("etabli-scroll", "Result", [table]), ...notes);
  };
  const undo = [
    follow(model, ["pair", "total", "done", "last", "watched", "said", "told"], draw),
    follow(model, ["told"], drawTold),
  ];
  return () => {
    model.off("change:heard", reset);
    undo.forEach((each) => each());
  };
}

/** Which pair is shown, or how many were voted on. */
function describeProgress(number, done, total, isTold) {
  if (!number) return total === 1 ? "The only pair is voted on" : `All ${total} pairs are voted on`;
  return isTold ? `${done} of ${total} pairs voted on` : `Pair ${number} of ${total}`;
}

export default widget(render);
