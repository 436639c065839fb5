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
            make("span", {}, [make("code", {}, answerNodes(sample.text)), ...(sample.cut ? [" ", cutMark()] : [])]),
          ]),
        ),
    ),
  );
}

function render({ model, el }) {
  guardKeys(el);
  const status = make("span", { className: "etabli-state", role: "status", "aria-live": "polite" });
  const stop = make("button", { type: "button", textContent: "Stop run", className: "etabli-button" });
  const resume = make("button", { type: "button", textContent: "Resume", className: "etabli-button", hidden: true });
  const notes = make("div", { className: "etabli-notes" });
  const bar = make("progress", { className: "etabli-bar", "aria-label": "Training progress" });
  const figures = ["step", "loss", "held-out loss", "tokens/s", "memory", "time left"].map(figure);
  const samples = make("ul", { className: "etabli-samples" });
  const answers = make("details", { open: true }, [
    make("summary", { textContent: "Answers while it trains" }),
    samples,
  ]);
  const keyOf = (className, text) => make("span", {}, [make("i", { className }), make("span", { textContent: text })]);
  const lossKey = keyOf("etabli-loss", "");
  const heldOutKey = keyOf("etabli-held-out", "");
  const meanKey = keyOf("etabli-mean", "");
  const checkpointKey = make("span", {}, [make("b", { textContent: "▲" }), "checkpoint"]);
  const earlierKey = keyOf("etabli-earlier", "");
  const key = make("p", { className: "etabli-legend" }, [lossKey, meanKey, heldOutKey, checkpointKey, earlierKey]);
  const chart = lossChart(key);
  const losses = make("div", {}, chart.nodes);
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
    losses,
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

  /** Explain the lines that are there, and no others. */
  const drawLegend = () => {
    const [sizes, earlier] = [model.get("group_sizes"), model.get("earlier")];
    lossKey.hidden = !hasValue(model.get("losses"));
    lossKey.lastChild.textContent = sizes.losses > 1 ? `loss${nameExtremes(sizes.losses)}` : "loss of each step";
    heldOutKey.hidden = !hasValue(model.get("held_out"));
    heldOutKey.lastChild.textContent = `loss on held-out rows${nameExtremes(sizes.held_out, "measurements")}`;
    meanKey.hidden = !model.get("means").length;
    meanKey.lastChild.textContent = nameMean(sizes);
    checkpointKey.hidden = !model.get("marks").some((mark) => mark[1] === "checkpoint");
    earlierKey.hidden = !hasValue(earlier.losses ?? []);
    if (!earlierKey.hidden)
      earlierKey.lastChild.textContent = `loss of the earlier run ${visible(earlier.name)}${nameExtremes(earlier.group_sizes.losses)}`;
  };

  const draw = () => {
    const get = (trait) => model.get(trait);
    const state = get("state");
    const starting = state === "starting";
    const number = (value) => (value === null ? "–" : value.toFixed(3));
    const [lossStep, loss] = newest(get("losses"));
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
      number(loss),
      number(heldOut),
      get("speed") ? get("speed").toFixed(0) : "–",
      get("memory") ? `${(get("memory") / 2 ** 30).toFixed(2)} GiB` : "–",
      left,
    ];
    figures.forEach((item, i) => (item.value.textContent = texts[i]));
    figures[1].caption.textContent = loss === null || lossStep === get("step") ? "loss" : `loss at step ${lossStep}`;
    figures[2].caption.title = GLOSSARY["held-out loss"];
    figures[2].caption.textContent = heldOut === null ? "held-out loss" : `held-out loss at step ${heldOutStep}`;
    losses.hidden = !get("losses").length && !get("held_out").length;
    drawLegend();
    chart.show({
      losses: get("losses"),
      means: get("means"),
      groupSizes: get("group_sizes"),
      heldOut: get("held_out"),
      norms: get("norms"),
      rates: get("rates"),
      marks: get("marks"),
      earlier: get("earlier"),
      total: get("total"),
      state,
    });
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
    "means",
    "group_sizes",
    "norms",
    "rates",
    "marks",
    "earlier",
    "speed",
    "memory",
    "seconds_left",
    "samples",
    "stoppable",
    "resumable",
    "notes",
    "error",
  ];
  const undo = follow(model, traits, draw);
  return () => {
    undo();
    chart.close();
  };
}

export default widget(render);
