"""Entries of LLaMA-Factory's ``dataset_info.json``."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from etabli.core.errors import Unreadable
from etabli.data.reading.hub import HubSet
from etabli.data.reading.layout import Layout
from etabli.data.reading.mapping_entry import MappingEntry, mapping_of, refuse, require_known_keys, resolve_file
from etabli.data.reading.opening import path_exists
from etabli.data.reading.turns import OPENAI, SHAREGPT, Tags

_KEYS = {
    *("file_name", "hf_hub_url", "ms_hub_url", "om_hub_url", "formatting", "ranking", "subset", "split", "file_sha1"),
    *("columns", "tags"),
}
_MEDIA = ("images", "videos", "audios")
# The mapping's names of columns -> ours, for each kind of rows.
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_ALPACA |= {name: name for name in ("system", "history", "tools", *_MEDIA)}
_TURNS = {"messages": "conversations"} | {name: name for name in ("system", "tools", *_MEDIA)}
_RANKING = {name: name for name in ("chosen", "rejected")} | {"kto_tag": "label"}
_TAG_ROLES = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "call",
    "system_tag": "system",
}
_TAG_KEYS = {"role_tag", "content_tag", *_TAG_ROLES}


def read_entry(path: Path, name: str, entry: Mapping[str, object]) -> MappingEntry:
    """Return an entry, with all of its keys carried out.

    Raises:
        Unreadable: a key is not known or not done here, or the file is not the one that ``file_sha1`` says.
        OutsideFolder: the file is not beside the mapping file or below it.
    """
    require_known_keys(path, name, entry, _KEYS)
    layout = _layout(path, name, entry)
    if "file_name" in entry:
        return _file_entry(path, name, entry, layout)
    if "hf_hub_url" in entry:
        hub_name, subset, split = str(entry["hf_hub_url"]), entry.get("subset"), entry.get("split")
        hub_set = HubSet(hub_name, str(subset) if subset else None, split=str(split) if split else None)
        return MappingEntry(hub_name, layout, hub_set)
    raise Unreadable("unreadable", f"{path}: {name} names neither a file nor a Hub data set.")


def _file_entry(path: Path, name: str, entry: Mapping[str, object], layout: Layout | None) -> MappingEntry:
    for key in ("subset", "split"):
        if entry.get(key) not in (None, "train"):
            raise refuse(path, name, key, entry[key], "name the file itself.")
    target = resolve_file(path, name, [path.parent / str(entry["file_name"])])
    if entry.get("file_sha1") and path_exists(target) and target.is_file():
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
        if digest != entry["file_sha1"]:
            advice = f"{target} has the sha1 {digest}. Correct the key, or fetch the file again."
            raise refuse(path, name, "file_sha1", entry["file_sha1"], advice)
    return MappingEntry(str(target), layout)


def _layout(path: Path, name: str, entry: Mapping[str, object]) -> Layout | None:
    columns = {str(key): str(theirs) for key, theirs in mapping_of(path, name, entry, "columns").items()}
    formatting = str(entry.get("formatting") or "alpaca")
    if formatting not in ("alpaca", "sharegpt", "openai"):
        raise refuse(path, name, "formatting", formatting, "known are alpaca, sharegpt and openai.")
    tags = _tags(path, name, entry, formatting)
    reason = f"{path.name} says so of {name}"
    is_ranked = bool(entry.get("ranking"))
    if is_ranked or "kto_tag" in columns:
        names = {**(_TURNS if tags else _ALPACA), **_RANKING}
        renamed_columns = _rename(path, name, columns, names)
        return Layout("preference" if is_ranked else "kto", reason, renamed_columns, tags)
    if tags:
        renamed_columns = {"conversations": "messages" if formatting == "openai" else "conversations"}
        return Layout("sharegpt", reason, renamed_columns | _rename(path, name, columns, _TURNS), tags)
    if set(columns) == {"prompt"}:
        return Layout("text", reason, {"text": columns["prompt"]})
    return Layout("alpaca", reason, _rename(path, name, columns, _ALPACA)) if columns else None


def _rename(path: Path, name: str, columns: Mapping[str, str], names: Mapping[str, str]) -> dict[str, str]:
    """Return our names of columns with the file's; a column that this kind of rows has not is refused."""
    for key, theirs in columns.items():
        if key not in names:
            raise refuse(path, name, f"the column {key}", theirs, f"known are {', '.join(sorted(names))}.")
    return {names[key]: theirs for key, theirs in columns.items()}


def _tags(path: Path, name: str, entry: Mapping[str, object], formatting: str) -> Tags | None:
    """Return how turns are written; None for rows without turns."""
    tags = mapping_of(path, name, entry, "tags")
    for key in tags:
        if key not in _TAG_KEYS:
            raise refuse(path, name, f"the tag {key}", tags[key], f"known are {', '.join(sorted(_TAG_KEYS))}.")
    if formatting == "alpaca":
        return None
    default = SHAREGPT if formatting == "sharegpt" else OPENAI
    roles = dict(default.roles) | {str(tags[key]): role for key, role in _TAG_ROLES.items() if key in tags}
    return Tags(str(tags.get("role_tag", default.role)), str(tags.get("content_tag", default.content)), roles)
