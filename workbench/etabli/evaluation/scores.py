"""Scores that can be verified: each takes an answer and the truth and says yes or no."""

import json
from collections.abc import Callable
from typing import Any

Score = Callable[[str, str], bool]
_UNREADABLE = object()


def exact(answer: str, truth: str) -> bool:
    """Equal as JSON where the truth is JSON (order of keys and blanks aside), else as text with blanks squeezed."""
    wanted = _json(truth)
    if wanted is _UNREADABLE:
        return " ".join(answer.split()) == " ".join(truth.split())
    return _same(_json(answer), wanted)


def valid_json(answer: str, truth: str = "") -> bool:
    """Does the whole answer parse as JSON?"""
    return _json(answer) is not _UNREADABLE


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _UNREADABLE


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _same(one: Any, other: Any) -> bool:
    """Equality without Python's 1 == True == 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other


SCORES: dict[str, Score] = {"exact": exact, "valid_json": valid_json}
