const OPEN = 3; // rows unfolded at first
const MOST_FAILURES = 3; // rows named for each failed assertion
const SHADED = 8; // nats: the loss of a token in full colour

function render({ model, el }) {
  guardKeys(el);
  const wrong = make("div", { role: "status" });
  const policies = make("div", { className: "etabli-policies", role: "radiogroup", "aria-label": "Policy" });
  const shade = make("button", {
    type: "button",
    className: "etabli-button",
    textContent: "Shade by loss",
    "aria-pressed": "false",
  });
  const legend = make("p", { className: "etabli-roles" });
  const rows = make("div");
  const told = make("p", { className: "etabli-told", "aria-live": "polite" });
  const hint = make("p", { className: "etabli-hint" });
  let drawn = []; // [row, list of token elements] of the rows that are unfolded
  let at = null; // [row, token] that is looked at
  let sent = model.get("answered"); // choices of spans: an answer to an older one is not drawn over a newer

  const view = () => model.get("view");
  const policy = () => model.get("policy");
  const pick = (name) => {
    model.set("policy", name);
    model.save_changes();
  };
  shade.onclick = () => {
    const on = shade.getAttribute("aria-pressed") !== "true";
    shade.setAttribute("aria-pressed", String(on));
    el.classList.toggle("etabli-by-loss", on);
  };

  // --- one token: what it is, and whether it is chosen -------------------------------------------------------------------
  const tell = (row, place) => {
    const nats = row.nats?.[place];
    const whose = row.message[place] === null ? "the template's" : `message ${row.message[place]}`;
    const flag = row.trained[policy()][place] ? "trained" : "masked";
    const loss = nats === null || nats === undefined ? "" : ` · loss ${nats.toFixed(2)}`;
    told.textContent = `token ${place} · id ${row.ids[place]} · ${JSON.stringify(visible(row.text[place]))} · ${row.role[place]}, ${whose} · characters ${row.offset[place].join(" to ")} · ${flag}${loss}`;
  };
  const toggle = (row, from, to = from, on = !row.trained.spans[from]) => {
    if (policy() !== "spans") return;
    const flags = row.trained.spans.slice();
    for (let place = Math.min(from, to); place <= Math.max(from, to); place++)
      // eslint-disable-next-line no-restricted-syntax -- a list of flags
      if (inContent(row, place)) flags[place] = on;
    row.trained.spans = flags; // at once: the next key may come before the kernel has answered
    paint();
    sent += 1;
    model.send({ type: "spans", row: row.id, spans: spansOf(row, flags), number: sent });
  };
  const draw = (row) => {
    const tokens = row.ids.map((_, place) => {
      const token = make("span", { className: "etabli-token", textContent: visible(row.text[place]) || "·" });
      token.dataset.role = row.role[place];
      token.dataset.place = place;
      const nats = row.nats?.[place];
      if (nats !== null && nats !== undefined)
        token.style.setProperty("--etabli-loss", Math.min(1, nats / SHADED).toFixed(2));
      return token;
    });
    const holder = make(
      "pre",
      { className: "etabli-tokens", tabIndex: 0, role: "application", "aria-label": `Tokens of row ${row.id}` },
      tokens,
    );
    const placeOf = (event) => Number(event.target.dataset?.place ?? NaN);
    // Pointing tells; it does not move the keys' place, or the page moving under the mouse would.
    holder.onmouseover = (event) => Number.isNaN(placeOf(event)) || tell(row, placeOf(event));
    holder.onclick = (event) => {
      const place = placeOf(event);
      if (Number.isNaN(place)) return;
      const from = event.shiftKey && at?.[0] === row ? at[1] : place;
      look(row, holder, place);
      toggle(row, from, place, from === place ? undefined : true);
    };
    holder.onkeydown = (event) => {
      const place = at?.[0] === row ? at[1] : 0;
      const moves = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: row.ids.length - 1 };
      if (event.key in moves) {
        const to = Math.max(0, Math.min(row.ids.length - 1, moves[event.key]));
        if (event.shiftKey && policy() === "spans") toggle(row, place, to, true);
        look(row, holder, to);
      } else if (event.key === " ") toggle(row, place);
      else return;
      event.preventDefault();
    };
    drawn.push([row, tokens]);
    return holder;
  };
  const look = (row, holder, place) => {
    holder.querySelector("[data-here]")?.removeAttribute("data-here");
    holder.children[place].dataset.here = "true";
    holder.children[place].scrollIntoView({ block: "nearest" });
    at = [row, place];
    tell(row, place);
  };

  // --- what is drawn anew ------------------------------------------------------------------------------------------------
  const drawPolicies = () => {
    const focused = policies.contains(document.activeElement);
    policies.replaceChildren(
      ...Object.entries(view().policies).map(([name, one]) => {
        const on = name === policy();
        const said = `${one.trained} token${one.trained === 1 ? "" : "s"} · ${(100 * one.share).toFixed(0)} %${one.loss === null ? "" : ` · loss ${one.loss.toFixed(3)}`}`;
        const button = make(
          "button",
          {
            type: "button",
            role: "radio",
            className: "etabli-policy",
            title: GLOSSARY[name] ?? "",
            "aria-checked": String(on),
            tabIndex: on ? 0 : -1,
          },
          [
            make("b", { textContent: name === view().policy ? `${name} (the recipe's)` : name }),
            make("small", { textContent: said }),
          ],
        );
        button.onclick = () => pick(name);
        if (on && focused) queueMicrotask(() => button.focus());
        return button;
      }),
    );
    hint.textContent =
      policy() === "spans"
        ? "Click tokens, or move with the arrow keys and press Space, to train them; Shift with an arrow or a click takes what lies between."
        : "";
    hint.hidden = !hint.textContent;
  };
  policies.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const names = Object.keys(view().policies);
    pick(names[(names.indexOf(policy()) + step + names.length) % names.length]);
    event.preventDefault();
  };
  /** Unfold a row, and go to its tokens. */
  const goTo = (id) => {
    const fold = heads.get(id).parentElement;
    fold.open = true;
    fold.ontoggle();
    fold.scrollIntoView({ block: "nearest" });
    fold.querySelector(".etabli-tokens").focus({ preventScroll: true });
  };
  const drawFailure = ([id, why]) => {
    const label = `row ${visible(id)}`;
    const button = make("button", { type: "button", className: "etabli-jump", textContent: label });
    button.onclick = () => goTo(id);
    const isHere = view().rows.some((row) => row.id === id);
    return make("small", {}, isHere ? [button, `: ${visible(why)}`] : [`${label}, not in this step: ${visible(why)}`]);
  };
  const drawAssertion = ([name, count]) => {
    const summary = `No run can start: ${count} of ${view().of} rows ${count === 1 ? "fails" : "fail"} ${name}.`;
    const inBatch = new Set(view().rows.map((row) => row.id));
    const failures = [...view().failed[name]].sort(([a], [b]) => Number(inBatch.has(b)) - Number(inBatch.has(a)));
    const shown = failures.slice(0, MOST_FAILURES).map(drawFailure);
    return make("div", { className: "etabli-wrong" }, [make("b", { textContent: summary }), ...shown]);
  };
  const drawWrong = () => {
    const failing = Object.entries(view().failing);
    const good = make("p", { className: "etabli-right", textContent: `All assertions hold for ${view().of} rows.` });
    wrong.replaceChildren(...(failing.length ? failing.map(drawAssertion) : [good]));
  };
  const paint = () => {
    for (const [row, tokens] of drawn)
      tokens.forEach((token, place) => {
        token.dataset.trained = String(row.trained[policy()][place]);
      });
    for (const [id, line] of heads)
      headOf(
        line,
        view().rows.find((row) => row.id === id),
      );
  };
  const heads = new Map();
  const headOf = (line, row) => {
    const bad = row.assertions[policy()].filter((one) => one.ok === false);
    const trained = row.trained[policy()].filter(Boolean).length;
    line.replaceChildren(
      make("span", { textContent: `${row.id} · ${trained} of ${row.ids.length} tokens trained` }),
      ...(row.cut
        ? [
            make("span", {
              className: "etabli-hint",
              textContent: ` · cut: ${row.cut} tokens are beyond ${view().max_length}`,
            }),
          ]
        : []),
      ...bad.map((one) => make("span", { className: "etabli-error", textContent: ` · ${one.name}: ${one.why}` })),
    );
  };
  const drawRows = () => {
    if (drawn.length && sameRows(drawn, view().rows)) {
      // The same tokens, other flags: nothing is built anew, and the keys stay where they are.
      for (const one of model.get("answered") < sent ? [] : drawn) {
        const now = view().rows.find((row) => row.id === one[0].id);
        Object.assign(one[0], { trained: now.trained, assertions: now.assertions });
      }
      paint();
      return;
    }
    const unfolded = new Set(
      [...rows.querySelectorAll(/** @type {"details"} */ ("details[open]"))].map((one) => one.dataset.row),
    );
    const first = !rows.children.length;
    drawn = [];
    heads.clear();
    rows.replaceChildren(
      ...view().rows.map((row, number) => {
        const line = make("summary");
        heads.set(row.id, line);
        const fold = make("details", { open: first ? number < OPEN : unfolded.has(row.id) }, [line]);
        fold.dataset.row = row.id;
        const fill = () => {
          if (fold.open && fold.children.length === 1) {
            fold.append(draw(view().rows[number]));
            paint();
          }
        };
        fold.ontoggle = fill;
        fill();
        return fold;
      }),
    );
    paint();
    at = null;
  };
  const head = make("p", { className: "etabli-soft" });
  const drawHead = () => {
    const { step, steps, packs, rows: held, model: name } = view();
    head.textContent = `Step ${step} of ${steps}: ${held.length} rows in ${packs} pack${packs > 1 ? "s" : ""}, tokens of ${name}. ${view().said}`;
    const roles = [...new Set(held.flatMap((row) => row.role))];
    legend.replaceChildren(
      ...roles.map((role) => {
        const key = make("span", { className: "etabli-token", textContent: role });
        key.dataset.role = role;
        return key;
      }),
      make("small", { textContent: "bold and underlined: trained · plain: masked (read, not learned)" }),
      make("small", { className: "etabli-scale" }, ["loss 0", make("i"), `${SHADED} nats or more`]),
    );
    shade.hidden = !held.some((row) => row.nats);
  };
  el.append(
    head,
    wrong,
    errorLine(model),
    policies,
    make("div", { className: "etabli-tools etabli-apart" }, [legend, shade]),
    hint,
    told,
    rows,
  );
  const undo = [
    follow(model, ["view"], drawHead),
    follow(model, ["view"], drawWrong),
    follow(model, ["view", "policy"], drawPolicies),
    follow(model, ["view"], drawRows),
    follow(model, ["policy"], () => {
      paint();
      if (at) tell(...at);
    }),
  ];
  return () => undo.forEach((each) => each());
}

/** Do these rows have the tokens that are drawn? */
function sameRows(drawn, rows) {
  return drawn.every(([old]) => {
    const now = rows.find((row) => row.id === old.id);
    return now && now.ids.length === old.ids.length && now.ids.every((id, place) => id === old.ids[place]);
  });
}

/** May this token be chosen: is it of a message's content, and not of what the template writes about it? */
function inContent(row, place) {
  const number = row.message[place];
  const start = number === null ? undefined : row.starts[number];
  return start !== undefined && row.offset[place][0] >= start && row.offset[place][0] < start + row.lengths[number];
}

/** Trained tokens as stretches of each message's content: {message: [[first character, one after the last]]}. */
function spansOf(row, flags) {
  const found = {};
  flags.forEach((flag, place) => {
    if (!flag || !inContent(row, place)) return;
    const start = row.starts[row.message[place]];
    const most = row.lengths[row.message[place]];
    const [low, high] = [row.offset[place][0] - start, Math.min(most, row.offset[place][1] - start)];
    // eslint-disable-next-line no-restricted-syntax -- a plain object
    if (low < high) (found[row.message[place]] ??= []).push([low, high]);
  });
  return found;
}

export default widget(render);
