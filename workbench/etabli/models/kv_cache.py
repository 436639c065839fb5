"""The key-value cache of a forward pass, under the name that the installed transformers uses."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Cache
    from transformers.utils.generic import ModelOutput

FULL_ATTENTION = ("DynamicLayer",)
ATTENTION = (*FULL_ATTENTION, "DynamicSlidingWindowLayer")  # these can be extended by any number of tokens


def cache_argument(cache: "Cache | None") -> dict[str, "Cache | None"]:
    """Return ``cache`` as the keyword argument of a forward pass.

    transformers 5.24 calls it ``cache`` and warns about ``past_key_values``; earlier versions know only the latter.
    """
    return {_cache_name(): cache}


def cache_of(output: "ModelOutput") -> "Cache | None":
    """Return the cache in a forward pass's output; None if there is none."""
    return getattr(output, _cache_name(), None)


def attention_cache_of(output: "ModelOutput", kinds: tuple[str, ...] = ATTENTION) -> "Cache | None":
    """Return the cache in a forward pass's output if all its layers hold keys and values alone, else None.

    Recurrent and hybrid models (Mamba, Qwen3-Next) return a cache too, since transformers 5.24, but their state can be
    continued by one token at a time only: continued by several tokens, the logits are wrong without an error.

    Args:
        output: of a model called with ``use_cache``.
        kinds: class names of layers that are accepted.
    """
    cache = cache_of(output)
    layers = getattr(cache, "layers", None) or []
    if cache is None or not layers or any(type(layer).__name__ not in kinds for layer in layers):
        return None
    return cache if cache.get_seq_length() else None  # some models take one and leave it empty


def _cache_name() -> str:
    from transformers.utils.generic import ModelOutput

    return "cache" if hasattr(ModelOutput, "_replace_old_cache_name") else "past_key_values"
