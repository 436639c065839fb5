"""Open a source of rows: a file, a folder or a glob of files, an entry of a mapping, a Hub data set, a table in memory.

Every file is closed when its last row was read, or when nobody reads on.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from etabli.core.contracts import ROWS
from etabli.core.errors import Unreadable
from etabli.data.names import split_entry
from etabli.data.notes import Note
from etabli.data.parquet_rows import HOME_COMMANDS, read_folder
from etabli.data.reading import hub, mappings, shards, tables, texts
from etabli.data.reading.file_splits import note_held_out
from etabli.data.reading.jsonfiles import Record, read_json_lines
from etabli.data.reading.jsonlists import read_json_values
from etabli.data.reading.layout import Layout
from etabli.data.reading.mapping_entry import MappingEntry
from etabli.data.reading.opening import DataFile, open_file, path_exists
from etabli.data.reading.shards import DataPath
from etabli.data.samples import CUSTOMER_MAIL_COLUMNS, CUSTOMER_MAILS, customer_mails, home_commands

LONGEST_NAME = 4096  # the longest path on Linux; longer text is probably rows, pasted by mistake


@dataclass
class Records:
    """The unread records of a source, its name, and notes about it as a whole; more may come while it is read."""

    name: str
    records: Iterator[Record]
    notes: list[Note] = field(default_factory=list)
    layout: Layout | None = None  # where a mapping file has one


def open_records(source: object) -> Records:
    """Open a source.

    Raises:
        Unreadable: there is no such source, or it can't be read.
    """
    if not isinstance(source, str | Path) or len(str(source)) > LONGEST_NAME:
        return _in_memory(source)
    if not str(source).strip() or str(source) == ".":
        raise Unreadable("no-file", "No file is named.")
    if str(source) == HOME_COMMANDS:
        return Records(HOME_COMMANDS, tables.read_in_memory(home_commands())[1])
    if str(source) == CUSTOMER_MAILS:
        opening = _open_name(str(customer_mails()))
        layout = Layout("prompt-completion", "named by établi", CUSTOMER_MAIL_COLUMNS)
        return replace(opening, name=CUSTOMER_MAILS, layout=layout)
    if path_exists(Path(source) / ROWS):
        return Records(str(source), tables.read_in_memory(read_folder(Path(source))[0])[1])
    entry = mappings.read_entry(source)
    opening = _open_entry(entry) if entry else _open_name(str(source))
    if entry:
        opening.layout = entry.layout
        opening.notes += entry.notes
    return opening


def _in_memory(source: object) -> Records:
    if isinstance(source, dict) and source and all(hasattr(part, "column_names") for part in source.values()):
        notes: list[Note] = []
        name = type(source).__name__
        return Records(name, tables.read_parts(source, name, notes), notes)
    return Records(*tables.read_in_memory(source))


def _open_entry(entry: MappingEntry) -> Records:
    """Open what an entry of a mapping file names: its files, or a Hub data set."""
    if entry.hub:
        return _open_hub(entry.hub)
    if entry.files:
        return _open_files(entry.target, [DataPath(Path(file), None) for file in entry.files])
    return _open_name(entry.target)


def _open_name(name: str) -> Records:
    """Open a file, a folder, the files of a glob, or a Hub data set."""
    if not path_exists(name) and shards.is_glob(name):
        files = shards.list_glob(name)
        if not files:
            raise Unreadable("no-file", f"No file matches {name}.")
        return _open_files(name, files)
    path, config = split_entry(name)
    if path_exists(path) and Path(path).is_dir():
        mappings.refuse_folder(Path(path))
        return _open_folder(name, Path(path), config.removeprefix("#"))
    if hub.is_hub_name(path):
        return _open_hub(hub.HubSet(path, config.removeprefix("#") or None))
    return _open_files(name, [DataPath(Path(name), None)])


def _open_folder(name: str, folder: Path, config: str) -> Records:
    files = shards.list_folder(folder, config)
    opening = _open_files(name, files)
    if others := shards.describe_other_files(folder, files):
        opening.notes.append(Note("left-out-parts", why=others))
    if unused_names := shards.describe_unused_names(folder, files):
        opening.notes.append(Note("split-file", why=unused_names))
    return opening


def _open_hub(hub_set: hub.HubSet) -> Records:
    notes: list[Note] = []
    return Records(hub_set.name, hub.stream_records(hub_set, notes), notes)


def _open_files(name: str, files: list[DataPath]) -> Records:
    """Open the first file, so that its errors come at once, and the others when their turn comes."""
    others = shards.describe_other_shards([file.path for file in files])
    opening = Records(name, iter(()), [Note("shards", why=others)] if others else [])
    first = _open_file(files[0].path, opening)
    opening.records = _read_files(first, files, opening) if len(files) > 1 else _read_file(first, *files[0])
    return opening


def _open_file(path: Path, opening: Records) -> DataFile:
    file = open_file(path)
    opening.notes += file.notes
    return file


def _read_files(first: DataFile, files: list[DataPath], opening: Records) -> Iterator[Record]:
    """Yield the records of several files, with rows numbered on."""
    row = 0
    for number, (path, split) in enumerate(files):
        for record in _read_file(_open_file(path, opening) if number else first, path, split):
            yield record._replace(row=row if record.row is not None else None, file=path.name)
            row += record.row is not None


def _read_file(file: DataFile, path: Path, split: str | None = None) -> Iterator[Record]:
    """Yield the records of a file, and close it."""
    with file.raw:
        notes = note_held_out(path, split)
        for record in _parse_file(file):
            yield record._replace(split=split, notes=(*record.notes, *notes)) if split else record


def _parse_file(file: DataFile) -> Iterator[Record]:
    """Return an iterator over the records of an open file, by its kind."""
    if file.kind in ("csv", "tsv"):
        return tables.read_separated(file)
    if file.kind in ("parquet", "arrow", "arrow-stream"):
        return tables.read_columnar(file)
    if file.kind in ("text", "markdown"):
        return texts.read_passages(cast(io.BufferedReader, file.stream), file.kind)
    return (read_json_lines if file.kind == "jsonl" else read_json_values)(file.stream)
