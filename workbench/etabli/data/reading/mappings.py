"""Mapping files of other trainers: where the rows are, and what their columns are called.

LLaMA-Factory's ``dataset_info.json`` and the ``datasets`` section of an axolotl config. One entry of several is named
after a number sign: ``dataset_info.json#identity``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etabli.core import folders, parsing
from etabli.core.errors import OutsideFolder, Unreadable
from etabli.data.notes import escaped
from etabli.data.reading.formats import FORMATS
from etabli.data.reading.layout import Layout
from etabli.data.reading.opening import is_there
from etabli.data.reading.turns import SHAREGPT, Tags

LARGEST = 4 * 2**20
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output", "system": "system", "history": "history"}
_TAG_ROLES = {
    "user_tag": "user", "assistant_tag": "assistant", "observation_tag": "tool", "function_tag": "call",
    "system_tag": "system",
}  # fmt: skip
_AXOLOTL = {
    "alpaca": "alpaca",
    "chat_template": "chat",
    "sharegpt": "sharegpt",
    "input_output": "segments",
    "completion": "text",
}


@dataclass(frozen=True)
class Mapped:
    """What one entry of a mapping file says: a file or a Hub data set, and the layout of its rows, if it says so."""

    target: str
    layout: Layout | None = None


def mapped(name: str | Path) -> Mapped | None:
    """The entry that a name stands for; None if it names no mapping file.

    Raises:
        Unreadable: the mapping file has no such entry, or several and none was named; OutsideFolder: the entry names a
        file that is not beside the mapping file or below, and nobody allowed that.
    """
    text, _, entry = str(name).partition("#") if not is_there(name) else (str(name), "", "")
    path = Path(text)
    entries = _entries(path)
    if entries is None:
        if entry and is_there(path):
            raise Unreadable("unreadable", f"{path} is no mapping file: it has no entries to name with #{entry}.")
        return None
    if not entry and len(entries) > 1:
        raise Unreadable(
            "unreadable", f"{path} maps {len(entries)} data sets: name one, as {path.name}#{next(iter(entries))}."
        )
    chosen = entry or next(iter(entries))
    if chosen not in entries:
        raise Unreadable("unreadable", f"{path} has no entry {escaped(chosen)!r}; it has {', '.join(entries)}.")
    return _factory(path, chosen, entries[chosen]) if path.suffix == ".json" else _axolotl(path, entries[chosen])


def _entries(path: Path) -> dict[str, dict[str, Any]] | None:
    if path.suffix not in (".json", ".yaml", ".yml") or not is_there(path):
        return None
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    try:
        held = parsing.read_json(path, LARGEST, lenient=True) if path.suffix == ".json" else _yaml(path)
    except parsing.Unparsed:
        return None
    if path.suffix == ".json":
        return held if isinstance(held, dict) and held and all(map(_is_entry, held.values())) else None
    sets = held.get("datasets") if isinstance(held, dict) else None
    if isinstance(sets, list) and sets and all(isinstance(item, dict) and item.get("path") for item in sets):
        return {str(number): item for number, item in enumerate(sets)}
    raise Unreadable(
        "unreadable", f"{path} is YAML without axolotl's section `datasets`, a list of entries with a path."
    )


def _yaml(path: Path) -> Any:
    try:
        return parsing.read_yaml(path, LARGEST)
    except parsing.Unparsed as error:
        raise Unreadable("unreadable", str(error)) from None


def _is_entry(item: Any) -> bool:
    return isinstance(item, dict) and any(
        key in item for key in ("file_name", "hf_hub_url", "ms_hub_url", "script_url")
    )


def _factory(path: Path, name: str, entry: Mapping[str, Any]) -> Mapped:
    """An entry of LLaMA-Factory's dataset_info.json."""
    if "file_name" in entry:
        target = str(_beside(path, name, [path.parent / str(entry["file_name"])]))
    elif "hf_hub_url" in entry:
        target = str(entry["hf_hub_url"])
    else:
        raise Unreadable("unreadable", f"{path}: {name} names neither a file nor a Hub data set.")
    _no_parts(path, name, entry)
    columns = {str(ours): str(theirs) for ours, theirs in _mapping(path, name, entry, "columns").items()}
    said = f"{path.name} says so of {name}"
    if entry.get("ranking") or "kto_tag" in columns:
        names = {"messages": "conversations", "kto_tag": "label", "prompt": "prompt", "chosen": "chosen"}
        known = {names.get(ours, ours): theirs for ours, theirs in columns.items() if ours in (*names, "rejected")}
        tags = _tags(_mapping(path, name, entry, "tags")) if entry.get("formatting") == "sharegpt" else None
        return Mapped(target, Layout("preference" if entry.get("ranking") else "kto", said, known, tags))
    if entry.get("formatting", "alpaca") == "sharegpt":
        turns = columns.pop("messages", "conversations")
        named = {"conversations": turns, **{key: columns[key] for key in ("system", "tools") if key in columns}}
        return Mapped(target, Layout("sharegpt", said, named, _tags(_mapping(path, name, entry, "tags"))))
    if set(columns) == {"prompt"}:
        return Mapped(target, Layout("text", said, {"text": columns["prompt"]}))
    known = {_ALPACA[ours]: theirs for ours, theirs in columns.items() if ours in _ALPACA}
    return Mapped(target, Layout("alpaca", said, known) if columns else None)


def _beside(path: Path, name: str, places: list[Path]) -> Path:
    """The first place where an entry's file is: beside the mapping file or below, others only if that is allowed."""
    place = next(filter(is_there, places), places[0])
    if folders.is_outside_allowed() or folders.is_within(place, path.parent):
        return place
    raise OutsideFolder(
        f"{path}: the file of {escaped(name)[: folders.NAME_SHOWN]} is not beside it or below, where its data "
        "belong. It was not read. If you mean that file: --allow-outside (allow_outside=True)."
    )


def _mapping(path: Path, name: str, entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    held = entry.get(key) or {}
    if not isinstance(held, Mapping):
        raise Unreadable("unreadable", f"{path}: {key} of {name} is {type(held).__name__}, not a mapping.")
    return held


def _no_parts(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """What an entry asks for and is not done must be said."""
    asked = [
        key for key in ("subset", "split", "folder", "num_samples", "shards") if entry.get(key) not in (None, "train")
    ]
    if asked:
        raise Unreadable(
            "unreadable",
            f"{path}: {name} asks for {asked[0]} {entry[asked[0]]!r}, which is not done here: name the file itself.",
        )


def _tags(tags: Mapping[str, Any]) -> Tags:
    roles = dict(SHAREGPT.roles) | {str(tags[key]): role for key, role in _TAG_ROLES.items() if key in tags}
    return Tags(tags.get("role_tag", "from"), tags.get("content_tag", "value"), roles)


def _axolotl(path: Path, entry: Mapping[str, Any]) -> Mapped:
    """An entry of axolotl's ``datasets``."""
    _no_parts(path, str(entry["path"]), entry)
    kind = str(entry.get("type") or "chat_template").split(".")[0].split(":")[0]
    if kind not in _AXOLOTL:
        raise Unreadable(
            "unknown-format", f"{path}: the type {escaped(kind)!r} is not known; known are {', '.join(_AXOLOTL)}."
        )
    places = [path.parent / str(entry["path"]), Path(str(entry["path"]))]  # axolotl's are seen from where one stands
    is_file = any(map(is_there, places)) or Path(str(entry["path"])).is_absolute()
    target = str(_beside(path, str(entry["path"]), places) if is_file else entry["path"])
    name, said = _AXOLOTL[kind], f"{path.name} says so"
    if name == "chat":
        keys = _mapping(path, str(entry["path"]), entry, "message_property_mappings")
        said = _mapping(path, str(entry["path"]), entry, "roles")
        roles = {str(theirs): ours for ours, several in said.items() for theirs in several or ()}
        said = f"{path.name} says so"
        tags = Tags(str(keys.get("role", "role")), str(keys.get("content", "content")), {**SHAREGPT.roles, **roles})
        return Mapped(target, Layout("chat", said, {"messages": str(entry.get("field_messages", "messages"))}, tags))
    columns = {key: str(entry[f"field_{key}"]) for key in FORMATS[name].keys if entry.get(f"field_{key}")}
    if name == "text" and entry.get("field"):
        columns = {"text": str(entry["field"])}
    return Mapped(target, Layout(name, said, columns))
