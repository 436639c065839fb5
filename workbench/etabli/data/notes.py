"""What is said about a row: a note while it is read, a ``contracts.Finding`` once its row and line are known."""

import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from etabli.core.secrets import hidden

EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding. ``severity`` is error (the row can't be used as it stands), warning or info."""

    severity: str
    why: str
    fix: str


class Note(NamedTuple):
    """One thing noticed: a code of the catalogue, where in the row, what it looks like, and why if it is special."""

    code: str
    field: str = ""
    excerpt: str = ""
    why: str = ""


# What a terminal or a page would hide or obey: controls, surrogates, direction marks, zero widths, private use, tags.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SAFE = re.compile(r"[ -~]*")


_REACH = 300  # characters before and after an excerpt in which a secret may begin or end


def excerpt(text: object, at: int = 0) -> str:
    """A piece of text around a place, one line, everything invisible written as an escape, secrets covered."""
    said = text if isinstance(text, str) else _short(text)
    start = max(0, min(at - EXCERPT // 4, len(said) - EXCERPT))
    before = max(0, start - _REACH)
    piece = hidden(said[before : start + EXCERPT + _REACH])[start - before :][:EXCERPT]
    return ("…" if start else "") + escaped(piece) + ("…" if start + EXCERPT < len(said) else "")


def _short(value: object) -> str:
    try:
        return repr(value)[: 4 * EXCERPT]
    except ValueError:  # a whole number of thousands of digits
        return f"a {type(value).__name__} too long to be shown"


def escaped(text: str) -> str:
    """Text in which nothing is hidden: line breaks, controls and direction marks are written out."""
    if _SAFE.fullmatch(text):
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _HIDDEN else char for char in text)


def _escape(char: str) -> str:
    return (
        repr(char)[1:-1]
        if char in "\n\r\t"
        else f"\\u{ord(char):04x}"
        if ord(char) < 0x10000
        else f"\\U{ord(char):08x}"
    )


def masked(secret: str) -> str:
    """Enough of a secret to find it again, too little to use it."""
    return escaped(secret[:4]) + "…" + f"({len(secret)} characters)"
