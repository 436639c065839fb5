function render({ model, el }) {
  guardKeys(el);
  const input = make("textarea", { rows: 2, placeholder: "Ask all sides…", "aria-label": "Prompt" });
  const ask = make("button", { type: "submit", textContent: "Ask", className: "etabli-button etabli-primary" });
  const stop = make("button", { type: "button", textContent: "Stop", className: "etabli-button" });
  const status = make("span", { className: "etabli-state", role: "status", "aria-live": "polite" });
  const knobs = make("div", { className: "etabli-knobs" });
  const form = make("form", {}, [input, make("div", {}, [ask, stop, status]), knobs]);
  const chips = make("div", { className: "etabli-chips" });
  const asked = make("p", { className: "etabli-asked" });
  const sides = make("div", { className: "etabli-sides" });
  const earlier = make("div");
  const before = make("details", { className: "etabli-earlier" }, [make("summary"), earlier]);
  el.append(form, chips, errorLine(model), asked, sides, before);

  const settings = () =>
    Object.fromEntries([...knobs.querySelectorAll("input")].map((one) => [one.name, Number(one.value)]));
  const send = () => {
    const prompt = input.value.trim();
    if (prompt && !model.get("writing")) model.send({ type: "ask", prompt, settings: settings() });
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    send();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    }
  });
  stop.onclick = () => model.send({ type: "stop" });

  const KNOBS = {
    strength: ["Adapter strength", { type: "range", min: 0, max: 1.5, step: 0.1 }],
    temperature: ["Temperature", { type: "number", min: 0, max: 2, step: 0.1 }],
    seed: ["Seed", { type: "number", min: 0, step: 1 }],
  };
  const drawKnobs = () => {
    const held = model.get("settings");
    const made = Object.keys(KNOBS)
      .filter((name) => name in held)
      .map((name) => {
        const [title, props] = KNOBS[name];
        const knob = make("input", { name, ...props });
        knob.value = held[name];
        const told = make("output", { textContent: name === "strength" ? String(held[name]) : "" });
        knob.oninput = () => (told.textContent = name === "strength" ? knob.value : "");
        return make("label", {}, [title, knob, told]);
      });
    knobs.replaceChildren(...made);
    knobs.hidden = !made.length;
  };
  const setKnobs = () => {
    if (!knobs.children.length) return drawKnobs();
    for (const knob of knobs.querySelectorAll("input"))
      if (knob !== document.activeElement) knob.value = model.get("settings")[knob.name]; // built once: the focus stays
    const told = knobs.querySelector("input[name=strength] + output");
    if (told) told.textContent = model.get("settings").strength;
  };
  const drawEarlier = () => {
    const all = model.get("history");
    const held = all.at(-1)?.prompt === model.get("prompt") ? all.slice(0, -1) : all; // the newest stands above
    before.hidden = !held.length;
    before.firstChild.textContent = `Asked before: ${held.length}`;
    const side = ([name, text]) =>
      make("section", {}, [make("b", { textContent: name }), make("pre", { dir: "auto" }, answerNodes(text))]);
    const item = (one) =>
      make("div", {}, [
        make("p", { className: "etabli-asked", textContent: visible(one.prompt), dir: "auto" }),
        make("div", { className: "etabli-sides" }, Object.entries(one.answers).map(side)),
      ]);
    earlier.replaceChildren(...held.slice(-50).reverse().map(item));
  };
  const drawChips = () => {
    const made = model.get("suggestions").map((text) => {
      const chip = make("button", { type: "button", textContent: text, className: "etabli-chip" });
      chip.onclick = () => {
        input.value = text;
        input.focus();
      };
      return chip;
    });
    chips.replaceChildren(...made);
    chips.hidden = !made.length;
  };
  const figures = (held) => {
    if (!held) return "";
    const speed = held.tokens_per_s ? `${held.tokens_per_s} tokens/s` : `${held.tokens} tokens`;
    const first = held.first_s === null ? "" : ` · first after ${held.first_s.toFixed(2)} s`;
    return `${speed}${first}${held.stopped ? " · stopped" : ""}`;
  };
  const draw = () => {
    const writing = model.get("writing");
    const texts = model.get("texts");
    const held = model.get("asked");
    status.textContent = writing ? `${writing} is answering…` : "";
    ask.disabled = Boolean(writing);
    stop.hidden = !writing;
    const odd = [
      held.strength !== undefined && held.strength !== 1 && `strength ${held.strength}`,
      held.temperature && `temperature ${held.temperature}, seed ${held.seed}`,
    ].filter(Boolean);
    asked.replaceChildren(model.get("prompt"), make("small", { textContent: odd.length ? ` ${odd.join(", ")}` : "" }));
    asked.hidden = !model.get("prompt");
    sides.replaceChildren(
      ...model
        .get("names")
        .map((name) =>
          make("section", { className: name === writing ? "etabli-writing" : "", "aria-label": name }, [
            make("div", { className: "etabli-top" }, [
              make("b", { textContent: name }),
              make("small", { textContent: figures(model.get("figures")[name]) }),
            ]),
            make("pre", { dir: "auto" }, answerNodes(texts[name] || (name === writing ? "…" : ""))),
          ]),
        ),
    );
  };
  const undo = [
    follow(model, ["suggestions"], drawChips),
    follow(model, ["settings"], setKnobs),
    follow(model, ["history", "prompt"], drawEarlier),
    follow(model, ["names", "texts", "figures", "writing", "prompt", "asked"], draw),
  ];
  return () => undo.forEach((each) => each());
}

export default widget(render);
