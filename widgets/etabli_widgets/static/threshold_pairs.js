const REST_MS = 120; // that the slider rests before its place is looked at

function render({ model, el }) {
  guardKeys(el);
  const slider = make("input", { type: "range", max: 1, step: 0.01, "aria-label": "Threshold" });
  const number = make("output");
  const summary = make("p", { role: "status" });
  const take = make("button", { type: "button", className: "etabli-button etabli-primary" });
  const lowest = make("span");
  const ends = make("div", { className: "etabli-ends" }, [
    lowest,
    make("span", { textContent: "1.00: the same text" }),
  ]);
  const scale = make("div", { className: "etabli-scale" }, [slider, ends]);
  const pairs = scroller("etabli-pairs", "Pairs of similar rows");
  let resting;
  let wanted = null; // where the slider was moved to, until Python has answered: an older answer does not move it back
  slider.oninput = () => {
    wanted = Number(slider.value);
    number.textContent = wanted.toFixed(2);
    take.disabled = true; // it would name another threshold than the slider
    clearTimeout(resting);
    resting = setTimeout(() => look(), REST_MS);
  };
  const look = () => {
    model.send({ type: "look", value: Number(slider.value) });
    draw(); // for an answer that changes nothing
  };
  take.onclick = () => model.send({ type: "choose", value: model.get("seen").value });
  const draw = () => {
    const seen = model.get("seen");
    if (wanted !== null && isSame(seen.value, wanted)) wanted = null;
    if (wanted !== null) return;
    slider.min = model.get("floor");
    slider.value = seen.value;
    number.textContent = seen.value.toFixed(2);
    lowest.textContent = `${model.get("floor").toFixed(2)}: only a little alike`;
    const gone =
      seen.gone === null ? "" : ` removes ${seen.gone.toLocaleString("en")} of ${quantity(seen.rows, "row")}`;
    summary.textContent = `${model.get("filter")} at ${seen.value.toFixed(2)}${gone} (${quantity(seen.pairs, "pair")}).`;
    const isChosen = isSame(model.get("chosen"), seen.value);
    take.textContent = isChosen ? "This is the recipe's" : `Take ${seen.value.toFixed(2)} into the recipe`;
    take.disabled = isChosen;
    pairs.replaceChildren(...drawBorder(seen.border));
  };
  el.append(make("div", { className: "etabli-slide" }, [scale, number, take]), summary, errorLine(model), pairs);
  const undo = follow(model, ["seen", "chosen", "floor"], draw);
  const refused = () => {
    wanted = null;
    draw();
  };
  model.on("change:error", refused);
  return () => {
    clearTimeout(resting);
    model.off("change:error", refused);
    undo();
  };
}

const isSame = (first, second) => Math.abs(first - second) < 1e-9;

/** The pairs above the threshold, a line where it lies, and those below. */
function drawBorder(border) {
  if (!border.length) return [make("p", { textContent: "No pair is so much alike." })];
  const pair = (one) =>
    make("section", {}, [
      make("small", { textContent: visible(`${one.likeness.toFixed(3)} · ${one.outcome}`) }),
      marked(one.difference),
    ]);
  const above = border.filter((one) => one.above).map(pair);
  const below = border.filter((one) => !one.above).map(pair);
  const line = make("div", { className: "etabli-threshold", textContent: "the threshold is here" });
  return [...above, line, ...below];
}

export default widget(render);
