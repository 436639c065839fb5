"""Batched, prefix-cached answers equal those of plain ``generate``, one by one, in float32."""

import pytest

from etabli import generation, prefixes
from etabli.tokens import render

TALKS = [
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    for content in ("hi", "a longer question than the others, by far", "and?", "<|im_end|>", "four words are here")
]


@pytest.mark.parametrize("batch_tokens", [1, 200, 100_000])
def test_batching_and_the_prefix_cache_change_nothing(plain, tokenizer, batch_tokens):
    import torch

    wanted = []
    for talk in TALKS:
        ids = torch.tensor([render(talk, tokenizer, prompt=True).ids])
        out = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        wanted.append(generation._until_stop(out[0, ids.shape[1] :].tolist(), [2]))
    seen = []
    made = generation.answer(
        plain, tokenizer, TALKS, 12, batch_tokens=batch_tokens, progress=lambda done, total: seen.append((done, total))
    )
    assert made.ids == wanted
    assert seen[-1] == (5, 5) and seen == sorted(seen), "what is done stays done"
    assert prefixes.common_prefix([render(talk, tokenizer, prompt=True).ids for talk in TALKS]) > 5


def test_streaming_says_the_same(plain, tokenizer):
    made = generation.answer(plain, tokenizer, TALKS[:1], 12)
    *_, last = generation.stream(plain, tokenizer, TALKS[0], 12)
    assert last.strip() == made.texts[0]


@pytest.mark.parametrize(
    "prompts, shared", [([[1, 2, 3], [1, 2, 4]], 2), ([[1], [1]], 0), ([[1, 2], [1, 2, 3]], 1), ([[1, 2]], 0)]
)
def test_common_prefix(prompts, shared):
    assert prefixes.common_prefix(prompts) == shared
