"""Rows of a JSON file that is one object: under a key, by split, by column, or as SQuAD's articles."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from etabli.core.errors import Unreadable
from etabli.data.licences import FIELDS
from etabli.data.notes import escape_invisible
from etabli.data.reading.readers import SYSTEM_KEYS
from etabli.data.splits import split_name

_ABOUT = {"_meta", "meta", "metadata", "_metadata", "info"}
_SPELT = {"license": "licence", "language": "lang"}
_CONTAINERS = {"data", "rows", "examples", "instances", "items", "records", "results", "samples", "questions"}


KEY = "key"  # the column with the key that a row stands under
_KEY_SENTENCE = f"Each key holds a row: it is the column {KEY}."


class Unfolded(NamedTuple):
    """Rows, each with the split that its key says, and a sentence about where they stood."""

    rows: list[tuple[object, str | None]]
    why: str
    facts: Mapping[str, str] = {}  # of all rows, that stand beside them: licence, source …
    cut: int = 0  # rows that are left out, since the data server cut their cells


def unfold(value: object, is_row: Callable[[object], bool]) -> Unfolded | None:
    """Return the rows that an object holds; None if it holds none.

    Args:
        value: the only value of a file.
        is_row: whether a value has the keys of a known format.

    Raises:
        Unreadable: rows stand under several keys that name no split.
    """
    if not isinstance(value, Mapping) or not value or "input_ids" in value:  # token ids are a row's, not columns
        return None
    if split_rows := _split_parts(value):
        return Unfolded(split_rows, f"The rows stand under {escape_invisible(', '.join(map(str, value))[:200])}.")
    for read in (_columns, _indexed_columns, _split_columns):
        if rows := read(value):
            return Unfolded([(row, None) for row in rows], "The file holds columns, not rows: each entry is a row.")
    return None if is_row(value) else _keyed_rows(value, is_row) or _answers_by_key(value)


def _split_parts(value: Mapping[str, object]) -> list[tuple[object, str | None]]:
    """Rows of ``{"train": {"id": {…}, …}, "test": …}``, or of columns under each split."""
    if not all(split_name(str(name)) and isinstance(part, Mapping) and part for name, part in value.items()):
        return []
    rows: list[tuple[object, str | None]] = []
    for name, part in value.items():
        if not isinstance(part, Mapping):
            return []
        is_keyed = all(isinstance(row, Mapping) for row in part.values())
        part_rows = _indexed_columns(part) or (_with_keys(part) if is_keyed else _columns(part))
        if not part_rows:
            return []
        rows += [(row, split_name(str(name))) for row in part_rows]
    return rows


def _with_keys(value: Mapping[str, object]) -> list[dict[str, object]]:
    """Return the rows under keys, each with its key as the column ``key``."""
    return [{KEY: name, **row} for name, row in value.items() if isinstance(row, Mapping)]


def _answers_by_key(value: Mapping[str, object]) -> Unfolded | None:
    """Rows of ``{"Who is Ann?": "A cook."}`` or ``{"Who is Ann?": {"answer": "A cook."}}``: questions as keys."""
    if all(isinstance(row, Mapping) for row in value.values()):
        rows = _with_keys(value)
        return Unfolded([(row, None) for row in rows], _KEY_SENTENCE) if _share_keys(rows) else None
    are_questions = all(" " in str(name).strip() or str(name).strip().endswith("?") for name in value)
    if len(value) > 1 and are_questions and all(isinstance(text, str) for text in value.values()):
        return Unfolded([({KEY: name, "value": text}, None) for name, text in value.items()], _KEY_SENTENCE)
    return None


def _share_keys(rows: list[dict[str, object]]) -> bool:
    return len(rows) > 1 and len(set.intersection(*(set(row) for row in rows))) > 1


def _columns(value: Mapping[str, object]) -> list[dict[str, object]]:
    """Rows of ``{"prompt": ["a", "b"], "completion": ["c", "d"]}``."""
    columns = [column for column in value.values() if isinstance(column, list) and column]
    if len(columns) < 2 or len(columns) < len(value):
        return []
    if len({len(column) for column in columns}) > 1 or any(_has_mappings(column) for column in columns):
        return []
    return [dict(zip(value, cells)) for cells in zip(*columns)]


def _has_mappings(column: list[object]) -> bool:
    return any(isinstance(cell, Mapping) for cell in column)


def _indexed_columns(value: Mapping[str, object]) -> list[dict[str, object]]:
    """Rows of ``{"prompt": {"0": "a", "1": "b"}, …}``, as pandas writes a frame."""
    columns = [column for column in value.values() if isinstance(column, Mapping) and column]
    if len(columns) < len(value):
        return []
    places = list(columns[0])
    if not all(str(place).isdecimal() for place in places) or any(list(column) != places for column in columns):
        return []
    return [{name: column[place] for name, column in zip(value, columns)} for place in places]


def _split_columns(value: Mapping[str, object]) -> list[dict[str, object]]:
    """Rows of ``{"columns": ["prompt", …], "data": [["a", …], …]}``, as pandas writes a frame by ``orient="split"``."""
    names, rows = value.get("columns"), value.get("data")
    if not isinstance(names, list) or not isinstance(rows, list) or not rows:
        return []
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        return []
    return [dict(zip(map(str, names), row)) for row in rows]


def _keyed_rows(value: Mapping[str, object], is_row: Callable[[object], bool]) -> Unfolded | None:
    """Rows in lists under keys, or an object for each key."""
    lists = {name: rows for name, items in value.items() if (rows := _rows(items))}
    lists = {name: rows for name, rows in lists.items() if _is_container(str(name)) or is_row(rows[0])}
    if not lists:
        rows = list(value.values())
        keyed_rows: list[tuple[object, str | None]]
        keyed_rows = [({KEY: name, **row} if isinstance(row, Mapping) else row, None) for name, row in value.items()]
        return Unfolded(keyed_rows, _KEY_SENTENCE) if all(map(is_row, rows)) else None
    splits = {name: split_name(str(name)) for name in lists}
    if len(lists) > 1 and None in splits.values():
        names = escape_invisible(", ".join(map(str, lists))[:200])
        raise Unreadable("unknown-format", f"Rows stand under several keys: {names}. Write one of them to a file.")
    facts, used_keys = _facts(value)
    system = _system_text(value)
    unread_keys = [str(name) for name in value if name not in {*lists, *used_keys, *system}]
    rest = f" Not read: {', '.join(unread_keys)}." if unread_keys else ""
    why = f"The rows stand under {', '.join(map(str, lists))}.{rest}"
    split_rows: list[tuple[object, str | None]] = [
        ({**system, **row} if isinstance(row, Mapping) else row, splits[name])
        for name, rows in lists.items()
        for row in rows
    ]
    return Unfolded(split_rows, escape_invisible(why[:300]), facts, sum(map(_count_cut, value.values())))


def _system_text(value: Mapping[str, object]) -> dict[str, str]:
    """Return the system text of all rows that stands beside them, by its key; empty without one."""
    return {name: text for name in SYSTEM_KEYS if isinstance(text := value.get(name), str) and text.strip()}


def _facts(value: Mapping[str, object]) -> tuple[dict[str, str], set[str]]:
    """Return what a file says of all its rows, beside them or in an object about them; and the keys that are used."""
    facts: dict[str, str] = {}
    used_keys: set[str] = set()
    for name, inner in value.items():
        entries = inner if name in _ABOUT and isinstance(inner, Mapping) else {name: inner}
        known = {_SPELT.get(str(key), str(key)): text for key, text in entries.items() if isinstance(text, str)}
        facts |= {key: text for key, text in known.items() if key in FIELDS}
        if entries and set(known) <= {*FIELDS} and len(known) == len(entries):
            used_keys.add(name)
    return facts, used_keys


def _is_container(name: str) -> bool:
    return name.casefold() in _CONTAINERS or split_name(name) is not None


def _rows(items: object) -> list[object]:
    """Return the rows of a list; the data server's rows and SQuAD's questions are taken out of what holds them."""
    if not isinstance(items, list) or not items or not all(isinstance(item, Mapping) for item in items):
        return []
    if all(isinstance(item.get("row"), Mapping) for item in items):
        return [item["row"] for item in items if not item.get("truncated_cells")]
    if all(isinstance(item.get("paragraphs"), list) for item in items):
        return [row for item in items for paragraph in item["paragraphs"] for row in _squad_rows(item, paragraph)]
    return items


def _count_cut(items: object) -> int:
    rows = items if isinstance(items, list) else []
    return sum(isinstance(row, Mapping) and "row" in row and bool(row.get("truncated_cells")) for row in rows)


def _squad_rows(article: Mapping[str, object], paragraph: Mapping[str, object]) -> list[object]:
    title = {"title": article["title"]} if article.get("title") else {}
    questions = paragraph.get("qas")
    context = {**title, "context": paragraph.get("context")}
    return [{**context, **question} for question in questions] if isinstance(questions, list) else []
