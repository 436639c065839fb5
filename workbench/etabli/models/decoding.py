"""Greedy decoding of a batch that rows leave when their answers have ended.

``model.generate`` computes every row of a batch until the last answer ends. Here it stops as soon as a quarter of the
rows has ended, and goes on from its own cache with the others: one long answer does not keep 23 short ones busy. No
row waits for a place in the batch, as in a server: ``generate.BATCH_TOKENS`` holds a whole test set of short questions.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from etabli.models import kv_cache

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel, StoppingCriteria

ENDED_SHARE = 0.25  # of a batch's rows: from then on the others go on without them
# Settings of a generation config that count from where ``generate`` begins: with one of them it is not begun again.
COUNTING = (
    *("min_new_tokens", "min_length", "exponential_decay_length_penalty", "guidance_scale"),
    *("begin_suppress_tokens", "prompt_lookup_num_tokens", "max_time"),
)
Report = Callable[[int], object]  # called with how many of the rows have ended


def decode(
    model: "PreTrainedModel",
    ids: "torch.Tensor",
    mask: "torch.Tensor",
    cache: "Cache | None",
    max_new_tokens: int,
    stops: Sequence[int],
    pad: int,
    report: Report,
) -> list[list[int]]:
    """Return the new token ids of each row. Tokens after a row's first stop have no meaning.

    Args:
        model: a causal LM in eval mode.
        ids: the prompts, padded on the left, int64 (rows, tokens).
        mask: 0 at padding, else 1; int64 (rows, tokens).
        cache: keys and values of the first columns of ``ids``, or None. The model writes into it.
        max_new_tokens: most tokens of an answer.
        stops: the tokens that end an answer.
        pad: the padding token.
        report: called after every token with the number of rows that have ended.
    """
    import torch

    begin = ids.shape[1]
    stop_tokens = torch.tensor(stops, device=ids.device)
    answers: list[list[int]] = [[] for _ in ids]
    share = 2.0 if any(getattr(model.generation_config, name, None) for name in COUNTING) else ENDED_SHARE
    rows = torch.arange(len(ids), device=ids.device)  # those still in the batch, by their place in ``answers``
    while len(rows):
        enough = _enough_ended(begin, stop_tokens, len(answers) - len(rows), report, share)
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=mask,
                **kv_cache.cache_argument(cache),
                max_new_tokens=max_new_tokens - (ids.shape[1] - begin),
                use_cache=True,  # a model may be configured without one
                cache_implementation=None,  # the cache is given
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                pad_token_id=pad,
                eos_token_id=list(stops),
                stopping_criteria=[enough],
                return_dict_in_generate=True,
            )
        ids = output.sequences
        ended = _has_ended(ids[:, begin:], stop_tokens) | (ids.shape[1] - begin >= max_new_tokens)
        for row, new_ids in zip(rows[ended].tolist(), ids[ended, begin:].tolist()):
            answers[row] = new_ids
        running = (~ended).nonzero()[:, 0]
        mask = torch.nn.functional.pad(mask, (0, ids.shape[1] - mask.shape[1]), value=1)
        rows, ids, mask = rows[running], ids[running], mask[running]
        cache = kv_cache.attention_cache_of(output)  # None: the rows' tokens are read again
        if cache is not None:
            cache.batch_select_indices(running)
    return answers


def _has_ended(new_ids: "torch.Tensor", stop_tokens: "torch.Tensor") -> "torch.Tensor":
    """Return which rows hold a stop token, bool (rows,)."""
    import torch

    return torch.isin(new_ids, stop_tokens).any(1)


def _enough_ended(
    begin: int, stop_tokens: "torch.Tensor", before: int, report: Report, share: float
) -> "StoppingCriteria":
    """Return a criterion that ends ``generate`` for all rows when this share of them has ended.

    Args:
        begin: columns of the prompts.
        before: rows that had ended before this call of ``generate``; they count in what is reported.
    """
    import torch
    from transformers import StoppingCriteria

    class EnoughEnded(StoppingCriteria):  # type: ignore[misc]  # transformers has no types
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: object) -> torch.Tensor:
            ended = _has_ended(input_ids[:, begin:], stop_tokens)
            report(before + int(ended.sum()))
            return ended if ended.float().mean() < share else torch.ones_like(ended)

    return EnoughEnded()
