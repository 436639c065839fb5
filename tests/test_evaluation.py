"""The bench on real rows and a real, tiny, model: who answers, what is scored, what is said, what bad input does."""

import copy
import itertools
import json
import math
import random

import pytest

import etabli
from etabli.core import contracts, storage
from etabli.core.contracts import ALL, UNSEEN
from etabli.core.errors import BadData, BadInput, Damaged, WrongAdapter
from etabli.data import columns, overlap
from etabli.data.dataset import Dataset
from etabli.evaluation import baselines, card, rescore, table, test_set
from etabli.evaluation import clusters as grouping
from etabli.evaluation.aggregate import rows_in_slice, slice_names, summarise
from etabli.evaluation.mcnemar import count_flips
from etabli.models import likelihood
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run


def row(number, asked, answer, split="train", lang="en", **more):
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    return {"id": f"r{number}", "messages": messages, "lang": lang, "split": split, **more}


@pytest.fixture
def evaluate(no_owner):
    def made(run, **more):
        more.setdefault("limit", 3)
        return etabli.evaluate(run, max_new_tokens=4, **{"save": False, "progress": lambda *_: None, **more})

    return made


# --- what it gives --------------------------------------------------------------------------------------------------


def test_results_are_complete_and_come_out_the_same_from_the_saved_log(runs, evaluate, tmp_path):
    results = evaluate(runs / "changed", save=True, limit=None)
    saved = rescore.read_results(runs / "changed")
    assert storage.to_json(saved) == storage.to_json(results)
    assert set(results) == set(contracts.Results.__annotations__)
    assert [score["slice"] for score in results["scores"]][:3] == ["en", "fr", ALL]
    for answered in results["rows"]:
        assert set(answered) == set(contracts.AnsweredRow.__annotations__)
        assert set(answered["answers"]) == set(answered["rendered"]) == set(answered["raw"]) == set(contracts.ARMS)
        assert answered["rendered"]["lookup"].startswith("The closest training row (")
        assert answered["prompt"] in answered["rendered"]["tuned"]
        assert answered["raw"]["base"].startswith(answered["answers"]["base"][:3])
    for score in results["scores"]:
        assert set(score) == set(contracts.Score.__annotations__)
        assert score["n"] and all(one["low"] <= one["value"] <= one["high"] for one in score["arms"].values())
    made, told = rescore.rescore_results(saved)
    assert told["same"] and set(told["rescored"]) == {"exact", "valid_json"} and set(told["kept"]) == {"loss"}
    assert storage.to_json(made) == storage.to_json(results)


def test_scores_can_be_added_to_saved_answers(runs, evaluate):
    def long(answer, truth):
        return len(answer) > 3

    results = evaluate(runs / "changed", scores=["exact", "loss"])
    more = rescore.add_scores(results, [long, "number"])
    now = evaluate(runs / "changed", scores=["exact", "loss", long, "number"])
    assert storage.to_json(more["scores"]) == storage.to_json(now["scores"])
    assert "long" not in results["rows"][0]["values"] and "number" in more["rows"][0]["errors"]
    with pytest.raises(BadInput, match="loss is read from a model"):
        rescore.add_scores(evaluate(runs / "changed", scores=["exact"]), ["loss"])
    with pytest.raises(BadInput, match="exact is there already"):
        rescore.add_scores(results, ["exact"])


def test_a_tampered_log_is_found(runs, evaluate):
    results = evaluate(runs / "changed")
    forged = copy.deepcopy(results)
    forged["scores"][0]["arms"]["tuned"]["value"] = 0.9
    assert not rescore.rescore_results(forged)[1]["same"]
    answer = copy.deepcopy(results)
    answer["rows"][0]["answers"]["tuned"] = answer["rows"][0]["truth"]
    assert not rescore.rescore_results(answer)[1]["same"]


def test_an_adapter_that_does_nothing_raises_no_alarm(runs, evaluate):
    results = evaluate(runs / "nothing", arms=["base", "tuned"])
    for answered in results["rows"]:
        assert answered["answers"]["base"] == answered["answers"]["tuned"]
        assert answered["values"]["loss"]["base"] == answered["values"]["loss"]["tuned"]
    for score in results["scores"]:
        [gap] = score["differences"]
        assert gap["value"] == 0 and gap["low"] <= 0 <= gap["high"]
    assert all(one["verdict"] == "cannot tell" and one["worth"] is None for one in results["verdict"].values())


def test_loss_is_the_models_own(runs, evaluate, no_owner):
    """Each arm's loss equals one plain forward pass a row, adapter off and on."""
    import torch

    from etabli.models.loading import load
    from etabli.rendering.render import render

    loaded = load(Run.attach(runs / "changed").recipe.model, adapter=runs / "changed" / "adapter")
    results = evaluate(runs / "changed", arms=["base", "tuned"], loaded=loaded)
    asked = test_set.build_test_set(Run.attach(runs / "changed"), limit=3)
    for answered, test in zip(results["rows"], asked.tests):
        made = render(test["messages"], loaded.tokenizer, "last")
        labels = torch.tensor([made.labels])
        for arm in ("base", "tuned"):
            with loaded.as_base(arm == "base"), torch.no_grad():
                wanted = float(loaded.model(input_ids=torch.tensor([made.ids]), labels=labels, use_cache=False).loss)
            assert answered["values"]["loss"][arm] == pytest.approx(wanted, rel=2e-2)  # bfloat16, batched
        assert answered["weights"]["loss"] == sum(made.trained)


def test_checkpoints_answer_beside_the_tuned_model(runs, evaluate):
    results = evaluate(runs / "changed", arms=["base", "step-000001", "step-000002", "tuned"])
    losses = {arm: results["scores"][-1]["arms"][arm]["value"] for arm in results["arms"]}
    assert len(set(losses.values())) == 4, "four different behaviours of one copy of the weights"
    assert results["rivals"] == ["base"] and len(set(results["made_with"]["adapters"].values())) == 3
    alone = evaluate(runs / "changed", arms=["step-000001", "base"])
    assert alone["subject"] == "step-000001"
    assert alone["scores"][-1]["arms"]["step-000001"]["value"] == pytest.approx(losses["step-000001"], rel=1e-3)
    with pytest.raises(BadInput, match=r"Unknown system 'step-9': choose from base.*step-000001"):
        evaluate(runs / "changed", arms=["step-9"])
    with pytest.raises(BadInput, match="No system to be judged"):
        evaluate(runs / "changed", arms=["base", "lookup"])


def test_choices_by_likelihood(runs, evaluate, tmp_path, no_owner):
    """The chosen one is the likeliest by a direct computation, for every arm."""
    from etabli.models.loading import load

    rng = random.Random(0)
    words = ["yes", "no", "perhaps it is so", "I do not know", "never", "<|im_end|>"]
    rows = [row(at, f"Question {at}?", "", "test", columns={"choices": rng.sample(words, 3)}) for at in range(12)]
    for made in rows:
        made["messages"][1]["content"] = rng.choice(made["columns"]["choices"])
    Dataset(rows).save(tmp_path / "choices")
    loaded = load(Run.attach(runs / "changed").recipe.model, adapter=runs / "changed" / "adapter")
    results = evaluate(runs / "changed", data=tmp_path / "choices", loaded=loaded, limit=None)
    assert [metric["name"] for metric in results["metrics"]] == ["choice", "choice_norm", "exact", "loss"]
    for answered, made in zip(results["rows"], rows):
        offered, right = made["columns"]["choices"], made["messages"][1]["content"]
        for arm in ("base", "tuned"):
            with loaded.as_base(arm == "base"):
                told = [[made["messages"][0], {"role": "assistant", "content": choice}] for choice in offered]
                alone = [likelihood.score(loaded.model, loaded.tokenizer, [talk])[0] for talk in told]
            costs = sorted((one.nats, choice) for one, choice in zip(alone, offered))
            if costs[1][0] - costs[0][0] > 0.1:  # nearer ones are a matter of rounding
                assert answered["values"]["choice"][arm] is (costs[0][1] == right)
        assert answered["values"]["choice"]["lookup"] is not None


def test_prompted_is_shown_what_it_is_prompted_with(runs, evaluate):
    results = evaluate(runs / "changed", shots=2)
    first = results["rows"][0]["rendered"]["prompted"]
    assert first.count("<|im_start|>assistant") == 3 and "The intents are" in first
    none = evaluate(runs / "changed", shots=0)["rows"][0]["rendered"]["prompted"]
    assert none.count("<|im_start|>assistant") == 1


def test_worked_examples_make_room_for_the_answer(runs):
    from etabli.evaluation import systems

    train = [row(at, f"Say {'word ' * 60}{at}", "done " * 40) for at in range(8)]
    tests = [row(99, "Say it", "done", "test")]
    near = baselines.nearest_rows(tests, train, 8)

    class Short:
        class model:
            class config:
                max_position_embeddings = 400

                @classmethod
                def get_text_config(cls):
                    return cls

    from etabli.models import loading, sources

    Short.tokenizer = loading.load_tokenizer(sources.resolve("default"))
    [whole] = baselines.build_prompts(tests, train, near)
    talk = systems.fit_prompt(whole, tests[0], Short, 32)
    from etabli.rendering.render import render

    assert len(render(talk, Short.tokenizer, prompt=True)) <= 368
    assert talk[-1]["content"] == "Say it" and 0 < len(talk) // 2 < 8
    assert talk[-3]["content"] == near[0][0]["messages"][0]["content"], "the farthest examples go first"


# --- rows that overlap, clusters, slices ------------------------------------------------------------------------------


def test_overlap_is_found_and_said(runs, evaluate, tmp_path):
    train = Run.attach(runs / "changed").recipe
    known = Dataset.open(train.data, runs / "changed").part("train")
    copies = [{**made, "id": f"c{at}", "split": "test"} for at, made in enumerate(known[:3])]
    loud = copy.deepcopy(copies[0])
    loud["id"] = "loud"
    loud["messages"][1]["content"] = loud["messages"][1]["content"].upper() + " !!"
    other = copy.deepcopy(copies[1])
    other["id"] = "other"
    other["messages"][2]["content"] = "{}"
    fresh = [row(at, f"Nothing like it, {at}", "{}", "test", "en") for at in range(4)]
    Dataset([*copies, loud, other, *fresh]).save(tmp_path / "leaky")
    results = evaluate(runs / "changed", data=tmp_path / "leaky", limit=None)
    assert results["warnings"][0].startswith("OVERLAP: 4 of 9 test rows stand in the training rows")
    assert "1 of 9 test questions were trained with another answer" in results["warnings"][0]
    slices = {score["slice"]: score["n"] for score in results["scores"] if score["name"] == "exact"}
    assert slices == {"en": 9, UNSEEN: 4} or (slices[ALL] == 9 and slices[UNSEEN] == 4)
    assert UNSEEN in results["verdict"]


def test_everything_overlaps(runs, evaluate, tmp_path):
    known = Dataset.open("data", runs / "changed").part("train")[:3]
    Dataset([{**made, "split": "test"} for made in known]).save(tmp_path / "copy")
    results = evaluate(runs / "changed", data=tmp_path / "copy")
    assert "None is left without them" in results["warnings"][0] and UNSEEN not in results["verdict"]


def test_what_overlaps():
    train = [row(0, "Turn on the light!", "{}"), row(1, "¿Qué?", "a"), row(2, "5 - 3", "2")]
    tests = [
        row(3, "turn ON  the light", "{}"),
        row(4, "Turn on the lights", "{}"),
        row(5, "qué", "b"),
        row(6, "", "c"),
        row(7, "!!", "{}"),
        row(8, "5 + 3", "8"),
    ]
    assert overlap.find_overlaps(tests, train) == ["row", None, "question", None, None, None]


def talk(number, *turns, **more):
    roles = ["user", "assistant"] * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns)]
    return {"id": f"t{number}", "messages": messages, **more}


def test_earlier_turns_and_system_texts_overlap_as_they_should():
    train = [talk(0, "Capital of France?", "Paris", "And of Spain?", "Madrid")]
    assert overlap.find_overlaps([talk(1, "Capital of France?", "Paris")], train) == ["row"]
    assert overlap.find_overlaps([talk(1, "And of Spain?", "Madrid")], train) == [None]

    def about(number, document, answer):
        system = {"role": "system", "content": document}
        return {"id": f"d{number}", "messages": [system, *talk(0, "Summarise the text.", answer)["messages"]]}

    known = [about(0, "A text on bees.", "Bees."), about(1, "A text on cats.", "Cats.")]
    assert overlap.find_overlaps([about(2, "A text on dogs.", "Dogs."), about(3, "A text on bees.", "b")], known) == [
        None,
        "question",
    ]
    bare = talk(4, "Summarise the text.", "Bees.")
    assert overlap.find_overlaps([bare], known) == ["row"], "a test row without the system text"
    only_system = {"id": "s", "messages": [known[0]["messages"][0], {"role": "assistant", "content": "x"}]}
    assert overlap.find_overlaps(
        [only_system],
        [{**only_system, "messages": [{"role": "system", "content": "other"}, only_system["messages"][1]]}],
    ) == [None]


@pytest.mark.parametrize(
    "rows, by, groups",
    [
        ([row(at, f"q{at}", "a", template=f"t{at % 2}") for at in range(6)], "template, question", 2),
        ([row(at, f"q{at}", "a", parents=[f"p{at % 3}"]) for at in range(6)], "parents, question", 3),
        (
            [row(0, "x", "a"), row(1, "y", "a", parents=["r0"]), row(2, "z", "a", parents=["q", "r1"])],
            "question, parents",
            1,
        ),
        ([row(at, f"q{at}", "a", source=f"doc{at // 2}") for at in range(60)], "source, question", 30),
        ([row(at, f"q{at}", "a", source="one collection") for at in range(6)], "question", 6),
        ([row(at, f"q{at // 2}", "a") for at in range(6)], "question", 3),
        (
            [row(at, f"q{at}", "a", columns={"conversation_id": at // 3}) for at in range(6)],
            "conversation_id, question",
            2,
        ),
        ([talk(at, f"about {at}", "so", "Continue.", "a") for at in range(6)], "question", 6),
        ([row(0, "x", "a", template="t"), row(1, "y", "a", template="t"), row(2, "y", "b")], "template, question", 1),
    ],
)
def test_what_rows_are_clustered_by(rows, by, groups):
    said, clusters = grouping.cluster_rows(rows)
    assert set(said.split(", ")) == set(by.split(", ")) and len(set(clusters)) == groups


def test_a_row_without_a_value_is_a_cluster_of_its_own():
    rows = [row(at, f"q{at}", "a", columns={"level": 1} if at < 2 else {}) for at in range(5)]
    assert len(set(grouping.cluster_rows(rows, "level")[1])) == 4


def test_slices_by_any_column(runs, evaluate, tmp_path):
    rows = [row(at, f"Asked {at}", "word " * (at + 1), "test", columns={"level": at % 3}) for at in range(9)]
    Dataset(rows).save(tmp_path / "sliced")
    results = evaluate(runs / "changed", data=tmp_path / "sliced", by=["level", "length"], limit=None)
    counts = {score["slice"]: score["n"] for score in results["scores"] if score["name"] == "loss"}
    assert [counts[f"level: {level}"] for level in range(3)] == [3, 3, 3] and counts[ALL] == 9
    lengths = {name: n for name, n in counts.items() if name.startswith("length")}
    assert lengths == {"length: 1 to 3 words": 3, "length: 4 to 6 words": 3, "length: 7 to 9 words": 3}
    only = evaluate(runs / "changed", data=tmp_path / "sliced", only="level=1", limit=None)
    assert len(only["rows"]) == 3
    for bad, said in (
        ("level=7", "0 of 9. Values of level are: 0, 1, 2"),
        ("nope=1", "no.* column 'nope'"),
        ("level", "COLUMN=VALUE"),
    ):
        with pytest.raises(BadData, match=said.replace("no.*", ".*")):
            evaluate(runs / "changed", data=tmp_path / "sliced", only=bad)
    with pytest.raises(BadData, match="too many to slice by"):
        test_set._slice_rows([row(at, "q", "a", source=f"s{at}") for at in range(50)], ["source"])


def test_equal_lengths_make_one_slice():
    assert set(columns._lengths([row(at, "q", "two words") for at in range(5)])) == {"2 words"}
    assert columns._lengths([row(0, "q", "")]) == ["0 words"]


# --- bad input ------------------------------------------------------------------------------------------------------


def test_a_score_that_raises_on_one_row_leaves_the_rest(runs, evaluate):
    def picky(answer, truth, row):
        if row["id"] == first:
            raise KeyError("no such thing")
        return len(answer) > 0

    first = test_set.build_test_set(Run.attach(runs / "changed"), limit=3).tests[0]["id"]
    results = evaluate(runs / "changed", scores=[picky, "exact"])
    found = {score["slice"]: score for score in results["scores"] if score["name"] == "picky"}
    assert (found[ALL]["n"], set(found[ALL]["errors"].values())) == (5, {1})
    assert results["rows"][0]["errors"]["picky"]["tuned"] == "KeyError: 'no such thing'"
    assert any("picky failed on 1 of 6 rows" in said and first in said for said in results["warnings"])
    everywhere = evaluate(runs / "changed", scores=[lambda answer, truth: 1 / 0, "exact"])
    assert {score["name"] for score in everywhere["scores"]} == {"exact"}
    assert any("failed on 6 of 6 rows" in said for said in everywhere["warnings"])


def test_own_numbers(runs, evaluate):
    def length(answer, truth):
        return len(answer)

    def part(answer, truth):
        return 0.25

    def nan(answer, truth):
        return math.nan

    results = evaluate(runs / "changed", scores=[length, part, nan])
    assert [metric["unit"] for metric in results["metrics"][:2]] == ["number", "mean"]
    assert all("not a finite number" in held["errors"]["nan"]["base"] for held in results["rows"])
    assert "nats" not in table.format_results(results)


def test_one_item(runs, evaluate):
    results = evaluate(runs / "changed", only="lang=en", limit=1)
    loss = next(score for score in results["scores"] if score["name"] == "loss")
    assert loss["n"] == 1 and loss["arms"]["tuned"]["low"] == -math.inf
    assert "[?, ?]" in table.format_results(results) and "en (1 clusters in 1 rows)" in results["warnings"][1]
    saved = json.loads(storage.to_json(results))
    assert saved["scores"][-1]["arms"]["tuned"]["low"] is None
    assert all(one["verdict"] == "cannot tell" for one in results["verdict"].values())
    card.view(results)


def test_a_model_that_answers_nothing(runs, evaluate, monkeypatch):
    from etabli.models import generate
    from etabli.models.generate import Answers

    def silent(model, tokenizer, talks, most, **more):
        count = len(talks)
        return Answers([""] * count, [[]] * count, ["<|im_end|>"] * count, ["p"] * count, [False] * count)

    monkeypatch.setattr(generate, "answer", silent)
    results = evaluate(runs / "changed")
    assert "tuned answered nothing on 6 of 6 rows." in results["warnings"]
    assert results["scores"][0]["arms"]["tuned"]["value"] == 0


def test_an_adapter_for_another_base(runs, evaluate, tmp_path, tiny):
    import shutil

    copied = tmp_path / "copied"
    shutil.copytree(runs / "other", copied)
    facts = copied / "adapter" / "base.json"
    facts.write_text(json.dumps({"name": "another", "hash": "0" * 64}))
    (copied / "adapter" / "MANIFEST.json").unlink()
    Recipe(data=str(runs / "data"), model=tiny).save(copied / contracts.RECIPE)
    with pytest.raises(WrongAdapter, match="was trained on another"):
        evaluate(copied)


def test_nothing_to_ask(runs, evaluate, tmp_path):
    Dataset([row(0, "q", "a"), row(1, "p", "b")]).save(tmp_path / "trained")
    Recipe(data=str(tmp_path / "trained")).save(tmp_path / "run" / contracts.RECIPE)
    with pytest.raises(BadData, match="There are 0 test rows among 2"):
        evaluate(tmp_path / "run")
    no_answer = [{"id": "x", "messages": [{"role": "user", "content": "q"}], "split": "test"}]
    Dataset(no_answer).save(tmp_path / "unanswered")
    with pytest.raises(BadData, match=r"1 of 1 test rows have no answer .*first x.*exact.* need one"):
        evaluate(runs / "changed", data=tmp_path / "unanswered")
    with pytest.raises(BadInput, match="max_new_tokens is -1"):
        etabli.evaluate(runs / "changed", max_new_tokens=-1)
    text = [{"id": "x", "messages": [{"role": "text", "content": "Once"}], "split": "test"}]
    Dataset(text).save(tmp_path / "plain")
    with pytest.raises(BadData, match="no questions"):
        evaluate(runs / "changed", data=tmp_path / "plain")


def test_a_model_that_is_loaded_has_to_be_the_runs_own(runs, evaluate):
    """The run's adapter is what is judged, whatever adapter the given model came with."""
    from etabli.models.loading import load

    model = Run.attach(runs / "changed").recipe.model
    own = evaluate(runs / "other", arms=["tuned"])
    lent = evaluate(runs / "other", arms=["tuned"], loaded=load(model, adapter=runs / "changed" / "adapter"))
    assert [held["answers"] for held in own["rows"]] == [held["answers"] for held in lent["rows"]]
    assert own["made_with"]["adapters"] == lent["made_with"]["adapters"]
    with pytest.raises(WrongAdapter, match="loaded without an adapter"):
        evaluate(runs / "changed", loaded=load(model))


def test_data_that_changed_since_are_told(runs, evaluate, tmp_path):
    import shutil

    shutil.copytree(runs / "changed", tmp_path / "run")
    run = Run.attach(tmp_path / "run")
    run.recipe.save(run.folder / contracts.RECIPE, {"data_hash": "another"})
    shutil.copytree(runs / "data", tmp_path / "data")
    assert any("have changed since the run was trained" in said for said in evaluate(run.folder)["warnings"])


def test_empty_answers_are_left_out_aloud(runs, evaluate, tmp_path):
    Dataset([row(0, "Weather?", "", "test"), row(1, "Hi", "Hello", "test")]).save(tmp_path / "mixed")
    results = evaluate(runs / "changed", data=tmp_path / "mixed")
    assert len(results["rows"]) == 1 and any(
        "1 of 2 test rows end in an empty answer" in said for said in results["warnings"]
    )
    Dataset([row(0, "Weather?", "", "test")]).save(tmp_path / "empty")
    with pytest.raises(BadData, match="All 1 test rows end in an empty answer"):
        evaluate(runs / "changed", data=tmp_path / "empty")


def test_columns_that_json_cannot_hold(runs, evaluate, tmp_path):
    import datetime

    import pandas as pd

    from etabli.data.reading.source import read

    frame = pd.DataFrame({"prompt": ["a", "b"], "completion": ["c", "d"], "day": [datetime.date(2026, 1, 2)] * 2})
    rows = read(frame, lang="en")
    rows[0]["columns"]["half"] = "\ud800"
    made = test_set.TestSet(rows, rows, Dataset(rows).hash, ["1", "2"], [[], []], [None, None], {"clustered_by": "x"})
    from etabli.evaluation import scoring
    from etabli.evaluation.clean_answer import CleanAnswer
    from etabli.evaluation.scores import load_scores
    from etabli.evaluation.systems import System

    [one, _] = scoring.score_rows(
        made,
        [System("lookup", answers=[CleanAnswer("c"), CleanAnswer("x")], raw_answers=["c", "x"], prompt_texts=["", ""])],
        load_scores(["exact"]),
    )
    storage.write_json(tmp_path / "x.json", one)
    assert one["row"]["columns"] == {"day": "2026-01-02", "half": "?"} and one["values"]["exact"] == {"lookup": True}


def test_prompts_without_answers_can_be_asked(runs, evaluate, tmp_path):
    """google/IFEval's own shape."""
    file = tmp_path / "ifeval.jsonl"
    one = {"prompt": "Say it.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    file.write_text(json.dumps({"key": 1, **one}) + "\n" + json.dumps({"key": 2, **one, "prompt": "Again."}) + "\n")
    results = evaluate(runs / "changed", data=file)
    assert results["metrics"][0]["name"] == "ifeval" and results["scores"][0]["n"] == 2
    with pytest.raises(BadData, match="exact need one"):
        evaluate(runs / "changed", data=file, scores=["exact"])


def test_a_run_on_plain_text_has_no_rivals_but_its_base(runs, evaluate, tmp_path, tiny):
    import shutil

    shutil.copytree(runs / "changed" / "adapter", tmp_path / "run" / "adapter")
    (tmp_path / "text.jsonl").write_text('{"text": "Once upon a time."}\n{"text": "The end."}\n')
    Recipe(data=str(tmp_path / "text.jsonl"), model=tiny).save(tmp_path / "run" / contracts.RECIPE)
    results = evaluate(tmp_path / "run", data=runs / "data")
    assert results["arms"] == ["base", "tuned"] and any(
        "prompted and lookup are left out" in w for w in results["warnings"]
    )


def test_a_template_that_refuses_a_system_turn(runs):
    from etabli.evaluation import baselines

    talk_ = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert baselines.without_system(talk_) == [{"role": "user", "content": "Be brief.\n\nHi"}]


# --- what is said ---------------------------------------------------------------------------------------------------


def made_up(values, errors=None, clusters=None):
    """Results of rows with these values of one score: {arm: [...]}."""
    n = len(next(iter(values.values())))
    rows = [
        {
            "id": str(at),
            "lang": "",
            "template": "",
            "cluster": str(clusters[at] if clusters else at),
            "slices": [],
            "row": {},
            "overlap": None,
            "prompt": "",
            "truth": "",
            "rendered": {},
            "answers": {},
            "raw": {},
            "correct": {},
            "values": {"s": {arm: held[at] for arm, held in values.items()}},
            "weights": {},
            "errors": {"s": {arm: "x" for arm, held in values.items() if held[at] is None}},
        }
        for at in range(n)
    ]
    metric = {"name": "s", "spec": "s", "hash": "", "unit": "share", "better": "higher"}
    rivals_ = [arm for arm in values if arm != "tuned"]
    return summarise(
        {"rows": rows, "arms": list(values), "subject": "tuned", "rivals": rivals_, "metrics": [metric], "warnings": []}
    )


def test_better_is_better_than_every_rival():
    yes = lambda count, n=20: [True] * count + [False] * (n - count)  # noqa: E731
    results = made_up({"lookup": yes(10), "prompted": yes(11)[::-1], "tuned": yes(16)})
    assert results["verdict"][ALL]["verdict"] == "cannot tell" and results["verdict"][ALL]["rival"] == "prompted"
    results = made_up({"lookup": yes(4), "prompted": yes(5), "tuned": yes(16)})
    assert results["verdict"][ALL] | {"verdict": "better", "worth": True} == results["verdict"][ALL]


def test_the_best_of_many_rivals_is_no_proof_of_being_worse():
    """Four equal, independent arms: worse is said in at most 5 % of 300 evaluations."""
    import numpy as np

    rng, worse, better = np.random.default_rng(0), 0, 0
    for _ in range(300):
        values = {arm: list(map(bool, rng.random(100) < 0.5)) for arm in ("base", "prompted", "lookup", "tuned")}
        said = made_up(values)["verdict"][ALL]["verdict"]
        worse, better = worse + (said == "worse"), better + (said == "better")
    assert worse <= 15 and better <= 15


def test_few_flips_are_no_verdict():
    for fixed, n in ((4, 4), (5, 100)):
        results = made_up({"base": [False] * fixed + [True] * (n - fixed), "tuned": [True] * n})
        assert results["verdict"][ALL]["verdict"] == "cannot tell"


def test_errors_never_decide():
    """What could not be scored is in nobody's favour, and takes nothing from the other arms."""
    some = [True] * 8 + [False] * 12
    lucky = made_up({"base": some, "prompted": some, "tuned": [True] * 10 + [None] * 10})
    score = lucky["scores"][0]
    assert (score["n"], score["errors"], score["arms"]["tuned"]["n"], score["arms"]["base"]["n"]) == (
        20,
        {"tuned": 10},
        10,
        20,
    )
    assert lucky["verdict"][ALL]["verdict"] == "cannot tell"
    gap = next(gap for gap in score["differences"] if gap["minus"] == "base")
    assert gap["n"] == 10 and gap["worst"][0] < 0
    nearly = made_up({"base": [False] * 10 + [True] * 10, "tuned": [True] * 18 + [None] * 2})
    assert nearly["verdict"][ALL]["verdict"] == "cannot tell" or nearly["verdict"][ALL]["difference"]["worst"][0] > 0
    gone = made_up({"base": some, "tuned": [None] * 20})
    assert gone["verdict"][ALL]["rival"] is None and "no row of s could be scored" in gone["verdict"][ALL]["why"]
    one_arm = made_up({"base": [None] * 20, "prompted": [False] * 20, "tuned": [True] * 20})
    assert one_arm["verdict"][ALL]["verdict"] == "cannot tell" and "base could not be" in one_arm["verdict"][ALL]["why"]


def test_errors_of_numbers_without_bounds_never_decide():
    values = {"base": [1.0 + at / 10 for at in range(20)], "tuned": [9.0] * 10 + [None] * 10}
    results = made_up(values)
    results["metrics"][0]["unit"] = "number"
    assert summarise(results)["verdict"][ALL]["verdict"] == "cannot tell"


def test_the_choice_among_rivals_counts_clusters_in_effect():
    """One cluster of 60 rows among 40 singles is three in effect: no verdict of worse, and rows that are counted so."""
    values = {arm: [True] * 90 + [False] * 10 for arm in ("base", "prompted", "lookup")}
    values["tuned"] = [False] * 12 + [True] * 78 + [False] * 10
    one = made_up(values, clusters=["big"] * 60 + list(range(40)))["verdict"][ALL]
    assert one["verdict"] == "cannot tell" and one["difference"]["effective"] < 3 and one["clusters"] == 41


def test_lower_may_be_better(runs, evaluate):
    def length(answer, truth):
        return len(answer)

    length.better = "lower"
    results = evaluate(runs / "changed", scores=[length])
    one = results["verdict"][ALL]
    gap = one["difference"]
    assert (one["verdict"] == "better") == all(
        g["high"] < 0 for g in next(score for score in results["scores"] if score["slice"] == ALL)["differences"]
    )
    assert gap["of"] == "tuned"


def test_logs_that_are_none(tmp_path, runs):
    with pytest.raises(BadInput, match="no results"):
        rescore.read_results(tmp_path)
    (tmp_path / contracts.RESULTS).write_text("{")
    with pytest.raises(Damaged, match="not JSON"):
        rescore.read_results(tmp_path)
    (tmp_path / contracts.RESULTS).write_text('{"version": 1}')
    with pytest.raises(Damaged, match="`arms` is missing"):
        rescore.read_results(tmp_path)


# --- two runs ---------------------------------------------------------------------------------------------------------


def test_compare_says_what_differs_and_pairs_the_rows(runs, no_owner):
    found = etabli.compare(runs / "changed", runs / "other", limit=3, max_new_tokens=4, progress=lambda *_: None)
    assert set(found) == set(contracts.Comparison.__annotations__)
    assert found["recipes"] == {"seed": [0, 1]}
    assert found["arms"] == ["changed", "other"] and found["subject"] == "other" and found["rivals"] == ["changed"]
    apart = etabli.evaluate(runs / "other", limit=3, max_new_tokens=4, arms=["tuned"], save=False)
    assert [held["answers"]["other"] for held in found["rows"]] == [held["answers"]["tuned"] for held in apart["rows"]]
    assert found["verdict"][ALL]["rival"] == "changed" and "training" not in table.format_results(found)
    assert not (runs / "other" / contracts.RESULTS).exists(), "nothing is written into a run that is looked at"
    with pytest.raises(BadInput, match="compared with itself"):
        etabli.compare(runs / "other", runs / "other")


def test_different_bases_share_no_loss(runs, evaluate):
    from etabli.evaluation.compare import merge_results

    one = evaluate(runs / "changed", arms=["tuned"])
    other = copy.deepcopy(one)
    other["made_with"]["model_hash"] = "another"
    found = merge_results([one, other], ("a", "b"))
    assert "loss" not in {score["name"] for score in found["scores"]} and "the bases differ" in found["warnings"][0]
    other["rows"] = other["rows"][1:]
    with pytest.raises(BadData, match="not asked the same rows"):
        merge_results([one, other], ("a", "b"))


def test_compare_keeps_the_rows_that_neither_was_trained_on(runs, no_owner, tmp_path, tiny):
    import shutil

    rows = Dataset.open("data", runs / "changed").part("test", "en")[:6]
    for name, known in (("a", rows[:3]), ("b", [])):
        shutil.copytree(runs / "changed" / "adapter", tmp_path / name / "adapter")
        fresh = [row(at, f"Something else {at}", "{}") for at in range(3)]
        Dataset([{**made, "split": "train"} for made in known] + fresh).save(tmp_path / f"data-{name}")
        Recipe(data=str(tmp_path / f"data-{name}"), model=tiny).save(tmp_path / name / contracts.RECIPE)
    Dataset(rows).save(tmp_path / "asked")
    for pair in (("a", "b"), ("b", "a")):
        found = etabli.compare(*(tmp_path / name for name in pair), data=tmp_path / "asked", max_new_tokens=2)
        assert found["warnings"][0].startswith("OVERLAP: 3 of 6") and UNSEEN in found["verdict"]
        assert not (tmp_path / "a" / "evaluating.json").exists()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(BadInput, match="compared with itself"):
        etabli.compare(tmp_path / "link", tmp_path / "a")


# --- flips ------------------------------------------------------------------------------------------------------------


def test_mcnemar_is_a_binomial_test():
    from scipy import stats

    rng = random.Random(0)
    for _ in range(1000):
        n = rng.randint(1, 60)
        one, other = ([rng.random() < p for _ in range(n)] for p in (rng.random(), rng.random()))
        found = count_flips(one, other, [str(at) for at in range(n)])
        assert found["fixed"] + found["broken"] + found["both"] + found["neither"] == n
        changed = found["fixed"] + found["broken"]
        wanted = stats.binomtest(found["fixed"], changed, 0.5).pvalue if changed else 1.0
        assert found["mcnemar"] == pytest.approx(wanted) and found["by_cluster"] is None


def test_by_cluster_is_every_arrangement_of_signs():
    rng = random.Random(1)
    for _ in range(40):
        groups = rng.randint(2, 7)
        clusters = [str(at % groups) for at in range(groups * 3)]
        one, other = ([rng.random() < 0.5 for _ in clusters] for _ in range(2))
        sums = [sum(a - b for a, b, c in zip(one, other, clusters) if c == str(g)) for g in range(groups)]
        totals = [sum(s * v for s, v in zip(sign, sums)) for sign in itertools.product((1, -1), repeat=groups)]
        # two-sided as scipy has it: twice the smaller tail
        tails = [sum(t >= sum(sums) for t in totals), sum(t <= sum(sums) for t in totals)]
        wanted = min(1.0, 2 * min(tails) / len(totals)) if any(sums) else 1.0
        assert count_flips(one, other, clusters)["by_cluster"] == pytest.approx(wanted, abs=1e-9)


def test_the_seed_of_the_permutations_is_fixed():
    clusters = [str(at // 2) for at in range(80)]
    rng = random.Random(2)
    one, other = ([rng.random() < p for _ in clusters] for p in (0.6, 0.5))
    assert count_flips(one, other, clusters) == count_flips(one, other, clusters)


# --- the card ---------------------------------------------------------------------------------------------------------


def test_the_rows_behind_every_number(runs, evaluate):
    results = evaluate(runs / "changed", limit=None)
    for score in results["scores"]:
        rows = rows_in_slice(results["rows"], score["slice"])
        for arm in score["arms"]:
            assert len(card.pick_rows(results, score["name"], score["slice"], arm)) == len(rows)
        for gap in score["differences"]:
            for which in ("fixed", "broken", "both", "neither") if gap["flips"] else ():
                found = card.pick_rows(results, score["name"], score["slice"], against=gap["minus"], which=which)
                assert len(found) == gap["flips"][which]


def test_the_page_holds_everything_as_text(runs, evaluate, tmp_path):
    results = evaluate(runs / "changed")
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    for held in results["rows"]:
        held["prompt"] = held["rendered"]["tuned"] = held["answers"]["tuned"] = held["raw"]["tuned"] = hostile
    results["warnings"] = [hostile]
    results["made_with"]["run"] = results["subject"] = hostile
    for score in results["scores"]:
        score["n"] = score["slice"] = hostile
        for gap in score["differences"]:
            gap["of"] = gap["minus"] = gap["n"] = hostile
            if gap["flips"]:
                gap["flips"]["fixed"] = hostile
    card.write_page(results, tmp_path / "card.html")
    page = (tmp_path / "card.html").read_text()
    assert "<script" not in page and "<img" not in page and page.count("&lt;script&gt;") >= 4 * len(results["rows"])
    assert results["data_hash"] in page and results["made_with"]["template_hash"] in page
    assert all(metric["hash"] in page for metric in results["metrics"])


def test_no_score_without_n_and_interval(runs, evaluate):
    results = evaluate(runs / "changed")
    for line in table.format_results(results).splitlines():
        if "%" in line and "intervals" not in line:
            assert line.count("[") >= 1
    assert (
        {"n"} <= set(table.scores_frame(results))
        and {"n"} <= set(table.differences_frame(results))
        and {"n"} <= set(table.flips_frame(results))
    )
    assert all("n = " in one["text"] for one in card.view(results)["lines"])


def test_summaries_need_no_order(runs, evaluate):
    results = evaluate(runs / "changed")
    turned = summarise({**results, "rows": results["rows"][::-1]})
    for one, other in zip(results["scores"], turned["scores"]):
        assert one["arms"]["tuned"] == pytest.approx(other["arms"]["tuned"])
    assert slice_names(results["rows"]) == slice_names(results["rows"][::-1])
