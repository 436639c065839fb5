"""Compare a vocabulary with its model before the model is used: a token without a row in the embedding ends a run."""

from collections.abc import Mapping
from pathlib import Path

from etabli.core import parsing
from etabli.core.errors import BadInput

SHOWN_TOKENS = 5


def require_embeddings(vocabulary: Mapping[str, int], folder: Path, model: str) -> None:
    """Check that the embedding has a row for every id of the vocabulary, if the folder has the model's ``config.json``.

    Raises:
        BadInput: it has fewer, as after ``add_tokens`` without ``resize_token_embeddings``.
    """
    if not (folder / "config.json").is_file():
        return
    config = parsing.read_json(folder / "config.json", parsing.LARGEST_CONFIG, lenient=True)
    text_config = config.get("text_config")
    rows = (text_config if isinstance(text_config, dict) else config).get("vocab_size", config.get("vocab_size"))
    if not isinstance(rows, int):
        return
    beyond = sorted((number, token) for token, number in vocabulary.items() if number >= rows)
    if beyond:
        names = ", ".join(repr(token) for _, token in beyond[:SHOWN_TOKENS]) + " …" * (len(beyond) > SHOWN_TOKENS)
        raise BadInput(
            f"The tokenizer of {model} has ids up to {beyond[-1][0]}, but the model's embedding has {rows} rows: "
            f"{names} {'has' if len(beyond) == 1 else 'have'} none. Call model.resize_token_embeddings(len(tokenizer)) "
            "and save the model with this tokenizer, or use the tokenizer that the model came with."
        )
