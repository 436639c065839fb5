const [TALL, TOP, EDGE, RIGHT] = [134, 26, 34, 12]; // px of the chart: its height, above and beside the lines
const ROW = 20; // px of the row of frames below the chart

function render({ model, el }) {
  guardKeys(el);
  const head = make("b");
  const probes = make("select", { "aria-label": "Probe" });
  const chart = svg("svg", {
    class: "etabli-film-chart",
    height: TALL + ROW,
    role: "slider",
    tabindex: 0,
    "aria-label": "Step",
  });
  const where = make("output");
  const jump = make("button", { type: "button", className: "etabli-button" });
  const largest = make("button", { type: "button", className: "etabli-button" });
  const why = make("input", {
    type: "text",
    placeholder: "why (optional)",
    "aria-label": "Why it is pinned",
    className: "etabli-why",
  });
  const pin = make("button", { type: "button", textContent: "Pin (p)", className: "etabli-button" });
  const play = make("button", { type: "button", textContent: "Play", className: "etabli-button" });
  const frame = make("div");
  const first = make("div", { className: "etabli-first-frame" });
  const caption = make("small", { className: "etabli-caption" });
  const told = make("div", { className: "etabli-told", "aria-live": "polite" });
  const pins = make("ul", { className: "etabli-pins" });
  const said = make("div");
  const explanation = make("p", {}, [
    make("small", {}, [
      term("KL"),
      ": how far the answer's tokens are from the base model's. Blue tokens are likelier than in the base model, orange ones less likely. Drag in the chart or in the row of its frames below, or use ← and → there; p pins a step.",
    ]),
  ]);
  el.append(
    make("div", { className: "etabli-top" }, [head, probes]),
    chart,
    make("p", {}, [where]),
    make("div", { className: "etabli-tools" }, [play, jump, largest, why, pin]),
    errorLine(model),
    caption,
    frame,
    told,
    first,
    pins,
    said,
    explanation,
  );

  const strips = () => model.get("film").strips;
  const shown = () => strips()[Math.min(model.get("probe"), strips().length - 1)];
  const at = () => Math.min(model.get("at"), shown().frames.length - 1);
  const go = (place, probe = model.get("probe")) => {
    const size = strips()[probe].frames.length;
    model.set({ probe, at: Math.max(0, Math.min(size - 1, place)) });
    model.save_changes();
  };
  const lastStep = () => axisEnd(shown().frames.at(-1).step, model.get("film").steps ?? 0);
  let isInRow = false; // was the pointer pressed in the row of frames?
  /** Show the frame below the pointer: in the row by its place, in the chart the one whose step is nearest. */
  const goTo = (event) => {
    const box = chart.getBoundingClientRect();
    const share = (event.clientX - box.left - EDGE) / (box.width - EDGE - RIGHT);
    if (isInRow) return go(Math.floor(share * shown().frames.length));
    const step = share * lastStep();
    const distances = shown().frames.map((one) => Math.abs(one.step - step));
    go(distances.indexOf(Math.min(...distances)));
  };
  const placeOf = (step) => shown().frames.findIndex((one) => one.step === step);
  let sent = null; // the pin that Python has not saved yet: probe, step, why
  let shownKey = ""; // of the answer that is shown: what a reader reads in it stays until another one comes
  let timer = 0;
  const halt = () => {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  };
  play.onclick = () => {
    if (timer) return halt();
    if (at() === shown().frames.length - 1) go(0);
    play.textContent = "Pause";
    timer = setInterval(() => (at() >= shown().frames.length - 1 ? halt() : go(at() + 1)), 600);
  };
  chart.addEventListener("pointerdown", (event) => {
    chart.setPointerCapture(event.pointerId);
    isInRow = event.clientY - chart.getBoundingClientRect().top > TALL;
    goTo(event);
  });
  chart.addEventListener("pointermove", (event) => {
    if (event.buttons) goTo(event);
  });
  chart.addEventListener("keydown", (event) => {
    const last = shown().frames.length - 1;
    const to = { ArrowLeft: at() - 1, ArrowRight: at() + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
  probes.onchange = () => go(0, Number(probes.value));
  jump.onclick = () => go(placeOf(shown().changed));
  largest.onclick = () => go(placeOf(shown().jump));
  pin.onclick = () => {
    const step = shown().frames[at()].step;
    const isPinned = mine(step);
    sent = isPinned ? null : { probe: shown().probe, step, why: why.value };
    model.send({ type: "pin", probe: model.get("probe"), step, why: why.value, on: !isPinned });
  };
  el.addEventListener("keydown", (event) => {
    if (event.key !== "p" || event.repeat || event.ctrlKey || event.metaKey) return;
    if (event.target.closest(".etabli-strip, select") || event.target === why) return;
    event.preventDefault();
    pin.click();
  });

  const drawChart = () => {
    const { frames } = shown();
    const known = frames.map((one) => one.mean_kl).filter((value) => value !== null);
    const top = Math.max(0.1, ...known) * 1.1;
    const right = lastStep();
    const full = chart.clientWidth || 640;
    const x = (step) => EDGE + (step / right) * (full - EDGE - RIGHT);
    const y = (value) => TOP + (1 - value / top) * (TALL - TOP - 24);
    chart.setAttribute("viewBox", `0 0 ${full} ${TALL + ROW}`);
    chart.replaceChildren(svg("text", { x: EDGE, y: 10 }, "KL from the base (nats per token)"));
    for (const tick of ticks(top, 3)) {
      chart.append(svg("line", { class: "etabli-grid", x1: EDGE, x2: full - RIGHT, y1: y(tick), y2: y(tick) }));
      chart.append(svg("text", { x: EDGE - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
    }
    const { steps, state } = model.get("film");
    if (right < steps) {
      const note = describeAxis(right, { total: steps, state }, full);
      chart.append(svg("text", { x: full - RIGHT, y: 10, "text-anchor": "end" }, note));
    }
    chart.append(...stepLabels(right, x, TALL - 6, full), ...drawRow(frames, full - EDGE - RIGHT));
    chart.append(
      svg("path", {
        class: "etabli-loss",
        d: path(
          frames.map((one) => [one.step, one.mean_kl]),
          x,
          y,
        ),
      }),
    );
    for (const one of frames)
      if (one.mean_kl !== null) chart.append(svg("circle", { cx: x(one.step), cy: y(one.mean_kl), r: 3 }));
    for (const one of pinned()) chart.append(svg("text", { x: x(one.step), y: TOP - 2, "text-anchor": "middle" }, "◆"));
    const here = frames[at()];
    chart.append(
      svg("line", { class: "etabli-cursor", x1: x(here.step), x2: x(here.step), y1: TOP - 10, y2: TALL - 22 }),
    );
  };
  /** A cell for each frame, all of one width: on the axis of steps the first frames lie too close to be hit. */
  const drawRow = (frames, width) =>
    frames.flatMap((one, place) => {
      const wide = width / frames.length;
      const left = EDGE + place * wide;
      const name = place === at() ? "etabli-cell etabli-here" : "etabli-cell";
      const cell = svg("rect", {
        class: name,
        x: left + 0.5,
        y: TALL + 2,
        width: Math.max(1, wide - 2),
        height: ROW - 4,
      });
      cell.append(svg("title", {}, `step ${one.step}`));
      if (wide < 7 * String(one.step).length + 6) return [cell];
      return [cell, svg("text", { x: left + wide / 2, y: TALL + 14, "text-anchor": "middle" }, String(one.step))];
    });
  const mine = (step) => pinned().some((one) => one.step === step && one.by === model.get("author"));
  const pinned = () => model.get("film").pins.filter((one) => one.probe === shown().probe);
  const tell = (one) => (place) => {
    const share = (logp) => `${(100 * Math.exp(logp)).toPrecision(3)} %`;
    told.textContent =
      one.logp[place] === null
        ? ""
        : `${JSON.stringify(visible(one.tokens[place]))}: base ${share(one.base_logp[place])}, now ${share(one.logp[place])}, KL ${one.kl[place]?.toFixed(3)} nats`;
  };
  /** Show the answer of a frame, unless it stands there already: then the token that is read stays. */
  const drawAnswer = (one) => {
    const key = JSON.stringify([model.get("film").run, shown().probe, one]);
    if (key === shownKey) return;
    shownKey = key;
    const changes = one.tokens?.map((_, place) =>
      one.logp[place] === null ? null : one.logp[place] - one.base_logp[place],
    );
    const focused = frame.contains(document.activeElement);
    frame.replaceChildren(
      one.tokens?.length
        ? strip(one.tokens, changes, { label: `Answer at step ${one.step}`, tell: tell(one) })
        : make(
            "pre",
            { className: "etabli-plain", dir: "auto" },
            one.text ? answerNodes(one.text) : ["(an empty answer)"],
          ),
    );
    if (focused) /** @type {HTMLElement} */ (frame.firstChild).focus();
    told.textContent = "";
  };
  /** Is this pin among those of the film? Until it is, its reason stays where it was typed. */
  const isSaved = ({ probe, step, why }) =>
    model
      .get("film")
      .pins.some(
        (one) => one.probe === probe && one.step === step && one.why === why && one.by === model.get("author"),
      );
  const draw = () => {
    const film = model.get("film");
    const strip_ = shown();
    const one = strip_.frames[at()];
    head.textContent = `${film.run}: ${film.state}`;
    probes.replaceChildren(
      ...film.strips.map((held, number) =>
        make("option", {
          value: number,
          textContent: visible(held.probe).slice(0, 90),
          selected: number === model.get("probe"),
        }),
      ),
    );
    play.disabled = strip_.frames.length < 2;
    where.textContent = `step ${one.step}${one.mean_kl === null ? "" : ` · KL ${one.mean_kl.toFixed(2)}`}`;
    chart.setAttribute("aria-disabled", String(play.disabled));
    chart.setAttribute("aria-valuemin", "0");
    chart.setAttribute("aria-valuemax", String(lastStep()));
    chart.setAttribute("aria-valuenow", String(one.step));
    chart.setAttribute("aria-valuetext", where.textContent);
    jump.textContent = strip_.changed === null ? "The answer never changed" : `First change: step ${strip_.changed}`;
    jump.disabled = strip_.changed === null;
    largest.textContent = `Largest jump: step ${strip_.jump}`;
    largest.hidden = strip_.jump === null;
    const isPinned = mine(one.step);
    pin.textContent = isPinned ? "Unpin (p)" : "Pin (p)";
    if (sent && isSaved(sent)) {
      if (why.value === sent.why) why.value = "";
      sent = null;
    }
    const isCut = one.cut ? [" ", cutMark()] : [];
    caption.replaceChildren(`answer at step ${one.step}`, ...isCut);
    drawAnswer(one);
    const start = strip_.frames[0];
    first.hidden = at() === 0;
    first.replaceChildren(
      make("small", {}, [`answer at step ${start.step}`, ...(start.cut ? [" ", cutMark()] : [])]),
      make("pre", { dir: "auto" }, answerNodes(start.text)),
    );
    pins.replaceChildren(
      ...pinned().map((held) => {
        const link = make("button", {
          type: "button",
          className: "etabli-chip",
          textContent: visible(`◆ step ${held.step}${held.why ? `: ${held.why}` : ""} (${held.by})`),
        });
        link.onclick = () => go(placeOf(held.step));
        return make("li", {}, [link]);
      }),
    );
    said.replaceChildren(...film.said.map((text) => make("p", {}, [make("small", { textContent: visible(text) })])));
    drawChart();
  };
  const undo = follow(model, ["film", "probe", "at", "author"], draw);
  const undoWidth = onNewWidth(chart, drawChart);
  return () => {
    halt();
    undoWidth();
    undo();
  };
}

export default widget(render);
