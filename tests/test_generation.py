"""Batched, prefix-cached answers equal those of plain ``generate``, one by one, in float32."""

import math

import pytest

from etabli.models import generate, prefix_cache
from etabli.rendering.render import render

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
        wanted.append(generate.until_stop(out[0, ids.shape[1] :].tolist(), [2]))
    seen = []
    made = generate.answer(
        plain, tokenizer, TALKS, 12, batch_tokens=batch_tokens, progress=lambda done, total: seen.append((done, total))
    )
    assert made.ids == wanted
    assert seen[-1] == (5, 5) and seen == sorted(seen), "what is done stays done"
    assert prefix_cache.common_prefix([render(talk, tokenizer, prompt=True).ids for talk in TALKS]) > 5


def plain_answers(plain, tokenizer, **settings):
    """Each talk alone, by transformers' own ``generate``."""
    import torch

    answers = []
    for talk in TALKS:
        ids = torch.tensor([render(talk, tokenizer, prompt=True).ids])
        mask = torch.ones_like(ids)
        out = plain.generate(ids, attention_mask=mask, max_new_tokens=12, do_sample=False, use_cache=True, **settings)
        answers.append(generate.until_stop(out[0, ids.shape[1] :].tolist(), generate.stop_ids(plain, tokenizer)))
    return answers


@pytest.fixture
def stops(plain, tokenizer, monkeypatch):
    """Every talk but the last gets a stop of its own: a token that plain ``generate`` writes there, each later."""
    ids = [ids[3 + 2 * row] for row, ids in enumerate(plain_answers(plain, tokenizer)[:4])]
    monkeypatch.setattr(plain.generation_config, "eos_token_id", ids)


def test_rows_leave_the_batch_when_their_answers_end_and_the_others_go_on_unchanged(plain, tokenizer, stops):
    expected = plain_answers(plain, tokenizer)
    shapes, ended = [], []
    hook = plain.register_forward_pre_hook(
        lambda _, args, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    together = generate.answer(plain, tokenizer, TALKS, 12, progress=lambda done, total: ended.append(done))
    hook.remove()
    assert together.ids == expected and len(set(map(len, expected))) > 2, "the answers end at different lengths"
    rows = [count for count, _ in shapes]
    assert rows[0] == 1 and rows[1] == 5 and rows[1:] == sorted(rows[1:], reverse=True) and rows[-1] < 3
    assert {tokens for _, tokens in shapes[2:]} == {1}, "what went through the model does not go through it again"
    assert ended == sorted(ended) and ended[-1] == 5


@pytest.mark.parametrize(
    "settings",
    [
        {"min_new_tokens": 5},
        {"exponential_decay_length_penalty": (3, 1.5)},
        {"guidance_scale": 1.5},
        {"repetition_penalty": 1.5},
        {"use_cache": False},
        {"cache_implementation": "dynamic"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_model_s_own_generation_settings_hold_in_a_batch(plain, tokenizer, stops, monkeypatch, settings):
    (name, value), *_ = settings.items()
    monkeypatch.setattr(plain.generation_config, name, value)
    assert generate.answer(plain, tokenizer, TALKS, 12).ids == plain_answers(plain, tokenizer)


def test_the_output_layer_does_not_multiply_its_weights_by_the_rows(embedded):
    """PyTorch repeats frozen ones for each row when it gets a slice of the hidden states (pytorch #186148)."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from etabli.models import loading

    loaded = loading.load(dtype="float32", alongside=True)
    loaded.model.requires_grad_(False)  # as below an adapter
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        loaded.model(input_ids=torch.ones(3, 8, dtype=torch.long), logits_to_keep=1)
    largest = {op.key: max(map(math.prod, op.input_shapes), default=0) for op in profiled.events()}
    weights = loaded.model.get_output_embeddings().weight.numel()
    assert largest["aten::mm"] == weights and largest.get("aten::bmm", 0) < weights


def test_streaming_says_the_same(plain, tokenizer):
    made = generate.answer(plain, tokenizer, TALKS[:1], 12)
    *_, last = generate.stream(plain, tokenizer, TALKS[0], 12)
    assert last.strip() == made.texts[0]


def test_streaming_a_recurrent_model_equals_reading_all_of_the_text_at_every_token(tokenizer):
    """transformers 5.24 hands out a cache for these too; a wrong use of it gives other logits without an error."""
    import torch
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    model = MambaForCausalLM(MambaConfig(vocab_size=49152, hidden_size=32, num_hidden_layers=2, state_size=4)).eval()
    model.generation_config.eos_token_id = None
    ids = render(TALKS[0], tokenizer, prompt=True).ids
    expected = []
    for _ in range(8):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*ids, *expected]]), use_cache=False).logits
        expected.append(int(logits[0, -1].argmax()))
    *_, last = generate.stream(model, tokenizer, TALKS[0], 8)
    assert last == tokenizer.decode(expected, skip_special_tokens=True)


@pytest.mark.parametrize(
    "prompts, shared", [([[1, 2, 3], [1, 2, 4]], 2), ([[1], [1]], 0), ([[1, 2], [1, 2, 3]], 1), ([[1, 2]], 0)]
)
def test_common_prefix(prompts, shared):
    assert prefix_cache.common_prefix(prompts) == shared
