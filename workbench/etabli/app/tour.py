"""The tour: runs the five notebooks in order, without a browser."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from etabli.app import notebooks
from etabli.core import parsing, processes, storage
from etabli.core.contracts import END_STATES, RECIPE, Results
from etabli.core.errors import EtabliError
from etabli.core.progress import ProgressLine
from etabli.runs.progress import describe_progress
from etabli.runs.run import Run

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
    for name in ("DATA", "TEMPLATE"):
        if name in overrides and Path(str(overrides[name])).exists():
            overrides[name] = str(Path(str(overrides[name])).absolute())
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
    if (out / RUN / RECIPE).is_file():
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
    try:
        with _showing_progress(f"[{number}/{len(notebooks.TOUR)}] {name}", out / RUN) as begin_cell:
            notebooks.execute(notebook, out, begin_cell)
    except EtabliError as error:
        raise EtabliError(f"{name}: {error} The notebook up to this cell: {out / name}.html") from error
    finally:
        notebooks.to_html(notebook, out / f"{name}.html")


@contextlib.contextmanager
def _showing_progress(title: str, run: Path) -> Iterator[Callable[[int, int], None]]:
    """Show which notebook and which cell runs, and how far training and evaluation are.

    Yields the function that takes the cell's number and the number of cells.
    """
    line, ended, began = ProgressLine(), threading.Event(), time.monotonic()
    cell = ""

    def begin_cell(number: int, total: int) -> None:
        nonlocal cell
        cell = f"cell {number}/{total}"

    def follow() -> None:
        while not ended.wait(1.0):
            line.show(" · ".join(filter(None, (title, cell, _describe_run(run)))))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield begin_cell
    finally:
        ended.set()
        thread.join()
        line.show(f"{title} · done in {time.monotonic() - began:.0f} s", urgent=True)
        line.close()


def _describe_run(folder: Path) -> str:
    """Return how far the training is, or the evaluation after it; empty if there is no run yet."""
    if not (folder / RECIPE).is_file():
        return ""
    run = Run.attach(folder)
    if run.state not in END_STATES:
        return describe_progress(run.progress())
    try:
        count = parsing.read_json(folder / "evaluating.json", parsing.LARGEST_CONFIG)
        return f"{count['arm']}: {count['done']}/{count['total']} answers"
    except (OSError, ValueError, KeyError):
        return ""


def _write_report(out: Path, results: Results, seconds: float) -> None:
    from etabli.app.report import page

    storage.write_text(out / "report.html", page(results, Run.attach(out / RUN), seconds))
