"""The notebooks: find and copy them, set their parameters, run them without a browser, export them as HTML."""

import ast
import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import storage
from etabli.core.errors import BadInput, EtabliError, MissingExtra

if TYPE_CHECKING:
    from nbformat import NotebookNode

TOUR = ("00_machine", "01_data", "02_finetune", "03_evaluate", "04_export")
PARAMETERS = "parameters"


def folder() -> Path:
    """Return the folder of the notebooks: the checkout's, or the one that came with the wheel.

    The checkout comes first: an editable install also has a copy, made when it was installed, which may be old.

    Raises:
        EtabliError: neither is there.
    """
    module = Path(__file__).resolve()
    for place in (module.parents[3] / "notebooks", module.parents[1] / "notebooks"):
        if (place / f"{TOUR[0]}.ipynb").is_file():
            return place
    raise EtabliError("This installation has no notebooks: install the wheel (pip install etabli) or use a checkout.")


def copy(target: str | Path) -> list[Path]:
    """Copy the notebooks to a folder, and return all notebooks there. Files that are there stay as they are."""
    target = Path(target)
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder().glob("*.ipynb")):
        if not (target / path.name).exists():
            shutil.copy2(path, target / path.name)
    return sorted(target.glob("*.ipynb"))


def with_parameters(path: Path, parameters: Mapping[str, object]) -> "NotebookNode":
    """Return a notebook (``nbformat.NotebookNode``) whose parameters are set, in a cell after its own parameters.

    Raises:
        BadInput: no cell is tagged ``parameters``.
    """
    from nbformat.v4 import new_code_cell

    notebook = _read(path)
    index, cell = _find_parameter_cell(notebook)
    assignments = [f"{name} = {value!r}" for name, value in parameters.items() if name in assigned_names(cell.source)]
    if assignments:
        new_cell = new_code_cell("\n".join(assignments), metadata={"tags": ["injected-parameters"]})
        notebook.cells.insert(index + 1, new_cell)
    return notebook


def check_parameters(parameters: Mapping[str, object]) -> None:
    """Check that a notebook of the tour has each parameter: a misspelt one would change nothing.

    Raises:
        BadInput: names the unknown parameters, and those that there are.
    """
    cells = [_find_parameter_cell(_read(folder() / f"{name}.ipynb"))[1] for name in TOUR]
    choices = {name for cell in cells for name in assigned_names(cell.source)}
    if unknown := sorted(set(parameters) - choices):
        raise BadInput(
            f"No notebook has the parameters {', '.join(unknown)}; choose from {', '.join(sorted(choices))}."
        )


def _read(path: Path) -> "NotebookNode":
    with _require_lab():
        import nbformat
    return nbformat.read(path, as_version=4)


def _find_parameter_cell(notebook: "NotebookNode") -> tuple[int, "NotebookNode"]:
    for index, cell in enumerate(notebook.cells):
        if PARAMETERS in cell.metadata.get("tags", []):
            return index, cell
    raise BadInput(f"The notebook has no cell tagged {PARAMETERS!r}: add this tag to the cell with its parameters.")


def assigned_names(source: str) -> set[str]:
    """Return the names that the code of a cell assigns."""
    return {
        node.id
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def execute(notebook: "NotebookNode", cwd: Path, on_cell: Callable[[int, int], None] | None = None) -> None:
    """Run every cell in a new kernel, in the folder ``cwd``. The outputs are put into ``notebook``.

    Args:
        on_cell: called before each cell with its number, from 1, and the number of cells.

    Raises:
        EtabliError: a cell failed; the message says why. The notebook holds the outputs up to this cell.
    """
    with _require_lab():
        from nbclient import NotebookClient
        from nbclient.exceptions import CellExecutionError
    total = len(notebook.cells)

    async def report_cell(cell: object, cell_index: int) -> None:
        if on_cell:
            on_cell(cell_index + 1, total)

    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(cwd)}},
        store_widget_state=False,
        on_cell_start=report_cell,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise EtabliError(f"A cell failed: {error.ename}: {error.evalue}") from error


def to_html(notebook: "NotebookNode", path: Path) -> None:
    """Write a notebook as one HTML file that loads nothing and runs no script of the outputs.

    Widgets do not work in such a file: it shows their HTML twins.
    """
    with _require_lab():
        from etabli.core.pages.notebook import page

        storage.write_text(path, page(notebook, path.stem))


@contextlib.contextmanager
def _require_lab() -> Iterator[None]:
    """Turn a failed import within into an error that names the extra to install."""
    try:
        yield
    except ImportError as error:
        raise MissingExtra(f"Running notebooks needs {error.name}: pip install 'etabli[lab]'") from error
