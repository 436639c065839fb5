"""What of a row is compared with other rows."""

import json
import re
import unicodedata
from functools import cache

from etabli.core.contracts import Message, Row
from etabli.data import questions
from etabli.data.overlap import plain


@cache
def _word() -> re.Pattern:
    """Letters and digits with their marks (Hindi, Arabic); where no blanks part words, signs (Han, kana, Thai)."""
    marks = "".join(re.escape(chr(at)) for at in range(0x300, 0x10000) if unicodedata.category(chr(at))[0] == "M")
    signs = r"\u0e01-\u0e30\u0e40-\u0e46\u3040-\u30ff\u3400-\u9fff"
    return re.compile(rf"[{signs}][{marks}]*|(?:(?![{signs}])[^\W_])(?:(?![{signs}])(?:[^\W_]|[{marks}]))*")


def words(text: str) -> list[str]:
    """Words in small letters, however their accents are written; of Chinese, Japanese and Thai, signs."""
    return _word().findall(unicodedata.normalize("NFKC", text).casefold())


def said(row: Row) -> str:
    """All that is said and called in a row but the system text, which rows of one task share."""
    return "\n".join(map(_said, (turn for turn in row["messages"] if turn["role"] != "system")))


def _said(turn: Message) -> str:
    calls = json.dumps(turn["tool_calls"], ensure_ascii=False, default=str) if turn.get("tool_calls") else ""
    return "\n".join(filter(None, [turn["content"], calls]))


def whole(row: Row) -> tuple[tuple[str, str, str], ...]:
    """A row turn by turn, but for case, blanks and what stands about a sentence: the same for copies."""
    turns = [turn for turn in row["messages"] if turn["role"] != "system"]
    calls = [json.dumps(turn.get("tool_calls") or [], sort_keys=True, default=str) for turn in turns]
    return tuple((turn["role"], plain(turn["content"]) or turn["content"], held) for turn, held in zip(turns, calls))


def asked(row: Row) -> str:
    """The last question; of plain text, the text."""
    return questions.asked(row) or said(row)


def answer(row: Row) -> str:
    """The last answer; of plain text, the text."""
    return questions.truth(row) or said(row)
