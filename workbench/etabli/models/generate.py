"""Generate answers with one copy of the weights: in batches, shortest first, the common prefix computed once."""

import time
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etabli.core.contracts import Message
from etabli.core.progress import Task, show_progress
from etabli.models import decoding, kv_cache, prefix_cache
from etabli.rendering.render import Renderer, render
from etabli.rendering.template_engine import Tools

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[int, int], None]
BATCH_TOKENS = 16_384


@dataclass
class Answers:
    """The answers to some conversations, one entry of each list a conversation.

    Attributes:
        texts: the answers without control tokens.
        ids: their token ids.
        raws: the answers with control tokens, the end-of-turn token included unless the answer was cut.
        rendered: the prompts as the model got them.
        cut: whether the answer ended at ``max_new_tokens``, before the model ended it.
        sizes: tokens of each prompt.
        seconds: how long all of it took.
    """

    texts: list[str] = field(default_factory=list)
    ids: list[list[int]] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    rendered: list[str] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def tokens_per_s(self) -> float:
        """Generated tokens a second; the time includes the prompts."""
        return sum(map(len, self.ids)) / self.seconds if self.seconds else 0.0


def answer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    conversations: list[list[Message]],
    max_new_tokens: int = 64,
    batch_tokens: int = BATCH_TOKENS,
    progress: Progress | None = None,
    tools: Sequence[Tools] | None = None,
) -> Answers:
    """Return greedy answers to many conversations, in their order, without the end-of-turn token.

    Args:
        model: a causal LM in eval mode, with or without an adapter; switch the adapter around this call.
        tokenizer: its tokenizer, with a chat template.
        conversations: messages up to and including the last user turn.
        max_new_tokens: most tokens of an answer.
        batch_tokens: most tokens of a batch, answers included; this bounds the cache. Conversations are sorted by
            length, and the prefix that they have in common goes through the model once.
        progress: called with (done, total) whenever answers are done, also in the middle of a batch.
        tools: for each conversation what the model may call, if anything.
    """
    with show_progress("answering prompts", len(conversations)) as task:
        return _answer(model, tokenizer, conversations, max_new_tokens, batch_tokens, progress, tools, task)


def _answer(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    conversations: list[list[Message]],
    max_new_tokens: int,
    batch_tokens: int,
    progress: Progress | None,
    tools: Sequence[Tools] | None,
    task: Task,
) -> Answers:
    began = time.monotonic()
    all_tools = tools or [None] * len(conversations)
    renderer = Renderer(tokenizer)
    prompts = [renderer.render(turns, prompt=True, tools=some).ids for turns, some in zip(conversations, all_tools)]
    prefix = prefix_cache.compute_prefix(model, prompts)
    stops = stop_ids(model, tokenizer)
    new_ids: dict[int, list[int]] = {}
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    batch_size = 1 if prefix_cache.is_recurrent(model) else batch_tokens
    for batch in prefix_cache.make_batches(order, [len(prompt) + max_new_tokens for prompt in prompts], batch_size):
        padded = prefix_cache.pad_left(
            [prompts[index] for index in batch], prefix.length, tokenizer.pad_token_id, model.device
        )
        results = decoding.decode(
            model,
            padded["input_ids"],
            padded["attention_mask"],
            prefix.copies(len(batch)),
            max_new_tokens,
            stops,
            tokenizer.pad_token_id,
            _report_ended(progress, len(new_ids), len(prompts)),
        )
        new_ids.update(zip(batch, results))
        (progress or task.report)(len(new_ids), len(prompts))
    ids = [new_ids[index] for index in range(len(prompts))]
    return _decode_answers(tokenizer, prompts, ids, stops, time.monotonic() - began)


def _report_ended(progress: Progress | None, done: int, total: int) -> decoding.Report:
    """Return what tells ``progress`` of answers that end in the middle of a batch, after ``done`` earlier ones."""
    return lambda ended: progress(done + ended, total) if progress else None


def _decode_answers(
    tokenizer: "PreTrainedTokenizerBase",
    prompts: list[list[int]],
    rows: list[list[int]],
    stops: list[int],
    seconds: float,
) -> Answers:
    answers = Answers(sizes=list(map(len, prompts)), seconds=seconds)
    for prompt, row in zip(prompts, rows):
        ids = until_stop(row, stops)
        answers.ids.append(ids)
        answers.texts.append(tokenizer.decode(ids, skip_special_tokens=True).strip())
        answers.raws.append(tokenizer.decode(row[: len(ids) + 1]))
        answers.rendered.append(tokenizer.decode(prompt))
        answers.cut.append(len(row) == len(ids))
    return answers


def stop_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Return every token that ends a turn: by the generation config, the tokenizer, and the chat template.

    A template may end answers with another token than end-of-text, and that one is trained.
    """
    config_ids = model.generation_config.eos_token_id
    config_ids = [] if config_ids is None else [config_ids] if isinstance(config_ids, int) else list(config_ids)
    return sorted({*config_ids, *Renderer(tokenizer).end_ids})


def until_stop(ids: list[int], stops: Collection[int]) -> list[int]:
    """Return the tokens before the first that ends a turn, or all of them."""
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    return ids[:end]


def stream(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    messages: list[Message],
    max_new_tokens: int = 128,
    temperature: float = 0.0,
    seed: int = 0,
) -> Generator[str, None, bool]:
    """Generate one answer and yield the whole text so far after every token; return whether it was cut.

    Cut is an answer that has ``max_new_tokens`` and did not come to its end of turn.

    Args:
        model: a causal LM in eval mode.
        tokenizer: its tokenizer, with a chat template.
        messages: messages up to and including the last user turn.
        max_new_tokens: most tokens of the answer.
        temperature: 0 takes the likeliest token and uses no random number; above 0 tokens are drawn.
        seed: models with the same seed get the same random numbers.
    """
    import torch

    stops = set(stop_ids(model, tokenizer))
    unread = render(messages, tokenizer, prompt=True).ids
    generator = torch.Generator("cpu").manual_seed(seed)
    cache = None
    new_ids: list[int] = []
    for _ in range(max_new_tokens):
        with torch.inference_mode():
            ids = torch.tensor([unread], device=model.device)
            output = model(input_ids=ids, **kv_cache.cache_argument(cache), use_cache=True, logits_to_keep=1)
        token = _next_token(output.logits[0, -1], temperature, generator)
        if token in stops:
            return False
        new_ids.append(token)
        cache = kv_cache.cache_of(output)
        unread = [*unread, token] if cache is None else [token]
        yield tokenizer.decode(new_ids, skip_special_tokens=True)
    return True


def _next_token(logits: "torch.Tensor", temperature: float, generator: "torch.Generator") -> int:
    """Return the likeliest token, or draw one by inverting the cumulative distribution.

    Each token takes one uniform number, and tokens are sorted by probability. So two models draw the same tokens where
    they agree and differ only where they do not.
    """
    import torch

    if not temperature:
        return int(logits.argmax())
    order = logits.float().cpu().div(temperature).softmax(-1).sort(descending=True, stable=True)
    place = int(torch.searchsorted(order.values.cumsum(-1), torch.rand(1, generator=generator)))
    return int(order.indices[min(place, len(order.indices) - 1)])


def token_texts(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> list[str]:
    """Return what each token adds to the text; joined they are the text.

    A character made of several tokens (an emoji in a byte-level vocabulary) belongs to the last of them. Each token is
    decoded with the ones before it, since a SentencePiece decoder drops the blank that a text begins with.
    """
    texts: list[str] = []
    start, finished = 0, 0  # decoding begins at ``start``; the text up to ``finished`` has been added
    for end in range(1, len(ids) + 1):
        old_text = _decode(tokenizer, ids[start:finished])
        text = _decode(tokenizer, ids[start:end])
        if text.endswith("\ufffd") and end < len(ids):
            texts.append("")
            continue
        texts.append(text[len(old_text) :])
        start, finished = finished, end
    return texts


def _decode(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)) if len(ids) else ""
