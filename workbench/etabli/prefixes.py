"""Batches of prompts that begin alike: the shared beginning goes through the model once, the rest is padded left."""

from collections.abc import Iterator
from typing import Any


def batches(order: list[int], sizes: list[int], most: int) -> Iterator[list[int]]:
    """Cut an order, shortest first, where the next row would make a padded batch larger than ``most`` tokens."""
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * sizes[index] > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def common_prefix(prompts: list[list[int]]) -> int:
    """Length of what all prompts begin with, leaving every prompt at least one token of its own."""
    if len(prompts) < 2:
        return 0
    low, high = min(prompts), max(prompts)
    same = next((at for at, (a, b) in enumerate(zip(low, high)) if a != b), min(len(low), len(high)))
    return min(same, min(map(len, prompts)) - 1)


def prefilled(model: Any, ids: list[int]) -> Any:
    """What attention keeps of these tokens, to be copied for each batch; None for no tokens."""
    import torch

    if not ids:
        return None

    with torch.inference_mode():
        return model(
            input_ids=torch.tensor([ids], device=model.device), use_cache=True, logits_to_keep=1
        ).past_key_values


def repeated(cache: Any, times: int) -> Any:
    """A copy of a prefilled cache for a batch of so many rows."""
    import copy

    if cache is None:
        return None
    cache = copy.deepcopy(cache)
    cache.batch_repeat_interleave(times)
    return cache


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
