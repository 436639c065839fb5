"""The rows that a run folder's recipe names. The folder may be a stranger's, so the recipe may not name just anything.

Rows are read where a run's data belong: in the run folder, in the folder that it lies in, and in the one above
(``PROJECT/runs/NAME`` beside ``PROJECT/data``), unless that is the person's home or holds it. Elsewhere only rows are
read that the run was trained on, told by their content's hash in the run's section ``frozen``: who can write that hash
has the rows already. Or the person says ``--allow-outside``.
"""

import os
from pathlib import Path

from etabli.core import folders
from etabli.core.errors import EtabliError, OutsideFolder
from etabli.data.dataset import Dataset, located
from etabli.data.parquet_rows import HOME_COMMANDS
from etabli.data.reading.hub import on_the_hub


def open_rows_of_run(name: str, run: Path, known_hash: str | None, allow_outside: bool = False) -> Dataset:
    """The data set that a run's recipe names.

    Args:
        name: the recipe's ``data`` or ``eval_data``; run: the run folder.
        known_hash: the content hash that the run froze of these rows.
        allow_outside: the person allows data from anywhere.

    Raises:
        OutsideFolder: it lies elsewhere, and is not what the run froze; BadData: as ``Dataset.open``.
    """
    if allow_outside or folders.is_outside_allowed():
        with folders.outside_allowed():
            return Dataset.open(name, run)
    if _is_near(name, run):
        try:
            return Dataset.open(name, run)
        except OutsideFolder:  # of a mapping file, or a link in a data set
            return _known(name, run, known_hash)
    return _known(name, run, known_hash)


def _is_near(name: str, run: Path) -> bool:
    place = located(name.partition("#")[0], run)
    if name == HOME_COMMANDS or on_the_hub(name) or not place.exists():
        return True  # no file of this machine: whoever opens it says so
    return any(folders.is_within(place, folder) for folder in _neighbourhood(run))


def _neighbourhood(run: Path) -> list[Path]:
    """The run folder, and two above it, by the name that was given and where links lead."""
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 (Path.home raises where there is none)
    around = [folder for base in (run.absolute(), run.resolve()) for folder in (base.parent, base.parent.parent)]
    return [run, *(folder for folder in around if not home.is_relative_to(folder.resolve()))]


def _known(name: str, run: Path, known_hash: str | None) -> Dataset:
    """Rows from elsewhere, if they are what the run froze; of others nothing is told, not even why they fail."""
    try:
        with folders.outside_allowed():
            data = Dataset.open(name, run)
        found_hash = data.hash
    except (EtabliError, OSError, ValueError):
        found_hash = ""
    if not known_hash or found_hash != known_hash:
        raise OutsideFolder(
            f"The recipe in {run} names the data {name[: folders.NAME_SHOWN]!r}, which lie outside of the run's "
            f"project, and they are not the rows that the run was trained on (data_hash was {known_hash}). Nothing of "
            "them was shown. If you mean these data: the same command with --allow-outside (allow_outside=True)."
        )
    return data
