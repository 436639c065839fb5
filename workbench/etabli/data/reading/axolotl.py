"""Entries of the section ``datasets`` of an axolotl config."""

from collections.abc import Collection, Mapping
from pathlib import Path

from etabli.core.errors import Unreadable
from etabli.data.notes import Note, escape_invisible
from etabli.data.reading import shards
from etabli.data.reading.hub import HubSet
from etabli.data.reading.layout import Layout
from etabli.data.reading.mapping_entry import (
    MappingEntry,
    mapping_of,
    refuse,
    refuse_all,
    resolve_file,
    texts_of,
)
from etabli.data.reading.opening import path_exists
from etabli.data.reading.turns import SHAREGPT, Tags

# axolotl's types -> our format and its columns. The model's own template writes the prompt, whatever the type says.
_TYPES: dict[str, tuple[str, dict[str, str]]] = {
    "alpaca": ("alpaca", {}),
    "alpaca.load_no_prompt": ("alpaca", {}),
    "alpaca_chat": ("alpaca", {}),
    "alpaca_chat.load_qa": ("prompt-completion", {"prompt": "question", "completion": "answer"}),
    "chat_template": ("chat", {}),
    "chat_template.default": ("chat", {}),
    "sharegpt": ("sharegpt", {}),
    "input_output": ("segments", {}),
    "completion": ("text", {}),
}
_BUILDERS = ("json", "csv", "parquet", "arrow", "text")  # a path that names a kind of file, which data_files lists
# Keys that change nothing of what is read or trained here, at any value or at these.
_WITHOUT_EFFECT: dict[str, tuple[object, ...] | None] = {
    "preprocess_shards": None,
    "split_thinking": None,  # a thought is always told from its content
    "trust_remote_code": (False,),
    "drop_system_message": (False,),
    "shards": (1,),
    "train_on_eos": ("turn",),  # a turn that is trained is trained with its end, and no other turn's end
    "train_on_eot": ("turn",),
    "chat_template": ("tokenizer_default",),
    "ds_type": _BUILDERS,
    "system_prompt": ("",),
}
_ADVICE = {
    "train_on_eos": "the end of each trained turn is trained (turn). Remove it.",
    "train_on_eot": "the end of each trained turn is trained (turn). Remove it.",
    "chat_template": "the model's own template is used. Remove it.",
    "shards": "name the files that you want.",
    "trust_remote_code": "code of a data set is never run. Remove it.",
}
_FIELDS = {"field_messages": "messages", "field_system": "system", "field_tools": "tools"}
_TURN_KEYS = {
    *("message_field_role", "message_field_content", "message_property_mappings", "roles", "roles_to_train"),
    *("message_field_training", "field_thinking", "template_thinking_key"),
}
_SOURCE_KEYS = {"path", "type", "name", "revision", "data_files", "split"}


def read_entry(path: Path, entry: Mapping[str, object]) -> MappingEntry:
    """Return an entry, with all of its keys carried out.

    Raises:
        Unreadable: a key or a type is not known or not done here.
        OutsideFolder: a file is not beside the config or below it.
    """
    name = str(entry["path"])
    layout_name, columns = _type(path, name, entry)
    field_names = [key for key in entry if str(key).startswith("field_")] if layout_name != "chat" else []
    turn_keys = {*_TURN_KEYS, *_FIELDS} if layout_name == "chat" else {*field_names, "field"}
    _refuse_keys(path, name, entry, {*_SOURCE_KEYS, *turn_keys, *_WITHOUT_EFFECT})
    if layout_name == "chat":
        layout = _chat_layout(path, name, entry)
    else:
        layout = Layout(layout_name, f"{path.name} says so", columns | _columns(path, name, entry, layout_name))
    return _target(path, name, entry, layout)


def check_config(path: Path, config: Mapping[str, object]) -> tuple[Note, ...]:
    """Return a note about the keys beside ``datasets``, which are not read; refuse those that say what is trained."""
    if config.get("train_on_inputs") is True:
        raise refuse(path, "the config", "train_on_inputs", True, "remove it, and set train_on: all in the recipe.")
    for key in ("roles_to_train", "train_on_eos", "default_system_message"):
        if config.get(key) is not None:
            raise refuse(path, "the config", key, config[key], "write it into the entry or the rows, or remove it.")
    names = escape_invisible(", ".join(str(key) for key in config if key != "datasets")[:300])
    return (Note("unread-keys", why=f"Keys beside datasets are not read: {names}."),) if names else ()


def _type(path: Path, name: str, entry: Mapping[str, object]) -> tuple[str, dict[str, str]]:
    kind = entry.get("type") or "chat_template"
    if not isinstance(kind, str):
        advice = "map the columns with field_instruction and field_output, and type: alpaca."
        raise refuse(path, name, "a type with a format of its own", kind, advice)
    if kind not in _TYPES:
        shown_kind = escape_invisible(kind)[:200]
        why = f"{path}: the type {shown_kind!r} is not known; known are {', '.join(_TYPES)}."
        raise Unreadable("unknown-format", why)
    return _TYPES[kind]


def _refuse_keys(path: Path, name: str, entry: Mapping[str, object], known_keys: Collection[str]) -> None:
    """Refuse all keys of an entry at once that are not known, or whose value would change something."""
    known_text = f"remove what changes nothing. Known keys: {', '.join(sorted(known_keys))}."
    refused_keys = []
    for key, value in entry.items():
        harmless_values = _WITHOUT_EFFECT.get(str(key))
        if value is not None and key not in known_keys:
            refused_keys.append((str(key), value, known_text))
        elif value is not None and harmless_values is not None and value not in harmless_values:
            refused_keys.append((str(key), value, _ADVICE.get(str(key), "remove it.")))
    if refused_keys:
        raise refuse_all(path, name, refused_keys)


def _columns(path: Path, name: str, entry: Mapping[str, object], layout_name: str) -> dict[str, str]:
    """Return our names of columns with the file's, for rows without turns."""
    known_columns = {
        "alpaca": ("instruction", "input", "output", "system"),
        "prompt-completion": ("prompt", "completion", "system"),
        "sharegpt": ("conversations", "system", "tools"),
        "segments": ("segments",),
        "text": ("text",),
    }[layout_name]
    columns = {}
    for key, value in entry.items():
        if str(key).startswith("field_") and value is not None:
            column = str(key).removeprefix("field_")
            column = "conversations" if column == "messages" and layout_name == "sharegpt" else column
            if column not in known_columns:
                raise refuse(path, name, str(key), value, f"known are field_{', field_'.join(known_columns)}.")
            columns[column] = str(value)
    if entry.get("field") is not None:
        if layout_name != "text":
            raise refuse(path, name, "field", entry["field"], "only the type completion has it.")
        columns["text"] = str(entry["field"])
    return columns


def _chat_layout(path: Path, name: str, entry: Mapping[str, object]) -> Layout:
    columns = {ours: str(entry[key]) for key, ours in _FIELDS.items() if entry.get(key) is not None}
    keys = mapping_of(path, name, entry, "message_property_mappings")
    for key in keys:
        if key not in ("role", "content", "tool_calls", "name", "tool_call_id") or (
            key not in ("role", "content") and keys[key] != key
        ):
            raise refuse(path, name, f"message_property_mappings of {key}", keys[key], "role and content are mapped.")
    tags = Tags(
        role=str(keys.get("role") or entry.get("message_field_role") or "role"),
        content=str(keys.get("content") or entry.get("message_field_content") or "content"),
        roles={**SHAREGPT.roles, **_roles(path, name, entry)},
        marks=texts_of(path, name, "message_field_training", entry.get("message_field_training")),
        reasoning=texts_of(path, name, "field_thinking", entry.get("field_thinking")),
        trained_roles=_trained_roles(path, name, entry),
    )
    return Layout("chat", f"{path.name} says so", columns, tags)


def _roles(path: Path, name: str, entry: Mapping[str, object]) -> dict[str, str]:
    """Return the speakers' names that an entry maps, with their roles."""
    roles = mapping_of(path, name, entry, "roles")
    several = {ours: texts_of(path, name, f"roles of {ours}", names) for ours, names in roles.items()}
    return {theirs: str(ours) for ours, names in several.items() for theirs in names}


def _trained_roles(path: Path, name: str, entry: Mapping[str, object]) -> tuple[str, ...] | None:
    """Return the roles whose turns are trained; None for the usual one, which the recipe's ``train_on`` decides."""
    if entry.get("roles_to_train") is None:
        return None
    roles = texts_of(path, name, "roles_to_train", entry["roles_to_train"])
    trained_roles = tuple(SHAREGPT.roles.get(role, role) for role in roles)
    return None if set(trained_roles) == {"assistant"} else trained_roles


def _target(path: Path, name: str, entry: Mapping[str, object], layout: Layout) -> MappingEntry:
    """Return the files or the Hub data set of an entry; axolotl's paths are relative to the current folder."""
    patterns = texts_of(path, name, "data_files", entry.get("data_files"))
    places = [path.parent / name, Path(name)]
    if name in _BUILDERS and patterns:
        return _files(path, name, entry, layout, [path.parent, Path()], patterns)
    if any(map(path_exists, places)) or Path(name).is_absolute() or Path(name).suffix.lower() in shards.TABLES:
        target = resolve_file(path, name, places)
        if patterns:
            return _files(path, name, entry, layout, [target], patterns)
        _refuse_hub_keys(path, name, entry)
        return MappingEntry(str(target), layout)
    options = {key: str(entry[key]) for key in ("revision", "split") if entry.get(key) is not None}
    config = str(entry["name"]) if entry.get("name") is not None else None
    return MappingEntry(name, layout, HubSet(name, config, data_files=patterns, **options))


def _files(
    path: Path, name: str, entry: Mapping[str, object], layout: Layout, roots: list[Path], patterns: tuple[str, ...]
) -> MappingEntry:
    _refuse_hub_keys(path, name, entry)
    files: list[str] = []
    for pattern in patterns:
        places = [file for root in roots for file in (shards.match_glob(root / pattern) or [root / pattern])]
        matches = [file for file in places if path_exists(file)]
        if not matches:
            raise Unreadable(
                "no-file", f"{path}: {escape_invisible(name)} names {escape_invisible(pattern)!r}, which is no file."
            )
        files += [str(resolve_file(path, name, [file])) for file in matches]
    return MappingEntry(files[0], layout, files=tuple(dict.fromkeys(files)))


def _refuse_hub_keys(path: Path, name: str, entry: Mapping[str, object]) -> None:
    """Refuse keys that choose a part of a Hub data set where the entry names files."""
    for key in ("name", "revision", "split"):
        if entry.get(key) not in (None, "train"):
            raise refuse(path, name, key, entry[key], "name the file itself.")
