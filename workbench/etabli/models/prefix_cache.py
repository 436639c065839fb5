"""Batches of prompts with a common prefix: the prefix goes through the model once, the rest is padded on the left."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etabli.models import kv_cache

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PretrainedConfig, PreTrainedModel


@dataclass
class Prefix:
    """The tokens that all prompts begin with: how many, and their key-value cache (None: nothing is shared)."""

    length: int = 0
    cache: "Cache | None" = None

    def copies(self, rows: int) -> "Cache | None":
        """Return the cache repeated for a batch of ``rows`` rows; the model writes into it."""
        if self.cache is None:
            return None
        batch_cache = copy.deepcopy(self.cache)
        batch_cache.batch_repeat_interleave(rows)
        return batch_cache


def compute_prefix(model: "PreTrainedModel", prompts: list[list[int]], max_length: int | None = None) -> Prefix:
    """Send the common prefix of prompts through the model and return it with its cache.

    The result is empty unless every layer has full attention: a sliding window counts the padding that comes after the
    prefix, and a recurrent state can't be padded at all.

    Args:
        model: a causal LM in eval mode.
        prompts: token ids.
        max_length: most tokens of the prefix.
    """
    import torch

    length = common_prefix(prompts) if max_length is None else min(max_length, common_prefix(prompts))
    if length < 1 or not _has_full_attention(model):
        return Prefix()
    ids = torch.tensor([prompts[0][:length]], device=model.device)
    with torch.inference_mode():
        output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    cache = kv_cache.attention_cache_of(output, kv_cache.FULL_ATTENTION)
    return Prefix() if cache is None else Prefix(length, cache)


def _has_full_attention(model: "PreTrainedModel") -> bool:
    config = model.config.get_text_config()
    return not is_recurrent(model) and not (getattr(config, "sliding_window", None) and _uses_window(config))


def _uses_window(config: "PretrainedConfig") -> bool:
    kinds = getattr(config, "layer_types", None)
    return any("full" not in kind for kind in kinds) if kinds else bool(getattr(config, "use_sliding_window", True))


def is_recurrent(model: "PreTrainedModel") -> bool:
    """Return whether the model carries a state from token to token; padding would enter it, so rows go one by one."""
    return bool(getattr(model, "_is_stateful", False))


def common_prefix(prompts: list[list[int]]) -> int:
    """Return how many first tokens all prompts have in common; every prompt keeps at least one token of its own."""
    if len(prompts) < 2:
        return 0
    low, high = min(prompts), max(prompts)
    length = next((place for place, (a, b) in enumerate(zip(low, high)) if a != b), min(len(low), len(high)))
    return min(length, min(map(len, prompts)) - 1)


def make_batches(order: list[int], sizes: list[int], max_tokens: int) -> Iterator[list[int]]:
    """Cut an order of rows into batches of at most ``max_tokens``: rows times the largest size, as padding makes it.

    A row that is larger alone makes a batch of one.
    """
    batch: list[int] = []
    largest = 0
    for index in order:
        largest = max(largest, sizes[index])
        if batch and (len(batch) + 1) * largest > max_tokens:
            yield batch
            batch, largest = [], sizes[index]
        batch.append(index)
    if batch:
        yield batch


def pad_left(
    prompts: list[list[int]], prefix_length: int, pad: int, device: "torch.device | str"
) -> dict[str, "torch.Tensor"]:
    """Put padding between the prefix and the rest, so that the cached prefix is at the same place in every row.

    Args:
        prompts: token ids, all with the same first ``prefix_length``.
        prefix_length: tokens of the common prefix.
        pad: the padding token.
        device: where the tensors are made.

    Returns:
        ``input_ids`` and ``attention_mask``, int64 (rows, tokens).
    """
    import torch

    longest = max(map(len, prompts))
    ids, mask = [], []
    for prompt in prompts:
        padding = longest - len(prompt)
        ids.append([*prompt[:prefix_length], *[pad] * padding, *prompt[prefix_length:]])
        mask.append([*[1] * prefix_length, *[0] * padding, *[1] * (len(prompt) - prefix_length)])
    return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}
