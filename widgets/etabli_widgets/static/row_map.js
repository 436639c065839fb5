// The map of a table: rows as points on a canvas. What is drawn around is selected in the list, and the other way round.

const MAP_HEIGHT = 260; // pixels
const MARGIN = 10;
const NEAR = 9; // pixels from a point at which a click means it
const MOST_CORNERS = 240; // of the line drawn around points
const MAP_COLOURS = ["finding", "status", "source", "cluster"];

/** Is a point inside of a closed line? Counted are the edges to its right.
 * @param {[number, number]} point @param {[number, number][]} line */
export function isInside(point, line) {
  const [x, y] = point;
  let inside = false;
  for (let at = 0, before = line.length - 1; at < line.length; before = at++) {
    const [[x1, y1], [x2, y2]] = [line[at], line[before]];
    if (y1 > y !== y2 > y && x < ((x2 - x1) * (y - y1)) / (y2 - y1) + x1) inside = !inside;
  }
  return inside;
}

/** At most so many corners of a line, evenly taken. */
export function thinned(line, most = MOST_CORNERS) {
  const step = Math.ceil(line.length / most);
  return step > 1 ? line.filter((_, at) => at % step === 0) : line;
}

/** The map, hidden until somebody asks for it. `marks`: the selection of the table. */
function rowMap({ model, marks }) {
  const canvas = make("canvas", { className: "etabli-points", role: "img" });
  const title = make("small", { role: "status" });
  const legend = make("div", { className: "etabli-map-legend" });
  const colour = make(
    "select",
    { "aria-label": "Colour of the map" },
    MAP_COLOURS.map((name) => new Option(`by ${name}`, name)),
  );
  const panel = make("div", { className: "etabli-map", hidden: true }, [
    make("div", { className: "etabli-tools" }, [colour, title]),
    canvas,
    legend,
  ]);
  const toggle = make("button", { type: "button", className: "etabli-button", textContent: "Map" });
  let line = []; // that is drawn around points
  let shown = new Uint8Array();
  const ask = () => {
    title.textContent = `Placing ${quantity(model.get("total"), "row")} by what they say: the first time takes a while …`;
    model.send({ type: "map", colour: colour.value });
  };
  let last; // the map that was drawn
  const setOpen = (isOpen) => {
    panel.hidden = !isOpen;
    toggle.setAttribute("aria-expanded", String(isOpen));
  };
  toggle.onclick = () => {
    setOpen(panel.hidden);
    if (!panel.hidden && !model.get("map").rows) ask();
    draw();
  };
  colour.onchange = ask;

  const places = () => {
    const { x, y } = model.get("map");
    const [width, height] = [canvas.clientWidth - 2 * MARGIN, MAP_HEIGHT - 2 * MARGIN];
    return x.map((value, at) => [MARGIN + value * width, MARGIN + (1 - y[at]) * height]);
  };
  const draw = () => {
    const map = model.get("map");
    if (panel.hidden || !map.rows || !canvas.clientWidth) return;
    const scale = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = MAP_HEIGHT * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const ink = getComputedStyle(canvas);
    const isSome = marks.count() > 0;
    const layers = [[], [], []]; // not shown in the list, shown, selected
    places().forEach((place, at) => {
      const isHere = isMarked(shown, at);
      layers[isSome && marks.has(map.rows[at]) ? 2 : isHere ? 1 : 0].push([place, map.colours[map.labels[at]]]);
    });
    const dot = ([[x, y], fill], size) => {
      pen.fillStyle = fill;
      pen.fillRect(x - size / 2, y - size / 2, size, size);
    };
    pen.globalAlpha = 0.12;
    for (const point of layers[0]) dot(point, 4);
    pen.globalAlpha = isSome ? 0.3 : 0.8;
    for (const point of layers[1]) dot(point, 4);
    pen.globalAlpha = 1;
    for (const point of layers[2]) {
      dot([point[0], ink.color], 8);
      dot(point, 6);
    }
    if (line.length > 1) {
      pen.strokeStyle = ink.color;
      pen.setLineDash([4, 3]);
      pen.beginPath();
      line.forEach(([x, y], at) => (at ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
      pen.stroke();
    }
    const selected = layers[2].length;
    canvas.setAttribute(
      "aria-label",
      `Map of ${visible(map.title)}. ${selected} of its points are selected. Draw around points with the pointer, ` +
        "or select rows by keys in the list.",
    );
  };
  const { soon, cancel } = inNextFrame(draw);

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return /** @type {[number, number]} */ ([event.clientX - box.left, event.clientY - box.top]);
  };
  canvas.onpointerdown = (event) => {
    if (!model.get("map").rows || event.button) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    line = [at(event)];
    canvas.onpointermove = (move) => {
      line.push(at(move));
      soon();
    };
    canvas.onpointerup = (up) => {
      canvas.onpointermove = canvas.onpointerup = canvas.onpointercancel = null;
      const drawn = thinned(line);
      line = [];
      finish(drawn, up.shiftKey || up.ctrlKey || up.metaKey);
      soon();
    };
    canvas.onpointercancel = () => {
      canvas.onpointermove = canvas.onpointerup = canvas.onpointercancel = null;
      line = [];
      soon();
    };
  };
  /** Select what a line was drawn around; a line that is a point opens the row beside it. */
  const finish = (drawn, isAdded) => {
    const { rows } = model.get("map");
    const [[x, y]] = drawn;
    const isClick = drawn.every(([a, b]) => Math.hypot(a - x, b - y) < 4);
    if (!isClick) {
      const inside = places().flatMap((place, number) => (isInside(place, drawn) ? [rows[number]] : []));
      marks.change({ do: isAdded ? "add" : "replace", rows: inside });
      return;
    }
    const away = places().map(([a, b]) => Math.hypot(a - x, b - y));
    const nearest = away.reduce((best, value, number) => (value < away[best] ? number : best), 0);
    if (away[nearest] <= NEAR) model.send({ type: "point", row: rows[nearest] });
  };
  const drawMap = () => {
    const map = model.get("map");
    if (!map.rows) return;
    if (map !== last) setOpen(true); // code may ask for it, too
    last = map;
    shown = unpackBits(model.get("map_shown"), map.rows.length);
    title.textContent = `${visible(map.title)}. Draw around points to select their rows.`;
    if (MAP_COLOURS.includes(map.colour)) colour.value = map.colour;
    const counts = map.names.map(() => 0);
    // eslint-disable-next-line no-restricted-syntax -- a list of numbers
    for (const label of map.labels) counts[label] += 1;
    legend.replaceChildren(
      ...map.names.map((name, number) => {
        const swatch = make("i", {});
        swatch.style.backgroundColor = map.colours[number];
        return make("span", {}, [swatch, `${visible(name)} (${counts[number]})`]);
      }),
    );
    soon();
  };
  const resized = new ResizeObserver(soon);
  resized.observe(canvas);
  setOpen(false);
  return {
    panel,
    toggle,
    soon,
    follow: () => follow(model, ["map", "map_shown"], drawMap),
    close: () => {
      resized.disconnect();
      cancel();
    },
  };
}
