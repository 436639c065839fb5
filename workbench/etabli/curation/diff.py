"""Compare two texts word by word."""

import re
from difflib import SequenceMatcher

from etabli.core.wording import count_of

MAX_WORDS = 400  # of each text; comparing more takes longer than a key press
_WORD = re.compile(r"[^\W_]+\s*|.\s*|\s+", re.DOTALL)


def compare_words(first: str, second: str) -> list[tuple[str, str]]:
    """Return the segments of both texts in order, as (kind, text).

    Kinds: ``same``; ``out``, only in the first text; ``in``, only in the second. When a text has more than
    ``MAX_WORDS`` words, the last segment has the kind ``cut`` and says how many words were not compared.
    """
    first_words, second_words = _WORD.findall(first), _WORD.findall(second)
    matcher = SequenceMatcher(None, first_words[:MAX_WORDS], second_words[:MAX_WORDS], autojunk=False)
    segments: list[tuple[str, str]] = []
    for tag, start, stop, second_start, second_stop in matcher.get_opcodes():
        old_text, new_text = "".join(first_words[start:stop]), "".join(second_words[second_start:second_stop])
        if tag == "equal":
            segments.append(("same", old_text))
        else:
            segments += [(kind, text) for kind, text in (("out", old_text), ("in", new_text)) if text]
    excess = max(len(first_words), len(second_words)) - MAX_WORDS
    return (
        [*segments, ("cut", f" … {count_of(excess, 'more word is', 'more words are')} not compared")]
        if excess > 0
        else segments
    )
