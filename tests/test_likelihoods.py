"""Likelihoods in batches with a shared beginning equal a plain forward pass over each conversation, in float32."""

import random

import pytest

from etabli.models import likelihood
from etabli.rendering.render import render


def alone(model, tokenizer, messages):
    """log-softmax of one conversation's own logits, summed over its last answer."""
    import torch

    made = render(messages, tokenizer, "last")
    ids = torch.tensor([made.ids])
    with torch.no_grad():
        said = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].double(), -1)
    counted = [at for at, trained in enumerate(made.trained) if trained and at]
    return -sum(float(said[at - 1, made.ids[at]]) for at in counted), len(counted)


def talk(asked, answer, *before):
    return [*before, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]


SYSTEM = {"role": "system", "content": "Be brief."}
TALKS = [
    talk("hi", "hello", SYSTEM),
    talk("a much longer question than all of the others are, by far", "yes", SYSTEM),
    talk("and?", "a long answer that goes on and on, <|im_end|> typed too", SYSTEM),
    talk("x", "", SYSTEM),
    talk("again", "no", SYSTEM, *talk("first", "an earlier answer that does not count")),
]


@pytest.mark.parametrize("batch_tokens", [1, 150, 100_000])
@pytest.mark.parametrize("talks", [TALKS, TALKS[:1], [talk("hi", "a"), talk("hi", "b")]])
def test_batches_change_nothing(plain, tokenizer, talks, batch_tokens):
    seen = []
    got = likelihood.score(plain, tokenizer, talks, batch_tokens, lambda done, total: seen.append((done, total)))
    for one, messages in zip(got, talks):
        nats, tokens = alone(plain, tokenizer, messages)
        assert one.tokens == tokens
        assert one.nats == pytest.approx(nats, rel=1e-4, abs=1e-4)
    assert seen[-1] == (len(talks), len(talks))


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.nightly)])
def test_many_random_conversations(plain, tokenizer, count):
    """And of each four choices to one question the same one is the likeliest."""
    rng = random.Random(0)
    words = ["light", "off", "<|im_end|>", "Küche", "{", "日本", "12", "\n", "maybe"]

    def text(most):
        return " ".join(rng.choice(words) for _ in range(rng.randint(1, most)))

    questions = [text(12) for _ in range(count // 4)]
    talks = [talk(asked, text(5), SYSTEM) for asked in questions for _ in range(4)]
    got = likelihood.score(plain, tokenizer, talks, 4000)
    wanted = [alone(plain, tokenizer, messages) for messages in talks]
    for one, (nats, tokens) in zip(got, wanted):
        assert one.tokens == tokens and one.nats == pytest.approx(nats, rel=1e-4, abs=1e-4)
    for at in range(0, count, 4):
        assert (
            min(got[at : at + 4], key=lambda one: one.nats)
            is got[at + _least([nats for nats, _ in wanted[at : at + 4]])]
        )


def _least(values):
    return values.index(min(values))


@pytest.fixture(scope="module", params=["mistral", "gemma3", "mamba"])
def other(request, tokenizer):
    """Tiny models whose beginnings can't be shared: windows of 24 tokens, and one with a state."""
    import torch
    import transformers as hf

    size = {
        "vocab_size": 49152,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "pad_token_id": 2,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    heads = {"intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16}
    torch.manual_seed(0)
    config = {
        "mistral": lambda: hf.MistralConfig(**size, **heads, sliding_window=24),
        "gemma3": lambda: hf.Gemma3TextConfig(**size, **heads, sliding_window=24),
        "mamba": lambda: hf.MambaConfig(**size, state_size=8),
    }[request.param]()
    return hf.AutoModelForCausalLM.from_config(config).float().eval()


def test_windows_and_states_share_no_beginning(other, tokenizer):
    from etabli.models import generate

    long = {"role": "system", "content": "Be brief. " * 12}
    talks = [
        talk(asked, answer, long) for asked, answer in (("a", "b"), ("a longer one, by far", "no"), ("c", "d e f"))
    ]
    got = likelihood.score(other, tokenizer, talks)
    for one, messages in zip(got, talks):
        assert one.nats == pytest.approx(alone(other, tokenizer, messages)[0], rel=1e-4)
    asked = [messages[:-1] for messages in talks]
    together = generate.answer(other, tokenizer, asked, 6)
    assert together.ids == [generate.answer(other, tokenizer, [one], 6).ids[0] for one in asked]


def test_no_more_logits_than_fit():
    """Rows times the longest answer stays within bounds, whatever order lengths come in."""
    from etabli.models import prefix_cache

    sizes = [150] * 6 + [4] * 200 + [150, 1]
    parts = list(prefix_cache.make_batches(list(range(len(sizes))), sizes, 1024))
    assert [at for part in parts for at in part] == list(range(len(sizes)))
    assert all(len(part) * max(sizes[at] for at in part) <= 1024 for part in parts)


def test_no_conversations(plain, tokenizer):
    assert likelihood.score(plain, tokenizer, []) == []
