const GIB = 2 ** 30;
const SAID = { seq: "tokens a row", batch: "rows at once", rank: "rank", checkpointing: "layers checkpointed" };

function render({ model, el }) {
  guardKeys(el);
  const head = make("p");
  const verdict = make("p", { className: "etabli-verdict", role: "status" });
  const limits = make("p");
  const bars = make("div", { className: "etabli-bars" });
  const names = make("p", { className: "etabli-parts" });
  const advice = make("ul");
  const sliders = new Map(Object.keys(model.get("stops")).map((name) => [name, slider(model, name)]));
  const draw = () => {
    const seen = model.get("seen");
    head.replaceChildren(make("b", { textContent: model.get("model_name") }), ` on ${model.get("card")}`);
    for (const [name, one] of sliders) one.stand(seen.now[name]);
    const fits = seen.fits ? "fits" : "does not fit";
    verdict.dataset.fits = String(seen.fits);
    verdict.textContent = `${gib(seen.peak.device, 1)} of ${gib(seen.limit, 1)} GiB: ${fits} ${model.get("card")}.`;
    limits.textContent = `Most is taken in the phase ${seen.peak.phase}. ${describeLargest(seen)}.`;
    const scale = scaled(seen);
    bars.dataset.measured = String(seen.phases.some((phase) => phase.measured));
    const phaseBars = seen.phases.map((phase) => bar(phase, scale, seen.limit));
    bars.replaceChildren(...limitLabel(scale, seen.limit), ...phaseBars);
    names.replaceChildren(...legend(seen, scale));
    advice.replaceChildren(...seen.advice.map((item) => make("li", {}, [advised(item), ...applied(item)])));
  };
  /** The button that does what an advice says, where sliders can. */
  const applied = (item) => {
    if (!item.positions) return [];
    const button = make("button", { type: "button", className: "etabli-chip", textContent: "Apply" });
    button.setAttribute("aria-label", `Apply: ${item.change}`);
    button.onclick = () => model.send({ type: "look", keys: item.positions });
    return [" ", button];
  };
  const panel = make(
    "div",
    { className: "etabli-sliders" },
    [...sliders.values()].map((one) => one.label),
  );
  el.append(head, verdict, limits, panel, bars, names, advice, errorLine(model));
  return follow(model, ["seen", "stops", "card", "model_name"], draw);
}

/** A slider over the stops of one key; it asks Python at most once in 40 ms. */
function slider(model, name) {
  const stops = model.get("stops")[name];
  const input = make("input", { type: "range", min: 0, max: stops.length - 1, step: 1, "aria-label": SAID[name] });
  const shown = make("output");
  let resting;
  const said = (value) => input.setAttribute("aria-valuetext", (shown.textContent = number(value)));
  input.oninput = () => {
    said(stops[input.value]);
    clearTimeout(resting);
    resting = setTimeout(() => {
      resting = undefined;
      model.send({ type: "look", keys: { [name]: stops[input.value] } });
    }, 40);
  };
  const stand = (value) => {
    if (resting) return; // it is being moved
    const at = stops.findIndex((stop) => stop >= value); // Python may stand between two stops
    input.value = at < 0 ? stops.length - 1 : at;
    said(value);
  };
  const title = name === "rank" ? GLOSSARY["LoRA rank"] : "";
  return { label: make("label", { title }, [SAID[name], input, shown]), stand };
}

/** The largest setups that fit, in words: the longest rows at this batch, the most rows of this length. */
function describeLargest({ largest, now }) {
  const longest = largest.seq && `${number(now.batch)} × ${number(largest.seq)} tokens`;
  const most = largest.batch && `${number(largest.batch)} × ${number(now.seq)} tokens`;
  const clauses = [];
  if (longest || most) clauses.push(`at most fit ${[longest, most].filter(Boolean).join(", or ")}`);
  if (!most) clauses.push(`not even one row of ${number(now.seq)} tokens fits`);
  if (!longest) clauses.push(`not even the shortest rows fit, ${number(now.batch)} at once`);
  const text = clauses.join("; ");
  return text[0].toUpperCase() + text.slice(1);
}

/** Bytes of the whole width, forecast and measured; a card that is far larger would leave nothing to see. */
function scaled(seen) {
  const most = Math.max(...seen.phases.flatMap((phase) => [phase.device, phase.measured ?? 0]));
  return 1.04 * (seen.limit > 2.5 * most ? most : Math.max(most, seen.limit));
}

/** What the dashed line is, above it; nothing where the bars end before it. */
function limitLabel(scale, limit) {
  if (limit >= scale) return [];
  const label = make("span", { textContent: `limit ${gib(limit, 1)} GiB` });
  label.style.left = `${((100 * limit) / scale).toFixed(2)}%`;
  return [make("div", { className: "etabli-limit-label", "aria-hidden": "true" }, [make("div", {}, [label])])];
}

/** A phase's bar in words, for who can't see it. */
function describeBar(phase, limit) {
  const parts = Object.entries(phase.parts).map(([name, size]) => `${name} ${gib(size)} GiB`);
  const measured = phase.measured ? [`measured ${gib(phase.measured)} of ${gib(phase.tensors)} GiB of tensors`] : [];
  return [`${phase.name}: ${parts.join(", ")}`, ...measured, `the card's limit is ${gib(limit, 1)} GiB`].join("; ");
}

/** One phase: its parts side by side, what was measured in front of them, and where the card ends. */
function bar(phase, scale, limit) {
  const share = (size) => `${((100 * size) / scale).toFixed(2)}%`;
  const parts = Object.entries(phase.parts).map(([name, size], at) => {
    const one = make("i", { title: `${name} ${gib(size)} GiB` });
    one.dataset.part = String(at);
    one.style.width = share(size);
    return one;
  });
  const line = make("u", { className: "etabli-limit", hidden: limit >= scale });
  line.style.left = share(limit);
  const className = phase.measured ? "etabli-ghost" : "";
  const label = describeBar(phase, limit);
  const body = make("div", { className, role: "img", "aria-label": label }, [make("em", {}, parts), line]);
  let figure = `${gib(phase.device)} GiB`;
  if (phase.measured) {
    const front = make("b", { className: "etabli-measured", title: `measured ${gib(phase.measured)} GiB of tensors` });
    front.style.width = share(phase.measured);
    body.append(front);
    figure += ` · measured ${gib(phase.measured)} of ${gib(phase.tensors)}`;
  }
  return make("div", { className: "etabli-bar" }, [
    make("span", { textContent: phase.name }),
    body,
    make("span", { textContent: figure }),
  ]);
}

function legend(seen, scale) {
  const parts = Object.keys(seen.phases[0].parts).map((name, at) => {
    const colour = make("i");
    colour.dataset.part = String(at);
    return make("span", {}, [colour, name]);
  });
  const limit = `the card's limit, ${gib(seen.limit, 1)} GiB`;
  const marks = [make("span", {}, seen.limit < scale ? [make("u"), limit] : [`${limit}, lies beyond the bars`])];
  if (seen.phases.some((phase) => phase.measured))
    marks.push(make("span", {}, [make("b"), "measured, of the forecast tensors"]));
  return [...parts, ...marks];
}

function advised(item) {
  const enough = item.fits ? "enough" : "not enough alone";
  return `${item.change}: ${gib(item.saves, 1)} GiB less (${enough}); ${item.cost}`;
}

function number(value) {
  return value.toLocaleString("en");
}

function gib(size, digits = 2) {
  return (size / GIB).toFixed(digits);
}

export default widget(render);
