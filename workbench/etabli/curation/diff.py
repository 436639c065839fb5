"""What differs between two texts, word by word."""

import re
from difflib import SequenceMatcher

MOST = 1500  # words of each text that are compared
_PIECE = re.compile(r"\s+|[^\W_]+|.", re.DOTALL)


def difference(one: str, other: str) -> list[tuple[str, str]]:
    """Pieces of both texts in order: (``same``, ``out``: only in the first, or ``in``: only in the second; text)."""
    mine, theirs = _pieces(one), _pieces(other)
    found: list[tuple[str, str]] = []
    for tag, a, b, c, d in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(("same", "".join(mine[a:b])))
            continue
        found += [(name, text) for name, text in (("out", "".join(mine[a:b])), ("in", "".join(theirs[c:d]))) if text]
    return found


def _pieces(text: str) -> list[str]:
    return _PIECE.findall(text)[:MOST]
