"""Which language is this? py3langid, asked only where a text is long enough to tell."""

import re
from functools import cache, lru_cache

SHORTEST = 20  # letters; below, a guess is worth little
SURE = 0.97
MOST_READ = 240  # characters; more tells no better and takes longer
NAME = "py3langid"
_LETTERS = re.compile(r"[^\W\d_]")
_NOISE = re.compile(r"```.*?(?:```|\Z)|https?://\S+|[\w.+-]+@\S+|<[^>]{1,80}>|[{}\[\]|=_/\\]", re.DOTALL)


@cache
def _identifier():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _labels() -> frozenset[str]:
    return frozenset(_identifier().labels)


def told(text: str) -> tuple[str | None, float]:
    """(ISO 639-1 code, probability), or (None, 0) where the text is too short or too little of it is words."""
    words = _NOISE.sub(" ", text[: 2 * MOST_READ])[:MOST_READ]
    if len(_LETTERS.findall(words)) < SHORTEST:
        return None, 0.0
    name, probability = _identifier().classify(words)
    return name, float(probability)


def sure(text: str) -> str | None:
    """The language, if there is little doubt."""
    return _sure(text[: 2 * MOST_READ])


@lru_cache(maxsize=4096)
def _sure(beginning: str) -> str | None:
    name, probability = told(beginning)
    return name if probability >= SURE else None


_THREE = {"eng": "en", "fra": "fr", "fre": "fr", "deu": "de", "ger": "de", "spa": "es", "ita": "it", "por": "pt"}


def base(tag: str | None) -> str | None:
    """``fr`` of ``fr-CA``, ``fr_FR`` or ``fra``; None of what is no language that can be told (``php``, ``und``)."""
    said = re.match(r"[a-z]{2,3}(?=[-_]|\Z)", (tag or "").strip().casefold())
    name = _THREE.get(said[0], said[0]) if said else None
    return name if name in _labels() else None
