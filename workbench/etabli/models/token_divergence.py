"""How far an adapter moves a model, token by token: two passes over the same text, on one copy of the weights."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from etabli.core.contracts import TokenMoves
from etabli.models import generate, kv_cache

CHUNK = 128  # positions whose logits exist at once, on either side: a vocabulary of 150,000 takes 77 MB a side
TOP = 3
DIGITS = 4

Switch = Callable[[], AbstractContextManager]


@dataclass(frozen=True)
class Sides:
    """One model and how to see it as base and as tuned."""

    model: Any
    base: Switch
    tuned: Switch


def moves(sides: Sides, tokenizer: Any, prompt: Sequence[int], answer: Sequence[int]) -> TokenMoves:
    """Log-probability, rank and first choices of each token of an answer on both sides, and their KL divergence.

    The text goes through the model in pieces, each side with a cache of its own: an answer of 10,000 tokens takes the
    memory of its cache, not of its logits.

    Args:
        sides: the model in eval mode; prompt, answer: token ids. Both sides see the same.

    Returns:
        Natural logarithms, rounded to four digits. KL(tuned || base) is over the whole vocabulary.
    """
    made: TokenMoves = {
        "tokens": generate.pieces(tokenizer, answer), "ids": list(answer), "logp": [], "base_logp": [], "rank": [],
        "base_rank": [], "kl": [], "top": [], "base_top": [],
    }  # fmt: skip
    base, tuned = (_Reader(sides.model, side, prompt) for side in (sides.base, sides.tuned))
    for start in range(0, len(answer), CHUNK):
        chunk = answer[start : start + CHUNK]
        before, after = base.read(chunk), tuned.read(chunk)
        _add(made, "base_", before, chunk, tokenizer)
        _add(made, "", after, chunk, tokenizer)
        made["kl"] += _rounded((after.exp() * (after - before)).sum(-1))
    return made


def changes(moves: TokenMoves) -> list[float]:
    """Each token's log-probability, tuned minus base, in nats."""
    return [after - before for after, before in zip(moves["logp"], moves["base_logp"])]


class _Reader:
    """Reads a text piece by piece: gives what a side expected at the place of each token of the piece."""

    def __init__(self, model: Any, side: Switch, prompt: Sequence[int]):
        if not prompt:
            raise ValueError("An answer's first token is told from something: the prompt is empty.")
        self._model, self._side, self._cache = model, side, None
        self._held = list(prompt)  # not yet read; its last token tells of the next one

    def read(self, chunk: Sequence[int]) -> Any:
        """Log-probabilities, float32 (tokens of the piece, vocabulary)."""
        import torch

        ids = torch.tensor([[*self._held, *chunk[:-1]]], device=self._model.device)
        with torch.inference_mode(), self._side():
            out = self._model(
                input_ids=ids, **kv_cache.argument(self._cache), use_cache=True, logits_to_keep=len(chunk)
            )
        self._cache = kv_cache.of_attention(out)
        # A recurrent model has no cache that several tokens can be added to: it reads all of the text again.
        self._held = [*self._held, *chunk] if self._cache is None else [chunk[-1]]
        return out.logits[0].float().log_softmax(-1)


def _add(made: dict, name: str, expected: Any, chunk: Sequence[int], tokenizer: Any) -> None:
    import torch

    ids = torch.tensor(chunk, device=expected.device)[:, None]
    mine = expected.gather(1, ids)
    best = expected.topk(min(TOP, expected.shape[1]))
    made[f"{name}logp"] += _rounded(mine[:, 0])
    made[f"{name}rank"] += ((expected > mine).sum(-1) + 1).tolist()
    made[f"{name}top"] += [
        [[tokenizer.decode([token]), round(value, DIGITS)] for token, value in zip(tokens, values)]
        for tokens, values in zip(best.indices.tolist(), best.values.tolist())
    ]


def _rounded(values: Any) -> list[float]:
    return [round(value, DIGITS) + 0.0 for value in values.tolist()]
