"""Token differences against a direct computation, pieces of every kind of vocabulary, and the training film."""

import contextlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import etabli
import trainings
from etabli.core import storage
from etabli.core.contracts import (
    EVENTS,
    RECIPE,
    ProbeAnswer,
    ProbeHistory,
    TokenDiffRow,
    TokenDiffs,
    TokenMoves,
    TruthMoves,
)
from etabli.core.errors import BadInput, Damaged, DeviceBusy
from etabli.models import token_divergence
from etabli.models.generate import token_texts
from etabli.review import probe_history as filming
from etabli.review import token_diff as diffing
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from etabli.training import evaluator

WORDS = [
    "light",
    " off",
    "<|im_end|>",
    "Küche",
    "{",
    "日本語",
    " 12",
    "\n",
    "👩‍👩‍👧",
    "🇫🇷",
    "שלום",
    " مرحبا",
    "é",
    "\u202e",
    "<b>",
    "  ",
]


def some_text(luck, most=12):
    return "".join(luck.choice(WORDS) for _ in range(luck.randint(1, most)))


@pytest.fixture(scope="session")
def fallback(tmp_path_factory):
    """A SentencePiece-like vocabulary: a blank before the first word, what is unknown as single bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    known = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=known)
    made.train_from_iterator(["turn off the light in the kitchen", "light off 12", "{}"] * 20, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session", params=["byte-level", "byte fallback"])
def vocabulary(request, tokenizer, fallback):
    return tokenizer if request.param == "byte-level" else fallback


def encode(vocabulary, text):
    return vocabulary(text, add_special_tokens=False)["input_ids"]


@given(text=st.text(max_size=40))
def test_pieces_joined_are_the_text(vocabulary, text):
    ids = encode(vocabulary, text)
    made = token_texts(vocabulary, ids)
    assert len(made) == len(ids)
    assert "".join(made) == (vocabulary.decode(ids, clean_up_tokenization_spaces=False) if ids else "")


def test_a_sign_of_several_tokens_stands_at_its_last_one(vocabulary):
    ids = encode(vocabulary, "a 👩‍👩‍👧 שלום")
    made = token_texts(vocabulary, ids)
    assert "" in made and "\ufffd" not in "".join(made) and "👩" in "".join(made)
    half = ids[: made.index("") + 1]
    assert len(token_texts(vocabulary, half)) == len(half), "an answer that was cut in the middle of a sign"


@pytest.fixture(scope="module")
def adapted_models(tokenizer, fallback):
    """Small models in float32 with a random adapter, one a vocabulary: no ties broken by rounding."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    made = {}
    for vocabulary in (tokenizer, fallback):
        torch.manual_seed(3)
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
            tie_word_embeddings=True,
        )
        base = LlamaForCausalLM(config)
        for parameter in base.parameters():
            parameter.data *= 4
        model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)).eval()
        made[len(vocabulary)] = model
    return made


def sides(model):
    return token_divergence.Sides(model, model.disable_adapter, contextlib.nullcontext)


def directly(model, prompt, answer):
    """Both log-softmaxes of one whole pass each, float64: (tokens, vocabulary)."""
    import torch

    ids = torch.tensor([[*prompt, *answer]])
    with torch.no_grad():
        tuned = model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
        with model.disable_adapter():
            base = model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
    return base[len(prompt) - 1 : -1], tuned[len(prompt) - 1 : -1]


def check(model, vocabulary, prompt, answer):
    made = token_divergence.compare_tokens(sides(model), vocabulary, prompt, answer)
    base, tuned = directly(model, prompt, answer)
    for place, token in enumerate(answer):
        for name, said in (("base_", base[place]), ("", tuned[place])):
            assert made[f"{name}logp"][place] == pytest.approx(float(said[token]), abs=1e-3, rel=1e-3)
            close = int((said > said[token] + 1e-4).sum()) + 1, int((said > said[token] - 1e-4).sum()) + 1
            assert close[0] <= made[f"{name}rank"][place] <= max(close)
            assert made[f"{name}top"][place][0][1] == pytest.approx(float(said.max()), abs=1e-3, rel=1e-3)
        kl = float((tuned[place].exp() * (tuned[place] - base[place])).sum())
        assert made["kl"][place] == pytest.approx(kl, abs=2e-3, rel=2e-3)
    return made


@pytest.mark.parametrize("count", [50, pytest.param(1000, marks=pytest.mark.nightly)])
def test_many_answers_equal_a_direct_computation(adapted_models, tokenizer, fallback, count):
    luck = random.Random(0)
    for number in range(count):
        vocabulary = (tokenizer, fallback)[number % 5 > 0]  # byte-level vocabularies are large: a fifth of them
        prompt, answer = encode(vocabulary, some_text(luck)), encode(vocabulary, some_text(luck))
        made = check(adapted_models[len(vocabulary)], vocabulary, prompt, answer)
        assert set(made) == set(TokenMoves.__annotations__) and len(made["tokens"]) == len(answer)


def test_answers_longer_than_a_piece_and_of_one_token(adapted_models, fallback):
    luck = random.Random(1)
    long = encode(fallback, some_text(luck, 600)) * 2
    assert len(long) > 3 * token_divergence.CHUNK
    for size in (1, 2, token_divergence.CHUNK, token_divergence.CHUNK + 1, len(long)):
        check(adapted_models[len(fallback)], fallback, long[:7], long[:size])


def read_lengths(model):
    """The ids of every forward pass of a model, as they go through it."""
    lengths = []
    hook = model.register_forward_pre_hook(
        lambda module, args, kwargs: lengths.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    return lengths, hook


@pytest.mark.parametrize("shared", [0, 1, 4, 30])
def test_two_answers_to_one_prompt_are_those_of_each_alone_and_read_once(adapted_models, fallback, shared):
    model, prompt = adapted_models[len(fallback)], [261, 270, 281, 290]
    first = [260 + place % 50 for place in range(30)]
    second = [*first[:shared], *[260 + (7 * place + 3) % 40 for place in range(20)]]
    lengths, hook = read_lengths(model)
    both = token_divergence.compare_answers(sides(model), fallback, prompt, [first, second, second])
    hook.remove()
    assert both[1] == both[2]
    for moves, answer in zip(both, (first, second)):
        alone = check(model, fallback, prompt, answer)
        for name in ("logp", "base_logp", "kl"):
            assert moves[name] == pytest.approx(alone[name], abs=2e-3)
        assert (moves["ids"], moves["tokens"]) == (alone["ids"], alone["tokens"])
    alone_tokens = len(prompt) + len(first) - 1
    assert sum(lengths) == 2 * (alone_tokens + len(second) - shared), "on each side, nothing is read twice"


def test_an_answer_of_ten_thousand_tokens(adapted_models, fallback):
    ids = [260 + at % 50 for at in range(10_000)]
    made = token_divergence.compare_tokens(sides(adapted_models[len(fallback)]), fallback, ids[:3], ids)
    assert len(made["kl"]) == 10_000 and all(value - value == 0 for value in made["kl"])


def test_no_prompt_is_refused(adapted_models, fallback):
    with pytest.raises(ValueError, match="prompt is empty"):
        token_divergence.compare_tokens(sides(adapted_models[len(fallback)]), fallback, [], [300])


# --- a run's token differences --------------------------------------------------------------------------------------


@pytest.fixture
def measured(runs, answered):
    return diffing.measure(runs / "changed", results=answered, save=False)


def test_a_runs_answers_are_measured_by_the_largest_move(runs, answered, measured):
    assert set(measured) == set(TokenDiffs.__annotations__) and len(measured["rows"]) == 12
    moves = [row["move"] for row in measured["rows"]]
    assert moves == sorted(moves, reverse=True) and moves[-1] > 0
    for row in measured["rows"]:
        assert set(row) == set(TokenDiffRow.__annotations__) and set(row["truth"]) == set(TruthMoves.__annotations__)
        changes = [after - before for after, before in zip(row["moves"]["logp"], row["moves"]["base_logp"])]
        assert row["total"] == pytest.approx(sum(changes)) and row["move"] == abs(changes[row["at"]])
        assert "".join(row["moves"]["tokens"]).startswith(row["answer"]), "the end of turn is a token of it"
    json.dumps(measured, allow_nan=False)


def test_it_agrees_with_the_loss_of_the_evaluation(runs, answered, measured):
    """The sum of an answer's log-probabilities is what likelihoods.score gives for it, on both sides."""
    from etabli.models import likelihood
    from etabli.models.loading import load

    loaded = load(Recipe.load(runs / "changed" / RECIPE).model, adapter=runs / "changed" / "adapter")
    rows = {row["id"]: row for row in answered["rows"]}
    for row in measured["rows"][:4]:
        talk = [*rows[row["id"]]["row"]["messages"][:-1], {"role": "assistant", "content": row["answer"]}]
        for base, name in ((True, "base_logp"), (False, "logp")):
            with loaded.as_base(base):
                found = likelihood.score(loaded.model, loaded.tokenizer, [talk])[0]
            assert found.tokens == len(row["moves"]["ids"])
            assert sum(row["moves"][name]) == pytest.approx(-found.nats, rel=0.02, abs=0.3), "bfloat16"


def test_the_truth_is_measured_as_the_evaluations_loss(runs, answered, measured):
    """The sum over the truth's tokens is what likelihoods.score gives for the true answer, on both sides."""
    from etabli.models import likelihood
    from etabli.models.loading import load

    loaded = load(Recipe.load(runs / "changed" / RECIPE).model, adapter=runs / "changed" / "adapter")
    rows = {row["id"]: row for row in answered["rows"]}
    for row in measured["rows"][:3]:
        truth, source = row["truth"], rows[row["id"]]
        assert truth["text"] == source["truth"] and truth["tokens"] == len(truth["moves"]["ids"])
        assert "".join(truth["moves"]["tokens"]).startswith(source["truth"])
        for base, name in ((True, "base_"), (False, "")):
            with loaded.as_base(base):
                score = likelihood.score(loaded.model, loaded.tokenizer, [source["row"]["messages"]])[0]
            assert sum(truth["moves"][f"{name}logp"]) == pytest.approx(-score.nats, rel=0.02, abs=0.3), "bfloat16"
            assert truth["first" if not base else "base_first"] == truth["moves"][f"{name}rank"].count(1)


def test_an_answer_that_is_the_truth_is_measured_once(runs, answered):
    for row in answered["rows"]:
        row["answers"]["tuned"] = row["truth"]
    rows = diffing.measure(runs / "changed", results=answered, save=False, limit=2)["rows"]
    assert rows and all(row["truth"]["moves"] is None and row["truth"]["total"] == row["total"] for row in rows)
    assert all("truth" not in row for row in diffing.measure(runs / "changed", "truth", 1, results=answered)["rows"])


def test_what_was_cut_is_told(runs, answered, measured):
    """A small model that knows nothing seldom ends its answers; the log tells by the end of turn in the raw text."""
    ends = {row["id"]: "<|im_end|>" not in row["raw"]["tuned"] for row in answered["rows"]}
    assert {row["id"]: row["cut"] for row in measured["rows"]} == ends and any(ends.values())


def test_an_adapter_that_changes_nothing_moves_nothing(runs, answered):
    made = diffing.measure(runs / "nothing", results=answered, save=False, limit=2)
    assert all(row["move"] == 0 and row["kl"] == 0 for row in made["rows"]) and len(made["rows"]) == 4


def test_what_was_measured_is_read_without_a_model(runs, measured, tmp_path, monkeypatch):
    place = tmp_path / "token_diff.json"
    storage.write_json(place, measured)
    monkeypatch.setattr(Run, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert etabli.token_diff(place).lines[0]["id"] == measured["rows"][0]["id"]
    odd = [{}, {**measured["rows"][0], "moves": None}, {**measured["rows"][0], "moves": {}}]
    for text in ("{", "[]", '{"version": 9}', *(json.dumps({**measured, "rows": [row]}) for row in odd)):
        place.write_text(text)
        with pytest.raises(Damaged, match="measure again"):
            diffing.read_token_diffs(place)
    with pytest.raises(BadInput, match="There is no"):
        diffing.read_token_diffs(tmp_path / "none.json")


def test_what_changed_since_is_told(runs, answered, measured, tmp_path):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(runs / "changed", run)
    storage.write_json(run / "results.json", answered)
    storage.write_json(run / "token_diff.json", measured)
    assert diffing.load_saved(run)["said"] == measured["said"]
    answered["rows"][0]["answers"]["tuned"] = "another"
    storage.write_json(run / "results.json", answered)
    assert "The evaluation's answers have changed since" in diffing.load_saved(run)["said"][-1]
    shutil.rmtree(run / "adapter")
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    assert diffing.load_saved(run)["rows"], "the file is still true where the adapter is gone"


def test_nobody_of_that_name_and_a_busy_device(runs, answered, monkeypatch):
    with pytest.raises(BadInput, match="'nobody' has answered; there are"):
        diffing.measure(runs / "changed", of="nobody", results=answered, save=False)
    with pytest.raises(BadInput, match="no results"):
        diffing.measure(runs / "other")

    def busy(what, **_):
        raise DeviceBusy("a run owns it")

    monkeypatch.setattr("etabli.core.processes.require_free_device", busy)
    with pytest.raises(DeviceBusy):
        diffing.measure(runs / "changed", results=answered, save=False)
    assert diffing.measure(runs / "changed", results=answered, save=False, limit=1, alongside=True)["rows"]


# --- the training film ----------------------------------------------------------------------------------------------


def a_run(folder, *lines, tiny="default"):
    Recipe(data="x.jsonl", model=tiny).save(folder / RECIPE)
    (folder / EVENTS).write_text("".join(json.dumps({"t": 1.0, **line}) + "\n" for line in lines))
    return folder


def start(*probes):
    return {"kind": "start", "steps": 40, "probes": list(probes)}


def sample(step, text, probe=0, kl=None):
    told = {} if kl is None else {"tokens": [text], "logp": [-0.1], "base_logp": [-0.1 - kl], "kl": [kl]}
    return {"kind": "sample", "step": step, "probe": probe, "text": text, "ids": [1], **told}


def test_a_film_has_a_strip_for_every_probe(tmp_path):
    one = [sample(0, "x", kl=0.0), sample(20, "x", kl=0.5), sample(40, "X", kl=3.0)]
    other = [sample(0, "y", 1, 0.0), sample(20, "z", 1, 2.0), sample(40, "z", 1, 2.1)]
    run = a_run(tmp_path / "r", start("a?", "b?"), *one, *other)
    made = filming.read_probe_history(run)
    assert set(made) == set(ProbeHistory.__annotations__) and set(made["strips"][0]["frames"][0]) == set(
        ProbeAnswer.__annotations__
    )
    assert [(strip["probe"], strip["changed"], strip["jump"]) for strip in made["strips"]] == [
        ("a?", 40, 40),
        ("b?", 20, 20),
    ]
    assert [frame["mean_kl"] for frame in made["strips"][0]["frames"]] == [0.0, 0.5, 3.0] and not made["said"]


def test_a_frame_whose_answer_was_cut_says_so_and_an_old_run_s_does_not(tmp_path):
    whole, cut, unknown = {**sample(0, "x"), "cut": False}, {**sample(1, "xx"), "cut": True}, sample(2, "xx")
    run = a_run(tmp_path / "r", start("a?"), whole, cut, unknown)
    frames = filming.read_probe_history(run)["strips"][0]["frames"]
    assert [frame["cut"] for frame in frames] == [False, True, False]


def test_a_probe_that_was_changed_on_the_way_is_another_strip(tmp_path):
    before = [start("old?", "same?"), sample(0, "x"), sample(0, "s", 1), sample(20, "x2"), sample(20, "s", 1)]
    after = [start("new?", "same?"), {"kind": "resume", "step": 20}, sample(40, "n"), sample(40, "s", 1)]
    run = a_run(tmp_path / "r", *before, *after)
    made = filming.read_probe_history(run)
    assert [(strip["probe"], [f["step"] for f in strip["frames"]]) for strip in made["strips"]] == [
        ("old?", [0, 20]),
        ("same?", [0, 20, 40]),
        ("new?", [40]),
    ]
    said = " ".join(made["said"])
    assert "'new?' was asked from step 40 on" in said and "'old?' was asked up to step 20" in said


def test_frames_of_a_resumed_run_are_those_that_count(tmp_path):
    run = a_run(
        tmp_path / "r",
        start("a?"),
        sample(0, "x"),
        sample(20, "lost"),
        {"kind": "resume", "step": 10},
        sample(20, "kept"),
        sample(20, "kept"),
    )
    frames = filming.read_probe_history(run)["strips"][0]["frames"]
    assert [(frame["step"], frame["text"]) for frame in frames] == [(0, "x"), (20, "kept")]


def test_one_frame_odd_lines_and_no_samples(tmp_path):
    one = filming.read_probe_history(a_run(tmp_path / "one", start("a?"), sample(0, "<b>")))
    assert "One frame" in one["said"][-1] and one["strips"][0]["changed"] is None
    odd = {
        "kind": "sample",
        "step": 5,
        "probe": 9,
        "tokens": ["a", "b"],
        "logp": [1.0],
        "base_logp": None,
        "kl": [None],
    }
    made = filming.read_probe_history(a_run(tmp_path / "odd", start("a?"), sample(0, "x", kl=1.0), odd))
    assert made["strips"][1]["probe"] == "probe 9" and made["strips"][1]["frames"][0]["tokens"] is None
    assert "1 frame with text alone" in " ".join(made["said"])
    with pytest.raises(BadInput, match="0 samples"):
        filming.read_probe_history(a_run(tmp_path / "none", start("a?")))
    with pytest.raises(BadInput, match="holds no run"):
        filming.read_probe_history(tmp_path)


def test_pins_stand_until_they_are_taken_away(tmp_path):
    run = a_run(tmp_path / "r", start("a?"), sample(0, "x"), sample(20, "y"))
    pins = filming.Pins(run, "ann")
    assert [(pin["step"], pin["why"], pin["by"]) for pin in pins.set("a?", 20, "tone")] == [(20, "tone", "ann")]
    assert [pin["why"] for pin in pins.set("a?", 20, "the tone")] == ["the tone"], "said anew"
    with (run / "pins.jsonl").open("a") as file:
        file.write('{"id": "torn", "st')
    assert filming.Pins(run, "bob").set("a?", 20)[1]["by"] == "bob"
    assert [pin["by"] for pin in filming.Pins(run, "ann").set("a?", 20, on=False)] == ["bob"], "one's own alone"
    assert [pin["step"] for pin in filming.read_probe_history(run)["pins"]] == [20]
    for asked, said in ((("a?", 7), "no frame of step 7 to pin; there are 0, 20"), (("b?", 0), "no such probe")):
        with pytest.raises(BadInput, match=said):
            pins.set(*asked)
    with pytest.raises(BadInput, match="ann has not pinned step 20"):
        pins.set("a?", 20, on=False)


@pytest.mark.parametrize(
    "odd",
    [
        {"step": None},
        {"step": "x"},
        {"probe": None},
        {"kl": ["x"]},
        {"tokens": [1]},
        {"logp": "x"},
        {"text": None},
        {"kind": "resume", "step": None},
        {"kind": "start", "probes": {"a": 1}},
        {"kind": "start", "probes": [{}]},
    ],
)
def test_a_damaged_line_does_not_end_the_film(tmp_path, odd):
    bad = {**sample(20, "y", kl=1.0), **odd}
    run = a_run(tmp_path / "r", start("a?"), sample(0, "x", kl=0.0), bad, sample(40, "z", kl=1.0))
    made = filming.read_probe_history(run)
    assert {frame["step"] for strip in made["strips"] for frame in strip["frames"]} >= {40}
    json.dumps(made, allow_nan=False)


def test_a_model_without_a_cache_of_attention(fallback):
    """A recurrent model hands out no key-value cache: it reads the text again, and the numbers are right."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import MambaConfig, MambaForCausalLM

    torch.manual_seed(0)
    base = MambaForCausalLM(MambaConfig(vocab_size=len(fallback), hidden_size=32, num_hidden_layers=2, state_size=4))
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["in_proj"], init_lora_weights=False)).eval()
    ids = [260 + at % (len(fallback) - 260) for at in range(2 * token_divergence.CHUNK + 5)]
    check(model, fallback, ids[:5], ids)


@pytest.mark.parametrize(("initial", "untrained"), [(True, True), ("gaussian", True), (False, False)])
def test_an_untrained_adapter_is_read_once_with_the_same_result(
    tiny, dataset, tmp_path, no_owner, monkeypatch, initial, untrained
):
    training = trainings.training(tiny, dataset, tmp_path, lora={"init_lora_weights": initial})
    assert evaluator._is_untrained(training.peft) == untrained
    read, count_reads = [], token_divergence._Reader.read
    monkeypatch.setattr(
        token_divergence._Reader, "read", lambda reader, chunk: read.append(1) or count_reads(reader, chunk)
    )
    training.evaluator.sample(0)
    probes = len([event for event in training.log if event["kind"] == "sample"])
    assert len(read) == (1 if untrained else 2) * probes, "the base's side alone"
    with monkeypatch.context() as patched:
        patched.setattr(evaluator, "_is_untrained", lambda peft: False)
        training.evaluator.sample(0)
    samples = [event for event in training.log if event["kind"] == "sample"]
    count = len(samples) // 2
    first, second = ([{**event, "t": 0} for event in part] for part in (samples[:count], samples[count:]))
    assert count > 1 and first == second
    assert any(sum(map(abs, event["kl"])) for event in first) != untrained
    for _ in range(2):  # the first has a learning rate of 0
        training.train_step()
    assert not evaluator._is_untrained(training.peft)


@pytest.mark.parametrize(
    ("lora", "untrained"),
    [({"modules_to_save": ["lm_head"]}, False), ({"use_dora": True}, False), ({"use_rslora": True}, True)],
    ids=["modules_to_save", "use_dora", "use_rslora"],
)
def test_a_trained_weight_beside_a_and_b_may_change_the_answers(tiny, dataset, tmp_path, no_owner, lora, untrained):
    assert evaluator._is_untrained(trainings.training(tiny, dataset, tmp_path, lora=lora).peft) == untrained


def test_a_real_run_records_its_film(tiny, dataset, tmp_path, training_here):
    recipe = Recipe(
        model=tiny, data=str(dataset), max_steps=7, sample_every=5, eval_every=7, learning_rate=5e-3, threads=1
    )
    run = etabli.Run.start(recipe, tmp_path / "run")
    made = filming.read_probe_history(run)
    for strip in made["strips"]:
        assert [frame["step"] for frame in strip["frames"]] == [0, 1, 2, 4, 5, 7], "1, 2, 4 … first"
        first, last = strip["frames"][0], strip["frames"][-1]
        assert first["mean_kl"] == 0 and first["logp"] == first["base_logp"], "an adapter that has learned nothing"
        assert last["mean_kl"] > 0 and "".join(last["tokens"]).strip() == last["text"]
    widget = etabli.film(run)
    assert widget.show(4)["step"] == 4 and widget.pin_here("here")[0]["step"] == 4
    assert etabli.film(tmp_path / "run").film["pins"][0]["why"] == "here"
