"""Detect the language of a text with py3langid, if the text is long enough."""

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

MIN_LETTERS = 20  # below, a guess is often wrong
MIN_PROBABILITY = 0.97
MAX_CHARACTERS = 240  # more makes the answer no better, and slower
NAME = "py3langid"
_LETTERS = re.compile(r"[^\W\d_]")
_NOISE = re.compile(r"```.*?(?:```|\Z)|https?://\S+|[\w.+-]+@\S+|<[^>]{1,80}>|[{}\[\]|=_/\\]", re.DOTALL)
# ISO 639-2 -> ISO 639-1
_THREE_LETTER_CODES = {
    **{"eng": "en", "fra": "fr", "fre": "fr", "deu": "de"},
    **{"ger": "de", "spa": "es", "ita": "it", "por": "pt"},
}


@cache
def _identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def classify(text: str) -> tuple[str | None, float]:
    """Return (ISO 639-1 code, probability); (None, 0) if the text has too few letters outside of code and links."""
    prose = _NOISE.sub(" ", text[: 2 * MAX_CHARACTERS])[:MAX_CHARACTERS]
    if len(_LETTERS.findall(prose)) < MIN_LETTERS:
        return None, 0.0
    code, probability = _identifier().classify(prose)
    return code, float(probability)


def detect(text: str) -> str | None:
    """Return the language, if its probability is ``MIN_PROBABILITY`` or more."""
    return _detect(text[: 2 * MAX_CHARACTERS])


@lru_cache(maxsize=4096)
def _detect(beginning: str) -> str | None:
    code, probability = classify(beginning)
    return code if probability >= MIN_PROBABILITY else None


@cache
def _known_codes() -> frozenset[str]:
    return frozenset(_identifier().labels)


def base_code(tag: str | None) -> str | None:
    """Return ``fr`` for ``fr-CA``, ``fr_FR`` or ``fra``; None if it is no language that can be detected."""
    match = re.match(r"[a-z]{2,3}(?=[-_]|\Z)", (tag or "").strip().casefold())
    code = _THREE_LETTER_CODES.get(match[0], match[0]) if match else None
    return code if code in _known_codes() else None
