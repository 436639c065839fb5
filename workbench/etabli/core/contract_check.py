"""Compare a value that was read from a file with the TypedDict that says what the file holds.

Whoever reads a file of ours that a person may have written, cut or edited asks here once, and may then rely on every
key and type. pydantic could do it, but refuses ``typing.TypedDict`` before Python 3.12.
"""

import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, NotRequired, Required, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from typing import is_typeddict as is_contract

from etabli.core.errors import Damaged

LARGEST_INTEGER = 2**63 - 1  # larger ones fit into no count, time or array
_NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}
_NAMES |= {list: "a list", dict: "an object"}

Contract = TypeVar("Contract")


def require(value: object, contract: type[Contract], source: str, next_step: str) -> Contract:
    """Return the value, which has every key and type of the contract; unknown keys are allowed.

    Args:
        contract: a TypedDict; source: what the value is called in the error; next_step: what the person can do.

    Raises:
        Damaged: a key is missing or has another type; the message names the first such place.
    """
    if problem := find_problem(value, contract):
        raise Damaged(f"{source}: {problem}. {next_step}")
    return cast("Contract", value)


def find_problem(value: object, kind: Any, place: str = "") -> str:
    """What is wrong with a value, with its place (``metrics.0.spec``); an empty text if it is of this type."""
    origin, parameters = get_origin(kind), get_args(kind)
    if origin in (Annotated, Required, NotRequired):
        return "" if value is None and parameters[1:] == ("nullable",) else find_problem(value, parameters[0], place)
    if origin in (Union, types.UnionType):
        problems = [find_problem(value, parameter, place) for parameter in parameters]
        return "" if "" in problems else problems[0]
    if is_contract(kind):
        return _problem_of_type(value, dict, place) or _problem_of_keys(cast("dict[str, object]", value), kind, place)
    if kind in (Any, object):
        return _problem_inside(value, place)
    plain_kind = origin or kind
    problem = _problem_of_type(value, plain_kind, place)
    if problem or not parameters:
        return problem or _problem_of_text(value, place)
    if isinstance(value, Mapping):
        names = _first(_problem_of_text(name, f"{place}, a key of it,") for name in value)
        return names or _first(find_problem(item, parameters[1], _join(place, name)) for name, item in value.items())
    items = enumerate(cast("list[object]", value))
    return _first(find_problem(item, parameters[0], _join(place, number)) for number, item in items)


def _problem_of_keys(value: dict[str, object], contract: Any, place: str) -> str:
    """The first key that is missing or has another type. Keys of a row, which is not total, may be null."""
    kinds, required, may_be_null = _kinds(contract), contract.__required_keys__, not contract.__total__
    if missing := sorted(required - set(value)):
        return f"`{_join(place, missing[0])}` is missing"
    return _first(
        find_problem(value[name], kind, _join(place, name))
        for name, kind in kinds.items()
        if name in value and not (value[name] is None and may_be_null and name not in required)
    )


def _problem_of_type(value: object, kind: Any, place: str) -> str:
    allowed = (int, float) if kind is float else kind if isinstance(kind, type) else object
    if not isinstance(value, allowed):
        name = next((name for known, name in _NAMES.items() if type(value) is known), "something else")
        return f"{_name(place)} is {name}, not {_NAMES.get(kind, kind)}"
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        return f"{_name(place)} is a whole number that is too large"
    return ""


def _problem_of_text(value: object, place: str) -> str:
    """Half a character: JSON can write it, and no file or page can hold it."""
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        return f"{_name(place)} holds half a character (a lone surrogate)"
    return ""


def _problem_inside(value: object, place: str) -> str:
    """What is wrong with a value of any type: a text or a number in it."""
    if isinstance(value, dict):
        return find_problem(value, dict[str, object], place)
    if isinstance(value, list):
        return find_problem(value, list[object], place)
    return _problem_of_text(value, place) or _problem_of_type(value, object, place)


@cache
def _kinds(contract: Any) -> dict[str, Any]:
    return get_type_hints(contract, include_extras=True)


def _first(problems: Iterable[str]) -> str:
    return next(filter(None, problems), "")


def _join(place: str, name: object) -> str:
    return f"{place}.{name}" if place else str(name)


def _name(place: str) -> str:
    return f"`{place}`" if place else "it"
