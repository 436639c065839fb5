"""Attention that can't leave its row: of a pack, each row attends to itself alone, and nothing is spent on the rest.

With a block-diagonal mask SDPA still computes every pair of tokens in a pack: of 17 rows that is 17 times the work that
matters, 42 % of a step on a CPU. Here rows of about one length are laid side by side as a batch of their own, filled up
to the longest (after the end, where causal attention never looks), and go through transformers' SDPA without any mask,
which is also what lets a T4 choose its memory-efficient kernel (not run on one).
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "etabli_rows"
STEP = 32  # tokens: rows whose lengths round up to the same multiple share a batch
SHORT = 128  # tokens: up to here, on a CPU, plain products take a quarter of the time of SDPA's blocks


class Layout(NamedTuple):
    """Where each token of a pack goes when its rows are laid side by side."""

    spread: Tensor  # int64 (places,): which token stands in each place; token 0 in the places that are filled up
    gather: Tensor  # int64 (tokens,): in which place each token stands
    batches: list[tuple[int, int]]  # (rows, length) of each batch, in the order of the places


def layout(lengths: Sequence[int], device: Any = "cpu") -> Layout:
    """Lay out rows of these lengths, in tokens, which follow one another in the pack."""
    starts = [sum(lengths[:at]) for at in range(len(lengths))]
    alike: dict[int, list[int]] = {}
    for at, length in enumerate(lengths):
        alike.setdefault(-(-length // STEP), []).append(at)
    spread: list[int] = []
    gather = [0] * sum(lengths)
    batches = []
    for rows in alike.values():
        longest = max(lengths[at] for at in rows)
        for at in rows:
            start, stop = starts[at], starts[at] + lengths[at]
            gather[start:stop] = range(len(spread), len(spread) + lengths[at])
            spread += [*range(start, stop), *[0] * (longest - lengths[at])]
        batches.append((len(rows), longest))
    return Layout(torch.tensor(spread, device=device), torch.tensor(gather, device=device), batches)


_now: Layout | None = None  # not a context variable: autograd recomputes a checkpointed layer in a thread of its own


@contextlib.contextmanager
def within(lengths: Sequence[int], device: Any = "cpu") -> Iterator[None]:
    """The forward and the backward pass of a pack with rows of these lengths."""
    global _now
    before, _now = _now, layout(lengths, device)
    try:
        yield
    finally:
        _now = before


def use(model: Any) -> str:
    """Let a model attend row by row inside ``within``; outside it, it goes through SDPA. Returns what it did before."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    return before


def _mask(*args: Any, local_size: int | None = None, **kwargs: Any) -> Tensor | None:
    """None where every row may look at all that came before in it; else the mask that the model asks for.

    ``local_size``: how far a layer looks, or how long its chunks are; not all models tell their attention.
    """
    if _now is not None and (local_size is None or max(length for _, length in _now.batches) <= local_size):
        return None
    return sdpa_mask(*args, local_size=local_size, **kwargs)


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any
) -> tuple[Tensor, None]:
    """Queries (1, heads, tokens, width), keys and values likewise; returns (1, tokens, heads, width)."""
    if any(kwargs.get(name) is not None for name in _UNKNOWN):
        raise ValueError(f"attention with one of {', '.join(_UNKNOWN)} is the model's own")
    if _now is None or attention_mask is not None:
        return sdpa(module, query, key, value, attention_mask, **kwargs)
    spread, gather, batches = _now
    sizes = [rows * length for rows, length in batches]
    parts = [_Moved.apply(one[0].transpose(0, 1), spread, gather).split(sizes) for one in (query, key, value)]
    made = []
    for (rows, length), *turned in zip(batches, *parts):
        shaped = [part.unflatten(0, (rows, length)).transpose(1, 2) for part in turned]
        alone = _alone(*shaped, kwargs.get("scaling") or query.shape[-1] ** -0.5, kwargs.get("dropout") or 0.0)
        made.append(alone.transpose(1, 2).flatten(0, 1))
    return _Moved.apply(torch.cat(made), gather, spread)[None], None


_UNKNOWN = ("s_aux", "softcap", "position_bias")  # sinks, caps and biases, of which SDPA knows nothing


def _alone(query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
    """Causal attention of (rows, heads, tokens, width), each row by itself."""
    length = query.shape[2]
    if query.device.type == "cpu" and length <= SHORT and not dropout:
        # Query heads that share a key are laid beneath each other, so that no key is repeated.
        stacked = query.reshape(query.shape[0], key.shape[1], -1, query.shape[3])
        return _Short.apply(stacked, key, value, scale).reshape(*query.shape[:3], -1)
    groups = query.shape[1] // key.shape[1]
    shared = groups > 1 and _shares_keys(query.device)
    if groups > 1 and not shared:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return F.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=shared
    )


def _shares_keys(device: Any) -> bool:
    """Can the fast kernel let heads share keys? Below sm_80 none can, and SDPA would write down all scores."""
    return device.type == "cpu" or torch.cuda.get_device_capability(device)[0] >= 8


class _Moved(torch.autograd.Function):
    """Rows of a tensor in another order. Its gradient is a reordering too, where autograd's would be a sum."""

    @staticmethod
    def forward(context: Any, given: Tensor, there: Tensor, back: Tensor) -> Tensor:
        context.there, context.back = there, back
        return given.index_select(0, there)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        there, back = context.there, context.back
        if len(back) <= len(there):  # what stood in filled places is dropped
            return gradient.index_select(0, back), None, None
        return gradient.new_zeros(len(back), *gradient.shape[1:]).index_copy_(0, there, gradient), None, None


class _Short(torch.autograd.Function):
    """Causal attention by plain products; only the inputs are kept, the weights are made again."""

    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        context.save_for_backward(query, key, value)
        context.scale = scale
        return _weights(query, key, scale).to(value.dtype) @ value

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = context.saved_tensors
        held = _weights(query, key, context.scale)
        slope = (gradient @ value.mT).float()
        slope = (slope - (slope * held).sum(-1, keepdim=True)).mul_(held).mul_(context.scale).to(query.dtype)
        return slope @ key, slope.mT @ query, held.to(value.dtype).mT @ gradient, None


def _weights(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """Softmax in float32 over the keys up to each query's own place."""
    length = key.shape[2]
    later = torch.ones(length, length, dtype=torch.bool, device=key.device).triu(1)
    scores = (query @ key.mT).float().mul_(scale)
    return torch.softmax(scores.masked_fill_(later.repeat(query.shape[2] // length, 1), -torch.inf), -1)
