"""The tour: the five notebooks, in order, without a browser. They are the product; this only runs them."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

from etabli.app import notebooks
from etabli.core import parsing, processes, storage, terminal
from etabli.core.contracts import Results
from etabli.core.errors import EtabliError

RUN = "runs/first"


def tour(
    out: str | Path = "tour",
    model: str | None = None,
    data: str | None = None,
    steps: int | None = None,
    max_minutes: float | None = None,
    **parameters: Any,
) -> Results:
    """Run the notebooks in ``out`` and leave there their HTML, the run folder, ``results.json`` and ``report.html``.

    Args:
        out: a folder; what a tour left there before is kept beside it, as ``NAME.previous``.
        model, data, steps, max_minutes: instead of the notebooks' own; more parameters of theirs by name.

    Raises:
        EtabliError: a cell failed, with the notebook and what it said.
    """
    given = {"MODEL": model, "DATA": data, "STEPS": steps, "MAX_MINUTES": max_minutes, **parameters}
    chosen = {name: value for name, value in given.items() if value is not None}
    if data and Path(data).exists():
        chosen["DATA"] = str(Path(data).absolute())
    processes.require_free_device("The tour can't begin")
    notebooks.check_parameters(chosen)
    out = _fresh(Path(out).absolute())
    began = time.monotonic()
    try:
        for number, name in enumerate(notebooks.TOUR, 1):
            _run_one(number, name, out, chosen)
    except KeyboardInterrupt:
        _stop_training(out)
        raise
    results = parsing.read_json(out / "results.json")
    _report(out, results, time.monotonic() - began)
    return results


def _stop_training(out: Path) -> None:
    """The run would outlive an interrupted tour, as runs do; nobody would expect that here."""
    from etabli.runs.run import Run

    if (out / RUN / "recipe.yaml").is_file():
        Run.attach(out / RUN).stop(wait=False)


def _fresh(out: Path) -> Path:
    import shutil

    if out.exists() and any(out.iterdir()):
        if not (out / "tour.json").is_file():
            raise EtabliError(f"{out} is not empty and no tour made it: choose another folder with --out.")
        before = out.with_name(f"{out.name}.previous")
        if before.exists() and not (before / "tour.json").is_file():
            raise EtabliError(f"{before} is in the way and no tour made it: move it, or choose another --out.")
        shutil.rmtree(before, ignore_errors=True)
        out.replace(before)
    with storage.disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        storage.write_json(out / "tour.json", {"began": time.time()})
    return out


def _run_one(number: int, name: str, out: Path, parameters: dict[str, Any]) -> None:
    notebook = notebooks.with_parameters(notebooks.folder() / f"{name}.ipynb", parameters)
    line = ProgressLine(f"[{number}/{len(notebooks.TOUR)}] {name}", out / RUN)
    try:
        notebooks.execute(notebook, out, line.cell)
    except EtabliError as error:
        raise EtabliError(f"{name}: {error} The notebook as far as it came: {out / name}.html") from error
    finally:
        line.close()
        notebooks.to_html(notebook, out / f"{name}.html")


class ProgressLine:
    """Says which notebook, which cell, and in training which step, at what speed, with how much time left."""

    def __init__(self, title: str, run: Path):
        self.title, self.run = title, run
        self._cell = ""
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def cell(self, number: int, total: int) -> None:
        """A cell begins."""
        self._cell = f"cell {number}/{total}"

    def close(self) -> None:
        """The notebook is done."""
        self._ended.set()
        self._thread.join()
        terminal.say(f"{self.title} · done in {time.monotonic() - self._began:.0f} s")

    def _follow(self) -> None:
        from etabli.core.contracts import END_STATES
        from etabli.runs.progress import describe_progress
        from etabli.runs.run import Run

        every = 1.0 if sys.stderr.isatty() else 15.0
        while not self._ended.wait(every):
            parts = [self.title, self._cell]
            if (self.run / "recipe.yaml").is_file():
                run = Run.attach(self.run)
                parts += [describe_progress(run.progress())] if run.state not in END_STATES else [self._answers()]
            text = " · ".join(part for part in parts if part)
            (terminal.rewrite if sys.stderr.isatty() else terminal.say)(text)

    def _answers(self) -> str:
        """How far the evaluation is; the notebook's kernel writes it down."""
        try:
            now = parsing.read_json(self.run / "evaluating.json", parsing.LARGEST_CONFIG)
            return f"{now['arm']}: {now['done']}/{now['total']} answers"
        except (OSError, ValueError, KeyError):
            return ""


def _report(out: Path, results: Results, seconds: float) -> None:
    from etabli.app.report import page
    from etabli.runs.run import Run

    storage.write_text(out / "report.html", page(results, Run.attach(out / RUN), seconds))
