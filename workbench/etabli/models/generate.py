"""Answers from one copy of the weights: batched, shortest first, the shared beginning computed once."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from etabli.core.contracts import Message
from etabli.models import kv_cache, prefix_cache
from etabli.rendering.render import render

Progress = Callable[[int, int], None]
BATCH_TOKENS = 16_384


@dataclass
class Answers:
    """What was generated, one of each a conversation, and how long it took.

    ``raws`` are the texts with all control tokens, the end-of-turn token too unless the answer was cut at its greatest
    length; ``rendered`` are the prompts as the model got them.
    """

    texts: list[str] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)  # tokens of each prompt
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
    tools: Sequence[list | None] | None = None,
) -> Answers:
    """Greedy answers to many conversations.

    Args:
        model: a causal LM in eval mode, with or without an adapter; switch the adapter around this call.
        tokenizer: its tokenizer, with a chat template.
        conversations: messages up to and including the last user turn.
        max_new_tokens: at most this many tokens an answer.
        batch_tokens: at most this many tokens, answers included, are in a batch: it bounds the cache. Conversations
            are sorted by length, and what all of them begin with goes through the model once.
        tools: for each conversation what the model may call, if anything.
        progress: called with (done, total) whenever answers are done, also in the middle of a batch.

    Returns:
        Answers in the order of the conversations, without the end-of-turn token.
    """
    began = time.monotonic()
    offered = tools or [None] * len(conversations)
    prompts = [
        render(messages, tokenizer, prompt=True, tools=held).ids for messages, held in zip(conversations, offered)
    ]
    start = prefix_cache.beginning(model, prompts)
    stops = stop_ids(model, tokenizer)
    found: dict[int, list[int]] = {}
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    most = 1 if prefix_cache.recurrent(model) else batch_tokens
    for chosen in prefix_cache.batches(order, [len(prompt) + max_new_tokens for prompt in prompts], most):
        say = _counting(stops, len(found), len(prompts), progress)
        part = [prompts[index] for index in chosen]
        inputs = prefix_cache.left_padded(part, start.length, tokenizer.pad_token_id, model.device)
        inputs |= kv_cache.argument(start.copies(len(part)))
        found.update(zip(chosen, _generate(model, inputs, max_new_tokens, stops, tokenizer.pad_token_id, say)))
        if progress:
            progress(len(found), len(prompts))
    ids = [found[index] for index in range(len(prompts))]
    return _answers(tokenizer, prompts, ids, stops, time.monotonic() - began)


def _answers(tokenizer: Any, prompts: list, ids: list[list[int]], stops: list[int], seconds: float) -> Answers:
    kept = [_until_stop(row, stops) for row in ids]
    texts = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in kept]
    raws = [tokenizer.decode(row[: len(short) + 1]) for row, short in zip(ids, kept)]
    cut = [len(row) == len(short) for row, short in zip(ids, kept)]
    rendered = [tokenizer.decode(prompt) for prompt in prompts]
    return Answers(texts, kept, raws, rendered, cut, list(map(len, prompts)), seconds)


def _counting(stops: list[int], before: int, total: int, progress: Progress | None) -> Any:
    """Says how many answers have ended, while a batch is at work."""
    import torch
    from transformers import StoppingCriteria

    class Counting(StoppingCriteria):
        begin: int | None = None

        def __call__(self, input_ids, scores, **kwargs):
            if self.begin is None:
                self.begin = input_ids.shape[1] - 1
            made = input_ids[:, self.begin :]
            ended = torch.isin(made, torch.tensor(stops, device=made.device)).any(1)
            if progress:
                progress(before + int(ended.sum()), total)
            return torch.zeros_like(ended)

    return Counting()


def _generate(model, inputs, max_new_tokens, stops, pad, counting) -> list[list[int]]:
    import torch

    with torch.inference_mode():
        out = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            pad_token_id=pad,
            eos_token_id=stops,
            stopping_criteria=[counting],
        )
    return out[:, inputs["input_ids"].shape[1] :].tolist()


def stop_ids(model: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a turn: the tokenizer's and those of the model's generation config."""
    named = model.generation_config.eos_token_id
    named = [] if named is None else [named] if isinstance(named, int) else list(named)
    return sorted({*named, *([] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id])})


def _until_stop(ids: list[int], stops: Iterable[int]) -> list[int]:
    end = next((at for at, token in enumerate(ids) if token in stops), len(ids))
    return ids[:end]


def stream(
    model: Any,
    tokenizer: Any,
    messages: list[Message],
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[str]:
    """An answer as it comes: yields the whole text so far after every token.

    Args:
        temperature: 0 takes the likeliest token; above it tokens are drawn, by the same random numbers for every model
            that is asked with the same ``seed``.
    """
    import torch

    stops = set(stop_ids(model, tokenizer))
    unread = render(messages, tokenizer, prompt=True).ids
    luck = torch.Generator("cpu").manual_seed(seed)
    cache, made = None, []
    for _ in range(max_new_tokens):
        with torch.inference_mode():
            ids = torch.tensor([unread], device=model.device)
            out = model(input_ids=ids, **kv_cache.argument(cache), use_cache=True, logits_to_keep=1)
        token = _next(out.logits[0, -1], temperature, luck)
        if token in stops:
            return
        made.append(token)
        cache = kv_cache.of(out)
        unread = [*unread, token] if cache is None else [token]
        yield tokenizer.decode(made, skip_special_tokens=True)


def _next(logits: Any, temperature: float, luck: Any) -> int:
    """The likeliest token, or one drawn where a uniform random number falls in the cumulated probabilities.

    One number a token, likeliest first: so models that agree draw alike, and differ where they do.
    """
    import torch

    if not temperature:
        return int(logits.argmax())
    order = logits.float().cpu().div(temperature).softmax(-1).sort(descending=True, stable=True)
    place = int(torch.searchsorted(order.values.cumsum(-1), torch.rand(1, generator=luck)))
    return int(order.indices[min(place, len(order.indices) - 1)])


def pieces(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text; joined they are the text.

    A sign that several tokens make up (an emoji in a byte-level vocabulary) stands at its last one. Each token is read
    with the ones before it, since a SentencePiece decoder drops the blank that a text begins with.
    """
    made: list[str] = []
    known, start = 0, 0  # what is decoded begins at ``start``; up to ``known`` it has been given out
    for end in range(1, len(ids) + 1):
        before = _decoded(tokenizer, ids[start:known])
        text = _decoded(tokenizer, ids[start:end])
        if text.endswith("\ufffd") and end < len(ids):
            made.append("")
            continue
        made.append(text[len(before) :])
        start, known = known, end
    return made


def _decoded(tokenizer: Any, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False) if len(ids) else ""
