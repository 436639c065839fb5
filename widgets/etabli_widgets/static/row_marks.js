// The rows that are selected together: a bit for each row of the data, so that 100,000 rows are 12 KB.

const MARK_MS = 250; // between two messages about the selection: four a second

/** Bits as Python packs them (base64, the first row in the lowest bit). @param {string} text @param {number} count */
export function unpackBits(text, count) {
  const bits = new Uint8Array(Math.ceil(count / 8));
  const packed = atob(text);
  // eslint-disable-next-line no-restricted-syntax -- a list of numbers
  for (let at = 0; at < packed.length; at++) bits[at] = packed.charCodeAt(at);
  return bits;
}

/** @param {Uint8Array} bits @param {number} row */
export function isMarked(bits, row) {
  return Boolean(bits[row >> 3] & (1 << (row & 7)));
}

/** @param {Uint8Array} bits @param {number} row @param {boolean} isOn */
export function setMark(bits, row, isOn) {
  if (isOn) bits[row >> 3] |= 1 << (row & 7);
  else bits[row >> 3] &= ~(1 << (row & 7));
}

/** Two wishes as one message, or null if they have to be two: a later "replace" makes an earlier one void. */
export function joinWishes(earlier, later) {
  if (!earlier || later.do === "replace") return later;
  const isOfRows = earlier.stop === undefined && later.stop === undefined;
  return earlier.do === later.do && isOfRows ? { do: later.do, rows: [...earlier.rows, ...later.rows] } : null;
}

/** The selection of a table. Changes are shown at once and sent at most four times a second; what comes back from the
 * kernel counts unless something newer is on its way. `lines`: place -> line, of those that have come. */
function rowMarks(model, lines, redraw) {
  let { count, shown, number } = model.get("marks"); // shown: how many of those in the list; null if it is not known
  let bits = unpackBits(model.get("marks").bits, model.get("total"));
  let wish = null;
  let timer;
  let last = -MARK_MS;
  const send = () => {
    clearTimeout(timer);
    timer = undefined;
    if (!wish) return;
    number += 1;
    last = performance.now();
    model.send({ type: "mark", ...wish, number });
    wish = null;
  };
  /** @param {{do: string, start?: number, stop?: number, rows?: number[]}} change */
  const showNow = ({ do: how, start, stop, rows = [] }) => {
    if (how === "replace") bits.fill(0);
    const before = rows.filter((row) => isMarked(bits, row)).length;
    for (const row of rows) setMark(bits, row, how !== "remove");
    if (stop !== undefined)
      for (const [place, line] of lines) if (place >= start && place < stop) setMark(bits, line.at, how !== "remove");
    shown = null;
    if (how === "replace") count = rows.length + (stop === undefined ? 0 : stop - start);
    else if (stop === undefined) count += how === "add" ? rows.length - before : -before;
  };
  const receive = () => {
    const come = model.get("marks");
    if (come.number < number || wish) return;
    bits = unpackBits(come.bits, model.get("total"));
    ({ count, shown, number } = come);
    redraw();
  };
  model.on("change:marks", receive);
  return {
    has: (row) => isMarked(bits, row),
    count: () => count,
    shown: () => shown,
    /** @param {{do: "replace"|"add"|"remove", start?: number, stop?: number, rows?: number[]}} change */
    change(change) {
      const joined = joinWishes(wish, change);
      if (!joined) send();
      wish = joined ?? change;
      showNow(change);
      timer ??= setTimeout(() => send(), Math.max(0, last + MARK_MS - performance.now()));
      redraw();
    },
    send, // what has to be known before the next message
    close() {
      send();
      model.off("change:marks", receive);
    },
  };
}
