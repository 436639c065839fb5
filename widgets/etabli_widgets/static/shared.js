// Shared by all widgets; joined in front of each one's own module.

/** Make an element. Text is always set as text, so that an answer full of markup stays an answer.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Record<string, any>} [props] @param {(Node|string)[]} [children]
 * @returns {HTMLElementTagNameMap[Tag]} */
function make(tag, props = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("aria-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

/** Give the root element its classes, and keep keys typed in it from driving the notebook: `b` would insert a cell.
 * @param {HTMLElement} el */
function guardKeys(el) {
  el.classList.add(...ROOT);
  el.dataset.lmSuppressShortcuts = "true";
  el.addEventListener("keydown", (event) => event.stopPropagation());
}

/** Call `draw` now and on every change of the traits; returns what undoes it. */
function follow(model, traits, draw) {
  const events = traits.map((trait) => `change:${trait}`).join(" ");
  model.on(events, draw);
  draw();
  return () => model.off(events, draw);
}

// What a page would hide or obey: controls, zero widths, direction marks. Blanks and line ends stay, and so do joiners
// between two signs that are not Latin: emoji and many scripts are written with them.
const UNSEEN =
  /(?!(?<=[\u0300-\u1fff\u2100-\ufefe])[\u200c\u200d](?=[\u0300-\u1fff\u2100-\ufefe]))[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text in which nothing is hidden. @param {string} text */
function visible(text) {
  return text.replace(UNSEEN, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The line on which a widget shows its own errors. */
function errorLine(model) {
  const line = make("p", { className: "etabli-error", role: "alert" });
  const draw = () => {
    if (line.dataset.shown && !line.isConnected) model.off("change:error", draw); // its view is gone
    line.dataset.shown = line.isConnected ? "yes" : "";
    line.textContent = model.get("error");
    line.hidden = !model.get("error");
  };
  model.on("change:error", draw);
  draw();
  return line;
}
