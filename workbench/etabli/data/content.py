"""The hash of all that a name of data stands for: a file, a folder, a glob, or a mapping file with what it names."""

import hashlib
import json
from pathlib import Path

from etabli.core import folders, storage
from etabli.core.contracts import ROWS
from etabli.data.names import find_files, split_entry
from etabli.data.reading import shards


def list_source_files(path: Path) -> dict[str, Path]:
    """Return the files of a folder or a glob, by their names seen from its fixed part; a file alone by its name."""
    if path.is_file():
        return {path.name: path}
    if path.is_dir():
        return {file.relative_to(path).as_posix(): file for file in folders.list_files(path) if file.is_file()}
    fixed_part = next((parent for parent in path.parents if not shards.is_glob(parent)), Path())
    return {file.relative_to(fixed_part).as_posix(): file for file in find_files(path, None)}


def hash_source(name: str) -> str | None:
    """Return a hash that changes with any file that the rows of a source come from; None if there is none here.

    Of a file it is its sha256, of a Dataset folder that of its rows.
    """
    file, entry = split_entry(name)
    path = Path(file)
    if (path / ROWS).is_file():
        return storage.sha256(path / ROWS)
    files = list_source_files(path)
    if path.is_file() and not (mapped_files := _list_mapped_files(path, entry)):
        return storage.sha256(path)
    if path.is_file():
        files |= mapped_files
    hashes = {name: storage.sha256(file) for name, file in sorted(files.items())}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest() if hashes else None


def _list_mapped_files(path: Path, entry: str) -> dict[str, Path]:
    """Return the files with rows that a mapping file names; none if it is no mapping file."""
    from etabli.data.reading.mappings import read_entry

    mapping = read_entry(f"{path}{entry}")
    if mapping is None or mapping.hub:
        return {}
    targets = mapping.files or [mapping.target]
    return {f"{target}/{name}": file for target in targets for name, file in list_source_files(Path(target)).items()}
