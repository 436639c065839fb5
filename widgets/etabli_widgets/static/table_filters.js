// Above a table: search, facets and order.

const SORTS = ["row", "status", "finding", "source", "length", "likeness", "question", "answer"];

/** Search, facets and order. `send(query)` is called with all of them when one has changed. */
function tableFilters({ model, send }) {
  const search = make("input", { type: "search", placeholder: "Search (/)", "aria-label": "Search rows" });
  const [finding, status] = ["Finding", "Status"].map((label) => make("select", { "aria-label": label }));
  const source = sourceFilter({ model, choose: () => choose() });
  const sort = make(
    "select",
    { "aria-label": "Sort by" },
    SORTS.map((name) => new Option(`by ${name}`, name)),
  );
  const order = make("button", { type: "button", className: "etabli-button" });
  const counted = make("small", { role: "status", className: "etabli-counted" });
  let descending = false;
  let selected = false;
  let typing;
  const drawOrder = () => {
    order.textContent = descending ? "↓" : "↑";
    order.setAttribute("aria-label", descending ? "Descending" : "Ascending");
  };
  const choose = () => {
    clearTimeout(typing);
    const facets = { search: search.value, finding: finding.value, status: status.value, source: source.control.value };
    send({ ...facets, sort: sort.value, descending, ...(selected ? { selected } : {}) });
  };
  search.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose(), 250);
  };
  for (const select of [finding, status, sort]) select.onchange = choose;
  const setDescending = (isDescending) => {
    descending = isDescending;
    drawOrder();
    choose();
  };
  order.onclick = () => setDescending(!descending);
  return {
    parts: [search, finding, status, ...source.parts, sort, order],
    search,
    counted,
    sortBy(name) {
      const isAgain = sort.value === name;
      sort.value = name;
      setDescending(isAgain && !descending);
    },
    setSelected(isSelected) {
      selected = isSelected;
      choose();
    },
    count() {
      const [found, total] = [model.get("found"), model.get("total")];
      counted.textContent = found === total ? quantity(total, "row") : `${grouped(found)} of ${quantity(total, "row")}`;
    },
    draw() {
      const [facets, query] = [model.get("facets"), model.get("asked")];
      for (const [name, select] of Object.entries({ finding, status }))
        fillSelect(select, `any ${name}`, facets[name] ?? {}, query[name] ?? "");
      source.draw(query.source ?? "");
      sort.value = query.sort || SORTS[0];
      descending = Boolean(query.descending);
      selected = Boolean(query.selected);
      drawOrder();
      if (document.activeElement !== search) search.value = query.search ?? ""; // not while it is typed
    },
    close: () => clearTimeout(typing),
  };
}
