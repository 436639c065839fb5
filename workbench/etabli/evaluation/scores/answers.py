"""Scores of a text against the truth: equal, equal but for form, the same number, a pattern."""

import re
import string
from decimal import Decimal, InvalidOperation

from etabli.evaluation.scores.structured import UNREADABLE, read, same

# Digits in the English way: groups of three after a comma or a no-break space, a point before the fraction.
NUMBER = re.compile(
    r"""(?<![\w.]) [-+−]?
        (?: (?: [0-9]{1,3} (?:[,\u00a0\u202f][0-9]{3})+ | [0-9]+ ) (?: \.[0-9]+ )? | \.[0-9]+ )
        (?! \w | \.[0-9] )""",
    re.VERBOSE,
)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact(answer: str, truth: str) -> bool:
    """Equal as JSON where the truth is JSON (order of keys and blanks aside), else as text with blanks squeezed."""
    wanted = read(truth)
    if wanted is UNREADABLE:
        return " ".join(answer.split()) == " ".join(truth.split())
    return same(read(answer), wanted)


def normalised(answer: str, truth: str) -> bool:
    """Equal but for case, ASCII punctuation, English articles and blanks (SQuAD's rule, arXiv 1606.05250)."""
    return _plain(answer) == _plain(truth)


def _plain(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def number(answer: str, truth: str) -> bool:
    """The last number in the answer equals the last in the truth, thousands separators aside.

    Raises:
        ValueError: the truth holds no number.
    """
    wanted = last_number(truth)
    if wanted is None:
        raise ValueError(f"the truth holds no number: {truth[:60]!r}")
    return last_number(answer) == wanted


def last_number(text: str) -> Decimal | None:
    """The last number written in digits: 1,234.5 is one; the 2 of ``H2O`` is none."""
    found = [match[0] for match in NUMBER.finditer(text)]
    if not found:
        return None
    try:
        return Decimal(re.sub("[,\u00a0\u202f]", "", found[-1]).replace("−", "-"))
    except InvalidOperation:
        return None
