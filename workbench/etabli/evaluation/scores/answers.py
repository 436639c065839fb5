"""Scores of a text against the truth: equal, equal but for form, the same number, a pattern."""

import re
import string
from decimal import Decimal

from etabli.core.texts import compose
from etabli.evaluation.scores.structured import UNREADABLE, is_equal, read_json

# Everything that a person would call one number: 1,234.5 and 2/3 and 12:30 and 1.000,50.
_TOKEN = re.compile(
    r"""(?<!\w)(?<![0-9][.,/:]) [-+−–]?
        (?: [0-9]+ (?: [.,/:\u00a0\u202f][0-9]+ | [ ][0-9]{3}(?![0-9]) )* | \.[0-9]+ ) (?: [eE][-+]?[0-9]+(?!\w) )?""",
    re.VERBOSE,
)
# The numbers that are read: digits, groups of three after a comma or a blank, a point before the fraction.
_READ = re.compile(
    r"""[-+]? (?: [0-9]{1,3} (?P<mark>[,\u00a0\u202f ])[0-9]{3} (?: (?P=mark)[0-9]{3} )* | [0-9]* )
        (?: \.[0-9]+ )? (?: [eE][-+]?[0-9]{1,4} )?""",
    re.VERBOSE,
)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact(answer: str, truth: str) -> bool:
    """Equal as JSON where the truth is JSON (order of keys and blanks aside), else as text with blanks squeezed.

    Accents are composed (NFC), also in JSON.
    """
    true_value = read_json(truth)
    if true_value is UNREADABLE:
        return compose(" ".join(answer.split())) == compose(" ".join(truth.split()))
    return is_equal(read_json(answer), true_value)


def normalised(answer: str, truth: str) -> bool:
    """Equal but for case, ASCII punctuation, English articles and blanks (SQuAD's rule, arXiv 1606.05250).

    If this rule leaves nothing of the truth (``A``, ``+``), only case and blanks are ignored.
    """
    answer, truth = compose(answer), compose(truth)
    if _plain(truth):
        return _plain(answer) == _plain(truth)
    return answer.lower().split() == truth.lower().split()


def _plain(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def number(answer: str, truth: str) -> bool:
    """The last number in the answer equals the last in the truth, thousands separators and units aside.

    Raises:
        ValueError: the last number of the truth is missing or ambiguous.
    """
    true_number = last_number(truth)
    if true_number is None:
        raise ValueError(f"the truth has no last number that can be read in one way: {truth[-60:]!r}")
    return last_number(answer) == true_number


def last_number(text: str) -> Decimal | None:
    """The last number in digits, written as in English: 1,234.5 or 50km or 1e5.

    None if there is none, or if the last one is ambiguous (2,5) or is several numbers (3/4, 12:30, 1,2,3).
    """
    tokens = [match[0] for match in _TOKEN.finditer(text)]
    digits = tokens[-1].replace("−", "-").replace("–", "-") if tokens else ""
    if not digits or not _READ.fullmatch(digits):
        return None
    return Decimal(re.sub("[,\u00a0\u202f ]", "", digits))
