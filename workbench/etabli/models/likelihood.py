"""How likely a model finds given answers: the same batching and shared beginnings as when it writes its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from etabli.core.contracts import Message
from etabli.models import kv_cache, prefix_cache
from etabli.rendering.render import Rendered, render

BATCH_TOKENS = 16_384
CHUNK = 256  # positions whose logits are made float32 at once
LOGITS = 1024  # answer tokens a batch: logits are made for those alone, and are what memory goes to


@dataclass(frozen=True)
class Likelihood:
    """Minus the log-probability of an answer, in nats, its end-of-turn token included; and its tokens."""

    nats: float
    tokens: int


def score(
    model: Any,
    tokenizer: Any,
    conversations: list[list[Message]],
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[int, int], None] | None = None,
    tools: Sequence[list | None] | None = None,
) -> list[Likelihood]:
    """How likely each conversation's last answer is, after all that comes before it.

    Args:
        model: a causal LM in eval mode; tokenizer: its own.
        conversations: messages whose last is the answer.
        batch_tokens: at most this many tokens in a batch.
        tools: for each conversation what the model may call, if anything.
        progress: called with (done, total) after each batch.

    Returns:
        One a conversation, in order. The numbers are what a forward pass over each conversation alone gives, but for
        rounding in the last place of the compute dtype.
    """
    offered = tools or [None] * len(conversations)
    rendered = [render(messages, tokenizer, "last", tools=held) for messages, held in zip(conversations, offered)]
    start = prefix_cache.beginning(model, [one.ids for one in rendered], _most_shared(rendered))
    order = sorted(range(len(rendered)), key=lambda index: len(rendered[index]))
    most = 1 if prefix_cache.recurrent(model) else batch_tokens
    found: dict[int, Likelihood] = {}
    for chosen in prefix_cache.batches(order, _sizes(rendered, batch_tokens), most):
        part = [rendered[index] for index in chosen]
        found.update(zip(chosen, _scored(model, part, start, tokenizer.pad_token_id)))
        if progress:
            progress(len(found), len(rendered))
    return [found[index] for index in range(len(rendered))]


def per_token(model: Any, input_ids: Any, position_ids: Any) -> list[float | None]:
    """How unlikely a model finds each token of one pack, in nats; None for the first of every row in it.

    Args:
        input_ids, position_ids: int64 (1, tokens), as training makes them: positions begin at 0 in every row, which is
            what keeps attention inside a row.
    """
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        logits = model(input_ids=input_ids, position_ids=position_ids, use_cache=False).logits[0]
        parts = zip(logits[:-1].split(CHUNK), input_ids[0, 1:].split(CHUNK))
        nats = [value for line, ids in parts for value in F.cross_entropy(line.float(), ids, reduction="none").tolist()]
    first = (position_ids[0] == 0).tolist()
    return [None if begins else value for begins, value in zip(first, [None, *nats])]


def _most_shared(rendered: list[Rendered]) -> int:
    """What may be shared ends before the token that predicts the first one that counts."""
    first = min((one.trained.index(True) for one in rendered if any(one.trained)), default=1)
    return max(0, first - 1)


def _sizes(rendered: list[Rendered], batch_tokens: int) -> list[int]:
    """Each row's length, or more if it is its answer that fills a batch."""
    return [max(len(one), _tail(one) * batch_tokens // LOGITS) for one in rendered]


def _tail(one: Rendered) -> int:
    """How many positions from the first that predicts an answer token to the end."""
    return len(one) - one.trained.index(True) + 1 if any(one.trained) else 1


def _scored(model: Any, part: list[Rendered], start: prefix_cache.Beginning, pad: int) -> list[Likelihood]:
    import torch
    import torch.nn.functional as F

    inputs = prefix_cache.left_padded([one.ids for one in part], start.length, pad, model.device)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    keep = max(map(_tail, part))
    with torch.inference_mode():
        logits = model(
            input_ids=ids[:, start.length :],
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, start.length :],
            **kv_cache.argument(start.copies(len(part))),
            use_cache=start.cache is not None,
            logits_to_keep=keep,
        ).logits[:, :-1]
        nats = [
            F.cross_entropy(line.float(), targets, reduction="none")
            for line, targets in zip(logits, ids[:, -keep + 1 :])
        ]
    return [_sum(one, line.tolist()) for one, line in zip(part, nats)]


def _sum(one: Rendered, nats: list[float]) -> Likelihood:
    """Only trained tokens count; the first token of a row is predicted from nothing."""
    tail = one.trained[1:][-len(nats) :] if nats else []
    counted = [value for value, trained in zip(nats[len(nats) - len(tail) :], tail) if trained]
    return Likelihood(sum(counted), len(counted))
