"""Scores of a text against the truth: equal, equal but for form, the same number, a pattern."""

import re
import string
from decimal import Decimal

from etabli.evaluation.scores.structured import UNREADABLE, read, same

# What a person would call one number, whatever it is made of: 1,234.5 and 2/3 and 12:30 and 1.000,50.
_TOKEN = re.compile(
    r"""(?<!\w)(?<![0-9][.,/:]) [-+−–]?
        (?: [0-9]+ (?: [.,/:\u00a0\u202f][0-9]+ | [ ][0-9]{3}(?![0-9]) )* | \.[0-9]+ ) (?: [eE][-+]?[0-9]+(?!\w) )?""",
    re.VERBOSE,
)
# Those of them that are read: digits, groups of three after a comma or a blank, a point before the fraction.
_READ = re.compile(
    r"""[-+]? (?: [0-9]{1,3} (?P<mark>[,\u00a0\u202f ])[0-9]{3} (?: (?P=mark)[0-9]{3} )* | [0-9]* )
        (?: \.[0-9]+ )? (?: [eE][-+]?[0-9]{1,4} )?""",
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
    """Equal but for case, ASCII punctuation, English articles and blanks (SQuAD's rule, arXiv 1606.05250).

    A truth of which nothing is left by that (``A``, ``+``) has to be equal but for case and blanks.
    """
    return _plain(answer) == _plain(truth) if _plain(truth) else _squeezed(answer) == _squeezed(truth)


def _plain(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _squeezed(text: str) -> str:
    return " ".join(text.lower().split())


def number(answer: str, truth: str) -> bool:
    """The last number in the answer equals the last in the truth, thousands separators and units aside.

    Raises:
        ValueError: the truth ends in no number that can be read in one way.
    """
    wanted = last_number(truth)
    if wanted is None:
        raise ValueError(f"the truth has no last number that can be read in one way: {truth[-60:]!r}")
    return last_number(answer) == wanted


def last_number(text: str) -> Decimal | None:
    """The last number in digits, written as in English: 1,234.5 or 50km or 1e5.

    None if there is none, or if what stands last may be read in two ways (2,5) or is several (3/4, 12:30, 1,2,3).
    """
    found = [match[0] for match in _TOKEN.finditer(text)]
    written = found[-1].replace("−", "-").replace("–", "-") if found else ""
    if not written or not _READ.fullmatch(written):
        return None
    return Decimal(re.sub("[,\u00a0\u202f ]", "", written))
