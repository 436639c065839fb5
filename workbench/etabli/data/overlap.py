"""Find test rows that are also in the training rows."""

import json
from collections.abc import Iterator, Sequence

from etabli.core.contracts import Message, Row
from etabli.core.texts import fold_sentence

Question = tuple[str, ...]


def find_overlaps(tests: Sequence[Row], train: Sequence[Row]) -> list[str | None]:
    """Return for each test row what a training row has in common with it: ``row``, ``question`` or None.

    ``row`` means question and answer. A question is everything before the answer; every answer of a training row
    counts, its earlier ones too. System texts have to agree only if both rows have one.
    """
    answers: dict[Question, dict[str, set[str]]] = {}
    for row in train:
        for asked_turns, system, answer in _answers(row["messages"]):
            answers.setdefault(asked_turns, {}).setdefault(system, set()).add(answer)
    return [_match(row, answers) for row in tests]


def questions_before_answers(row: Row) -> Iterator[Question]:
    """Yield everything before each answer of a row except its system text; all of a row without answers."""
    answers = list(_answers(row["messages"]))
    yield from (turns_before for turns_before, _, _ in answers) if answers else [_split_system(row["messages"])[0]]


def _match(row: Row, train_answers: dict[Question, dict[str, set[str]]]) -> str | None:
    answers = list(_answers(row["messages"]))
    turns_before, system, answer = answers[-1] if answers else (*_split_system(row["messages"]), "")
    by_system = train_answers.get(turns_before, {})
    matching_systems = [text for text in by_system if text == system or not (turns_before == () or (system and text))]
    if not matching_systems:
        return None
    return "row" if any(answer in by_system[text] for text in matching_systems) else "question"


def _answers(messages: list[Message]) -> Iterator[tuple[Question, str, str]]:
    """Yield question, system text and answer of every assistant turn."""
    for number, turn in enumerate(messages):
        if turn["role"] == "assistant":
            yield (*_split_system(messages[:number]), _answer_key(turn))


def _answer_key(turn: Message) -> str:
    """An answer's text and the tool calls in it; the ids of calls do not count."""
    calls = [call.get("function", call) for call in turn.get("tool_calls") or []]
    return fold_sentence(turn["content"]) + (json.dumps(calls, sort_keys=True, default=str) if calls else "")


def _split_system(messages: list[Message]) -> tuple[Question, str]:
    turns_before = tuple(
        fold_sentence(turn["content"]) or turn["content"] for turn in messages if turn["role"] != "system"
    )
    return turns_before, fold_sentence(" ".join(turn["content"] for turn in messages if turn["role"] == "system"))


def question_key(messages: list[Message]) -> str:
    """Return a key that is equal for rows with the same system text, earlier turns and question."""
    turns_before, system = _split_system(messages)
    return "\x00".join([system, *turns_before])
