function render({ model, el }) {
  guardKeys(el);
  const title = make("p");
  const sentences = make("ul", { className: "etabli-lines" });
  const heads = make("thead");
  const rows = make("tbody");
  const table = make("table", {}, [heads, rows]);
  el.append(title, errorLine(model), sentences, scroller("etabli-scroll", "What was measured of each form", [table]));
  return follow(model, ["view"], () => {
    const view = model.get("view");
    title.textContent = visible(view.title);
    sentences.replaceChildren(...view.forms.map(drawSentence));
    heads.replaceChildren(drawHeads(view));
    rows.replaceChildren(...view.forms.map((form) => drawCells(form, view.zone)));
  });
}

function drawHeads({ heads, ends }) {
  const texts = ends.map((textContent) => make("span", { textContent }));
  const scale = make("span", { className: "etabli-scale" }, texts);
  const cell = (name) => make("th", { scope: "col" }, [term(name), ...(name === "KL" ? [scale] : [])]);
  return make("tr", {}, heads.map(cell));
}

/** The verdict on a form, with the first difference of its prompts, and what else to know. */
function drawSentence({ name, kind, sentence, first, notes }) {
  const entry = (label, text) =>
    make("section", {}, [
      make("small", { textContent: visible(label) }),
      make("pre", { textContent: visible(text), dir: "auto" }),
    ]);
  const difference = first
    ? [
        entry(`${first.conversation}, token ${first.place}, as it was judged`, first.judged),
        entry(`${name} instead`, first.form),
      ]
    : [];
  const lines = notes.map((note) => make("p", {}, [make("small", { textContent: visible(note) })]));
  return make("li", { className: `etabli-${kind}` }, [visible(sentence), ...difference, ...lines]);
}

function drawCells(form, zone) {
  const texts = [form.name, form.prompts, form.answers, drawAxis(form, zone), form.score, form.size];
  return make(
    "tr",
    {},
    texts.map((content) => make("td", {}, [typeof content === "string" ? visible(content) : content])),
  );
}

/** The divergence as a number over its place on the axis, whose first part is that of sealed forms. */
function drawAxis({ kl, place, kind }, width) {
  if (place === null) return "";
  const zone = make("i");
  zone.style.width = `${width}%`;
  const dot = make("u", { className: `etabli-${kind}` });
  dot.style.left = `${place}%`;
  return make("div", {}, [kl, make("div", { className: "etabli-axis" }, [zone, dot])]);
}

export default widget(render);
