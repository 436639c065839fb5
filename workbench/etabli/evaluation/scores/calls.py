"""Scores of tool calls: is one made where it is due, and nowhere else, of the right function, with the right arguments?

Arguments are compared as JSON: the order of keys does not matter, 5 is 5.0, accents are composed, and an argument that
is missing has the default of the tool's schema. Calls of one answer may stand in any order. A call that was begun and
can't be parsed is None in a list of calls: it is never right, and it is over-calling, but it does not call anything.
"""

from collections.abc import Callable, Sequence
from typing import Any

from etabli.core import texts
from etabli.core.contracts import Row, ToolCall
from etabli.data.questions import answer_message
from etabli.evaluation.call_format import argument_schemas, due_calls, properties_of

AnswerCalls = Sequence[ToolCall | None]


def is_right_call(calls: AnswerCalls, row: Row) -> bool:
    """Are the calls those that are due, with their arguments? None are right where none is due."""
    return _same_items(calls, calls_due(row), lambda call, due: is_same_call(call, due, row))


def has_right_name(calls: AnswerCalls, row: Row) -> bool | None:
    """Are the functions those that are due? None where no call is due."""
    due = calls_due(row)
    return _same_items(calls, due, lambda call, due_call: call["name"] == due_call["name"]) if due else None


def has_right_arguments(calls: AnswerCalls, row: Row) -> bool | None:
    """Do the calls have the arguments that are due, whatever their functions? None where no call is due."""
    due = calls_due(row)
    if not due:
        return None

    def has_same_arguments(call: ToolCall, due_call: ToolCall) -> bool:
        return is_same_call({**call, "name": due_call["name"]}, due_call, row)

    return _same_items(calls, due, has_same_arguments)


def is_over_calling(calls: AnswerCalls, row: Row) -> bool | None:
    """Is there a call where none is due, be it one that can't be parsed? None where one is due."""
    return None if calls_due(row) else bool(calls)


def is_under_calling(calls: AnswerCalls, row: Row) -> bool | None:
    """Is there no call that can be parsed where one is due? None where none is due."""
    return not any(calls) if calls_due(row) else None


def calls_due(row: Row) -> list[ToolCall]:
    """The calls of a row's last answer."""
    message = answer_message(row)
    return list(due_calls(message.get("tool_calls"))) if message else []


def is_same_call(call: ToolCall, due: ToolCall, row: Row) -> bool:
    """Have two calls the same name and arguments, by the schema of the row's tools?"""
    schema = {"properties": argument_schemas(row.get("tools"), due["name"])}
    return call["name"] == due["name"] and is_same_value(call["arguments"], due["arguments"], schema)


def is_same_value(value: Any, due: Any, schema: object = None) -> bool:
    """Equality of JSON values: numbers by their size, texts with accents composed, objects with their defaults."""
    if isinstance(value, bool) or isinstance(due, bool):
        return value is due
    if isinstance(value, int | float) and isinstance(due, int | float):
        return value == due
    if isinstance(value, str) and isinstance(due, str):
        return texts.compose(value) == texts.compose(due)
    if isinstance(value, list) and isinstance(due, list):
        items = schema.get("items") if isinstance(schema, dict) else None
        return len(value) == len(due) and all(is_same_value(*pair, items) for pair in zip(value, due))
    if isinstance(value, dict) and isinstance(due, dict):
        properties = properties_of(schema)
        value, due = _with_defaults(value, properties), _with_defaults(due, properties)
        return value.keys() == due.keys() and all(
            is_same_value(value[key], due[key], properties.get(key)) for key in value
        )
    return value is None and due is None


def _with_defaults(values: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """The object with composed keys, and with the default of each property that it lacks."""
    defaults = {
        key: schema["default"] for key, schema in properties.items() if isinstance(schema, dict) and "default" in schema
    }
    return {texts.compose(key): value for key, value in {**defaults, **values}.items()}


def _same_items(calls: AnswerCalls, due: Sequence[ToolCall], is_same: Callable[[ToolCall, ToolCall], bool]) -> bool:
    """Has every due call one of its own among the calls, and none is left over?"""
    remaining = list(due)
    for call in calls:
        match = next((index for index, item in enumerate(remaining) if call and is_same(call, item)), None)
        if match is None:
            return False
        del remaining[match]
    return not remaining
