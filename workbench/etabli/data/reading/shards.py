"""The data files of a folder or a glob: shards in their order, each with the split that the Hub would give it.

A folder's ``README.md`` may list configurations and their files, as on the Hub; without, names of files and folders
say the split: ``data/train-00000-of-00002.parquet``, ``test.jsonl``, ``validation/data-00000-of-00001.arrow``.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from etabli.core import folders, parsing
from etabli.core.contracts import ROWS
from etabli.core.errors import Unreadable
from etabli.core.wording import choose_form, count_of
from etabli.data.notes import escape_invisible
from etabli.data.reading import file_splits
from etabli.data.splits import split_name

TABLES = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".tab", ".parquet", ".arrow", ".zip"}
TEXTS = {".txt", ".text", ".md", ".markdown"}
_PACKED = {".xlsx", ".xls", ".ods", ".bz2", ".xz", ".zst", ".pkl", ".db", ".sqlite"}  # kinds of data that are not read
_NOT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "manifest.json"}
_SHARD = re.compile(r"(?P<name>.*)-(?P<number>\d{4,6})-of-(?P<total>\d{4,6})(?P<rest>[^/]*)")
_FRONT_MATTER = re.compile(r"\ufeff?\s*---[ \t]*\r?\n(.*?)\r?\n---", re.DOTALL)


class DataPath(NamedTuple):
    """A data file of several, and the split that its name or the folder's ``README.md`` says."""

    path: Path
    split: str | None


def is_glob(name: str | Path) -> bool:
    """Return whether a name is a pattern of file names; patterns of any depth (``**``) are none: name the folder."""
    return any(mark in str(name) for mark in "*?[") and "**" not in str(name)


def match_glob(name: str | Path) -> list[Path]:
    """Return the files that match a pattern, sorted."""
    pattern = Path(name)
    try:
        matches = Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))
        return sorted(path for path in matches if path.is_file())
    except (OSError, ValueError):  # no pattern at all, or one that no file name can match
        return []


def list_glob(name: str) -> list[DataPath]:
    """Return the files of a pattern with their splits."""
    paths = match_glob(name)
    return _with_splits(paths, Path(os.path.commonpath([path.parent for path in paths]))) if paths else []


def list_folder(folder: Path, config: str = "") -> list[DataPath]:
    """Return the data files of a folder and below, with their splits.

    Args:
        config: one of the configurations in the folder's ``README.md``.

    Raises:
        Unreadable: there is none, a shard is missing, or several configurations and none is named.
        OutsideFolder: a link leads out of the folder.
    """
    configs = _read_configs(folder)
    if config and config not in configs:
        names = ", ".join(configs) or "no configurations"
        raise Unreadable("unreadable", f"{folder} has no configuration {escape_invisible(config)!r}; it has {names}.")
    if len(configs) > 1 and not config:
        names, first = ", ".join(configs), next(iter(configs))
        raise Unreadable("unreadable", f"{folder} has the configurations {names}: name one, as {folder}#{first}.")
    files = list(_configured(folder, configs[config or next(iter(configs))])) if configs else _by_name(folder)
    if not files:
        raise Unreadable("unreadable", f"{folder} is no Dataset, since it has no {ROWS}, and holds no file of rows.")
    _require_all_shards(folder, [file.path for file in files])
    return files


def describe_other_files(folder: Path, files: list[DataPath]) -> str:
    """Return a sentence about files of a folder that may hold rows and are not read; empty if there is none."""
    read_paths = {file.path.resolve() for file in files}
    others = [path for path in folders.list_files(folder) if path.resolve() not in read_paths]
    names = [str(path.relative_to(folder)) for path in others if _may_hold_rows(path.relative_to(folder), _PACKED)]
    shown_names = escape_invisible(", ".join(names[:5]) + ("…" if len(names) > 5 else ""))
    return (
        f"{count_of(len(names), 'file')} of the folder {choose_form(len(names), 'is', 'are')} not read: {shown_names}."
        if names
        else ""
    )


def _by_name(folder: Path) -> list[DataPath]:
    files = [path for path in folders.list_files(folder) if _may_hold_rows(path.relative_to(folder))]
    tables = [path for path in files if _suffix(path) in TABLES]
    paths = _with_splits(tables or files, folder)
    is_saved_set = (folder / "dataset_dict.json").is_file() and any(path.split for path in paths)
    return [path for path in paths if path.split or not is_saved_set]  # as of a DatasetDict in memory


def _with_splits(files: list[Path], folder: Path) -> list[DataPath]:
    """Return files of a folder with the splits that their names say."""
    relative_paths = {path: path.relative_to(folder) for path in files}
    tables = {relative for path, relative in relative_paths.items() if _suffix(path) in TABLES}
    splits = file_splits.tell_splits(list(relative_paths.values()), tables)
    return [DataPath(path, splits[relative]) for path, relative in relative_paths.items()]


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _may_hold_rows(path: Path, more_suffixes: Collection[str] = ()) -> bool:
    is_hidden = any(part.startswith((".", "__")) for part in path.parts)
    is_about = path.name in _NOT_DATA or path.stem.casefold() in ("readme", "license", "licence", "citation")
    return not is_hidden and not is_about and _suffix(path) in {*TABLES, *TEXTS, *more_suffixes}


def _read_configs(folder: Path) -> dict[str, Mapping[str, object]]:
    """Return the configurations in the front matter of a folder's ``README.md``, by name."""
    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    try:
        text = parsing.read_text(folders.resolve_inside(folder, "README.md"))
        match = _FRONT_MATTER.match(text)
        facts = parsing.parse_yaml(match[1], str(readme)) if match else None
    except parsing.ParseError as error:
        raise Unreadable("unreadable", str(error)) from None
    configs = facts.get("configs") if isinstance(facts, Mapping) else None
    listed_configs = [item for item in configs if isinstance(item, Mapping)] if isinstance(configs, list) else []
    return {str(item.get("config_name", "default")): item for item in listed_configs if "data_files" in item}


def _configured(folder: Path, config: Mapping[str, object]) -> Iterator[DataPath]:
    """Yield the files of a configuration; a pattern is relative to the folder, or to its ``data_dir``."""
    root = folder / str(config.get("data_dir", ""))
    for split, pattern in _patterns(config["data_files"]):
        folders.resolve_inside(root, pattern)  # refuses a pattern that leads out
        deep_pattern = f"{pattern}/*" if pattern.endswith("**") else pattern  # on the Hub, ** is files too
        matches = sorted(path for path in root.glob(deep_pattern) if path.is_file())
        if not matches:
            raise Unreadable(
                "unreadable", f"{folder}/README.md names {escape_invisible(pattern)}: there is no such file."
            )
        for path in matches:
            folders.resolve_inside(folder, path.relative_to(folder))
            yield DataPath(path, split)


def _patterns(data_files: object) -> Iterator[tuple[str | None, str]]:
    """Yield (split or None, pattern) of the value of ``data_files``."""
    for item in data_files if isinstance(data_files, list) else [data_files]:
        paths = item.get("path") if isinstance(item, Mapping) else item
        mark = str(item.get("split", "")) if isinstance(item, Mapping) else ""
        for path in paths if isinstance(paths, list) else [paths]:
            yield (split_name(mark) or mark or split_name(str(path).rsplit("/", 1)[-1])), str(path)


def _require_all_shards(folder: Path, paths: list[Path]) -> None:
    """Refuse a folder in which a shard of a numbered set is missing."""
    for shard in filter(None, (_SHARD.fullmatch(str(path)) for path in paths)):
        names = [_sibling(shard, number) for number in range(int(shard["total"]))]
        if missing := [name for name in names if not Path(name).exists()]:
            why = f"{folder} lacks {len(missing)} of {len(names)} shards, the first is {Path(missing[0]).name}."
            raise Unreadable("unreadable", why)


def _sibling(shard: re.Match[str], number: int) -> str:
    digits = len(shard["number"])
    return f"{shard['name']}-{number:0{digits}}-of-{shard['total']}{shard['rest']}"


def describe_unused_names(folder: Path, files: list[DataPath]) -> str:
    """Return a sentence about files whose names hold a word for a split and are not used as one."""
    return file_splits.describe_unused_names({file.path.relative_to(folder): file.split for file in files})


def describe_other_shards(paths: list[Path]) -> str:
    """Return a sentence about shards that belong to the given files and are not among them; empty if there is none."""
    for shard in filter(None, (_SHARD.fullmatch(str(path)) for path in paths)):
        names = [Path(_sibling(shard, number)) for number in range(int(shard["total"]))]
        if others := [name for name in names if name not in paths]:
            everything = f"{shard['name']}-*-of-{shard['total']}{shard['rest']}"
            return f"{len(others)} of {len(names)} shards are not read: name '{everything}' for all of them."
    return ""
