"""Batches of prompts that begin alike: the shared beginning goes through the model once, the rest is padded left."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from etabli.models import kv_cache


@dataclass
class Beginning:
    """What all prompts begin with: how many tokens, and what attention keeps of them (None: nothing is shared)."""

    length: int = 0
    cache: Any = None

    def copies(self, rows: int) -> Any:
        """The cache for a batch of so many rows; the model writes into it."""
        if self.cache is None:
            return None
        made = copy.deepcopy(self.cache)
        made.batch_repeat_interleave(rows)
        return made


def beginning(model: Any, prompts: list[list[int]], most: int | None = None) -> Beginning:
    """Send the common beginning of prompts through the model, where a copy of its cache can stand for it.

    That takes full attention in every layer: a sliding window counts the padding that comes after the beginning, and a
    recurrent state can't be padded at all. Then nothing is shared.

    Args:
        most: at most so many tokens are shared.
    """
    import torch

    length = common_prefix(prompts) if most is None else min(most, common_prefix(prompts))
    if length < 1 or not _full_attention(model):
        return Beginning()
    ids = torch.tensor([prompts[0][:length]], device=model.device)
    with torch.inference_mode():
        cache = kv_cache.of(model(input_ids=ids, use_cache=True, logits_to_keep=1))
    plain = all(type(layer).__name__ == "DynamicLayer" for layer in getattr(cache, "layers", [None]))
    return Beginning(length, cache) if plain else Beginning()


def _full_attention(model: Any) -> bool:
    config = model.config.get_text_config()
    return not recurrent(model) and not (getattr(config, "sliding_window", None) and _uses_window(config))


def _uses_window(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    return any("full" not in kind for kind in kinds) if kinds else getattr(config, "use_sliding_window", True)


def recurrent(model: Any) -> bool:
    """Does the model carry a state from token to token? Padding would get into it: its rows go one by one."""
    return bool(getattr(model, "_is_stateful", False))


def common_prefix(prompts: list[list[int]]) -> int:
    """Length of what all prompts begin with, leaving every prompt at least one token of its own."""
    if len(prompts) < 2:
        return 0
    low, high = min(prompts), max(prompts)
    same = next((at for at, (a, b) in enumerate(zip(low, high)) if a != b), min(len(low), len(high)))
    return min(same, min(map(len, prompts)) - 1)


def batches(order: list[int], sizes: list[int], most: int) -> Iterator[list[int]]:
    """Cut an order where the next row would make a padded batch larger than ``most``: rows times the largest size."""
    batch: list[int] = []
    largest = 0
    for index in order:
        largest = max(largest, sizes[index])
        if batch and (len(batch) + 1) * largest > most:
            yield batch
            batch, largest = [], sizes[index]
        batch.append(index)
    if batch:
        yield batch


def left_padded(prompts: list[list[int]], shared: int, pad: int, device: Any) -> dict[str, Any]:
    """Shared beginning, then padding, then the rest: so the cached beginning stays at the same place in every row.

    Args:
        prompts: token ids, all with the same first ``shared``; pad: the padding token.

    Returns:
        ``input_ids`` and ``attention_mask``, int64 (rows, tokens).
    """
    import torch

    longest = max(map(len, prompts))
    ids, mask = [], []
    for prompt in prompts:
        blank = longest - len(prompt)
        ids.append([*prompt[:shared], *[pad] * blank, *prompt[shared:]])
        mask.append([*[1] * shared, *[0] * blank, *[1] * (len(prompt) - shared)])
    return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}
