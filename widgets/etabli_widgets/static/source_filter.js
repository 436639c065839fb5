// The choice of a source above a table: a list of all, or, of many, a field for a name.

/** A list of names with their counts, the first one for any. @param {HTMLSelectElement} select
 * @param {string} label @param {Record<string, number>} counts @param {string} chosen */
function fillSelect(select, label, counts, chosen) {
  const option = (name, count) => new Option(visible(`${name} (${grouped(count)})`), name);
  const options = Object.entries(counts).map(([name, count]) => option(name, count));
  if (chosen && !(chosen in counts)) options.push(option(chosen, 0));
  select.replaceChildren(new Option(label, ""), ...options);
  select.value = chosen;
}

/** The control, and `draw(chosen)`. `choose()` is called when another source is wanted. */
function sourceFilter({ model, choose }) {
  const counts = () => model.get("facets").source ?? {};
  return model.get("source_count") > Object.keys(counts()).length
    ? sourceField({ model, counts, choose })
    : sourceList({ counts, choose });
}

function sourceList({ counts, choose }) {
  const control = make("select", { "aria-label": "Source", onchange: choose });
  const draw = (chosen) => {
    fillSelect(control, "any source", counts(), chosen);
    control.hidden = Object.keys(counts()).length < 2;
  };
  return { control, parts: [control], draw };
}

function sourceField({ model, counts, choose }) {
  const suggestions = make("datalist", { id: `etabli-${Math.random().toString(36).slice(2, 8)}` });
  const control = make("input", {
    className: "etabli-source",
    placeholder: `any of ${grouped(model.get("source_count"))} sources`,
    title: "A source's name, or a part of the names of several. The most frequent ones are suggested.",
    "aria-label": "Source",
    onchange: choose,
  });
  control.setAttribute("list", suggestions.id);
  const draw = (chosen) => {
    const options = Object.entries(counts()).map(([name, count]) =>
      make("option", { value: name, label: visible(`${name} (${grouped(count)})`) }),
    );
    suggestions.replaceChildren(...options);
    if (document.activeElement !== control) control.value = chosen; // not while it is typed
  };
  return { control, parts: [control, suggestions], draw };
}
