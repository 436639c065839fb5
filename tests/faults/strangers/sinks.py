"""Where texts come out beside the commands: pages, widgets, notebooks. Each writes what it makes into ``out``."""

import json
from pathlib import Path
from typing import Any

from strangers.payloads import Canary

# --- pages ----------------------------------------------------------------------------------------------------------


def widgets(folder: Path) -> int:
    """Every widget that can be made without a model: its twin as a page, its state for the page's own script."""
    import etabli
    from etabli.core.errors import EtabliError

    home = folder / "home"
    makers = {
        "verdict_card": lambda: _opened(etabli.verdict(home / "run")),
        "run_monitor": lambda: _monitor(home / "run"),
        "training_film": lambda: etabli.film(home / "run"),
        "blind_arena": lambda: etabli.arena(home / "run"),
        "token_diff": lambda: etabli.token_diff(home / "run"),
        "chat_compare": lambda: etabli.chat(home / "run"),
        "dataset_table": lambda: etabli.curate(str(home / "curation.yaml")).table(),
        "threshold_pairs": lambda: etabli.curate(str(home / "curation.yaml")).threshold(),
    }
    refused = 0
    for name, make in makers.items():
        try:
            _keep(folder, name, make())
        except EtabliError as error:
            refused += 1
            print(f"{name}: {error}".encode("ascii", "backslashreplace").decode())
    return 2 if refused == len(makers) else 0


def _opened(card: Any) -> Any:
    for line in card.view["scores"][:2]:
        card.look(score=line[0], slice=line[1])
    return card


def _monitor(run: Path) -> Any:
    from etabli.runs.run import Run
    from etabli_widgets import RunMonitor

    seen = Run.attach(run)
    return RunMonitor(events=seen.events(), name=seen.name, why=seen.why, notes=seen.notes())


def _keep(folder: Path, name: str, widget: Any) -> None:
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    _page(folder / "out" / f"{name}.html", data["text/html"])
    state = {key: value for key, value in widget.get_state().items() if not key.startswith("_")}
    (folder / "out" / f"{name}.state").write_text(
        json.dumps({"esm": str(widget._esm), "css": str(widget._css), "state": state}, default=str),
        encoding="utf-8",
        errors="surrogatepass",
    )


def _page(path: Path, body: str) -> None:
    whole = f"<!doctype html><meta charset=utf-8><body>{body}"
    path.write_text(whole, encoding="utf-8", errors="surrogatepass")


def report(folder: Path) -> int:
    """The tour's report of a run, and the verdict card as a page."""
    from etabli.app.report import page
    from etabli.evaluation import rescore
    from etabli.runs.run import Run

    run = Run.attach(folder / "home" / "run")
    text = page(rescore.read_results(run), run, 60.0)
    (folder / "out" / "report.html").write_text(text, encoding="utf-8", errors="surrogatepass")
    return 0


def frames(folder: Path) -> int:
    """What pandas and plotly show of a run and of rows, as a notebook that is made a page."""
    import nbformat
    import plotly.io

    import etabli
    from etabli.app import notebooks
    from etabli.core.pages.notebook import PLOTLY
    from etabli.evaluation import rescore, table
    from etabli.runs.run import Run

    home = folder / "home"
    run, results = Run.attach(home / "run"), rescore.read_results(home / "run")
    shown = [
        table.scores_frame(results),
        table.flips_frame(results),
        run.frame(None),
        etabli.Dataset.open(home / "rows.jsonl").frame,
    ]
    desk = etabli.curate(str(home / "curation.yaml"))
    outputs = [{"text/html": frame._repr_html_(), "text/plain": repr(frame)} for frame in shown]
    outputs += [{"text/plain": repr(desk)}, {"text/plain": repr(run)}]
    outputs += [{"text/html": _kept(folder, name)} for name in ("verdict_card", "training_film", "dataset_table")]
    outputs += [{PLOTLY: json.loads(plotly.io.to_json(desk.map("finding")))}]
    report = etabli.check(home / "rows.jsonl")
    outputs += [_bundle(report)]
    cells = [
        nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output("display_data", data=data)]) for data in outputs
    ]
    notebooks.to_html(nbformat.v4.new_notebook(cells=cells), folder / "out" / "notebook.html")
    return 0


def _kept(folder: Path, name: str) -> str:
    path = folder / "out" / f"{name}.html"
    return path.read_text(encoding="utf-8", errors="surrogatepass") if path.exists() else ""


def _bundle(value: Any) -> dict[str, Any]:
    if hasattr(value, "_repr_mimebundle_"):
        bundle = value._repr_mimebundle_()
        return bundle[0] if isinstance(bundle, tuple) else bundle
    html = value._repr_html_() if hasattr(value, "_repr_html_") else ""
    return {"text/html": html, "text/plain": repr(value)}


def model_facts(folder: Path) -> int:
    """What is said of a model from its own files."""
    from etabli.models.facts import facts

    for name, value in facts(str(folder / "home" / "model")).items():
        print(f"{name}: {value!r}".encode("ascii", "backslashreplace").decode())
    return 0


def notebook_of(path: Path, canary: Canary) -> None:
    """A notebook whose prose and outputs are hostile, as a page."""
    import nbformat

    from etabli.app import notebooks

    script, image = f"<script>{canary.hit}</script>", f"<img src='{canary.url}.png' onerror={canary.hit}>"
    outputs = [
        {"text/html": script + image},
        {"text/markdown": f"{image}\n\n![x]({canary.url}.jpg)"},
        {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg' onload='{canary.hit}'>{script}</svg>"},
        {"application/javascript": canary.hit},
        {"text/latex": f"$\\href{{javascript:{canary.hit}}}{{x}}$"},
        {"image/png": '"><script>' + canary.hit + "</script>"},
        {"text/plain": script},
    ]
    cells = [
        nbformat.v4.new_code_cell(script, outputs=[nbformat.v4.new_output("display_data", data=data)])
        for data in outputs
    ]
    cells += [
        nbformat.v4.new_markdown_cell(text) for text in (script, image, f"![x]({canary.url}.gif)", "```mermaid\nx\n```")
    ]
    cells += [nbformat.v4.new_raw_cell(script, metadata={"format": "text/html"})]
    stream = nbformat.v4.new_output("stream", text=f"\x1b[31m{script}\x1b]8;;{canary.url}\x07")
    cells += [nbformat.v4.new_code_cell("x", outputs=[stream])]
    notebooks.to_html(nbformat.v4.new_notebook(cells=cells), path)


# --- the harness itself ---------------------------------------------------------------------------------------------


def nothing(folder: Path) -> int:
    """Nothing: to see what the harness itself does."""
    return 0


def obedient(folder: Path) -> int:
    """Everything that must not happen, so that the harness can be seen to tell it."""
    import socket

    (folder / "marks" / "1").touch()
    secret = (folder / "outside" / "secret.txt").read_text()
    print(f"\x1b[2J{secret}")
    with __import__("contextlib").suppress(OSError):
        socket.create_connection(("stranger.invalid", 80), timeout=1)
    body = f"<script>hit(1)</script><img src='http://stranger.invalid/1.png'>{secret}"
    (folder / "out" / "page.html").write_text(f"<!doctype html>{body}")
    return 77


def wait(folder: Path) -> int:
    """Wait for what never comes, as a pipe does."""
    import os

    os.mkfifo(folder / "out" / "pipe")
    return len((folder / "out" / "pipe").read_text())
