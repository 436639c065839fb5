"""Names of data: a path, a glob, a Hub data set, and the entry or configuration after a number sign."""

import hashlib
from pathlib import Path

from etabli.data.reading import shards
from etabli.data.reading.opening import path_exists

BACKUP_FOLDER = "data"  # in a run's backup: the data that its recipe names

GLOB_PLACES = 4  # the current folder and three above a run: a search further up could go through a whole disk


def split_entry(name: str, folder: Path | None = None) -> tuple[str, str]:
    """Return a name's path and its entry with the number sign: ``dataset_info.json``, ``#identity``.

    A number sign may be part of a path: where the whole is a path that exists, or nothing follows, there is no entry.

    Args:
        folder: a run's folder, beside which paths are searched too.
    """
    path, mark, entry = name.rpartition("#")
    return (path, mark + entry) if path and entry and not find_files(name, folder) else (name, "")


def find_path(name: str | Path, folder: Path | None) -> Path:
    """Return the first path that exists: ``name`` itself, beside ``folder`` or a parent of it, or its backup in it.

    A glob is the first one that matches a file, here, near the folder, or in its backup.
    """
    places = [Path(), *(folder.absolute().parents if folder else ())]
    backups = [folder.absolute() / backup_path(name)] if folder else []
    paths = [*(place / name for place in places), *backups]
    if shards.is_glob(name) and not any(map(path_exists, paths)):
        patterns = [*(place / name for place in places[:GLOB_PLACES]), *backups]
        return next((pattern for pattern in patterns if shards.match_glob(pattern)), Path(name))
    return next((path for path in paths if path_exists(path)), Path(name))


def find_files(name: str | Path, folder: Path | None) -> list[Path]:
    """Return the file or the folder of a name, or the files of a glob; none if there is no such thing."""
    path = find_path(name, folder)
    if path_exists(path):
        return [path]
    return shards.match_glob(path) if shards.is_glob(name) else []


def backup_path(name: str | Path) -> Path:
    """Return where a run's backup keeps the data that its recipe calls ``name``; equal file names do not collide."""
    return Path(BACKUP_FOLDER) / hashlib.sha256(str(name).encode()).hexdigest()[:8] / Path(name).name
