function render({ model, el }) {
  guardKeys(el);
  const slider = make("input", { type: "range", max: 1, step: 0.01, "aria-label": "Threshold" });
  const number = make("output");
  const said = make("p", { role: "status" });
  const take = make("button", { type: "button", className: "etabli-button etabli-primary" });
  const pairs = scroller("etabli-pairs", "Pairs of similar rows");
  let resting;
  slider.oninput = () => {
    number.textContent = Number(slider.value).toFixed(2);
    clearTimeout(resting);
    resting = setTimeout(() => model.send({ type: "look", value: Number(slider.value) }), 120);
  };
  take.onclick = () => model.send({ type: "choose", value: Number(slider.value) });
  const draw = () => {
    const seen = model.get("seen");
    slider.min = model.get("floor");
    if (document.activeElement !== slider) slider.value = model.get("value");
    number.textContent = Number(slider.value).toFixed(2);
    const gone = seen.gone === null ? "" : ` removes ${seen.gone} of ${seen.rows} rows`;
    said.textContent = `${model.get("filter")} at ${seen.value.toFixed(2)}${gone} (${seen.pairs} ${seen.pairs === 1 ? "pair" : "pairs"}).`;
    const same = Math.abs(model.get("chosen") - seen.value) < 1e-9;
    take.textContent = same ? "This is the recipe's" : `Take ${seen.value.toFixed(2)} into the recipe`;
    take.disabled = same;
    pairs.replaceChildren(...drawBorder(seen.border));
  };
  el.append(make("div", { className: "etabli-slide" }, [slider, number, take]), said, errorLine(model), pairs);
  const undo = follow(model, ["seen", "chosen", "value", "floor"], draw);
  return () => {
    clearTimeout(resting);
    undo();
  };
}

/** The pairs above the threshold, a line where it lies, and those below. */
function drawBorder(border) {
  if (!border.length) return [make("p", { textContent: "No pair is so much alike." })];
  const pair = (one) =>
    make("section", {}, [
      make("small", {
        textContent: `${one.likeness.toFixed(3)} · ${one.above ? "one is removed" : "both stay"} · ${one.ids.join(" and ")}`,
      }),
      marked(one.difference),
    ]);
  const above = border.filter((one) => one.above).map(pair);
  const below = border.filter((one) => !one.above).map(pair);
  return [...above, make("div", { className: "etabli-threshold", textContent: "the threshold is here" }), ...below];
}

export default widget(render);
