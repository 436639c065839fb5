"""The chat on real sides: base, prompted, tuned, checkpoints, an adapter at part of its strength, the same dice."""

import json

import pytest

import etabli
from etabli.core import journal, json_lines
from etabli.core.contracts import CHAT, ChatEntry
from etabli.core.errors import BadInput, DeviceBusy
from etabli.models.generate import stream
from etabli.review import chat as chatting


@pytest.fixture
def run(runs, no_owner):
    yield runs / "changed"
    (runs / "changed" / CHAT).unlink(missing_ok=True)


def test_every_side_answers_and_is_kept(run, monkeypatch):
    sides = ["base", "prompted", "tuned", "step-000001", "step-000002"]
    chat = etabli.chat(run, sides=sides, max_new_tokens=6)
    answers = chat.ask("switch on the lamp")
    assert list(answers) == sides and answers["base"] != answers["tuned"]
    assert all(chat.figures[side]["first_s"] > 0 for side in sides)
    kept = journal.Journal(run / CHAT, lambda line: True).all()
    assert len(kept) == 1 and set(ChatEntry.__annotations__) == set(kept[0])
    assert {side: one["text"] for side, one in kept[0]["answers"].items()} == answers
    # What was asked is there again without a model.
    monkeypatch.setattr("etabli.models.loading.load", lambda *_, **__: pytest.fail("a model was loaded"))
    again = etabli.chat(run)
    assert "switch on the lamp" in again.html() and again.history[0]["answers"] == answers
    assert [one["prompt"] for one in chatting.read_history(run)] == ["switch on the lamp"]


def test_strength_goes_from_the_base_to_the_tuned_model(run):
    chat = etabli.chat(run, max_new_tokens=8)
    full = chat.ask("turn it off")
    none = chat.ask("turn it off", strength=0.0)
    again = chat.ask("turn it off", strength=1.0)
    assert none["tuned"] == full["base"] == none["base"] and again == full
    with pytest.raises(BadInput, match=r"strength is .*between 0 and 1\.5"):
        chat.ask("x", strength=2.0)


def test_a_checkpoint_first_asked_at_part_of_its_strength(run):
    """It is loaded for that: what was loaded under a scale would not be scaled, and forgotten afterwards."""
    sides = ["base", "step-000002"]
    fresh = etabli.chat(run, sides=sides, max_new_tokens=8)
    none = fresh.ask("turn it off", strength=0.0)
    assert none["step-000002"] == none["base"]
    full = fresh.ask("turn it off", strength=1.0)
    assert full == etabli.chat(run, sides=sides, max_new_tokens=8).ask("turn it off")


@pytest.mark.parametrize(
    "odd",
    [
        {"temperature": float("nan")},
        {"temperature": 1e-40},
        {"temperature": float("inf")},
        {"temperature": -1.0},
        {"seed": 2**70},
        {"seed": 1.5},
        {"seed": -1},
        {"strength": float("nan")},
    ],
)
def test_odd_settings_are_refused(run, odd):
    with pytest.raises(BadInput, match=r"(temperature|seed|strength) is"):
        etabli.chat(run, max_new_tokens=2).ask("x", **odd)
    assert not (run / CHAT).exists()


def test_the_commands(run, capsys):
    from etabli.app.cli import main

    def told(*given):
        with pytest.raises(SystemExit) as left:
            main([*map(str, given)])
        return left.value.code, capsys.readouterr().out

    code, out = told("chat", run, "hello", "--side", "base", "--max-new-tokens", "3", "--json")
    assert code == 0 and set(json.loads(out)) == set(ChatEntry.__annotations__)
    code, out = told("chat", run)
    assert code == 0 and out.startswith("> hello\nbase: ")
    assert told("chat", run, "x", "--side", "nobody")[0] == 2


def test_prompts_of_ones_own_are_asked_once(run, tmp_path, monkeypatch):
    from etabli.review.session import open_session

    held = open_session(run, ["base", "step-000002"], ["turn it on", "turn it off"], votes=tmp_path / "v.jsonl")
    assert [item.prompt for item in held.comparison.items] == ["turn it on", "turn it off"]
    monkeypatch.setattr("etabli.models.loading.load", lambda *_, **__: pytest.fail("a model was loaded"))
    again = open_session(run, ["base", "step-000002"], ["turn it on", "turn it off"], votes=tmp_path / "v.jsonl")
    assert again.comparison.hash == held.comparison.hash
    with pytest.raises(BadInput, match="0 prompts"):
        open_session(run, [], [" "])


def test_the_same_seed_draws_the_same_for_everyone(run):
    chat = etabli.chat(run, sides=["base", "step-000001"], max_new_tokens=8)
    one = chat.ask("hello", temperature=1.0, seed=3)
    assert chat.ask("hello", seed=3) == one != chat.ask("hello", seed=4)
    # An adapter of no strength draws what the base draws: the dice are the same.
    same = chat.ask("hello", seed=5, strength=0.0)
    assert same["base"] == same["step-000001"]


def test_draws_follow_the_probabilities(plain, tokenizer):
    """Of many seeds, first tokens come about as often as the model says."""
    from collections import Counter

    import torch

    from etabli.rendering.render import render

    talk = [{"role": "user", "content": "hi"}]
    ids = torch.tensor([render(talk, tokenizer, prompt=True).ids])
    with torch.no_grad():
        wanted = (plain(input_ids=ids).logits[0, -1].float() / 0.05).softmax(-1)
    drawn = Counter(next(stream(plain, tokenizer, talk, 1, 0.05, seed), "") for seed in range(300))
    best = wanted.topk(2)
    for token, share in zip(best.indices.tolist(), best.values.tolist()):
        error = 4 * (share * (1 - share) / 300) ** 0.5 + 0.01
        assert abs(drawn[tokenizer.decode([token], skip_special_tokens=True)] / 300 - share) < error
    assert next(stream(plain, tokenizer, talk, 1, 0.0)) == next(stream(plain, tokenizer, talk, 1, 1e-6, 9))


def test_nothing_is_loaded_before_the_first_question_nor_beside_a_run(run, monkeypatch):
    def busy(what, **options):
        raise DeviceBusy("a run owns the device")

    monkeypatch.setattr("etabli.core.processes.require_free_device", busy)
    chat = etabli.chat(run, max_new_tokens=2)
    with pytest.raises(DeviceBusy):
        chat.ask("x")
    assert etabli.chat(run, max_new_tokens=2, alongside=True).ask("x")


def test_sides_that_are_not_there(run):
    for sides in (["base", "nobody"], [], ["base", "base"]):
        with pytest.raises(
            BadInput, match=r"not possible\. Choose different ones of base, prompted, tuned, step-000001, step-000002"
        ):
            etabli.chat(run, sides=sides)


def test_a_torn_line_of_the_chat_is_passed_over(run):
    (run / CHAT).write_text('{"id": "a", "prompt": "x", "answers": {"base": {"text": 1}}}\n{"id": "b", "pro')
    assert "Nothing asked yet" in etabli.chat(run).html()
    json_lines.append(run / CHAT, b'{"id": "c", "prompt": "whole", "answers": {"base": {"text": "y"}}}\n')
    assert "whole" in etabli.chat(run).html()
