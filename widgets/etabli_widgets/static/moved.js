// Tokens of an answer, shaded by how far the training moved each. Joined to the widgets that show them.

/** How strongly a token is shaded, from -1 to 1: 5 nats are all the colour there is. @param {number|null} value */
export function shadeOf(value, full = 5) {
  return value === null || value === undefined || !isFinite(value) ? 0 : Math.max(-1, Math.min(1, value / full));
}

/** A token as it can be seen: a part of a sign as a dot, a line end with its arrow. @param {string} text */
export function seen(text) {
  return text === "" ? "·" : text.replaceAll("\n", "↵\n");
}

/** The place a key leads to, or null if it is no key of ours. Left is forward where text runs from the right. */
export function ledTo(key, place, size, rightToLeft = false) {
  const [forward, back] = rightToLeft ? ["ArrowLeft", "ArrowRight"] : ["ArrowRight", "ArrowLeft"];
  const moves = { [forward]: place + 1, [back]: place - 1, Home: 0, End: size - 1 };
  return key in moves ? Math.max(0, Math.min(size - 1, moves[key])) : null;
}

/** The largest step away, in the given direction, from here on: what `n` and `p` jump to. */
export function nextLargest(values, place, direction, least) {
  for (let at = place + direction; at >= 0 && at < values.length; at += direction)
    if (Math.abs(values[at] ?? 0) >= least) return at;
  return null;
}

/** A strip of tokens that can be walked by keys. `tell(place)` says what stands under the cursor.
 * @param {string[]} tokens @param {(number|null)[]} values */
function strip(tokens, values, { full = 5, label = "Tokens", tell, at = 0 }) {
  const made = tokens.map((text, place) => {
    const shade = shadeOf(values[place], full);
    const token = make("span", { className: "etabli-moved", textContent: visible(seen(text)) });
    token.dataset.place = String(place);
    if (text === "") token.classList.add("etabli-part");
    token.style.setProperty("--etabli-move", Math.abs(shade).toFixed(2));
    if (shade < 0) token.dataset.less = "yes";
    return token;
  });
  const holder = make(
    "pre",
    { className: "etabli-strip", tabIndex: 0, role: "application", "aria-label": label, dir: "auto" },
    made,
  );
  let here = Math.min(at, tokens.length - 1);
  const go = (place) => {
    if (place === null || !made.length) return;
    made[here]?.removeAttribute("data-here");
    here = place;
    made[here].dataset.here = "yes";
    made[here].scrollIntoView?.({ block: "nearest" });
    tell(here);
  };
  const placeOf = (event) => /** @type {HTMLElement} */ (event.target).dataset?.place;
  holder.onmouseover = (event) => placeOf(event) && tell(Number(placeOf(event)));
  holder.onmouseleave = () => tell(here);
  holder.onclick = (event) => placeOf(event) && go(Number(placeOf(event)));
  const walk = (event) => {
    const least = Math.max(1, ...values.map((value) => Math.abs(value ?? 0) / 4));
    const jump = { n: 1, p: -1 }[event.key];
    const rtl = getComputedStyle(holder).direction === "rtl";
    const place = jump ? nextLargest(values, here, jump, least) : ledTo(event.key, here, made.length, rtl);
    if (place === null && !jump) return false;
    go(place);
    event.preventDefault();
    return true;
  };
  holder.addEventListener("keydown", (event) => event.ctrlKey || event.metaKey || event.altKey || walk(event));
  if (made[here]) made[here].dataset.here = "yes";
  return holder;
}
