"""What of a row is compared with other rows."""

import re

from etabli.contracts import Row
from etabli.data import questions

# Where words are not set apart by blanks every character is one: Han, kana, Thai.
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")


def words(text: str) -> list[str]:
    """Words in small letters; of Chinese, Japanese and Thai, characters."""
    return _WORD.findall(text.casefold())


def said(row: Row) -> str:
    """All that is said in a row but the system text, which rows of one task share."""
    return "\n".join(turn["content"] for turn in row["messages"] if turn["role"] != "system")


def asked(row: Row) -> str:
    """The last question; of plain text, the text."""
    return questions.asked(row) or said(row)


def answer(row: Row) -> str:
    """The last answer; of plain text, the text."""
    return questions.truth(row) or said(row)
