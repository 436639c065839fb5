"""Secrets are covered in what is written and shown: known values of this machine, and shapes of keys and passwords.

Everything that établi writes as JSON, appends to a journal, prints, raises or sends to a page goes through here, at a
few places: ``storage``, ``training.events``, ``journal``, ``streams``, ``errors``, and the widgets' base. Rows of a
person's own data in ``rows.parquet``, and the new text of a row in a decision, are data and stay as they are.
"""

from collections.abc import Collection
from typing import Any

from etabli.core import secret_shapes, secret_values

COVER = "•"
_SHORTEST_NAMED = 6  # characters of a value that its key may make a secret


def cover_secrets(text: str) -> str:
    """Text of the same length without its secrets: a report must not be a second leak."""
    return _covered(text, [*secret_values.spans(text), *secret_shapes.spans(text)])


def cover_known_values(text: str) -> str:
    """Text without the secret values of this machine. Shapes stay: for whole pages, which hold scripts and styles."""
    return _covered(text, secret_values.spans(text))


def _covered(text: str, spans: list[tuple[int, int]]) -> str:
    if not spans:
        return text
    parts, done = [], 0
    for start, end in sorted(spans):
        if end > done:
            start = max(start, done)
            parts += [text[done:start], COVER * (end - start)]
            done = end
    return "".join([*parts, text[done:]])


def cover_secrets_in(value: Any, data: Collection[str] = ()) -> Any:
    """The same for every text within dicts and lists, keys too. Under a key of ``data`` all stays as it is."""
    if isinstance(value, str):
        return cover_secrets(value)
    if isinstance(value, dict):
        return {_key(key): item if key in data else _named(key, item, data) for key, item in value.items()}
    return [cover_secrets_in(item, data) for item in value] if isinstance(value, list | tuple) else value


def _key(key: Any) -> Any:
    return cover_secrets(key) if isinstance(key, str) else key


def _named(key: Any, item: Any, data: Collection[str]) -> Any:
    """A value of a dict: ``{"password": "..."}`` is a secret by its key."""
    covered = cover_secrets_in(item, data)
    if isinstance(key, str) and isinstance(item, str) and len(item) >= _SHORTEST_NAMED and covered == item:
        before = f'"{key}": "'
        return cover_secrets(f'{before}{item}"')[len(before) : -1]
    return covered
