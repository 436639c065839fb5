"""``etabli tour`` and ``etabli lab``."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click

from etabli.app.cli.data import column_option, leave_out_option, parse_columns, template_option
from etabli.app.cli.output import reporting
from etabli.core.contracts import Results
from etabli.core.progress import show_progress
from etabli.core.terminal import say


def _format_results(results: Results) -> str:
    from etabli.evaluation import table

    return table.format_results(results)


@click.command()
@click.option("--out", default="tour", show_default=True, help="Folder for the notebooks, the run and the report.")
@click.option("--model", help="Hub id, folder, or 'default'. Default: chosen for this machine.")
@click.option("--data", help="Data file, Dataset folder, 'home-commands' or 'customer-mails'. Default: home-commands.")
@column_option
@click.option("--lang", help="Language of the rows that state none.")
@leave_out_option
@template_option
@click.option("--steps", type=click.IntRange(1), help="Training steps. Default: the notebooks' own.")
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop training after this many minutes.")
@reporting(_format_results)
def tour(
    out: str,
    model: str | None,
    data: str | None,
    columns: tuple[str, ...],
    lang: str | None,
    leave_out: tuple[str, ...],
    template: str | None,
    steps: int | None,
    max_minutes: float | None,
) -> Results:
    """Run the five notebooks in order, without a browser, and write a report."""
    with show_progress("loading libraries"):
        from etabli.app.tour import tour as run_tour

    names = parse_columns(columns) or None
    parameters = {"COLUMNS": names, "LANG": lang, "LEAVE_OUT": list(leave_out) or None, "TEMPLATE": template}
    results = run_tour(out, model, data, steps, max_minutes, **parameters)
    say(f"Report: {Path(out) / 'report.html'}")
    return results


# Flags with which JupyterLab runs as root, or ends before it would refuse.
_ROOT_FLAGS = {"--allow-root", "--ServerApp.allow_root=True", "--version", "--help", "--help-all", "--show-config"}


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("folder", default="etabli-notebooks")
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def lab(folder: str, flags: tuple[str, ...]) -> int:
    """Copy the notebooks to FOLDER, keep the files that are there, and open JupyterLab in it.

    FLAGS are JupyterLab's own: etabli lab --port=9000 --no-browser; as root, --allow-root.
    """
    if folder.startswith("-"):  # only flags were given
        folder, flags = "etabli-notebooks", (folder, *flags)
    import importlib.util

    from etabli.app import notebooks
    from etabli.core.errors import BadInput, MissingExtra

    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtra("JupyterLab is not installed: pip install 'etabli[lab]'")
    if hasattr(os, "geteuid") and os.geteuid() == 0 and not _ROOT_FLAGS.intersection(flags):
        raise BadInput(
            "JupyterLab does not run as root, so that no cell can harm the system. Run it as another user. In a "
            f"container that is yours alone: etabli lab {shlex.join((folder, *flags))} --allow-root"
        )
    notebooks.copy(folder)
    # Only the server gets the safe path: a notebook may import files beside it, as everywhere in Jupyter.
    command = [sys.executable, "-P", "-m", "jupyterlab", f"--notebook-dir={folder}", "--ServerApp.ip=127.0.0.1", *flags]
    return subprocess.call(command, env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"})
