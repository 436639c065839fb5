"""How far an adapter moves a model, token by token: two passes over the same text, on one copy of the weights."""

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from etabli.core.contracts import TokenMoves
from etabli.models import generate, kv_cache

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

CHUNK = 128  # positions whose logits exist at once on each side: with a vocabulary of 150,000 that is 77 MB a side
TOP = 3
DIGITS = 4
_MEASURES: tuple[Literal["logp", "base_logp", "rank", "base_rank", "kl", "top", "base_top"], ...]
_MEASURES = ("logp", "base_logp", "rank", "base_rank", "kl", "top", "base_top")  # the lists of moves that are computed

Switch = Callable[[], AbstractContextManager[object]]
Choices = list[list[list[str | float]]]  # for each token its likeliest alternatives, as [text, log-probability]


@dataclass(frozen=True)
class Sides:
    """One model, and the context managers that switch it to the base and to the tuned model.

    If both are the same context manager, as before the first step, the text is read once.
    """

    model: "PreTrainedModel"
    base: Switch
    tuned: Switch


def compare_tokens(
    sides: Sides, tokenizer: "PreTrainedTokenizerBase", prompt: Sequence[int], answer: Sequence[int]
) -> TokenMoves:
    """Return each answer token's log-probability, rank and alternatives on both sides, and their KL divergence.

    As ``compare_answers``, for one answer.
    """
    return compare_answers(sides, tokenizer, prompt, [answer])[0]


def compare_answers(
    sides: Sides, tokenizer: "PreTrainedTokenizerBase", prompt: Sequence[int], answers: Sequence[Sequence[int]]
) -> list[TokenMoves]:
    """Return the moves of several answers to one prompt.

    The prompt, and what an answer begins with like the one before it, go through the model once. The text is read in
    chunks, and each side has its own cache: an answer of 10,000 tokens takes the memory of its cache, not of its
    logits.

    Args:
        sides: the model in eval mode.
        tokenizer: its own.
        prompt: token ids; both sides get the same.
        answers: token ids of each.

    Returns:
        Natural logarithms, rounded to four digits. KL(tuned || base) is over the whole vocabulary.
    """
    base_reader = _Reader(sides.model, sides.base, prompt)
    is_untrained = sides.tuned == sides.base
    readers = [base_reader] if is_untrained else [base_reader, _Reader(sides.model, sides.tuned, prompt)]
    all_moves: list[TokenMoves] = []
    for answer in answers:
        moves = _begin_moves(tokenizer, answer, all_moves[-1] if all_moves else None)
        count = len(moves["logp"])
        if all_moves:
            for reader in readers:
                reader.rewind([*prompt, *answer[:count]])
        _read_moves(readers, tokenizer, answer, moves)
        all_moves.append(moves)
    return all_moves


def _begin_moves(tokenizer: "PreTrainedTokenizerBase", answer: Sequence[int], earlier: TokenMoves | None) -> TokenMoves:
    """Return moves that hold what this answer begins with like an earlier one; without one they hold nothing."""
    begun: TokenMoves = {
        "tokens": generate.token_texts(tokenizer, answer),
        "ids": list(answer),
        "logp": [],
        "base_logp": [],
        "rank": [],
        "base_rank": [],
        "kl": [],
        "top": [],
        "base_top": [],
    }
    if earlier is not None:
        count = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(answer, earlier["ids"])))
        for name in _MEASURES:
            begun[name] = earlier[name][:count]
    return begun


def _read_moves(
    readers: "Sequence[_Reader]", tokenizer: "PreTrainedTokenizerBase", answer: Sequence[int], moves: TokenMoves
) -> None:
    """Read what of an answer the moves do not hold, and add it."""
    for start in range(len(moves["logp"]), len(answer), CHUNK):
        chunk = answer[start : start + CHUNK]
        both = [reader.read(chunk) for reader in readers]
        base_logp, tuned_logp = both[0], both[-1]
        logp, rank, top = _token_facts(base_logp, chunk, tokenizer)
        moves["base_logp"] += logp
        moves["base_rank"] += rank
        moves["base_top"] += top
        logp, rank, top = _token_facts(tuned_logp, chunk, tokenizer)
        moves["logp"] += logp
        moves["rank"] += rank
        moves["top"] += top
        moves["kl"] += _round((tuned_logp.exp() * (tuned_logp - base_logp)).sum(-1))


def log_probability_changes(moves: TokenMoves) -> list[float]:
    """Return each token's log-probability, tuned minus base, in nats."""
    return [tuned - base for tuned, base in zip(moves["logp"], moves["base_logp"])]


class _Reader:
    """Reads a text in chunks with one side of the model."""

    def __init__(self, model: "PreTrainedModel", side: Switch, prompt: Sequence[int]) -> None:
        if not prompt:
            raise ValueError("The prompt is empty: an answer's first token can't be predicted from nothing.")
        self._model, self._side = model, side
        self._cache: Cache | None = None
        self._unread = list(prompt)  # its last token predicts the next one

    def rewind(self, text: Sequence[int]) -> None:
        """Go back to after ``text``, with which everything begins that was read.

        A cache that is more than keys and values of the whole text can't go back: then the text is read again.
        """
        layers = getattr(self._cache, "layers", [])
        is_full = len(layers) > 0 and all(type(layer).__name__ in kv_cache.FULL_ATTENTION for layer in layers)
        if self._cache is not None and is_full and len(text) > 1:
            if excess := self._cache.get_seq_length() - (len(text) - 1):
                self._cache.crop(-excess)  # negative: how many tokens go, in all versions of transformers
            self._unread = [text[-1]]
        else:
            self._cache, self._unread = None, list(text)

    def read(self, chunk: Sequence[int]) -> "torch.Tensor":
        """Return the log-probabilities at the place of each token of a chunk, float32 (tokens, vocabulary)."""
        import torch

        ids = torch.tensor([[*self._unread, *chunk[:-1]]], device=self._model.device)
        with torch.inference_mode(), self._side():
            output = self._model(
                input_ids=ids, **kv_cache.cache_argument(self._cache), use_cache=True, logits_to_keep=len(chunk)
            )
        self._cache = kv_cache.attention_cache_of(output)
        # The cache of a recurrent model can't be extended by several tokens: it reads the whole text again.
        self._unread = [*self._unread, *chunk] if self._cache is None else [chunk[-1]]
        logp: torch.Tensor = output.logits[0].float().log_softmax(-1)
        return logp


def _token_facts(
    logp: "torch.Tensor", chunk: Sequence[int], tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[float], list[int], Choices]:
    """Return the log-probability, the rank (1 is likeliest) and the likeliest alternatives of each token."""
    import torch

    ids = torch.tensor(chunk, device=logp.device)[:, None]
    own_logp = logp.gather(1, ids)
    best = logp.topk(min(TOP, logp.shape[1]))
    top: Choices = [
        [[tokenizer.decode([token]), round(value, DIGITS)] for token, value in zip(tokens, values)]
        for tokens, values in zip(best.indices.tolist(), best.values.tolist())
    ]
    return _round(own_logp[:, 0]), ((logp > own_logp).sum(-1) + 1).tolist(), top


def _round(values: "torch.Tensor") -> list[float]:
    return [round(value, DIGITS) + 0.0 for value in values.tolist()]
