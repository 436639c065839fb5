const KNOBS = {
  strength: ["Adapter strength", { type: "range", min: 0, max: 1.5, step: 0.1 }],
  temperature: ["Temperature", { type: "number", min: 0, max: 2, step: 0.1 }],
  seed: ["Seed", { type: "number", min: 0, step: 1 }],
};
const VOTE_KEYS = {
  1: "left",
  ArrowLeft: "left",
  2: "right",
  ArrowRight: "right",
  t: "tie",
  ArrowDown: "tie",
  x: "both bad",
}; // as in the arena
const CHOICES = ["left", "tie", "both bad", "right"];
const KEYS_HINT =
  "Enter asks, Shift+Enter makes a new line, ↑ in the empty box brings the last question back. On a vote's buttons: ← or 1 the left one, → or 2 the right one, ↓ or t a tie, x both bad.";
const STEP = 50; // earlier questions that are listed, and how many more a click adds
const EMPTY = "(an empty answer)";
const NOT_BLIND = "The names are in sight: these votes are not blind and are never counted with the arena's.";

function render({ model, el }) {
  guardKeys(el);
  const input = make("textarea", { rows: 2, placeholder: "Ask all sides…", "aria-label": "Prompt" });
  const ask = make("button", { type: "submit", textContent: "Ask", className: "etabli-button etabli-primary" });
  const stop = make("button", { type: "button", textContent: "Stop", className: "etabli-button" });
  const goOn = make("input", { type: "checkbox" });
  const goOnLabel = make("label", { className: "etabli-go-on" }, [goOn, "Go on from the last question"]);
  const status = make("span", { role: "status", "aria-live": "polite" });
  const seconds = make("span", { className: "etabli-seconds", "aria-hidden": "true" });
  const knobs = make("div", { className: "etabli-knobs" });
  const form = make("form", {}, [input, make("div", {}, [ask, stop, goOnLabel, status, seconds]), knobs]);
  const chips = make("div", { className: "etabli-chips" });
  const asked = make("p", { className: "etabli-asked" });
  const sides = make("div", { className: "etabli-sides" });
  const votes = make("div", { className: "etabli-ballot" });
  const earlier = make("div");
  const before = make("details", { className: "etabli-earlier" }, [make("summary"), earlier]);
  const hint = make("p", {}, [make("small", { textContent: KEYS_HINT })]);
  const notes = make("div");
  el.append(form, chips, errorLine(model), asked, sides, votes, before, hint, notes);

  /** The entry of the question that stands above; undefined while it is answered, and if it failed. */
  const current = () => model.get("history")[model.get("place")];

  // --- the box: it is cleared when the kernel has the question, and gets it back if nothing was answered
  let sent = ""; // what the kernel was asked last and has not begun
  let isWaiting = false; // until the kernel has heard it: Enter pressed twice asks once
  const send = () => {
    const prompt = input.value.trim();
    if (!prompt || model.get("writing") || isWaiting) return;
    [sent, isWaiting] = [prompt, true];
    model.send({ type: "ask", prompt, go_on: goOn.checked && !goOnLabel.hidden, settings: settings() });
  };
  const hear = (content) => {
    if (content?.type === "answered") isWaiting = false;
  };
  model.on("msg:custom", hear);
  const begun = () => {
    if (!sent || model.get("prompt") !== sent) return;
    if (!model.get("doing") && !current()) return;
    if (input.value.trim() === sent) input.value = "";
    sent = "";
  };
  const failed = () => {
    if (!model.get("error")) return;
    sent = "";
    if (!input.value && !current()) input.value = model.get("prompt");
  };
  const settings = () =>
    Object.fromEntries([...knobs.querySelectorAll("input")].map((knob) => [knob.name, Number(knob.value)]));
  form.onsubmit = (event) => {
    event.preventDefault();
    send();
  };
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return; // Enter ends a word of an input method
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    } else if (event.key === "ArrowUp" && !input.value && model.get("history").length) {
      event.preventDefault();
      input.value = model.get("history").at(-1).prompt;
    }
  });
  stop.onclick = () => model.send({ type: "stop" });

  // --- what the kernel is doing, and for how long
  let timer = 0;
  let since = 0;
  const drawDoing = () => {
    const doing = model.get("doing");
    if (status.textContent !== doing) status.textContent = doing;
    stop.hidden = !doing;
    ask.disabled = Boolean(doing);
    clearInterval(timer);
    if (!doing) since = 0;
    else since ||= performance.now();
    const tick = () => {
      if (el.classList.contains("etabli-gone")) return; // nobody works any more
      seconds.textContent = doing ? `${Math.round((performance.now() - since) / 1000)} s` : "";
    };
    tick();
    if (doing) timer = setInterval(() => tick(), 1000);
  };

  const drawKnobs = () => {
    const values = model.get("settings");
    const labels = Object.keys(KNOBS)
      .filter((name) => name in values)
      .map((name) => {
        const [title, props] = KNOBS[name];
        const knob = make("input", { name, ...props });
        knob.value = values[name];
        const value = make("output", { textContent: name === "strength" ? String(values[name]) : "" });
        knob.onchange = () => (knob.value ||= model.get("settings")[name]); // cleared: the value that holds
        knob.oninput = () => (value.textContent = name === "strength" ? knob.value : "");
        return make("label", {}, [title, knob, value]);
      });
    knobs.replaceChildren(...labels);
    knobs.hidden = !labels.length;
  };
  const setKnobs = () => {
    if (!knobs.children.length) return drawKnobs();
    for (const knob of knobs.querySelectorAll("input"))
      if (knob !== document.activeElement) knob.value = model.get("settings")[knob.name]; // built once: the focus stays
    const value = knobs.querySelector("input[name=strength] + output");
    if (value) value.textContent = model.get("settings").strength;
  };
  const drawChips = () => {
    const buttons = model.get("suggestions").map((text) => {
      const chip = make("button", { type: "button", textContent: visible(text), className: "etabli-chip" });
      chip.onclick = () => {
        input.value = text;
        input.focus();
      };
      return chip;
    });
    chips.replaceChildren(...buttons);
    chips.hidden = !buttons.length;
  };

  // --- answers and votes
  const draw = () => {
    const writing = model.get("writing");
    const texts = model.get("texts");
    const values = model.get("asked");
    const odd = [
      values.strength !== undefined && values.strength !== 1 && `strength ${values.strength}`,
      current()?.after && "goes on from the question before",
      values.temperature && `temperature ${values.temperature}, seed ${values.seed}`,
    ].filter(Boolean);
    asked.replaceChildren(
      visible(model.get("prompt")),
      make("small", { textContent: odd.length ? ` ${odd.join(", ")}` : "" }),
    );
    asked.hidden = !model.get("prompt");
    /** What stands for a text that is empty: nothing was said, or this side was not asked, or failed. */
    const emptyNote = (figures) => {
      if (figures) return EMPTY;
      return model.get("doing") ? "" : "(no answer)";
    };
    const section = (name) => {
      const figures = model.get("figures")[name];
      const text = texts[name] || (name === writing ? "…" : emptyNote(figures));
      return drawSide(name, text, figures?.cut, describe(figures), name === writing);
    };
    sides.replaceChildren(...(model.get("prompt") ? model.get("names").map(section) : []));
  };
  const vote = (entry, left, choice) => model.send({ type: "vote", item: entry.id, left, choice });
  const drawVotes = () => {
    const entry = current();
    const lines = entry ? ballot(model, entry, vote) : [];
    const tally = model.get("tally") && ` So far: ${visible(model.get("tally"))}.`;
    const head = lines.length ? [make("b", { textContent: "Which answer is better?" })] : [];
    const foot = make("p", {}, [make("small", { textContent: `${NOT_BLIND}${tally}` })]);
    const redraw = () => votes.replaceChildren(...head, ...lines, ...(lines.length || tally ? [foot] : []));
    keepFocus(votes, redraw, input);
    goOnLabel.hidden = !model.get("can_go_on") || !model.get("history").at(-1)?.id;
  };
  let listed = STEP;
  const drawEarlier = () => {
    const old = model.get("history").filter((entry) => entry !== current());
    before.hidden = !old.length;
    before.firstChild.textContent = `Asked before: ${old.length}`;
    const item = (entry) =>
      make("div", {}, [
        make("p", { className: "etabli-asked", textContent: visible(entry.prompt), dir: "auto" }),
        make("small", { textContent: entry.after ? "goes on from the question before" : "" }),
        make(
          "div",
          { className: "etabli-sides" },
          Object.entries(entry.answers).map(([name, text]) => {
            const end = entry.stopped?.includes(name) ? "stopped" : "";
            return drawSide(name, text || EMPTY, entry.cut?.includes(name), end);
          }),
        ),
        ...ballot(model, entry, vote),
      ]);
    const older = make("button", { type: "button", className: "etabli-button" });
    older.textContent = `Show older ones: ${quantity(Math.max(0, old.length - listed), "more question")}`;
    older.hidden = old.length <= listed;
    older.onclick = () => {
      listed += STEP;
      drawEarlier();
    };
    const redraw = () => earlier.replaceChildren(...old.slice(-listed).reverse().map(item), older);
    keepFocus(earlier, redraw, before.querySelector("summary"));
  };
  const drawNotes = () =>
    notes.replaceChildren(
      ...model.get("notes").map((text) => make("p", {}, [make("small", { textContent: visible(text) })])),
    );
  const undo = [
    follow(model, ["suggestions"], drawChips),
    follow(model, ["settings"], setKnobs),
    follow(model, ["notes"], drawNotes),
    follow(model, ["doing"], drawDoing),
    follow(model, ["doing", "history"], begun),
    follow(model, ["error"], failed),
    follow(model, ["history", "place", "votes"], drawEarlier),
    follow(model, ["history", "place", "votes", "tally"], drawVotes),
    follow(model, ["names", "texts", "figures", "writing", "doing", "prompt", "asked", "history", "place"], draw),
  ];
  return () => {
    clearInterval(timer);
    model.off("msg:custom", hear);
    undo.forEach((each) => each());
  };
}

/** Redraw a part; the focus stays on its button, or goes on to the next vote that is open, or to `other`. */
function keepFocus(part, redraw, other) {
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const place = part.contains(focused) && focused.dataset.place;
  redraw();
  if (!place) return;
  const buttons = [...part.querySelectorAll("button")].filter((button) => !button.disabled);
  (buttons.find((button) => button.dataset.place === place) ?? buttons[0] ?? other).focus();
}

/** One side's answer under its name; a cut one says so. */
function drawSide(name, text, isCut, figures = "", isWriting = false) {
  const head = make("div", { className: "etabli-top" }, [
    make("b", { textContent: visible(name) }),
    make("small", {}, [...(isCut ? [cutMark(), " "] : []), figures]),
  ]);
  const answer = make("pre", { dir: "auto" }, answerNodes(text));
  return make("section", { className: isWriting ? "etabli-writing" : "", "aria-label": visible(name) }, [head, answer]);
}

/** Length, speed, and whether a person stopped it. */
function describe(figures) {
  if (!figures) return "";
  const speed = figures.tokens_per_s ? ` · ${figures.tokens_per_s} tokens/s` : "";
  const first = figures.first_s === null ? "" : ` · first after ${figures.first_s.toFixed(2)} s`;
  return `${figures.tokens} token${figures.tokens === 1 ? "" : "s"}${speed}${first}${figures.stopped ? " · stopped" : ""}`;
}

/** A line of buttons for each side that the last one is judged against: which answer is better? Of an answer that was
 * stopped, or never came, nobody knows: no vote. */
function ballot(model, entry, vote) {
  const right = model.get("names").at(-1);
  const whole = model.get("names").filter((name) => name in entry.answers && !entry.stopped?.includes(name));
  if (!model.get("can_vote") || !entry.id || whole.at(-1) !== right) return [];
  return whole.slice(0, -1).map((left) => {
    const cast = (model.get("votes")[entry.id] ?? []).find((one) => one.left === left && one.right === right)?.choice;
    const words = { left: `${left} is better`, tie: "Tie", "both bad": "Both bad", right: `${right} is better` };
    const buttons = CHOICES.map((choice) => {
      const button = make("button", {
        type: "button",
        className: "etabli-button",
        textContent: visible(words[choice]),
      });
      button.dataset.place = JSON.stringify([entry.id, left, choice]);
      button.disabled = Boolean(cast);
      button.setAttribute("aria-pressed", String(choice === cast));
      button.onclick = () => vote(entry, left, choice);
      return button;
    });
    const label = `Which answer is better, that of ${visible(left)} or of ${visible(right)}?`;
    const line = make("div", { className: "etabli-vote", role: "group", "aria-label": label }, [
      make("span", { textContent: visible(`${left} or ${right}?`) }),
      ...buttons,
    ]);
    line.addEventListener("keydown", (event) => {
      if (cast || event.repeat || event.ctrlKey || event.metaKey || event.altKey || !(event.key in VOTE_KEYS)) return;
      event.preventDefault();
      vote(entry, left, VOTE_KEYS[event.key]);
    });
    return line;
  });
}

export default widget(render);
