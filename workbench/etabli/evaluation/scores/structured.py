"""Scores of answers that are JSON."""

import json
from collections.abc import Iterator

from etabli.core.texts import compose

UNREADABLE = object()


def read_json(text: str) -> object:
    """The value of a JSON text, or ``UNREADABLE``; NaN and infinities are not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return UNREADABLE


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def is_equal(first: object, second: object) -> bool:
    """Equality of JSON values, without Python's 1 == True == 1.0; accents are composed (NFC)."""
    if type(first) is not type(second):
        return False
    if isinstance(first, dict) and isinstance(second, dict):
        first, second = ({compose(key): item for key, item in value.items()} for value in (first, second))
        return first.keys() == second.keys() and all(is_equal(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(is_equal, first, second))
    if isinstance(first, str) and isinstance(second, str):
        return compose(first) == compose(second)
    return bool(first == second)


def valid_json(answer: str, truth: str = "") -> bool:
    """Is the whole answer a JSON object or array? A bare number, text, true or null is none: any number would be."""
    return isinstance(read_json(answer), dict | list)


def references(schema: object) -> Iterator[str]:
    """Every ``$ref`` in a schema."""
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)
