"""Remarks about a row: a ``Note`` while it is read, a ``contracts.Finding`` once its row and line are known."""

from dataclasses import dataclass
from typing import NamedTuple

from etabli.core.secrets import cover_secrets
from etabli.core.terminal import escape_controls

EXCERPT = 80


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding. ``severity`` is error (the row can't be used as it stands), warning or info."""

    severity: str
    why: str
    fix: str


class Note(NamedTuple):
    """One remark: a code of the catalogue, the field, an excerpt, and a reason if it differs from the code's.

    ``span``: start and end, in the field's text, of what it is about; None if it is about the whole text.
    """

    code: str
    field: str = ""
    excerpt: str = ""
    why: str = ""
    span: tuple[int, int] | None = None


_IN_ONE_LINE = str.maketrans({"\n": "\\n", "\r": "\\r", "\t": "\\t"})


_REACH = 300  # characters before and after an excerpt in which a secret may begin or end


def excerpt(text: object, position: int = 0) -> str:
    """Return a part of a text around a position in one line, with invisible characters escaped and secrets covered."""
    full_text = text if isinstance(text, str) else _short(text)
    start = max(0, min(position - EXCERPT // 4, len(full_text) - EXCERPT))
    begin = max(0, start - _REACH)
    part = cover_secrets(full_text[begin : start + EXCERPT + _REACH])[start - begin :][:EXCERPT]
    return ("…" if start else "") + escape_invisible(part) + ("…" if start + EXCERPT < len(full_text) else "")


def _short(value: object) -> str:
    try:
        return repr(value)[: 4 * EXCERPT]
    except ValueError:  # a whole number of thousands of digits
        return f"a {type(value).__name__} too long to be shown"


def escape_invisible(text: str) -> str:
    """Return a text in one line: line breaks and tabs as escapes, and hidden signs written out as in a terminal."""
    return escape_controls(text.translate(_IN_ONE_LINE))


def mask_secret(secret: str) -> str:
    """Return the first four characters of a secret and its length: enough to find it, too little to use it."""
    return escape_invisible(secret[:4]) + "…" + f"({len(secret)} characters)"
