"""The chat on real sides: base, prompted, tuned, checkpoints, an adapter at part of its strength, the same dice."""

import json
import shutil

import pytest

import etabli
from etabli.core import journal, json_lines
from etabli.core.contracts import CHAT, RECIPE, ChatEntry, Vote
from etabli.core.errors import BadData, BadInput, DeviceBusy
from etabli.models.generate import answer, stream
from etabli.review import chat as chatting
from etabli.review import results, votes
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run


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


def test_the_prompted_side_is_on_by_default_where_there_are_rows_for_it(run):
    chat = etabli.chat(run, max_new_tokens=2)
    assert chat.names == ["base", "prompted", "tuned"] and not chat.notes
    assert list(chat.ask("hello")) == chat.names
    foreign = etabli.chat(run / "adapter", max_new_tokens=2)  # a PEFT folder: nothing is known of its training
    assert foreign.names == ["base", "tuned"] and "no training rows" in foreign.notes[0] in foreign.html()


def test_rules_that_nobody_agreed_to_are_not_run_for_a_default(run, tmp_path, monkeypatch):
    mine = tmp_path / "runs" / "mine"
    shutil.copytree(run, mine, ignore=shutil.ignore_patterns("checkpoints", "*.jsonl"))
    hit = tmp_path / "hit"
    (mine / "rules.py").write_text(f"open({str(hit)!r}, 'w').close()\n")
    recipe = Recipe.load(mine / RECIPE)
    recipe.model_copy(update={"rules": str(mine / "rules.py")}).save(mine / RECIPE)
    chat = etabli.chat(mine, max_new_tokens=2)
    assert chat.names == ["base", "tuned"] and "The prompted base is left out" in chat.notes[0]
    assert "trust_code=True" in chat.notes[0] and not hit.exists()


def test_a_question_goes_on_from_the_one_before(run, tiny):
    """Each side gets its own earlier answers: the same as asking the whole conversation at once."""
    chat = etabli.chat(run, sides=["base", "tuned"], max_new_tokens=6, system="")
    first = chat.ask("turn it off")
    second = chat.ask("and now on", go_on=True)
    third = chat.ask("why", go_on=True)
    alone = chat.ask("why")
    assert alone["tuned"] != third["tuned"], "a question stands alone unless it is said"
    loaded = Run.attach(run).load(alongside=True)
    for side, as_base in (("base", True), ("tuned", False)):
        talk = []
        for prompt, answers in (("turn it off", first), ("and now on", second)):
            talk += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answers[side]}]
        with loaded.as_base(as_base):
            *_, text = stream(loaded.model, loaded.tokenizer, [*talk, {"role": "user", "content": "why"}], 6)
        assert text == third[side]
    kept = chatting.read_history(run)
    assert [entry["after"] for entry in kept] == ["", kept[0]["id"], kept[1]["id"], ""]
    again = etabli.chat(run, sides=["base", "tuned"], max_new_tokens=6, system="")
    assert again.ask("why not", go_on=True), "also in a new kernel"
    with pytest.raises(ValueError, match="prompted did not answer the question before"):
        etabli.chat(run, max_new_tokens=6).ask("x", go_on=True)


def test_an_answer_that_reached_its_length_is_told_from_one_that_ended(run, plain, tokenizer):
    chat = etabli.chat(run, sides=["base", "tuned"], max_new_tokens=3)
    chat.ask("turn it off")
    assert chat.figures["tuned"]["cut"] and chat.history[0]["cut"] == ["base", "tuned"]
    assert 'class="etabli-cut"' in chat.html() and chatting.read_history(run)[0]["answers"]["tuned"]["cut"]
    talk, lengths = [{"role": "user", "content": "hi"}], (1, 2, 64, 512)
    for length in lengths:  # generation in batches tells the same, from the ids
        whole = answer(plain, tokenizer, [talk], length)
        assert last_value(stream(plain, tokenizer, talk, length)) is whole.cut[0]


def last_value(texts):
    while True:
        try:
            next(texts)
        except StopIteration as end:
            return end.value


def test_votes_in_the_chat_are_kept_and_never_counted_as_blind(run, tmp_path):
    from etabli.review.session import open_session

    file = tmp_path / "ann.jsonl"
    chat = etabli.chat(run, max_new_tokens=4, votes=file, author="ann")
    with pytest.raises(ValueError, match="ask one first"):
        chat.vote("tie")
    chat.ask("turn it off")
    assert chat.vote("tuned") == {"left": "prompted", "right": "tuned", "choice": "right"}
    chat.vote("both bad", against="base")
    for choice, against, why in (
        ("tie", "base", "first vote"),
        ("lookup", "prompted", "Choose"),
        ("tie", "x", "Choose"),
    ):
        with pytest.raises(ValueError, match=why):
            chat.vote(choice, against)
    lines = journal.Journal(file, votes.is_vote).all()
    assert [set(line) for line in lines] == [set(Vote.__annotations__)] * 2, "the format of the arena's votes"
    assert all(line["unblinded"] and line["item"] == chat.history[0]["id"] for line in lines)
    assert lines[0]["lengths"] == [len(chat.texts["prompted"]), len(chat.texts["tuned"])]
    assert "tuned against prompted: 1 better, 0 worse, 0 tied, 0 both bad" in chat.tally
    again = etabli.chat(run, votes=file, author="ann")
    assert again.votes == chat.votes and again.tally == chat.tally and "prompted: tuned is better" in again.html()
    assert etabli.chat(run, votes=file, author="bob").votes == {}
    with pytest.raises(BadData, match="0 votes"):
        votes.pool([file])

    (tmp_path / "answers.jsonl").write_text(
        "\n".join(json.dumps({"prompt": f"p{n}", "answers": {"prompted": f"a{n}", "tuned": f"b{n}"}}) for n in range(9))
    )
    arena = open_session(tmp_path / "answers.jsonl", votes=file, author="ann")
    assert "2 votes in" in arena.notes[0] and "Cast in the chat, not blind" in arena.notes[0]
    arena.current_pair()
    arena.vote("left")
    counted, notes = votes.pool([file])
    assert len(counted) == 1 and "2 votes were cast in the chat" in notes[0]
    assert results.summarise_votes(counted, notes)["scores"][0]["n"] == 1, "what is counted is the blind vote alone"


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
