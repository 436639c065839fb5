// The page that tries hostile texts: it mounts widgets with planted states, and opens planted pages in frames.
const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
const modules = {};
const errors = [];
let nowDoing = "";
window.addEventListener("error", (event) => event.message && errors.push(`${nowDoing}: ${event.message}`));

/** Load each widget's module and styles. */
async function load(widgets) {
  for (const [name, { esm, css }] of Object.entries(widgets)) {
    const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
    modules[name] = (await import(url)).default;
    const style = document.createElement("style");
    style.textContent = css;
    document.head.append(style);
  }
}

/** An element that shows a widget with a state; it has no kernel. */
async function mount(name, state) {
  const heard = {};
  const model = {
    get: (trait) => state[trait],
    set: (trait, value) => Object.assign(state, typeof trait === "string" ? { [trait]: value } : trait),
    on: (events, call) => events.split(" ").forEach((event) => (heard[event] ??= []).push(call)),
    off() {},
    save_changes() {},
    send() {},
  };
  const el = document.createElement("div");
  document.body.append(el);
  nowDoing = name;
  try {
    return { el, undo: await modules[name].render({ model, el }), error: "" };
  } catch (error) {
    return { el, undo: null, error: String(error) };
  }
}

/** Do with every element what a person could: open, hover, focus, press keys, click. */
function use(root) {
  const view = root.ownerDocument.defaultView;
  for (const fold of root.querySelectorAll("details")) fold.open = true;
  const nodes = [...root.querySelectorAll("button, input, select, summary, a, [tabindex], [autofocus], svg, span, td")];
  for (const node of nodes.slice(0, 120)) {
    for (const kind of ["mouseover", "mouseenter"]) node.dispatchEvent(new view.MouseEvent(kind, { bubbles: true }));
    node.dispatchEvent(new view.PointerEvent("pointermove", { bubbles: true }));
    if (!node.matches("button, input, select, a, [tabindex], [autofocus]")) continue;
    node.focus();
    for (const key of ["ArrowDown", "ArrowRight", "Enter"])
      node.dispatchEvent(new view.KeyboardEvent("keydown", { key, bubbles: true }));
    if (node.matches("button")) node.click();
  }
}

/** What elements there are, each once: its name and those of its attributes. */
function shapes(root) {
  const found = new Set();
  for (const node of root.querySelectorAll("*")) {
    const names = node.getAttributeNames().filter((name) => !/^(data-|aria-)/.test(name));
    const links = names.filter((name) => /^\s*(javascript|data:text)/i.test(node.getAttribute(name)));
    found.add([node.localName, ...names.sort(), ...links.map((name) => `${name}=script`)].join(" "));
  }
  return [...found];
}

/** Every text that a person or a screen reader meets. */
function texts(root) {
  const values = [...root.querySelectorAll("*")].flatMap((node) => [
    ...[...node.attributes].map((attribute) => attribute.value),
    node.value ?? "",
  ]);
  return [root.textContent, ...values].join("\n");
}

/** Mount widgets, use them (unless told not to), and tell of each what it showed. @param {[string, any][]} jobs */
async function tryStates(jobs, used = true) {
  const views = [];
  for (const [name, state] of jobs) views.push(await mount(name, state));
  await frame();
  const told = views.map(({ el, error }) => ({ error, text: texts(el), shapes: shapes(el) }));
  for (const [number, { el }] of views.entries()) {
    nowDoing = `using ${jobs[number][0]}`;
    if (used) use(el);
  }
  await (used ? frame() : settled());
  for (const [number, { el, undo }] of views.entries()) {
    told[number].text += texts(el);
    told[number].shapes = [...new Set([...told[number].shapes, ...shapes(el)])];
    undo?.();
    el.remove();
  }
  return told;
}

/** Open pages of this host in frames, use them, and tell of each what elements it has. @param {string[]} addresses */
async function tryPages(addresses) {
  const patience = addresses[0].includes("unsafe") ? 3000 : 60_000; // ms; what is led elsewhere may never load
  const frames = addresses.map((address) => {
    const view = document.createElement("iframe");
    view.src = address;
    const loaded = new Promise((done) => (view.onload = done));
    document.body.append(view);
    return { view, loaded };
  });
  const told = [];
  for (const { view, loaded } of frames) {
    await Promise.race([loaded, new Promise((done) => setTimeout(done, patience))]);
    const root = view.contentDocument?.documentElement;
    if (root) use(root);
    told.push(root ? shapes(root) : ["led elsewhere"]);
  }
  await frame();
  for (const { view } of frames) view.remove();
  return told;
}

const read = async (address) => (await fetch(address)).json();
const settled = () => new Promise((done) => setTimeout(done, 300)); // what a text has begun to fetch comes in

/** Try rounds of states; returns errors and, per widget, the shapes and texts seen. */
async function runStates([first, last, every]) {
  const seen = {};
  for (let round = first; round < last; round += every) {
    const jobs = await read(`/states/${round}`);
    for (const [number, one] of (await tryStates(jobs)).entries()) {
      const kept = (seen[jobs[number][0]] ??= { errors: [], shapes: [] });
      if (one.error) kept.errors.push(`round ${round}: ${one.error}`);
      kept.shapes = [...new Set([...kept.shapes, ...one.shapes])];
    }
  }
  await settled();
  return { seen, errors: [...new Set(errors)].slice(0, 20), hits: [...window.hits] };
}

/** Try pages of some kinds in rounds. */
async function runPages([kinds, first, last, every]) {
  const seen = Object.fromEntries(kinds.map((kind) => [kind, []]));
  for (let round = first; round < last; round += every) {
    const told = await tryPages(kinds.map((kind) => `/pages/${kind}/${round}`));
    for (const [number, kind] of kinds.entries()) seen[kind] = [...new Set([...seen[kind], ...told[number]])];
  }
  await settled();
  return { seen, hits: [...window.hits] };
}

Object.assign(window, { load, tryStates, runStates, runPages, read });
