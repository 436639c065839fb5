"""Open the rows that a run folder's recipe names. The folder may come from a stranger, so the recipe is restricted.

Rows are read where a run's data belong: in the run folder, in its parent, and in the folder above that
(``PROJECT/runs/NAME`` beside ``PROJECT/data``), unless that is the person's home or holds it. Elsewhere only the rows
that the run was trained on are read. They are recognised by their content's hash in the run's section ``frozen``:
whoever can write that hash has the rows already. ``--allow-outside`` overrides this.
"""

import contextlib
import os
from pathlib import Path

from etabli.core import folders
from etabli.core.errors import EtabliError, OutsideFolder
from etabli.data.dataset import Dataset
from etabli.data.names import find_files, split_entry
from etabli.data.parquet_rows import HOME_COMMANDS
from etabli.data.reading.hub import is_hub_name


def open_rows_of_run(name: str, run: Path, known_hash: str | None, allow_outside: bool = False) -> Dataset:
    """Return the data set that a run's recipe names.

    Args:
        name: the recipe's ``data`` or ``eval_data``; run: the run folder.
        known_hash: the content hash of these rows in the section ``frozen``.
        allow_outside: the person allows data from anywhere.

    Raises:
        OutsideFolder: it lies elsewhere and does not have that hash; BadData: as ``Dataset.open``.
    """
    if not name:  # an adapter from elsewhere: nobody knows its rows
        return Dataset([])
    if allow_outside or folders.is_outside_allowed():
        with folders.outside_allowed():
            return Dataset.open(name, run)
    if _is_near(name, run):
        try:
            return Dataset.open(name, run)
        except OutsideFolder:  # of a mapping file, or a link in a data set
            return _open_by_hash(name, run, known_hash)
    return _open_by_hash(name, run, known_hash)


def local_files(name: str, run: Path) -> list[Path] | None:
    """Return the files that a name of data stands for, which may be none; None if it names no files of this machine."""
    if name == HOME_COMMANDS or is_hub_name(name):
        return None
    return find_files(split_entry(name, run)[0], run)


def _is_near(name: str, run: Path) -> bool:
    paths = local_files(name, run)
    if not paths:
        return True  # opening it gives the right error
    places = _project_folders(run)
    return all(any(folders.is_within(path, folder) for folder in places) for path in paths)


def _project_folders(run: Path) -> list[Path]:
    """Return the run folder and the two above it, both by the given name and with links resolved."""
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 (Path.home raises where there is none)
    parents = [folder for base in (run.absolute(), run.resolve()) for folder in (base.parent, base.parent.parent)]
    return [run, *(folder for folder in parents if not home.is_relative_to(folder.resolve()))]


def _open_by_hash(name: str, run: Path, known_hash: str | None) -> Dataset:
    """Return rows from elsewhere if they have the known hash; else one error, which says nothing about the rows."""
    actual_hash = ""
    if known_hash:  # without one, the file is not even opened
        with contextlib.suppress(EtabliError, OSError, ValueError), folders.outside_allowed():
            data = Dataset.open(name, run)
            actual_hash = data.hash
    if not known_hash or actual_hash != known_hash:
        raise OutsideFolder(
            f"The recipe in {run} names the data {name[: folders.NAME_SHOWN]!r}, which lie outside of the run's "
            f"project, and they are not the rows that the run was trained on (data_hash was {known_hash}). Nothing of "
            "them was shown. If you mean these data: the same command with --allow-outside (allow_outside=True)."
        )
    return data
