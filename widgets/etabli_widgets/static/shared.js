// Shared by all widgets; joined in front of each one's own module.

/** Make an element. Text is always set as text, so that an answer full of markup stays an answer.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {Record<string, any>} [props] @param {(Node|string)[]} [children]
 * @returns {HTMLElementTagNameMap[Tag]} */
function make(tag, props = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    // eslint-disable-next-line no-restricted-syntax -- the lint sees to the names where `make` is called
    if (name.startsWith("aria-") || name === "role") node.setAttribute(name, value);
    // eslint-disable-next-line no-restricted-syntax -- the same
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

const ANSWER_MS = 3000; // ms that a message may go unanswered before the widget says so
const GONE = "This kernel is gone: run the cell again.";
const BUSY =
  "The kernel is busy in a cell: this is heard when the cell ends, or when you interrupt it (■ in the toolbar).";

/** A widget whose messages are answered, or that says so. Python acknowledges each by its number (Widget.received).
 * @param {(context: any) => any} render */
function widget(render) {
  return {
    render(context) {
      const { model, el } = context;
      const line = make("p", { className: "etabli-connection", role: "alert", hidden: true });
      const { live, close } = answered(model, (state) => {
        line.hidden = state === "";
        line.replaceChildren(state, ...(state === GONE ? drafts(el) : []));
        el.classList.toggle("etabli-gone", state === GONE);
        for (const part of el.children) if (part !== line) part.inert = state === GONE;
      });
      const undo = render({ ...context, model: live });
      el.classList.add("etabli-live"); // the HTML twin in the same output is hidden
      el.prepend(line);
      return () => {
        close();
        undo?.();
      };
    },
  };
}

/** Texts that were typed into a widget and can't be sent any more: they can be copied from here. */
function drafts(el) {
  const fields = [...el.querySelectorAll("textarea, input[type=text]")];
  const texts = fields.map((field) => field.value).filter((text) => text.trim());
  return texts.length
    ? [" What you typed was not sent:", ...texts.map((text) => make("pre", { textContent: text }))]
    : [];
}

const ENDS = ["restarting", "autorestarting", "terminating", "dead"]; // a kernel's states after which no widget lives

/** Call `end` when the kernel of a widget ends or is restarted; returns what undoes it. Only Jupyter's pages tell. */
function onKernelEnd(model, end) {
  const signal = model.widget_manager?.kernel?.statusChanged;
  const hear = (_, status) => {
    if (ENDS.includes(status)) end();
  };
  signal?.connect(hear);
  return () => signal?.disconnect(hear);
}

/** The model with messages that are numbered and waited for. `tell` gets what to say of the kernel, or nothing. */
function answered(model, tell) {
  const waiting = new Map(); // number of a message -> when it was sent
  let sent = 0;
  let timer = 0;
  let missing = false;
  let asking = false;
  const ask = async () => {
    if (asking) return;
    asking = true;
    missing = await isMissing(model);
    asking = false;
    if (missing && age() >= ANSWER_MS) tell(GONE);
  };
  const age = () => (waiting.size ? Date.now() - Math.min(...waiting.values()) : 0);
  let ended = false;
  const undoEnd = onKernelEnd(model, () => {
    ended = true;
    tell(GONE);
  });
  const look = () => {
    clearTimeout(timer);
    if (ended) return;
    if (!waiting.size) return tell("");
    if (age() >= ANSWER_MS) tell(missing ? GONE : BUSY);
    if (age() >= ANSWER_MS / 2) ask();
    timer = setTimeout(() => look(), ANSWER_MS / 4);
  };
  const expectAnswer = () => {
    sent += 1;
    waiting.set(sent, Date.now());
    if (waiting.size === 1) look();
    return sent;
  };
  const hear = (content) => {
    if (content?.type !== "answered") return;
    for (const number of [...waiting.keys()]) if (number <= content.message) waiting.delete(number); // in their order
    look();
  };
  const send = (content) => model.send({ ...content, message: expectAnswer() });
  const save = () => {
    model.save_changes();
    send({ type: "saved" });
  };
  model.on("msg:custom", hear);
  const live = new Proxy(model, {
    get: (target, name) => {
      if (name === "send") return send;
      if (name === "save_changes") return save;
      const value = target[name];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return {
    live,
    close: () => {
      clearTimeout(timer);
      undoEnd();
      model.off("msg:custom", hear);
    },
  };
}

/** Has the kernel no such widget? A kernel that is busy answers when it is free; its status says nothing, since parts of
 * a kernel may be idle while a cell runs. Front ends other than Jupyter's can't ask: there it is missing. */
async function isMissing(model) {
  const kernel = model.widget_manager?.kernel;
  if (!kernel?.requestCommInfo || kernel.status === "dead") return true;
  if (["connecting", "disconnected"].includes(kernel.connectionStatus)) return true; // shut down, or out of reach
  try {
    const reply = await kernel.requestCommInfo({});
    return !(model.get("comm_id") in reply.content.comms);
  } catch {
    return true; // it was restarted meanwhile
  }
}

/** A term with its explanation as a tooltip (glossary.json); a name that is not explained there stays as it is.
 * @param {string} name @returns {Node|string} */
function term(name) {
  return GLOSSARY[name] ? make("abbr", { title: GLOSSARY[name], textContent: name }) : name;
}

/** A number with its noun: "1 row", "12 rows". @param {number} number @param {string} noun */
function quantity(number, noun) {
  return `${number.toLocaleString("en")} ${number === 1 ? noun : `${noun}s`}`;
}

/** A part that scrolls: keys reach it, and a screen reader names it. @param {(Node|string)[]} [children] */
function scroller(className, label, children = []) {
  return make("div", { className, tabIndex: 0, role: "group", "aria-label": label }, children);
}

/** Call `draw` now and on every change of the traits; returns what undoes it. */
function follow(model, traits, draw) {
  const events = traits.map((trait) => `change:${trait}`).join(" ");
  model.on(events, draw);
  draw();
  return () => model.off(events, draw);
}

/** A function that draws in the next frame, once for all calls before it; `cancel` leaves that out. */
function inNextFrame(draw) {
  let frame = 0;
  const soon = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  };
  return { soon, cancel: () => cancelAnimationFrame(frame) };
}

/** Draw whenever an element's width changes: its height follows what is drawn. Returns what undoes it. */
function onNewWidth(element, draw) {
  let width = 0;
  const sizes = new ResizeObserver(() => {
    if (element.clientWidth === width) return;
    width = element.clientWidth;
    draw();
  });
  sizes.observe(element);
  return () => sizes.disconnect();
}

// What a page would hide or obey: controls, zero widths, direction marks. Blanks and line ends stay, and so do joiners
// between two signs that are not Latin: emoji and many scripts are written with them.
const UNSEEN =
  /(?!(?<=[\u0300-\u1fff\u2100-\ufefe])[\u200c\u200d](?=[\u0300-\u1fff\u2100-\ufefe]))[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text in which nothing is hidden; a value that is missing is an empty text. @param {string | null | undefined} text */
function visible(text) {
  return String(text ?? "").replace(UNSEEN, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const THOUGHT =
  /^\s*(?:(?:<(think|thinking|thoughts?|seed:think)>\s*)(?:<\1>)*([^]*?)(?:(?:<\/\1>\s*)+|$)|\[THINK\]([^]*?)(?:\[\/THINK\]\s*|$))/i;

/** An answer as nodes: the thought before it is folded. A thought that was split off already comes as `thought`.
 * @param {string | null | undefined} text @param {string} [thought] @returns {(Node | string)[]} */
function answerNodes(text, thought = "") {
  const match = thought ? null : THOUGHT.exec(text ?? "");
  const inside = thought || (match?.[2] ?? match?.[3])?.trim();
  const answer = visible((text ?? "").slice(match?.[0].length ?? 0));
  if (!inside) return [answer];
  const fold = make("details", { className: "etabli-thought" }, [
    make("summary", { textContent: "Thought" }),
    make("span", { textContent: visible(inside), dir: "auto" }),
  ]);
  return [fold, answer];
}

/** The mark of an answer that ended at its greatest length: it is never shown as if it were whole. */
function cutMark() {
  return make("span", { className: "etabli-cut" }, [term("cut")]);
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
