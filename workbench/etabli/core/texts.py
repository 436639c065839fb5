"""One normal form of text, for every place that asks whether two texts are the same."""

import unicodedata

EDGES = " \t\r\n.,;:!?¡¿…\"'«»“”‘’"


def fold(text: str) -> str:
    """Return the text in NFKC form and small letters, with each run of blanks as one space.

    Punctuation and signs stay. ``evaluation/scores`` has other rules on purpose: there each rule is a published score.
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def fold_sentence(text: str) -> str:
    """Return ``fold(text)`` without blanks, quotation marks and punctuation at both ends.

    Signs within the text stay: 5 - 3 is not 5 + 3.
    """
    return fold(text).strip(EDGES)


def compose(text: str) -> str:
    """Return the text in NFC: a letter and its accent are one sign, whether they were typed as one or as two."""
    return unicodedata.normalize("NFC", text)
