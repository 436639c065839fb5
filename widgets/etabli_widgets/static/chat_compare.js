function render({ model, el }) {
  guardKeys(el);
  const input = make("textarea", { rows: 2, placeholder: "Ask both…", "aria-label": "Prompt" });
  const ask = make("button", { type: "submit", textContent: "Ask", className: "etabli-button etabli-primary" });
  const stop = make("button", { type: "button", textContent: "Stop", className: "etabli-button" });
  const status = make("span", { className: "etabli-state", role: "status", "aria-live": "polite" });
  const form = make("form", {}, [input, make("div", {}, [ask, stop, status])]);
  const chips = make("div", { className: "etabli-chips" });
  const asked = make("p", { className: "etabli-asked" });
  const sides = make("div", { className: "etabli-sides" });
  el.append(form, chips, errorLine(model), asked, sides);

  const send = () => {
    const prompt = input.value.trim();
    if (prompt && !model.get("writing")) model.send({ type: "ask", prompt });
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
  const draw = () => {
    const writing = model.get("writing");
    const texts = model.get("texts");
    const speeds = model.get("speeds");
    status.textContent = writing ? `${writing} is answering…` : "";
    ask.disabled = Boolean(writing);
    stop.hidden = !writing;
    asked.textContent = model.get("prompt");
    asked.hidden = !model.get("prompt");
    sides.replaceChildren(
      ...model.get("names").map((name) =>
        make("section", { className: name === writing ? "etabli-writing" : "", "aria-label": name }, [
          make("header", {}, [
            make("b", { textContent: name }),
            make("small", { textContent: speeds[name] ? `${speeds[name]} tokens/s` : "" }),
          ]),
          make("pre", { textContent: texts[name] || (name === writing ? "…" : "") }),
        ]),
      ),
    );
  };
  const undo = [
    follow(model, ["suggestions"], drawChips),
    follow(model, ["names", "texts", "speeds", "writing", "prompt"], draw),
  ];
  return () => undo.forEach((each) => each());
}

export default { render };
