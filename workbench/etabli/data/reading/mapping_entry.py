"""An entry of a mapping file: what it names, and the checks that every kind of entry needs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from etabli.core import folders
from etabli.core.errors import OutsideFolder, Unreadable
from etabli.core.parsing import short_repr
from etabli.data.notes import Note, escape_invisible
from etabli.data.reading.hub import HubSet
from etabli.data.reading.layout import Layout
from etabli.data.reading.opening import path_exists


@dataclass(frozen=True)
class MappingEntry:
    """What an entry names, and the layout of its rows, if it has one.

    ``target`` is a file, a folder, or the name of a Hub data set, which ``hub`` describes; ``files`` are given where an
    entry names several.
    """

    target: str
    layout: Layout | None = None
    hub: HubSet | None = None
    files: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def refuse(path: Path, name: str, key: str, value: object, advice: str) -> Unreadable:
    """Return the error for a key of an entry that is not carried out here."""
    shown_name = escape_invisible(name)[: folders.NAME_SHOWN]
    shown_key = escape_invisible(key)[: folders.NAME_SHOWN]
    return Unreadable(
        "unreadable", f"{path}: {shown_name} asks for {shown_key} {short_repr(value)}, which is not done here: {advice}"
    )


def refuse_all(path: Path, name: str, refused_keys: Sequence[tuple[str, object, str]]) -> Unreadable:
    """Return the error for all keys of an entry that are not carried out, each with its value and advice."""
    key, value, advice = refused_keys[0]
    others = [
        f"\n  {escape_invisible(other)[: folders.NAME_SHOWN]} {short_repr(other_value)}, which is not done either: "
        f"{'the same.' if other_advice == advice else other_advice}"
        for other, other_value, other_advice in refused_keys[1:]
    ]
    return refuse(path, name, key, value, f"{advice}{''.join(others)}")


def require_known_keys(path: Path, name: str, entry: Mapping[str, object], known_keys: Collection[str]) -> None:
    """Refuse keys of an entry that are not known; a key without a value says nothing."""
    unknown = {str(key): value for key, value in entry.items() if key not in known_keys and value is not None}
    if unknown:
        advice = f"remove what changes nothing. Known keys: {', '.join(sorted(known_keys))}."
        raise refuse_all(path, name, [(key, value, advice) for key, value in unknown.items()])


def resolve_file(path: Path, name: str, places: list[Path]) -> Path:
    """Return the path of an entry's file: beside the mapping file or below it, elsewhere only if that is allowed."""
    place = next(filter(path_exists, places), places[0])
    if folders.is_outside_allowed() or folders.is_within(place, path.parent):
        return place
    raise OutsideFolder(
        f"{path}: the file of {escape_invisible(name)[: folders.NAME_SHOWN]} is not beside it or below, where its data "
        "belong. It was not read. If you mean that file: --allow-outside (allow_outside=True)."
    )


def mapping_of(path: Path, name: str, entry: Mapping[str, object], key: str) -> Mapping[str, object]:
    """Return the mapping under a key of an entry; empty if there is none."""
    value: object = entry.get(key) or {}
    if not isinstance(value, Mapping):
        raise Unreadable("unreadable", f"{path}: {key} of {name} is {type(value).__name__}, not a mapping.")
    return value


def texts_of(path: Path, name: str, key: str, value: object) -> tuple[str, ...]:
    """Return a value that is a text or a list of texts."""
    texts = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(text, str) for text in texts):
        raise refuse(path, name, key, value, "write a text, or a list of texts.")
    return tuple(texts)
