// Beside the list: the row that is open, with its turns, its reasons, the most similar row and the differences.

/** All about a row, as elements. */
function about(row) {
  const turn = (one) =>
    make("section", {}, [make("small", { textContent: one.role }), make("pre", { textContent: visible(one.content) })]);
  const said = row.decision
    ? [
        make("p", {}, [
          make("b", { textContent: row.status }),
          ` by ${row.decision.by}${row.decision.why ? `: ${row.decision.why}` : ""}`,
        ]),
      ]
    : [];
  const reasons = row.reasons.map((reason) =>
    make("li", { className: reason.rejects ? "etabli-rejects" : "" }, [
      make("b", { textContent: reason.filter }),
      ` ${reason.why}`,
    ]),
  );
  const facts = Object.entries({ id: row.id, ...row.about })
    .map(([name, value]) => `${name} ${value}`)
    .join(" · ");
  const like = row.like
    ? [
        make("h2", { textContent: `${row.like.test ? "Test row" : "Row"} ${row.like.id}, and what differs here` }),
        marked(row.like.difference),
      ]
    : [];
  return [
    make("p", {}, [make("small", { textContent: visible(facts) })]),
    ...said,
    make("ul", { className: "etabli-reasons" }, reasons),
    ...row.messages.map(turn),
    ...like,
  ];
}

/** The pane. `rewrite(text)` is called with another last answer; `leave()` when the keys go back to the list. */
function rowDetail({ model, rewrite, leave }) {
  const pane = scroller("etabli-detail", "The chosen row");
  const editor = () => pane.querySelector(".etabli-edit");
  const edit = () => {
    const text = make("textarea", {
      value: model.get("detail").last,
      rows: 5,
      "aria-label": "The last answer, rewritten",
    });
    const done = () => {
      editor()?.remove();
      leave();
    };
    const save = () => {
      rewrite(text.value);
      done();
    };
    text.onkeydown = (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
      if (event.key === "Escape") done();
    };
    const button = (textContent, onclick) =>
      make("button", { type: "button", className: "etabli-button", textContent, onclick });
    editor()?.remove();
    pane.prepend(
      make("div", { className: "etabli-edit" }, [
        text,
        button("Save (Ctrl+Enter)", save),
        button("Cancel (Esc)", done),
      ]),
    );
    text.focus();
  };
  const draw = () => {
    const row = model.get("detail");
    if (editor() && pane.dataset.row === row.id) return; // do not take away what is being typed
    const isOther = pane.dataset.row !== (row.id ?? "");
    pane.dataset.row = row.id ?? "";
    const hint = make("p", { className: "etabli-empty", textContent: "The row that you choose is shown here." });
    pane.replaceChildren(...(row.id ? about(row) : [hint]));
    if (isOther) pane.scrollTop = 0;
  };
  return { pane, edit, draw };
}
