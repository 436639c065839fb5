"""The tour: runs the five notebooks in order, without a browser."""

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

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
    **parameters: object,
) -> Results:
    """Run the notebooks in the folder ``out`` and return the results of the evaluation.

    The folder then holds the notebooks as HTML, the run folder, ``results.json`` and ``report.html``.

    Args:
        out: the folder; the files of an earlier tour are moved to ``NAME.previous`` beside it.
        model, data, steps, max_minutes: replace the notebooks' own parameters; ``parameters``: others by name.

    Raises:
        BadInput: no notebook has a parameter of this name; DeviceBusy: a run uses the device.
        EtabliError: a cell failed; the message names the notebook and the error.
    """
    options = {"MODEL": model, "DATA": data, "STEPS": steps, "MAX_MINUTES": max_minutes, **parameters}
    overrides = {name: value for name, value in options.items() if value is not None}
    if data and Path(data).exists():
        overrides["DATA"] = str(Path(data).absolute())
    processes.require_free_device("The tour can't begin")
    notebooks.check_parameters(overrides)
    out = _prepare_folder(Path(out).absolute())
    start = time.monotonic()
    try:
        for number, name in enumerate(notebooks.TOUR, 1):
            _run_notebook(number, name, out, overrides)
    except KeyboardInterrupt:
        _stop_training(out)
        raise
    results: Results = parsing.read_json(out / "results.json")
    _write_report(out, results, time.monotonic() - start)
    return results


def _stop_training(out: Path) -> None:
    """Stop the run of an interrupted tour: it is a process of its own and would go on."""
    from etabli.runs.run import Run

    if (out / RUN / "recipe.yaml").is_file():
        Run.attach(out / RUN).stop(wait=False)


def _prepare_folder(out: Path) -> Path:
    """Make the folder of a tour, and move the files of an earlier tour aside."""
    import shutil

    if out.exists() and any(out.iterdir()):
        if not (out / "tour.json").is_file():
            raise EtabliError(f"{out} is not empty and no tour made it: choose another folder with --out.")
        previous = out.with_name(f"{out.name}.previous")
        if previous.exists() and not (previous / "tour.json").is_file():
            raise EtabliError(f"{previous} is in the way and no tour made it: move it, or choose another --out.")
        shutil.rmtree(previous, ignore_errors=True)
        out.replace(previous)
    with storage.disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        storage.write_json(out / "tour.json", {"began": time.time()})
    return out


def _run_notebook(number: int, name: str, out: Path, parameters: Mapping[str, object]) -> None:
    notebook = notebooks.with_parameters(notebooks.folder() / f"{name}.ipynb", parameters)
    line = ProgressLine(f"[{number}/{len(notebooks.TOUR)}] {name}", out / RUN)
    try:
        notebooks.execute(notebook, out, line.cell)
    except EtabliError as error:
        raise EtabliError(f"{name}: {error} The notebook up to this cell: {out / name}.html") from error
    finally:
        line.close()
        notebooks.to_html(notebook, out / f"{name}.html")


class ProgressLine:
    """Shows which notebook and which cell runs; during training also the step, the speed and the time left."""

    def __init__(self, title: str, run: Path):
        self.title, self.run = title, run
        self._cell = ""
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def cell(self, number: int, total: int) -> None:
        """Show that a cell begins."""
        self._cell = f"cell {number}/{total}"

    def close(self) -> None:
        """Show that the notebook is done, and end the thread."""
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
        """Return how far the evaluation is, from the file that the notebook's kernel writes."""
        try:
            count = parsing.read_json(self.run / "evaluating.json", parsing.LARGEST_CONFIG)
            return f"{count['arm']}: {count['done']}/{count['total']} answers"
        except (OSError, ValueError, KeyError):
            return ""


def _write_report(out: Path, results: Results, seconds: float) -> None:
    from etabli.app.report import page
    from etabli.runs.run import Run

    storage.write_text(out / "report.html", page(results, Run.attach(out / RUN), seconds))
