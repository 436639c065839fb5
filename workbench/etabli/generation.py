"""Answers from one copy of the weights: batched, shortest first, the shared beginning computed once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from etabli.contracts import Message
from etabli.tokens import render

Progress = Callable[[int, int], None]
BATCH_TOKENS = 16_384


@dataclass
class Answers:
    """What was generated: one text and one list of token ids a conversation, and how long it took."""

    texts: list[str] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens a second, prompts' time included."""
        return sum(map(len, self.ids)) / self.seconds if self.seconds else 0.0


def answer(
    model: Any,
    tokenizer: Any,
    conversations: list[list[Message]],
    max_new_tokens: int = 64,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
) -> Answers:
    """Greedy answers to many conversations.

    Args:
        model: a causal LM in eval mode, with or without an adapter; switch the adapter around this call.
        tokenizer: its tokenizer, with a chat template.
        conversations: messages up to and including the last user turn.
        max_new_tokens: at most this many tokens an answer.
        batch_tokens: at most this many tokens, answers included, are in a batch: it bounds the cache. Conversations
            are sorted by length, and what all of them begin with goes through the model once.
        progress: called with (done, total) after each batch.

    Returns:
        Answers in the order of the conversations, without the end-of-turn token.
    """
    began = time.monotonic()
    prompts = [render(messages, tokenizer, prompt=True).ids for messages in conversations]
    shared = common_prefix(prompts)
    cache = _prefill(model, prompts[0][:shared]) if shared else None
    found: dict[int, list[int]] = {}
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    for chosen in _batches(order, [len(prompt) + max_new_tokens for prompt in prompts], batch_tokens):
        made = _generate(model, tokenizer, [prompts[index] for index in chosen], max_new_tokens, shared, cache)
        found.update(zip(chosen, made))
        if progress:
            progress(len(found), len(prompts))
    ids = [found[index] for index in range(len(prompts))]
    texts = [tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in ids]
    return Answers(texts, ids, time.monotonic() - began)


def _batches(order: list[int], sizes: list[int], most: int) -> Iterator[list[int]]:
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


def _prefill(model: Any, ids: list[int]) -> Any:
    import torch

    with torch.inference_mode():
        return model(
            input_ids=torch.tensor([ids], device=model.device), use_cache=True, logits_to_keep=1
        ).past_key_values


def _generate(model, tokenizer, prompts, max_new_tokens, shared, cache) -> list[list[int]]:
    import copy

    import torch

    inputs = _left_padded(prompts, shared, tokenizer.pad_token_id, model.device)
    if cache is not None:
        cache = copy.deepcopy(cache)
        cache.batch_repeat_interleave(len(prompts))
    with torch.inference_mode():
        out = model.generate(
            **inputs,
            past_key_values=cache,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=stop_ids(model, tokenizer),
        )
    stops = set(stop_ids(model, tokenizer))
    return [_until_stop(row, stops) for row in out[:, inputs["input_ids"].shape[1] :].tolist()]


def _left_padded(prompts: list[list[int]], shared: int, pad: int, device: Any) -> dict[str, Any]:
    """Shared beginning, then padding, then the rest: so the cached beginning stays at the same place in every row."""
    import torch

    longest = max(map(len, prompts))
    ids, mask = [], []
    for prompt in prompts:
        blank = longest - len(prompt)
        ids.append([*prompt[:shared], *[pad] * blank, *prompt[shared:]])
        mask.append([*[1] * shared, *[0] * blank, *[1] * (len(prompt) - shared)])
    return {"input_ids": torch.tensor(ids, device=device), "attention_mask": torch.tensor(mask, device=device)}


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a turn: the tokenizer's and those of the model's generation config."""
    named = model.generation_config.eos_token_id
    named = [] if named is None else [named] if isinstance(named, int) else list(named)
    return sorted({*named, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])})


def _until_stop(ids: list[int], stops: set[int]) -> list[int]:
    end = next((at for at, token in enumerate(ids) if token in stops), len(ids))
    return ids[:end]


def stream(model: Any, tokenizer: Any, messages: list[Message], max_new_tokens: int = 128) -> Iterator[str]:
    """A greedy answer as it comes: yields the whole text so far after every token."""
    import torch

    stops = set(stop_ids(model, tokenizer))
    ids = torch.tensor([render(messages, tokenizer, prompt=True).ids], device=model.device)
    cache, made = None, []
    for _ in range(max_new_tokens):
        with torch.inference_mode():
            out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        token = int(out.logits[0, -1].argmax())
        if token in stops:
            return
        made.append(token)
        cache, ids = out.past_key_values, torch.tensor([[token]], device=model.device)
        yield tokenizer.decode(made, skip_special_tokens=True)
