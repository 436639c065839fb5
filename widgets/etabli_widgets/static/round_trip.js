const PATIENCE = 20000; // ms: a kernel that is busy answers when it is free

function render({ model, el }) {
  guardKeys(el);
  const line = make("p", { role: "status", textContent: "Asking the kernel …" });
  el.append(line, errorLine(model));
  const sent = performance.now();
  const answered = () => {
    if (model.get("pong") !== sent) return;
    clearTimeout(patience);
    line.textContent = `✓ Widgets work here: the kernel answered in ${(performance.now() - sent).toFixed(0)} ms.`;
    line.className = "";
  };
  const patience = setTimeout(() => {
    line.textContent = `No answer from the kernel. Is it busy? Else: ${model.get("mends")}`;
    line.className = "etabli-error";
  }, PATIENCE);
  model.on("change:pong", answered);
  model.send({ type: "ping", time: sent });
  return () => {
    clearTimeout(patience);
    model.off("change:pong", answered);
  };
}

export default widget(render);
