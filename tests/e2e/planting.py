"""Texts planted into every place of a widget's state: every string, every name of a field that is somebody's text.

A place is a path with ``*`` for any index, or ``("name", key)`` for a key wherever it stands, as key or as value.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

Place = tuple[Any, ...]
TextOf = Callable[[Place, int, str], str]  # place, how manieth of that place, text that stands there -> new text
DRESSES: tuple[Callable[[str, str], str], ...] = (
    lambda text, payload: text + payload,
    lambda text, payload: payload,
    lambda text, payload: f"<think>{payload}</think>{text}{payload}",
)


def leaves(value: Any, path: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield (path, text) of every string of a JSON value."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from leaves(item, (*path, "*"))


def names(value: Any) -> Iterator[str]:
    """Yield the keys of all dicts of a JSON value."""
    if isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from names(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from names(item)


def places(state: dict[str, Any]) -> list[Place]:
    """Return every place of a widget's state."""
    keys = dict.fromkeys(key for value in state.values() for key in names(value))
    paths = dict.fromkeys(path for path, _ in leaves(state))
    return [*paths, *(("name", key) for key in keys)]


def plant(value: Any, usable: set[Place], text_of: TextOf, path: Place = ()) -> Any:
    """Return a JSON value with other texts in the places that are usable."""
    counters: dict[Place, Iterator[int]] = {}

    def at(place: Place, text: str) -> str:
        if ("name", text) in usable:
            return text_of(("name", text), 0, text)
        if place not in usable:
            return text
        return text_of(place, next(counters.setdefault(place, itertools.count())), text)

    def walk(value: Any, path: Place) -> Any:
        if isinstance(value, str):
            return at(path, value)
        if isinstance(value, dict):
            return {at(("name", key), key) if path else key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [walk(item, (*path, "*")) for item in value]
        return value

    return walk(value, path)
