// Above a table: search, facets and order.

const SORTS = ["row", "status", "finding", "source", "length", "likeness", "question", "answer"];

/** Search, facets and order. `send(query)` is called with all of them when one has changed. */
function tableFilters({ model, send }) {
  const search = make("input", { type: "search", placeholder: "Search (/)", "aria-label": "Search rows" });
  const [finding, status, source] = ["Finding", "Status", "Source"].map((label) =>
    make("select", { "aria-label": label }),
  );
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
    const facets = { search: search.value, finding: finding.value, status: status.value, source: source.value };
    send({ ...facets, sort: sort.value, descending, ...(selected ? { selected } : {}) });
  };
  search.oninput = () => {
    clearTimeout(typing);
    typing = setTimeout(() => choose(), 250);
  };
  for (const select of [finding, status, source, sort]) select.onchange = choose;
  const setDescending = (isDescending) => {
    descending = isDescending;
    drawOrder();
    choose();
  };
  order.onclick = () => setDescending(!descending);
  return {
    parts: [search, finding, status, source, sort, order],
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
      counted.textContent = found === total ? `${grouped(total)} rows` : `${grouped(found)} of ${grouped(total)} rows`;
    },
    draw() {
      const [facets, query] = [model.get("facets"), model.get("asked")];
      for (const [name, select] of Object.entries({ finding, status, source })) {
        const names = Object.entries(facets[name] ?? {});
        select.replaceChildren(
          new Option(`any ${name}`, ""),
          ...names.map(([key, count]) => new Option(`${key} (${count})`, key)),
        );
        const chosen = query[name] ?? "";
        if (chosen && !(chosen in (facets[name] ?? {}))) select.append(new Option(`${chosen} (0)`, chosen));
        select.value = chosen;
        select.hidden = name === "source" && names.length < 2;
      }
      sort.value = query.sort || SORTS[0];
      descending = Boolean(query.descending);
      selected = Boolean(query.selected);
      drawOrder();
      if (document.activeElement !== search) search.value = query.search ?? ""; // not while it is typed
    },
    close: () => clearTimeout(typing),
  };
}
