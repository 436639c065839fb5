"""Test rows that the training rows hold already."""

from collections.abc import Iterator, Sequence

from etabli.core.contracts import Message, Row
from etabli.core.texts import fold_sentence

Question = tuple[str, ...]


def find_overlaps(tests: Sequence[Row], train: Sequence[Row]) -> list[str | None]:
    """For each test row how a training row is like it: ``row`` (question and answer), ``question``, or None.

    A question is all that comes before the answer; every answer of a training row counts, its earlier ones too. System
    texts have to agree only if both have one.
    """
    known: dict[Question, dict[str, set[str]]] = {}
    for row in train:
        for said, system, answer in _answers(row["messages"]):
            known.setdefault(said, {}).setdefault(system, set()).add(answer)
    return [_likeness(row, known) for row in tests]


def questions_before_answers(row: Row) -> Iterator[Question]:
    """All that comes before each answer of a row but for its system text; of a row without answers, all of it."""
    found = list(_answers(row["messages"]))
    yield from (said for said, _, _ in found) if found else [_parts(row["messages"])[0]]


def _likeness(row: Row, known: dict[Question, dict[str, set[str]]]) -> str | None:
    found = list(_answers(row["messages"]))
    said, system, answer = found[-1] if found else (*_parts(row["messages"]), "")
    by_system = known.get(said, {})
    same = [text for text in by_system if text == system or not (said == () or (system and text))]
    if not same:
        return None
    return "row" if any(answer in by_system[text] for text in same) else "question"


def _answers(messages: list[Message]) -> Iterator[tuple[Question, str, str]]:
    """Question, system text and answer of every assistant turn."""
    for at, turn in enumerate(messages):
        if turn["role"] == "assistant":
            yield (*_parts(messages[:at]), fold_sentence(turn["content"]))


def _parts(messages: list[Message]) -> tuple[Question, str]:
    said = tuple(fold_sentence(turn["content"]) or turn["content"] for turn in messages if turn["role"] != "system")
    return said, fold_sentence(" ".join(turn["content"] for turn in messages if turn["role"] == "system"))


def question_key(messages: list[Message]) -> str:
    """The same for rows that ask the same, system text and all earlier turns included."""
    said, system = _parts(messages)
    return "\x00".join([system, *said])
