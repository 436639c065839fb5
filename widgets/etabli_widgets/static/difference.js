/** What differs between two texts, as marked pieces. @param {[string, string][]} pieces */
function marked(pieces) {
  const tags = { same: "span", out: "del", in: "ins", cut: "small" };
  return make(
    "pre",
    { className: "etabli-difference" },
    pieces.map(([kind, text]) => make(tags[kind], { textContent: visible(text) })),
  );
}
