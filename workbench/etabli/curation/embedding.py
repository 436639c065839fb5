"""Texts as vectors, with weights that come in a package: no hub is asked."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from etabli.core import trust
from etabli.core.errors import BadInput

DEFAULT = "wordllama"
LONGEST = 4000  # characters of a text that are read
Encoder = Callable[[list[str]], np.ndarray]


def vectors(texts: Sequence[str], encoder: str = DEFAULT) -> np.ndarray:
    """Embed texts.

    Args:
        encoder: ``wordllama`` (English first: it knows words, and hardly that two languages say the same), or
            ``mine.py:function``, a function of a list of texts that returns an array (texts, dimensions), in a file
            that this user said yes to.

    Returns:
        float32 (texts, dimensions), each row of length 1; zeros where a text has no word.

    Raises:
        BadInput: no such encoder, or what it returns is no such array; UntrustedCode: nobody said yes to its file.
    """
    made = np.asarray(_encoder(encoder)([text[:LONGEST] for text in texts]), dtype=np.float32)
    if made.ndim != 2 or len(made) != len(texts) or not np.isfinite(made).all():
        raise BadInput(
            f"{encoder} returned an array {made.shape} for {len(texts)} texts; it has to be finite, a row each."
        )
    length = np.linalg.norm(made, axis=1, keepdims=True)
    return np.divide(made, length, out=np.zeros_like(made), where=length > 0)


def _encoder(name: str) -> Encoder:
    if name == DEFAULT:
        return _wordllama()
    path, mark, function = name.rpartition(":")
    if not mark:
        raise BadInput(f"Unknown encoder {name!r}: it is {DEFAULT}, or mine.py:function.")
    found = getattr(trust.trusted_code(path, "encoders").run(), function, None)
    if not callable(found):
        raise BadInput(f"{path} has no function {function}.")
    return found


@cache
def _wordllama() -> Encoder:
    import wordllama

    # Its loader looks for the tokenizer in a folder that its wheel names otherwise; as a cache the wheel's own fits.
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    return lambda texts: model.embed(texts)
