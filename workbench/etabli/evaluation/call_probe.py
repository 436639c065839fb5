"""Read off a chat template in which form it writes tool calls.

No list of families: conversations with known calls are rendered, and what stands before, between and after the parts of
a call is the form.
"""

import contextlib
import json
import re
from typing import cast

from etabli.core.contracts import Message
from etabli.core.errors import BadData, EtabliError
from etabli.evaluation.call_format import CallFormat, JsonCalls, NameThenJson, common_beginning, decode
from etabli.evaluation.marked_calls import ArgumentMarks, MarkedArguments
from etabli.rendering.forms import parse_arguments
from etabli.rendering.template_engine import ChatTokenizer, Conversation, try_template

NAME, OTHER_NAME, FIRST_KEY, SECOND_KEY, TEXT, NUMBER = "probename", "probeother", "keya", "keyb", "Zvalue", 98765
SPECIAL_TEXT = "Z\"'\\value"  # signs that a template may write with escapes
# Both orders: after a text another mark may follow than after a number. Some templates sort the keys.
TEXT_FIRST, NUMBER_FIRST = {FIRST_KEY: TEXT, SECOND_KEY: NUMBER}, {FIRST_KEY: NUMBER, SECOND_KEY: TEXT}
ORDERS: tuple[dict[str, object], ...] = (TEXT_FIRST, NUMBER_FIRST, {})
TOOLS: list[dict[str, object]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "A probe.",
            "parameters": {
                "type": "object",
                "properties": {FIRST_KEY: {"type": "string"}, SECOND_KEY: {"type": "integer"}},
                "required": [],
            },
        },
    }
    for name in (NAME, OTHER_NAME)
]


def find_call_format(tokenizer: ChatTokenizer) -> CallFormat | None:
    """The form of the template's calls; None if it writes none, or writes them in a form that can't be followed."""
    for arguments in (TEXT_FIRST, json.dumps(TEXT_FIRST)):  # some templates join the arguments as text
        with contextlib.suppress(EtabliError, ValueError):
            answer = _answer(tokenizer, [_probe(NAME, arguments)])
            if NAME in answer and TEXT in answer:
                return _json_format(tokenizer, answer, arguments) or _marked_format(tokenizer, answer)
    return None


def _probe(name: str, arguments: dict[str, object] | str) -> dict[str, object]:
    """A call; Mistral's ids have nine characters."""
    return {"id": "probecall", "type": "function", "function": {"name": name, "arguments": arguments}}


def _answer(tokenizer: ChatTokenizer, calls: list[dict[str, object]]) -> str:
    """What the template writes for a turn with these calls, from where it differs from a turn of text."""
    user: Message = {"role": "user", "content": "Question"}
    turns = [
        {"role": "assistant", "content": "Answer"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "assistant", "content": None, "tool_calls": calls},  # DeepSeek's own writes calls of such turns alone
    ]
    conversations = [Conversation([user, cast(Message, turn)], tools=TOOLS) for turn in turns]
    with_text, *with_calls = try_template(tokenizer, conversations)
    texts = [text for text in with_calls if isinstance(text, str)]
    if isinstance(with_text, BadData) or not texts:
        raise BadData("The template refuses calls.")
    differences = [text[len(common_beginning(text, with_text)) :] for text in texts]
    return next((text for text in differences if NAME in text), differences[0])


def _json_format(tokenizer: ChatTokenizer, answer: str, arguments: dict[str, object] | str) -> CallFormat | None:
    """The form if the arguments are JSON: in one value with the name, or after it."""
    for start in (place for place, sign in enumerate(answer) if sign in "[{"):
        value, _ = decode(answer, start)
        if (keys := _find_keys(value[0] if isinstance(value, list) and value else value)) is not None:
            return JsonCalls(answer[:start], *keys)
        name_place = answer.rfind(NAME, 0, start)
        if value == TEXT_FIRST and name_place >= 0:
            lead, between = _after_name(answer[:name_place]), answer[name_place + len(NAME) : start]
            return NameThenJson(_shared_lead(tokenizer, lead, arguments), between)
    return None


def _shared_lead(tokenizer: ChatTokenizer, lead: str, arguments: dict[str, object] | str) -> str:
    """What stands before the first call and before further ones; the lead where a template takes one call alone."""
    with contextlib.suppress(EtabliError, ValueError):
        several = _answer(tokenizer, [_probe(NAME, arguments), _probe(OTHER_NAME, arguments)])
        other_lead = several[: several.index(OTHER_NAME)]
        return (common_beginning(lead[::-1], other_lead[::-1])[::-1]).lstrip()
    return lead


def _find_keys(value: object, path: tuple[str, ...] = ()) -> tuple[tuple[str, ...], str, str] | None:
    """Where name and arguments stand in a call; arguments may be JSON as text."""
    if not isinstance(value, dict):
        return None
    name_keys = [key for key, item in value.items() if item == NAME]
    argument_keys = [key for key, item in value.items() if parse_arguments(item) == TEXT_FIRST]
    if name_keys and argument_keys:
        return path, name_keys[0], argument_keys[0]
    return next((keys for key, item in value.items() if (keys := _find_keys(item, (*path, key)))), None)


def _marked_format(tokenizer: ChatTokenizer, answer: str) -> CallFormat | None:
    """The form if every argument has marks of its own."""
    if not all(part in answer for part in (FIRST_KEY, SECOND_KEY, str(NUMBER))):
        return None
    text_first, number_first, empty = (_answer(tokenizer, [_probe(NAME, arguments)]) for arguments in ORDERS)
    text_first_twice, number_first_twice = (
        _answer(tokenizer, [_probe(NAME, arguments), _probe(OTHER_NAME, arguments)]) for arguments in ORDERS[:2]
    )
    name_place = answer.rindex(NAME, 0, answer.index(FIRST_KEY))
    lead = _after_name(answer[:name_place])
    number_end = _shared_end(text_first, text_first_twice, str(NUMBER))
    text_end = _shared_end(number_first, number_first_twice, TEXT)
    first_end = text_first_twice.index(str(NUMBER)) + len(str(NUMBER) + number_end)
    further = text_first_twice[first_end : text_first_twice.rindex(OTHER_NAME)]
    after_text_key = _between(text_first, FIRST_KEY, TEXT)
    has_escapes = SPECIAL_TEXT not in _answer(tokenizer, [_probe(NAME, {FIRST_KEY: SPECIAL_TEXT})])
    if has_escapes and after_text_key[-1:] not in ("'", '"'):
        return None
    return MarkedArguments(
        lead,
        before_key=answer[name_place + len(NAME) : answer.index(FIRST_KEY, name_place)],
        without_arguments=_shared_end(empty, _answer(tokenizer, [_probe(NAME, {}), _probe(OTHER_NAME, {})]), NAME),
        again=_after_name(further),
        text=ArgumentMarks(after_text_key, _between(text_first, TEXT, SECOND_KEY), text_end),
        number=ArgumentMarks(
            _between(number_first, FIRST_KEY, str(NUMBER)),
            _between(number_first, str(NUMBER), SECOND_KEY),
            number_end,
        ),
        quote=after_text_key[-1] if has_escapes else "",
    )


def _between(text: str, first: str, second: str) -> str:
    """What stands between the last ``first`` and the next ``second``."""
    start = text.rindex(first) + len(first)
    return text[start : text.index(second, start)]


def _shared_end(single: str, several: str, value: str) -> str:
    """What follows the last argument of a call, whether another call follows or not."""
    start = single.rindex(value) + len(value)
    first = several.rindex(value, 0, several.rindex(OTHER_NAME)) + len(value)
    shared = common_beginning(single[start:], several[first:])
    return re.sub(r"<[^<>]*\Z", "", shared).rstrip()  # not the beginning of a mark


def _after_name(lead: str) -> str:
    """A lead without what depends on the call: some templates write the name twice."""
    return re.split(f"{NAME}|{OTHER_NAME}", lead)[-1].lstrip()
