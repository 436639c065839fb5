"""Attention inside the rows of a pack: each row attends to itself alone, and nothing is computed for pairs of rows.

With a block-diagonal mask SDPA still computes every pair of tokens in a pack: of 17 rows that is 17 times the work that
matters, 42 % of a step on a CPU. Here rows of similar length are laid side by side as a batch of their own, padded to
the longest (after the end, which causal attention never sees), and go through SDPA without any mask; on a CPU through
plain matrix products. Without a mask a T4 can also choose its memory-efficient kernel (not run on one).
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from etabli.training.autograd import Context

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "etabli_rows"
STEP = 32  # tokens: rows whose lengths round up to the same multiple share a batch
BLOCK = 128  # queries of a block: it sees the keys up to its own end alone, so that half of all pairs is left out


class Layout(NamedTuple):
    """Where each token of a pack goes when its rows are laid side by side."""

    spread: Tensor  # int64 (places,): which token stands in each place; token 0 in the places that are padding
    gather: Tensor  # int64 (tokens,): in which place each token stands
    batches: list[tuple[int, int]]  # (rows, length) of each batch, in the order of the places


def layout(lengths: Sequence[int], device: torch.device | str = "cpu") -> Layout:
    """Lay out rows of these lengths, in tokens, which follow one another in the pack."""
    starts = [sum(lengths[:row]) for row in range(len(lengths))]
    groups: dict[int, list[int]] = {}
    for row, length in enumerate(lengths):
        groups.setdefault(-(-length // STEP), []).append(row)
    spread: list[int] = []
    gather = [0] * sum(lengths)
    batches = []
    for rows in groups.values():
        longest = max(lengths[row] for row in rows)
        for row in rows:
            start, stop = starts[row], starts[row] + lengths[row]
            gather[start:stop] = range(len(spread), len(spread) + lengths[row])
            spread += [*range(start, stop), *[0] * (longest - lengths[row])]
        batches.append((len(rows), longest))
    return Layout(torch.tensor(spread, device=device), torch.tensor(gather, device=device), batches)


# Not a context variable: autograd recomputes a checkpointed layer in a thread of its own.
_current_layout: Layout | None = None


@contextlib.contextmanager
def attend_by_row(lengths: Sequence[int], device: torch.device | str = "cpu") -> Iterator[None]:
    """Surround the forward and the backward pass of a pack with rows of these lengths."""
    global _current_layout
    previous, _current_layout = _current_layout, layout(lengths, device)
    try:
        yield
    finally:
        _current_layout = previous


def use_row_attention(model: "PreTrainedModel") -> str:
    """Let a model attend row by row inside ``attend_by_row``, by SDPA outside of it.

    Returns the attention implementation that it had before.
    """
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
    previous: str = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    return previous


def _mask(*args: object, local_size: int | None = None, **kwargs: object) -> Tensor | None:
    """Return None if every row may attend to all that came before in it; else the mask that the model asks for.

    ``local_size``: how far a layer attends, or how long its chunks are; not all models tell their attention.
    """
    current = _current_layout
    if current is not None and (local_size is None or max(length for _, length in current.batches) <= local_size):
        return None
    mask: Tensor | None = sdpa_mask(*args, local_size=local_size, **kwargs)
    return mask


def _attention(
    module: object,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Queries (1, heads, tokens, width), keys and values likewise; returns (1, tokens, heads, width)."""
    if any(kwargs.get(name) is not None for name in _UNSUPPORTED):
        raise ValueError(f"attention with one of {', '.join(_UNSUPPORTED)} is the model's own")
    if _current_layout is None or attention_mask is not None:
        output: tuple[Tensor, None] = sdpa(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout or 0.0, **kwargs
        )
        return output
    spread, gather, batches = _current_layout
    sizes = [rows * length for rows, length in batches]
    states_by_place = (_reorder(states[0].transpose(0, 1), spread, gather) for states in (query, key, value))
    parts = [torch.split(states, sizes) for states in states_by_place]
    scale = scaling or query.shape[-1] ** -0.5
    outputs = []
    for (rows, length), *states in zip(batches, *parts):
        q, k, v = (part.unflatten(0, (rows, length)).transpose(1, 2) for part in states)
        outputs.append(_causal_attention(q, k, v, scale, dropout or 0.0).transpose(1, 2).flatten(0, 1))
    return _reorder(torch.cat(outputs), gather, spread)[None], None


_UNSUPPORTED = ("s_aux", "softcap", "position_bias")  # sinks, caps and biases, which SDPA does not have


def _causal_attention(query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
    """Return causal attention over (rows, heads, tokens, width), each row by itself."""
    if _is_faster_by_products(query.device) and not dropout:
        output: Tensor = _ProductAttention.apply(query, key, value, scale)  # type: ignore[no-untyped-call]  # torch
        return output
    groups = query.shape[1] // key.shape[1]
    shares_keys = groups > 1 and _shares_keys(query.device)
    if groups > 1 and not shares_keys:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return F.scaled_dot_product_attention(
        query, key, value, dropout_p=dropout, is_causal=True, scale=scale, enable_gqa=shares_keys
    )


def _is_faster_by_products(device: torch.device) -> bool:
    """Return whether plain matrix products beat SDPA's kernels: on a CPU (``docs/engine.md``)."""
    return device.type == "cpu"


def _shares_keys(device: torch.device) -> bool:
    """Return whether the fast kernel lets heads share keys. Below sm_80 none does: SDPA would store all scores."""
    return device.type == "cpu" or torch.cuda.get_device_capability(device)[0] >= 8


def _reorder(states: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
    """Return the rows of a tensor in another order; ``inverse`` brings them back."""
    output: Tensor = _Reorder.apply(states, order, inverse)  # type: ignore[no-untyped-call]  # torch has no types
    return output


class _Orders(Context, Protocol):
    order: Tensor
    inverse: Tensor


class _Reorder(torch.autograd.Function):
    """``index_select`` whose gradient is a reordering too, where autograd's would be a sum."""

    @staticmethod
    def forward(context: _Orders, states: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        context.order, context.inverse = order, inverse
        return states.index_select(0, order)

    @staticmethod
    def backward(context: _Orders, gradient: Tensor) -> tuple[Tensor, None, None]:
        order, inverse = context.order, context.inverse
        if len(inverse) <= len(order):  # the padding's gradient is dropped
            return gradient.index_select(0, inverse), None, None
        zeros = gradient.new_zeros(len(inverse), *gradient.shape[1:])
        return zeros.index_copy_(0, order, gradient), None, None


class _ScoreScale(Context, Protocol):
    scale: float


class _ProductAttention(torch.autograd.Function):
    """Causal attention by plain matrix products in the compute dtype, a block of queries at a time.

    The weights of rows of one block are small and kept for the gradient; those of longer rows are computed again.
    Queries are (rows, heads, tokens, width), keys and values have as many heads or a divisor of it.
    """

    @staticmethod
    def forward(context: _ScoreScale, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        query = query * scale
        outputs, kept, blocks = [], [], _blocks(query.shape[2])
        for start, stop in blocks:
            weights = _attention_weights(_stack(query, key, start, stop), key[:, :, :stop], start)
            outputs.append(_unstack(weights @ value[:, :, :stop], query))
            if len(blocks) == 1:
                kept.append(weights)
        context.save_for_backward(query, key, value, *kept)
        context.scale = scale
        return _join(outputs)

    @staticmethod
    def backward(context: _ScoreScale, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, *kept = context.saved_tensors
        blocks = _blocks(query.shape[2])
        sum_dtype = torch.float32 if len(blocks) > 1 else key.dtype
        d_key = d_value = torch.empty(0)
        d_queries = []
        for start, stop in reversed(blocks):  # the last block sees every key
            queries, upstream = (_stack(states, key, start, stop) for states in (query, gradient))
            keys = key[:, :, :stop]
            weights = kept[0] if kept else _attention_weights(queries, keys, start)
            slope = torch._softmax_backward_data(upstream @ value[:, :, :stop].mT, weights, -1, weights.dtype)
            d_queries.append(_unstack(slope @ keys, query).mul_(context.scale))
            for_keys, for_values = slope.mT @ queries, weights.mT @ upstream
            if len(d_queries) == 1:
                d_key, d_value = for_keys.to(sum_dtype), for_values.to(sum_dtype)
            else:
                d_key[:, :, :stop] += for_keys
                d_value[:, :, :stop] += for_values
        return _join(d_queries[::-1]), d_key.to(key.dtype), d_value.to(value.dtype), None


def _blocks(length: int) -> list[tuple[int, int]]:
    """Return the first query of each block, and the one after its last."""
    return [(start, min(start + BLOCK, length)) for start in range(0, length, BLOCK)]


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _stack(states: Tensor, key: Tensor, start: int, stop: int) -> Tensor:
    """Return a block of states with the heads that share a key side by side as tokens, so that no key is repeated."""
    return states[:, :, start:stop].reshape(key.shape[0], key.shape[1], -1, states.shape[3])


def _unstack(block: Tensor, query: Tensor) -> Tensor:
    """Return the block with every head of the queries by itself again."""
    return block.view(*query.shape[:2], -1, block.shape[3])


def _attention_weights(query: Tensor, key: Tensor, start: int) -> Tensor:
    """Return the softmax over the keys up to each query's own position; it adds up in float32 in any dtype.

    The queries are those of the positions from ``start`` to the last key's, once for each head that shares the keys.
    """
    size = key.shape[2] - start
    future = key.new_full((size, size), -torch.inf).triu_(1)
    scores = query @ key.mT
    scores.view(*scores.shape[:2], -1, size, key.shape[2])[..., start:].add_(future)
    return torch.softmax(scores, -1)
