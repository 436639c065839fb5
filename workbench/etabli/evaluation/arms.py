"""The four that answer: the base asked plainly, the base prompted at its best, lookup, and the tuned model."""

import json
from collections.abc import Callable
from typing import Any

from etabli import generation
from etabli.contracts import Message, Row
from etabli.models.loading import Loaded

EXAMPLES = 5


def question(row: Row) -> list[Message]:
    """A row's messages before its last answer."""
    return row["messages"][: _last_answer(row)]


def truth(row: Row) -> str:
    """A row's last answer."""
    return row["messages"][_last_answer(row)]["content"]


def _last_answer(row: Row) -> int:
    return max(at for at, message in enumerate(row["messages"]) if message["role"] == "assistant")


class Neighbours:
    """The closest training rows, by character n-grams (tf-idf, cosine): what a tuned model has to beat."""

    def __init__(self, rows: list[Row]):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.rows = rows
        self._vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        self._index = self._vectors.fit_transform([asked(row) for row in rows])

    def of(self, row: Row, count: int = 1) -> list[Row]:
        """The ``count`` training rows closest to a row's question, closest first."""
        likeness = (self._index @ self._vectors.transform([asked(row)]).T).toarray()[:, 0]
        return [self.rows[index] for index in likeness.argsort(kind="stable")[::-1][:count]]


def asked(row: Row) -> str:
    """What the person says in a row: its last user turn."""
    turns = [message["content"] for message in question(row) if message["role"] == "user"]
    return turns[-1] if turns else ""


def lookup(rows: list[Row], train: list[Row]) -> list[str]:
    """The answer of the closest training row."""
    near = Neighbours(train)
    return [truth(near.of(row)[0]) for row in rows]


def prompted(rows: list[Row], train: list[Row]) -> list[list[Message]]:
    """What a person would try first: the instruction, every intent there is, and the closest worked examples.

    The closest example stands last, next to the question.
    """
    near = Neighbours(train)
    system: Message = {"role": "system", "content": _briefing(rows[0], train)}
    talks = []
    for row in rows:
        shots = [turn for shot in reversed(near.of(row, EXAMPLES)) for turn in _turns(shot)]
        talks.append([system, *shots, *_turns(row)[:-1]])
    return talks


def _turns(row: Row) -> list[Message]:
    said = row["messages"][: _last_answer(row) + 1]
    return [message for message in said if message["role"] != "system"]


def _briefing(row: Row, train: list[Row]) -> str:
    said = [message["content"] for message in row["messages"] if message["role"] == "system"]
    kinds = _intents(train)
    listed = f" Answer with JSON alone. The intents are: {', '.join(kinds)}." if kinds else ""
    return " ".join(said) + listed


def _intents(train: list[Row]) -> list[str]:
    """The values of ``intent`` among the training answers, where answers are such JSON."""
    found = set()
    for row in train:
        try:
            found.add(json.loads(truth(row))["intent"])
        except (ValueError, TypeError, KeyError):
            return []
    return sorted(found)


def answers(
    loaded: Loaded,
    rows: list[Row],
    train: list[Row],
    max_new_tokens: int = 64,
    progress: Callable[..., Any] | None = None,
) -> dict[str, list[str]]:
    """All four arms' answers to the same rows, from one copy of the weights.

    Args:
        loaded: a base with its adapter.
        rows: test rows; ``train``: the rows that lookup and the prompted base may use, of the same languages.
        max_new_tokens: at most this many tokens an answer, for every arm.
        progress: called with (arm, done, total).
    """
    plain = [question(row) for row in rows]
    jobs = {"base": (plain, True), "prompted": (prompted(rows, train), True), "tuned": (plain, False)}
    found = {"lookup": lookup(rows, train)}
    for arm, (talks, as_base) in jobs.items():
        say = (lambda done, total, arm=arm: progress(arm, done, total)) if progress else None
        with loaded.as_base(as_base):
            found[arm] = generation.answer(loaded.model, loaded.tokenizer, talks, max_new_tokens, progress=say).texts
    return found
