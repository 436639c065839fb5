"""The key-value cache of a forward pass, by whichever name the installed transformers gives it."""

from typing import Any

ATTENTION_LAYERS = ("DynamicLayer", "DynamicSlidingWindowLayer")  # any number of tokens may be added to these


def argument(cache: Any) -> dict[str, Any]:
    """``cache`` as the keyword argument of a forward pass.

    transformers 5.24 calls it ``cache`` and takes ``past_key_values`` with a warning; before, only the latter.
    """
    return {_name(): cache}


def of(output: Any) -> Any:
    """The cache that a forward pass hands out; None if there is none."""
    return getattr(output, _name(), None)


def of_attention(output: Any) -> Any:
    """The cache of a forward pass if keys and values are all it holds; else None.

    A recurrent or hybrid model (Mamba, Qwen3-Next) hands out a cache too, since transformers 5.24, but its state can
    only be continued one token at a time: continued by several, the logits are wrong without an error.
    """
    cache = of(output)
    layers = getattr(cache, "layers", None) or []
    return cache if layers and all(type(layer).__name__ in ATTENTION_LAYERS for layer in layers) else None


def _name() -> str:
    from transformers.utils.generic import ModelOutput

    return "cache" if hasattr(ModelOutput, "_replace_old_cache_name") else "past_key_values"
