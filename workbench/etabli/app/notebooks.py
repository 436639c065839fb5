"""The notebooks themselves: where they are, with other parameters, run without a browser, as HTML."""

import ast
import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etabli.core import storage
from etabli.core.errors import BadInput, EtabliError, MissingExtra

TOUR = ("00_machine", "01_data", "02_finetune", "03_evaluate", "04_export")
PARAMETERS = "parameters"


def folder() -> Path:
    """The notebooks of the checkout if this is one, else those that came with the wheel.

    The checkout first: an editable install also has a copy, made when it was installed.
    """
    here = Path(__file__).resolve()
    for place in (here.parents[3] / "notebooks", here.parents[1] / "notebooks"):
        if (place / f"{TOUR[0]}.ipynb").is_file():
            return place
    raise EtabliError("The notebooks did not come with this installation; install the wheel or work in a checkout.")


def copy(to: str | Path) -> list[Path]:
    """Copy the notebooks to a folder of the person's; what is there already is left alone."""
    to = Path(to)
    to.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder().glob("*.ipynb")):
        if not (to / path.name).exists():
            shutil.copy2(path, to / path.name)
    return sorted(to.glob("*.ipynb"))


def with_parameters(path: Path, parameters: dict[str, Any]) -> Any:
    """Read a notebook and set its parameters in a cell after the one tagged ``parameters``.

    Raises:
        BadInput: no such cell.
    """
    from nbformat.v4 import new_code_cell

    notebook = _read(path)
    at, cell = _parameter_cell(notebook)
    mine = {name: value for name, value in parameters.items() if name in assigned(cell.source)}
    if mine:
        source = "\n".join(f"{name} = {value!r}" for name, value in mine.items())
        notebook.cells.insert(at + 1, new_code_cell(source, metadata={"tags": ["injected-parameters"]}))
    return notebook


def check_parameters(parameters: dict[str, Any]) -> None:
    """Every parameter must be one of some notebook of the tour; a misspelt one would silently change nothing.

    Raises:
        BadInput: names those that are not.
    """
    known = set().union(*(assigned(_parameter_cell(_read(folder() / f"{name}.ipynb"))[1].source) for name in TOUR))
    if unknown := sorted(set(parameters) - known):
        raise BadInput(f"No notebook has the parameters {', '.join(unknown)}; there are {', '.join(sorted(known))}.")


def _read(path: Path) -> Any:
    with _needs_lab():
        import nbformat
    return nbformat.read(path, as_version=4)


def _parameter_cell(notebook: Any) -> tuple[int, Any]:
    for at, cell in enumerate(notebook.cells):
        if PARAMETERS in cell.metadata.get("tags", []):
            return at, cell
    raise BadInput(f"The notebook has no cell tagged {PARAMETERS!r}.")


def assigned(source: str) -> set[str]:
    """The names that a cell assigns."""
    return {
        node.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def execute(notebook: Any, cwd: Path, on_cell: Callable[[int, int], None] | None = None) -> None:
    """Run every cell in a fresh kernel, in ``cwd``. The notebook is filled in place, as far as it came.

    Raises:
        EtabliError: a cell failed; says which and why.
    """
    with _needs_lab():
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    total = len(notebook.cells)

    async def say(cell: Any, cell_index: int) -> None:
        if on_cell:
            on_cell(cell_index + 1, total)

    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(cwd)}},
        store_widget_state=False,
        on_cell_start=say,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise EtabliError(f"A cell failed: {error.ename}: {error.evalue}") from error


def to_html(notebook: Any, path: Path) -> None:
    """Export a run notebook as one HTML file that fetches nothing and runs nothing of what the outputs hold.

    A widget can't live there: its HTML twin stands in for it.
    """
    with _needs_lab():
        from etabli.core.pages.notebook import page

        storage.write_text(path, page(notebook, path.stem))


@contextlib.contextmanager
def _needs_lab():
    try:
        yield
    except ImportError as error:
        raise MissingExtra(f"Running notebooks needs {error.name}: pip install 'etabli[lab]'") from error
