"""The texts of a row that are compared with other rows."""

import json
import re
import unicodedata
from functools import cache

from etabli.core.contracts import Message, Row
from etabli.core.texts import fold, fold_sentence
from etabli.data import questions

ComparisonKey = tuple[tuple[str, str, str], ...]  # role, text and tool calls of each turn


@cache
def _word_pattern() -> re.Pattern[str]:
    """Letters and digits with their marks (Hindi, Arabic); single signs of scripts without spaces (Han, kana, Thai)."""
    marks = "".join(
        re.escape(chr(number)) for number in range(0x300, 0x10000) if unicodedata.category(chr(number))[0] == "M"
    )
    signs = r"\u0e01-\u0e30\u0e40-\u0e46\u3040-\u30ff\u3400-\u9fff"
    return re.compile(rf"[{signs}][{marks}]*|(?:(?![{signs}])[^\W_])(?:(?![{signs}])(?:[^\W_]|[{marks}]))*")


def split_words(text: str) -> list[str]:
    """Return the words of ``fold(text)``; for Chinese, Japanese and Thai, the single signs."""
    return _word_pattern().findall(fold(text))


def row_text(row: Row) -> str:
    """Return all contents and tool calls of a row, without the system text, which rows of one task share."""
    return "\n".join(map(_turn_text, (turn for turn in row["messages"] if turn["role"] != "system")))


def _turn_text(turn: Message) -> str:
    calls = json.dumps(turn["tool_calls"], ensure_ascii=False, default=str) if turn.get("tool_calls") else ""
    return "\n".join(filter(None, [turn["content"], calls]))


def comparison_key(row: Row) -> ComparisonKey:
    """Return the turns of a row in a form that is equal for duplicates: case, blanks and outer punctuation removed."""
    turns = [turn for turn in row["messages"] if turn["role"] != "system"]
    calls = [json.dumps(turn.get("tool_calls") or [], sort_keys=True, default=str) for turn in turns]
    return tuple(
        (turn["role"], fold_sentence(turn["content"]) or turn["content"], call) for turn, call in zip(turns, calls)
    )


def last_question(row: Row) -> str:
    """Return the last question; for plain text, the text."""
    return questions.last_user_text(row) or row_text(row)


def last_answer(row: Row) -> str:
    """Return the last answer; for plain text, the text."""
    return questions.truth(row) or row_text(row)
