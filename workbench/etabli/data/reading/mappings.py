"""Read mapping files of other trainers: where the rows are, and the names of their columns.

LLaMA-Factory's ``dataset_info.json`` and the ``datasets`` section of an axolotl config. One entry of several is named
after a number sign: ``dataset_info.json#identity``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etabli.core import folders, parsing
from etabli.core.errors import OutsideFolder, Unreadable
from etabli.data.notes import escape_invisible
from etabli.data.reading.formats import FORMATS
from etabli.data.reading.layout import Layout
from etabli.data.reading.opening import path_exists
from etabli.data.reading.turns import SHAREGPT, Tags

LARGEST = 4 * 2**20
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history"}
_TAG_ROLES = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "call",
    "system_tag": "system",
}
_AXOLOTL = {
    "alpaca": "alpaca",
    "chat_template": "chat",
    "sharegpt": "sharegpt",
    "input_output": "segments",
    "completion": "text",
}


@dataclass(frozen=True)
class MappingEntry:
    """An entry of a mapping file: a file or a Hub data set, and the layout of its rows, if the entry has one."""

    target: str
    layout: Layout | None = None


def read_entry(name: str | Path) -> MappingEntry | None:
    """Return the entry that ``name`` refers to; None if ``name`` is no mapping file.

    Raises:
        Unreadable: the mapping file has no such entry, or has several and ``name`` does not say which.
        OutsideFolder: the entry names a file that is not beside the mapping file or below it, and that is not allowed.
    """
    text, _, entry = str(name).partition("#") if not path_exists(name) else (str(name), "", "")
    path = Path(text)
    entries = _entries(path)
    if entries is None:
        if entry and path_exists(path):
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
    return (
        _factory(path, entry_name, entries[entry_name])
        if path.suffix == ".json"
        else _axolotl(path, entries[entry_name])
    )


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
    sets = content.get("datasets") if isinstance(content, dict) else None
    if isinstance(sets, list) and sets and all(isinstance(item, dict) and item.get("path") for item in sets):
        return {str(number): item for number, item in enumerate(sets)}
    raise Unreadable(
        "unreadable", f"{path} is YAML without axolotl's section `datasets`, a list of entries with a path."
    )


def _yaml(path: Path) -> object:
    try:
        return parsing.read_yaml(path, LARGEST)
    except parsing.ParseError as error:
        raise Unreadable("unreadable", str(error)) from None


def _is_entry(item: object) -> bool:
    return isinstance(item, dict) and any(
        key in item for key in ("file_name", "hf_hub_url", "ms_hub_url", "script_url")
    )


def _factory(path: Path, name: str, entry: Mapping[str, object]) -> MappingEntry:
    """Return an entry of LLaMA-Factory's dataset_info.json."""
    if "file_name" in entry:
        target = str(_resolve_file(path, name, [path.parent / str(entry["file_name"])]))
    elif "hf_hub_url" in entry:
        target = str(entry["hf_hub_url"])
    else:
        raise Unreadable("unreadable", f"{path}: {name} names neither a file nor a Hub data set.")
    _no_parts(path, name, entry)
    columns = {str(our_name): str(theirs) for our_name, theirs in _mapping(path, name, entry, "columns").items()}
    reason = f"{path.name} says so of {name}"
    if entry.get("ranking") or "kto_tag" in columns:
        names = {"messages": "conversations", "kto_tag": "label", "prompt": "prompt", "chosen": "chosen"}
        known_columns = {
            names.get(our_name, our_name): theirs
            for our_name, theirs in columns.items()
            if our_name in (*names, "rejected")
        }
        tags = _tags(_mapping(path, name, entry, "tags")) if entry.get("formatting") == "sharegpt" else None
        return MappingEntry(
            target, Layout("preference" if entry.get("ranking") else "kto", reason, known_columns, tags)
        )
    if entry.get("formatting", "alpaca") == "sharegpt":
        turns = columns.pop("messages", "conversations")
        chat_columns = {"conversations": turns}
        chat_columns |= {key: columns[key] for key in ("system", "tools") if key in columns}
        return MappingEntry(
            target, Layout("sharegpt", reason, chat_columns, _tags(_mapping(path, name, entry, "tags")))
        )
    if set(columns) == {"prompt"}:
        return MappingEntry(target, Layout("text", reason, {"text": columns["prompt"]}))
    known_columns = {_ALPACA[our_name]: theirs for our_name, theirs in columns.items() if our_name in _ALPACA}
    return MappingEntry(target, Layout("alpaca", reason, known_columns) if columns else None)


def _resolve_file(path: Path, name: str, places: list[Path]) -> Path:
    """Return the path of an entry's file: beside the mapping file or below it, elsewhere only if that is allowed."""
    place = next(filter(path_exists, places), places[0])
    if folders.is_outside_allowed() or folders.is_within(place, path.parent):
        return place
    raise OutsideFolder(
        f"{path}: the file of {escape_invisible(name)[: folders.NAME_SHOWN]} is not beside it or below, where its data "
        "belong. It was not read. If you mean that file: --allow-outside (allow_outside=True)."
    )


def _mapping(path: Path, name: str, entry: Mapping[str, object], key: str) -> Mapping[str, Any]:
    """Return the mapping under a key of an entry; empty if there is none."""
    value: object = entry.get(key) or {}
    if not isinstance(value, Mapping):
        raise Unreadable("unreadable", f"{path}: {key} of {name} is {type(value).__name__}, not a mapping.")
    return value


def _no_parts(path: Path, name: str, entry: Mapping[str, object]) -> None:
    """Refuse options of an entry that établi does not carry out."""
    options = [
        key for key in ("subset", "split", "folder", "num_samples", "shards") if entry.get(key) not in (None, "train")
    ]
    if options:
        raise Unreadable(
            "unreadable",
            f"{path}: {name} asks for {options[0]} {entry[options[0]]!r}, which is not done here: "
            "name the file itself.",
        )


def _tags(tags: Mapping[str, Any]) -> Tags:
    roles = dict(SHAREGPT.roles) | {str(tags[key]): role for key, role in _TAG_ROLES.items() if key in tags}
    return Tags(tags.get("role_tag", "from"), tags.get("content_tag", "value"), roles)


def _axolotl(path: Path, entry: Mapping[str, object]) -> MappingEntry:
    """Return an entry of axolotl's ``datasets``."""
    _no_parts(path, str(entry["path"]), entry)
    kind = str(entry.get("type") or "chat_template").split(".")[0].split(":")[0]
    if kind not in _AXOLOTL:
        raise Unreadable(
            "unknown-format",
            f"{path}: the type {escape_invisible(kind)!r} is not known; known are {', '.join(_AXOLOTL)}.",
        )
    places = [
        path.parent / str(entry["path"]),
        Path(str(entry["path"])),
    ]  # axolotl's paths are relative to the current folder
    is_file = any(map(path_exists, places)) or Path(str(entry["path"])).is_absolute()
    target = str(_resolve_file(path, str(entry["path"]), places) if is_file else entry["path"])
    name, reason = _AXOLOTL[kind], f"{path.name} says so"
    if name == "chat":
        keys = _mapping(path, str(entry["path"]), entry, "message_property_mappings")
        role_names = _mapping(path, str(entry["path"]), entry, "roles")
        roles = {str(theirs): ours for ours, several in role_names.items() for theirs in several or ()}
        tags = Tags(str(keys.get("role", "role")), str(keys.get("content", "content")), {**SHAREGPT.roles, **roles})
        return MappingEntry(
            target, Layout("chat", reason, {"messages": str(entry.get("field_messages", "messages"))}, tags)
        )
    columns = {key: str(entry[f"field_{key}"]) for key in FORMATS[name].keys if entry.get(f"field_{key}")}
    if name == "text" and entry.get("field"):
        columns = {"text": str(entry["field"])}
    return MappingEntry(target, Layout(name, reason, columns))
