"""Everything about one row, as the table shows it beside its list."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from etabli.core.contracts import Decision, Reason, Row
from etabli.curation.curation import find_last_answer, fixed_messages
from etabli.curation.diff import compare_words
from etabli.curation.texts import row_text

MAX_CHARACTERS = 20_000  # of a message
ABOUT_KEYS = ("lang", "source", "licence", "generator", "template")


class SimilarRow(TypedDict):
    """The row that another is similar to; ``difference``: as ``compare_words`` returns."""

    id: str
    test: bool  # an evaluation row
    difference: list[tuple[str, str]]


class RowDetail(TypedDict):
    """Everything known about one row."""

    id: str
    status: str
    reasons: list[Reason]
    decision: Mapping[str, object] | None
    messages: list[dict[str, str]]  # role, content
    last: str  # the content that a fix rewrites
    about: dict[str, object]
    like: SimilarRow | None


def describe_row(row: Row, status: str, reasons: Sequence[Reason], decision: Decision | None) -> RowDetail:
    """Return a row's turns, with a fix applied, its reasons and the decision about it."""
    messages = fixed_messages(row, decision)
    fields = dict(row)
    return {
        "id": row["id"],
        "status": status,
        "reasons": list(reasons),
        "decision": {key: decision[key] for key in ("do", "by", "why", "t")} if decision else None,
        "messages": [{"role": turn["role"], "content": turn["content"][:MAX_CHARACTERS]} for turn in messages],
        "last": messages[find_last_answer(messages)]["content"],
        "about": {key: fields[key] for key in ABOUT_KEYS if fields.get(key)},
        "like": None,
    }


def compare_rows(similar_row: Row, row: Row, is_test: bool) -> SimilarRow:
    """Return a similar row with the words in which ``row`` differs from it; ``is_test``: it is an evaluation row."""
    segments = compare_words(row_text(similar_row)[:MAX_CHARACTERS], row_text(row)[:MAX_CHARACTERS])
    return {"id": similar_row["id"], "test": is_test, "difference": segments}
