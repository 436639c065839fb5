"""Cover secrets in all that is written and shown: known values of this machine, and shapes of keys and passwords.

All JSON that établi writes, all that it appends to a journal, prints, raises or sends to a page goes through here, at a
few places: ``storage``, ``runs.events``, ``journal``, ``streams``, ``errors``, and the widgets' base. A person's own
rows in ``rows.parquet``, and the new text of a row in a decision, are data and stay unchanged.
"""

from collections.abc import Collection
from typing import Any

from etabli.core import secret_shapes, secret_values

COVER = "•"
_SHORTEST_NAMED = 6  # characters of a value that its key may make a secret


def cover_secrets(text: str) -> str:
    """Return a text of the same length with its secrets covered: a report must not leak them again."""
    return _cover_spans(text, [*secret_values.spans(text), *secret_shapes.spans(text)])


def cover_known_values(text: str) -> str:
    """Return a text without the secret values of this machine. Shapes stay: scripts and styles may look like them."""
    return _cover_spans(text, secret_values.spans(text))


def _cover_spans(text: str, spans: list[tuple[int, int]]) -> str:
    if not spans:
        return text
    parts, position = [], 0
    for start, end in sorted(spans):
        if end > position:
            start = max(start, position)
            parts += [text[position:start], COVER * (end - start)]
            position = end
    return "".join([*parts, text[position:]])


def cover_secrets_in(value: object, data: Collection[str] = ()) -> Any:
    """Cover secrets in every text within dicts and lists, also in keys. Values under the keys ``data`` stay."""
    if isinstance(value, str):
        return cover_secrets(value)
    if isinstance(value, dict):
        return {_key(key): item if key in data else _cover_item(key, item, data) for key, item in value.items()}
    return [cover_secrets_in(item, data) for item in value] if isinstance(value, list | tuple) else value


def _key(key: object) -> object:
    return cover_secrets(key) if isinstance(key, str) else key


def _cover_item(key: object, item: object, data: Collection[str]) -> object:
    """Cover a value of a dict. Its key may make it a secret: ``{"password": "..."}``."""
    result = cover_secrets_in(item, data)
    if isinstance(key, str) and isinstance(item, str) and len(item) >= _SHORTEST_NAMED and result == item:
        prefix = f'"{key}": "'
        return cover_secrets(f'{prefix}{item}"')[len(prefix) : -1]
    return result
