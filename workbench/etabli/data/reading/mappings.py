"""Read mapping files of other trainers: where the rows are, and the names of their columns.

LLaMA-Factory's ``dataset_info.json`` and the ``datasets`` section of an axolotl config. One entry of several is named
after a number sign: ``dataset_info.json#identity``. Every key of an entry is carried out or refused.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from etabli.core import parsing
from etabli.core.errors import Unreadable
from etabli.data.names import split_entry
from etabli.data.notes import escape_invisible
from etabli.data.reading import axolotl, llama_factory
from etabli.data.reading.mapping_entry import MappingEntry
from etabli.data.reading.opening import path_exists

LARGEST = 4 * 2**20


def read_entry(name: str | Path) -> MappingEntry | None:
    """Return the entry that ``name`` refers to; None if ``name`` is no mapping file.

    Raises:
        Unreadable: the mapping file has no such entry, or has several and ``name`` does not say which; or the entry has
            a key that is not carried out here.
        OutsideFolder: the entry names a file that is not beside the mapping file or below it, and that is not allowed.
    """
    text, mark = split_entry(str(name))
    path, entry = Path(text), mark.removeprefix("#")
    entries = _entries(path)
    if entries is None:
        if entry and path_exists(path) and not path.is_dir():
            raise Unreadable("unreadable", f"{path} is no mapping file: it has no entries to name with #{entry}.")
        return None
    if not entry and len(entries) > 1:
        raise Unreadable(
            "unreadable", f"{path} maps {len(entries)} data sets: name one, as {path.name}#{next(iter(entries))}."
        )
    entry_name = entry or next(iter(entries))
    if entry_name not in entries:
        raise Unreadable(
            "unreadable", f"{path} has no entry {escape_invisible(entry_name)!r}; it has {', '.join(entries)}."
        )
    if path.suffix == ".json":
        return llama_factory.read_entry(path, entry_name, entries[entry_name])
    config = _yaml(path)
    notes = axolotl.check_config(path, config) if isinstance(config, dict) else ()
    return replace(axolotl.read_entry(path, entries[entry_name]), notes=notes)


def refuse_folder(folder: Path) -> None:
    """Refuse a folder with a mapping file of LLaMA-Factory's: it holds data sets, and not the shards of one."""
    entries = _entries(folder / "dataset_info.json")
    if entries:
        name = f"{folder / 'dataset_info.json'}#{next(iter(entries))}"
        raise Unreadable("unreadable", f"{folder} holds {len(entries)} data sets: name one, as {name}.")


def _entries(path: Path) -> dict[str, dict[str, object]] | None:
    if path.suffix not in (".json", ".yaml", ".yml") or not path_exists(path):
        return None
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    try:
        content = parsing.read_json(path, LARGEST, lenient=True) if path.suffix == ".json" else _yaml(path)
    except parsing.ParseError:
        return None
    if path.suffix == ".json":
        return content if isinstance(content, dict) and content and all(map(_is_entry, content.values())) else None
    return _axolotl_entries(path, content)


def _axolotl_entries(path: Path, content: object) -> dict[str, dict[str, object]]:
    sets = content.get("datasets") if isinstance(content, dict) else None
    if isinstance(sets, list) and sets and all(isinstance(item, dict) and item.get("path") for item in sets):
        return {str(number): item for number, item in enumerate(sets)}
    raise Unreadable(
        "unreadable", f"{path} is YAML without axolotl's section `datasets`. {_yaml_advice(path, content)}"
    )


def _yaml_advice(path: Path, content: object) -> str:
    """Return what to do with a YAML file that is no axolotl config: one of LLaMA-Factory's, or rows."""
    if isinstance(content, dict) and isinstance(content.get("dataset"), str):
        folder, first = Path(str(content.get("dataset_dir", "data"))), content["dataset"].split(",")[0].strip()
        return f"It names a data set of LLaMA-Factory's: etabli data check '{folder / 'dataset_info.json'}#{first}'"
    if isinstance(content, list):
        rows = f"yaml.safe_load(open({str(path)!r}))"
        code = f"import json, sys, yaml; sys.stdout.writelines(json.dumps(row) + '\\n' for row in {rows})"
        return f"Rows are read from JSONL: python -c {shlex.quote(code)} > {shlex.quote(path.stem)}.jsonl"
    return "Rows are read from JSONL, JSON, CSV or Parquet: write them so, or name an axolotl config."


def _yaml(path: Path) -> object:
    try:
        return parsing.read_yaml(path, LARGEST)
    except parsing.ParseError as error:
        raise Unreadable("unreadable", str(error)) from None


def _is_entry(item: object) -> bool:
    return isinstance(item, Mapping) and any(
        key in item for key in ("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "cloud_file_name", "script_url")
    )
