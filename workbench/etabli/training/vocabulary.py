"""Compare a tokenizer with its model before anything is loaded: a token without a row in the embedding ends a run."""

from typing import TYPE_CHECKING

from etabli.core import parsing
from etabli.core.errors import BadInput
from etabli.models.sources import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SHOWN_TOKENS = 5


def require_embeddings(tokenizer: "PreTrainedTokenizerBase", source: Source) -> None:
    """Check that the embedding has a row for every id of the tokenizer.

    Raises:
        BadInput: it has fewer, as after ``add_tokens`` without ``resize_token_embeddings``.
    """
    config = parsing.read_json(source.folder / "config.json", parsing.LARGEST_CONFIG, lenient=True)
    text_config = config.get("text_config")
    rows = (text_config if isinstance(text_config, dict) else config).get("vocab_size", config.get("vocab_size"))
    if not isinstance(rows, int):
        return
    beyond = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number >= rows)
    if beyond:
        names = ", ".join(repr(token) for _, token in beyond[:SHOWN_TOKENS]) + " …" * (len(beyond) > SHOWN_TOKENS)
        raise BadInput(
            f"The tokenizer of {source.name} has ids up to {beyond[-1][0]}, but the model's embedding has {rows} rows: "
            f"{names} {'has' if len(beyond) == 1 else 'have'} none. Call model.resize_token_embeddings(len(tokenizer)) "
            "and save the model with this tokenizer, or use the tokenizer that the model came with."
        )
