"""Scores of answers that are JSON."""

import json
from collections.abc import Iterator
from typing import Any

UNREADABLE = object()


def read(text: str) -> Any:
    """A text as JSON, or ``UNREADABLE``; NaN and infinities are no JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return UNREADABLE


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def same(one: Any, other: Any) -> bool:
    """Equality without Python's 1 == True == 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def valid_json(answer: str, truth: str = "") -> bool:
    """Does the whole answer parse as JSON?"""
    return read(answer) is not UNREADABLE


def follows(validator: Any, answer: str) -> bool:
    """Does the whole answer parse as JSON that a ``jsonschema`` validator accepts?"""
    value = read(answer)
    return value is not UNREADABLE and validator.is_valid(value)


def references(schema: Any) -> Iterator[str]:
    """Every ``$ref`` in a schema."""
    if isinstance(schema, dict):
        held = schema.get("$ref")
        yield from [held] if isinstance(held, str) else []
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)
