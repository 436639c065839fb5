"""Likelihoods in batches with a shared beginning equal a plain forward pass over each conversation, in float32."""

import random

import pytest

from etabli import likelihoods
from etabli.tokens import render


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
    got = likelihoods.score(plain, tokenizer, talks, batch_tokens, lambda done, total: seen.append((done, total)))
    for one, messages in zip(got, talks):
        nats, tokens = alone(plain, tokenizer, messages)
        assert one.tokens == tokens
        assert one.nats == pytest.approx(nats, rel=1e-4, abs=1e-4)
    assert seen[-1] == (len(talks), len(talks))


def test_a_thousand_random_conversations(plain, tokenizer):
    """And of each four choices to one question the same one is the likeliest."""
    rng = random.Random(0)
    words = ["light", "off", "<|im_end|>", "Küche", "{", "日本", "12", "\n", "maybe"]

    def text(most):
        return " ".join(rng.choice(words) for _ in range(rng.randint(1, most)))

    questions = [text(12) for _ in range(250)]
    talks = [talk(asked, text(5), SYSTEM) for asked in questions for _ in range(4)]
    got = likelihoods.score(plain, tokenizer, talks, 4000)
    wanted = [alone(plain, tokenizer, messages) for messages in talks]
    for one, (nats, tokens) in zip(got, wanted):
        assert one.tokens == tokens and one.nats == pytest.approx(nats, rel=1e-4, abs=1e-4)
    for at in range(0, 1000, 4):
        assert (
            min(got[at : at + 4], key=lambda one: one.nats)
            is got[at + _least([nats for nats, _ in wanted[at : at + 4]])]
        )


def _least(values):
    return values.index(min(values))


def test_no_conversations(plain, tokenizer):
    assert likelihoods.score(plain, tokenizer, []) == []
