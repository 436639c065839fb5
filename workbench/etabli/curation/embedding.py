"""Turn texts into embedding vectors, with weights that come in a Python package: no model hub is needed."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etabli.core import trust
from etabli.core.errors import BadInput

DEFAULT = "wordllama"
MAX_CHARACTERS = 4000  # of each text; the rest is not embedded
Vectors = NDArray[np.float32]
Encoder = Callable[[list[str]], Vectors]


def embed_texts(texts: Sequence[str], encoder: str = DEFAULT) -> Vectors:
    """Return one embedding for each text.

    Args:
        encoder: ``wordllama`` (made for English: it knows words, but hardly that two languages say the same), or
            ``mine.py:function``. The function gets a list of texts and returns an array (texts, dimensions); the user
            must have trusted its file.

    Returns:
        float32 (texts, dimensions), each row of length 1; zeros where a text has no word.

    Raises:
        BadInput: there is no such encoder, or it does not return such an array.
        UntrustedCode: the user has not trusted the encoder's file.
    """
    vectors = np.asarray(_load_encoder(encoder)([text[:MAX_CHARACTERS] for text in texts]), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise BadInput(
            f"{encoder} returned an array of shape {vectors.shape} for {len(texts)} texts. "
            "Return one row of finite numbers for each text."
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit_vectors: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit_vectors


def _load_encoder(name: str) -> Encoder:
    if name == DEFAULT:
        return _load_wordllama()
    path, separator, function_name = name.rpartition(":")
    if not separator:
        raise BadInput(f"Unknown encoder {name!r}: write {DEFAULT}, or mine.py:function.")
    encoder: Encoder | None = getattr(trust.trusted_code(path, "encoders").run(), function_name, None)
    if not callable(encoder):
        raise BadInput(f"{path} has no function {function_name}: write the name of a function in that file.")
    return encoder


@cache
def _load_wordllama() -> Encoder:
    import wordllama

    # Its loader looks for the tokenizer in a folder that its wheel names otherwise; as a cache the wheel's own fits.
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    return lambda texts: model.embed(texts)
