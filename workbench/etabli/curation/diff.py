"""What differs between two texts, word by word."""

import re
from difflib import SequenceMatcher

MOST = 400  # words of each text that are compared: more takes longer than a key press
_WORD = re.compile(r"[^\W_]+\s*|.\s*|\s+", re.DOTALL)


def difference(one: str, other: str) -> list[tuple[str, str]]:
    """Pieces of both texts in order: (``same``, ``out``: only in the first, ``in``: only in the second; text).

    Of texts with more than ``MOST`` words the rest is one piece, ``cut``, that says how much was not compared.
    """
    mine, theirs = _WORD.findall(one), _WORD.findall(other)
    found: list[tuple[str, str]] = []
    for tag, a, b, c, d in SequenceMatcher(None, mine[:MOST], theirs[:MOST], autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(("same", "".join(mine[a:b])))
            continue
        found += [(name, text) for name, text in (("out", "".join(mine[a:b])), ("in", "".join(theirs[c:d]))) if text]
    rest = max(len(mine), len(theirs)) - MOST
    return [*found, ("cut", f" … {rest} more words are not compared")] if rest > 0 else found
