const SVG = "http://www.w3.org/2000/svg";
const WIDE = 640;
const HIGH = 220;
const LEFT = 40;
const LOW = 24;
const RIGHT = 26;
const MEAN = 8; // steps of the running mean

function svg(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  return node;
}

/** Draw both losses; the horizontal axis is the whole run, so that the line is also the progress. */
function drawChart(chart, losses, heldOut, total) {
  chart.replaceChildren();
  const values = [...losses, ...heldOut].map((point) => point[1]).filter((value) => value !== null);
  if (!values.length) return;
  const top = Math.max(...values) * 1.05;
  const right = Math.max(total, losses.length ? losses[losses.length - 1][0] : 1, 1);
  const x = (step) => LEFT + (step / right) * (WIDE - LEFT - RIGHT);
  const y = (value) => 8 + (1 - value / top) * (HIGH - LOW - 8);
  for (const tick of ticks(top)) {
    chart.append(svg("line", { class: "etabli-grid", x1: LEFT, x2: WIDE - RIGHT, y1: y(tick), y2: y(tick) }));
    label(chart, LEFT - 6, y(tick) + 4, tick, "end");
  }
  for (const tick of ticks(right, 6)) label(chart, x(tick), HIGH - 6, tick, "middle");
  chart.append(svg("path", { class: "etabli-loss", d: path(losses, x, y) }));
  chart.append(svg("path", { class: "etabli-mean", d: path(smooth(losses, MEAN), x, y) }));
  chart.append(svg("path", { class: "etabli-held-out", d: path(heldOut, x, y) }));
  for (const [step, value] of heldOut) {
    if (value !== null) chart.append(svg("circle", { class: "etabli-held-out", cx: x(step), cy: y(value), r: 3 }));
  }
}

function label(chart, x, y, text, anchor) {
  const node = svg("text", { x, y, "text-anchor": anchor });
  node.textContent = String(text);
  chart.append(node);
}

function figure(name) {
  const value = make("b", { textContent: "–" });
  const caption = make("small", { textContent: name });
  return { node: make("span", { className: "etabli-figure" }, [value, caption]), value, caption };
}

/** The newest known value of a series of points, and its step. @returns {[number, number]|[null, null]} */
function newest(points) {
  return points.findLast(([, value]) => value !== null) ?? [null, null];
}

/** The last few answers, newest first. */
function drawSamples(list, samples) {
  const steps = [...new Set(samples.map((sample) => sample.step))].sort((a, b) => b - a).slice(0, 3);
  list.replaceChildren(
    ...steps.flatMap((step) =>
      samples
        .filter((sample) => sample.step === step)
        .map((sample) =>
          make("li", {}, [
            make("small", { textContent: `step ${step}` }),
            make("span", { textContent: sample.prompt }),
            make("code", {}, answerNodes(sample.text)),
          ]),
        ),
    ),
  );
}

const ENDED = ["completed", "stopped", "failed", "lost"];

function render({ model, el }) {
  guardKeys(el);
  const status = make("span", { className: "etabli-state", role: "status", "aria-live": "polite" });
  const stop = make("button", { type: "button", textContent: "Stop run", className: "etabli-button" });
  const resume = make("button", { type: "button", textContent: "Resume", className: "etabli-button", hidden: true });
  const notes = make("div", { className: "etabli-notes" });
  const bar = make("progress", { className: "etabli-bar", "aria-label": "Training progress" });
  const chart = svg("svg", {
    class: "etabli-chart",
    viewBox: `0 0 ${WIDE} ${HIGH}`,
    role: "img",
    "aria-label": "Loss by step",
  });
  const figures = ["step", "loss", "held-out loss", "tokens/s", "memory", "time left"].map(figure);
  const samples = make("ul", { className: "etabli-samples" });
  const answers = make("details", { open: true }, [
    make("summary", { textContent: "Answers while it trains" }),
    samples,
  ]);
  const key = make("p", { className: "etabli-legend" }, [
    make("i", { className: "etabli-loss" }),
    "loss of each step",
    make("i", { className: "etabli-mean" }),
    `mean of ${MEAN} steps`,
    make("i", { className: "etabli-held-out" }),
    "loss on held-out rows",
  ]);
  el.append(
    make("div", { className: "etabli-top" }, [status, make("span", {}, [resume, stop])]),
    bar,
    errorLine(model),
    notes,
    make(
      "div",
      { className: "etabli-figures" },
      figures.map((item) => item.node),
    ),
    chart,
    key,
    answers,
  );

  stop.onclick = () => {
    model.send({ type: "stop" });
    stop.disabled = true;
    stop.textContent = "Asking…";
  };

  resume.onclick = () => {
    model.send({ type: "resume" });
    resume.disabled = true;
  };

  const draw = () => {
    const get = (trait) => model.get(trait);
    const state = get("state");
    const starting = state === "starting";
    const number = (value) => (value === null ? "–" : value.toFixed(3));
    const [heldOutStep, heldOut] = newest(get("held_out"));
    const reason = ENDED.includes(state) ? get("why") : starting ? get("phase") : "";
    status.textContent = `${get("name")}: ${state}${reason ? ` (${reason})` : ""}`;
    if (ENDED.includes(el.dataset.state) && !ENDED.includes(state)) {
      stop.disabled = false; // it goes on, resumed from wherever
      stop.textContent = "Stop run";
    }
    el.dataset.state = state;
    stop.hidden = !get("stoppable") || ENDED.includes(state);
    resume.hidden = !get("resumable") || !["lost", "failed", "stopped"].includes(state);
    resume.disabled = resume.disabled && !get("error");
    if (resume.hidden) resume.disabled = false; // for the next time
    notes.replaceChildren(...get("notes").map((text) => make("p", {}, [make("small", { textContent: text })])));
    if (state === "stopping") stop.textContent = "Stopping…";
    stop.disabled = stop.disabled || state === "stopping";
    bar.max = get("total") || 1;
    if (starting)
      bar.removeAttribute("value"); // it moves, but says no share
    else bar.value = get("step");
    const left = ENDED.includes(state) || !get("seconds_left") ? "–" : clock(get("seconds_left"));
    const texts = [
      `${get("step")} / ${get("total") || "?"}`,
      number(newest(get("losses"))[1]),
      number(heldOut),
      get("speed") ? get("speed").toFixed(0) : "–",
      get("memory") ? `${(get("memory") / 1e9).toFixed(2)} GB` : "–",
      left,
    ];
    figures.forEach((item, i) => (item.value.textContent = texts[i]));
    figures[2].caption.textContent = heldOut === null ? "held-out loss" : `held-out loss at step ${heldOutStep}`;
    chart.toggleAttribute("hidden", !get("losses").length && !get("held_out").length);
    key.hidden = chart.hasAttribute("hidden");
    drawChart(chart, get("losses"), get("held_out"), get("total"));
    drawSamples(samples, get("samples"));
    answers.hidden = !get("samples").length;
  };
  const traits = [
    "name",
    "state",
    "why",
    "phase",
    "step",
    "total",
    "losses",
    "held_out",
    "speed",
    "memory",
    "seconds_left",
    "samples",
    "stoppable",
    "resumable",
    "notes",
    "error",
  ];
  return follow(model, traits, draw);
}

export default widget(render);
