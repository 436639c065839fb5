"""How likely a model finds given answers, with the batches and the common prefix of ``generate``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etabli.core.contracts import Message
from etabli.core.progress import show_progress
from etabli.models import kv_cache, prefix_cache
from etabli.rendering.render import RenderedConversation, Renderer
from etabli.rendering.template_engine import Tools

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH_TOKENS = 16_384
CHUNK = 256  # positions whose logits are converted to float32 at once
LOGITS = 1024  # answer tokens of a batch: only they get logits, and logits take most of the memory


@dataclass(frozen=True)
class Likelihood:
    """Minus the log-probability of an answer in nats, and its tokens; both include the end-of-turn token."""

    nats: float
    tokens: int


@show_progress("scoring the true answers")
def score(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    conversations: list[list[Message]],
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[int, int], None] | None = None,
    tools: Sequence[Tools] | None = None,
) -> list[Likelihood]:
    """Return how likely each conversation's last answer is after all that comes before it, in their order.

    The numbers are those of a forward pass over each conversation alone, up to rounding in the compute dtype.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its own.
        conversations: messages whose last one is the answer.
        batch_tokens: most tokens of a batch.
        progress: called with (done, total) after each batch.
        tools: for each conversation what the model may call, if anything.
    """
    all_tools = tools or [None] * len(conversations)
    renderer = Renderer(tokenizer)
    rows = [renderer.render(messages, "last", tools=some) for messages, some in zip(conversations, all_tools)]
    # The prefix has to end before the token that predicts the first trained one.
    first_trained = min((row.trained.index(True) for row in rows if any(row.trained)), default=1)
    prefix = prefix_cache.compute_prefix(model, [row.ids for row in rows], max(0, first_trained - 1))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    batch_size = 1 if prefix_cache.is_recurrent(model) else batch_tokens
    sizes = [max(len(row), _tail_length(row) * batch_tokens // LOGITS) for row in rows]
    scores: dict[int, Likelihood] = {}
    for batch in prefix_cache.make_batches(order, sizes, batch_size):
        scores.update(zip(batch, _score_batch(model, [rows[index] for index in batch], prefix, tokenizer.pad_token_id)))
        if progress:
            progress(len(scores), len(rows))
    return [scores[index] for index in range(len(rows))]


def token_losses(
    model: "PreTrainedModel", input_ids: "torch.Tensor", position_ids: "torch.Tensor"
) -> list[float | None]:
    """Return the loss of each token of one pack in nats; None for the first token of every row in it.

    Args:
        model: a causal LM in eval mode.
        input_ids: int64 (1, tokens).
        position_ids: int64 (1, tokens); positions begin at 0 in every row, which keeps attention inside a row.
    """
    import torch
    import torch.nn.functional as F

    with torch.inference_mode():
        logits = model(input_ids=input_ids, position_ids=position_ids, use_cache=False).logits[0]
        chunks = zip(logits[:-1].split(CHUNK), torch.split(input_ids[0, 1:], CHUNK))
        losses = (F.cross_entropy(line.float(), ids, reduction="none") for line, ids in chunks)
        nats = [loss for chunk in losses for loss in chunk.tolist()]
    is_first = (position_ids[0] == 0).tolist()
    return [None if begins else loss for begins, loss in zip(is_first, [None, *nats])]


def _tail_length(row: RenderedConversation) -> int:
    """Return the positions from the first that predicts an answer token to the end."""
    return len(row) - row.trained.index(True) + 1 if any(row.trained) else 1


def _score_batch(
    model: "PreTrainedModel", rows: list[RenderedConversation], prefix: prefix_cache.Prefix, pad: int
) -> list[Likelihood]:
    import torch
    import torch.nn.functional as F

    inputs = prefix_cache.pad_left([row.ids for row in rows], prefix.length, pad, model.device)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    keep = max(map(_tail_length, rows))
    with torch.inference_mode():
        logits = model(
            input_ids=ids[:, prefix.length :],
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, prefix.length :],
            **kv_cache.cache_argument(prefix.copies(len(rows))),
            use_cache=prefix.cache is not None,
            logits_to_keep=keep,
        ).logits[:, :-1]
        nats = [
            F.cross_entropy(line.float(), targets, reduction="none")
            for line, targets in zip(logits, ids[:, -keep + 1 :])
        ]
    return [_sum_trained(row, line.tolist()) for row, line in zip(rows, nats)]


def _sum_trained(row: RenderedConversation, nats: list[float]) -> Likelihood:
    """Add up the losses of trained tokens; the first token of a row is not predicted."""
    flags = row.trained[1:][-len(nats) :] if nats else []
    losses = [loss for loss, is_trained in zip(nats[len(nats) - len(flags) :], flags) if is_trained]
    return Likelihood(sum(losses), len(losses))
