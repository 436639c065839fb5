"""What filters buy: arms that differ in their rows alone, compared on the same test rows, however it comes out."""

import json

import pytest

from etabli.core.errors import BadData, BadInput
from etabli.curation.session import curate
from etabli.data.dataset import Dataset
from etabli.data.samples import home_commands
from etabli.evaluation import ablation as experiment
from etabli.evaluation import rescore
from etabli.evaluation.ablation import ablate, choose_rows, describe_effect

FILTERS = [{"filter": "exact"}, {"filter": "quality"}]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    rows = home_commands(languages=("en",), n=24, test=6, seed=0)
    spoilt = {"role": "assistant", "content": "As an AI language model, I cannot do that for you."}
    for row in [row for row in rows if row["split"] == "train"][::3]:
        row["messages"][-1] = spoilt
    copies = [{**row, "id": f"{row['id']}-copy"} for row in rows if row["split"] == "train"][:6]
    folder = tmp_path_factory.mktemp("ablate") / "data"
    Dataset([*rows, *copies]).save(folder)
    return curate(folder, FILTERS)


@pytest.fixture(scope="module")
def made(desk, tiny, tmp_path_factory, training_in_process):
    out = tmp_path_factory.mktemp("arms")
    with training_in_process(tmp_path_factory.mktemp("arms-cache")):
        recipe = {"max_steps": 2, "model": tiny, "tokens_per_batch": 512}
        done = ablate(desk, out, recipe, scores=["loss"], max_new_tokens=2)
    return done, out, recipe


def test_the_arms_differ_in_their_rows_alone(made, desk):
    done, out, _ = made
    rows = {arm["name"]: arm["rows"] for arm in done["arms"]}
    kept = len(desk.result.kept_rows)
    assert rows == {"unfiltered": 30, "random": kept, "longest": kept, "filtered": kept} and kept < 24
    recipes = [experiment.Run.attach(out / name / "run").recipe.keys() | {"data": ""} for name in rows]
    assert all(recipe == recipes[0] for recipe in recipes) and {arm["steps"] for arm in done["arms"]} == {2}


def test_each_difference_has_its_interval_and_its_words(made):
    done, out, _ = made
    assert [gap["minus"] for gap in done["differences"] if gap["slice"] == done["differences"][0]["slice"]] == [
        "unfiltered",
        "random",
        "longest",
    ]
    for gap in done["differences"]:
        assert gap["of"] == "filtered" and gap["low"] <= gap["value"] <= gap["high"]
    results = rescore.read_results(out / "results.json")
    assert done["said"] == describe_effect(results) and len(done["said"]) == 4
    assert any("trained once" in text for text in done["warnings"]) and done["warnings"] == results["warnings"]
    assert json.loads((out / "ablation.json").read_text())["said"] == done["said"]


def test_what_is_complete_is_not_trained_again(made, desk, monkeypatch):
    done, out, recipe = made
    monkeypatch.setattr(experiment.Run, "start", lambda *_: pytest.fail("it was trained again"))
    again = ablate(desk, out, recipe, scores=["loss"], max_new_tokens=2)
    assert again["differences"] == done["differences"]
    with pytest.raises(BadInput, match="another recipe"):
        ablate(desk, out, recipe | {"learning_rate": 1e-5})


def test_other_rows_are_refused(made, desk):
    _, out, recipe = made
    other = curate(desk.recipe.data, [{"filter": "exact"}])
    with pytest.raises(BadInput, match="other rows"):
        ablate(other, out, recipe, arms=["random"])


NOTHING = "the filters bought nothing"


@pytest.mark.parametrize(
    ("score", "better", "low", "high", "words"),
    [
        ("exact", "higher", 0.1, 0.3, "are better than unfiltered ones by exact (+20 points [+10, +30])."),
        ("exact", "higher", -0.3, -0.1, f"are worse than unfiltered ones by exact (−20 points [−30, −10]): {NOTHING}."),
        ("exact", "higher", -0.1, 0.3, f"(+10 points [−10, +30]): {NOTHING} that these rows can show."),
        ("loss", "lower", -0.3, -0.1, "are better than unfiltered"),
        ("loss", "lower", 0.1, 0.3, f"{NOTHING}."),
    ],
)
def test_a_filter_that_buys_nothing_says_so(score, better, low, high, words):
    gap = {"of": "filtered", "minus": "unfiltered", "value": (low + high) / 2, "low": low, "high": high, "flips": None}
    gap |= {"effective": 50, "clusters": 50, "n": 50}
    unit = "share" if score == "exact" else "nats/token"
    assert words in experiment.describe_difference(gap, {"name": score, "better": better, "unit": unit})


def test_the_longest_are_the_longest(desk):
    chosen = choose_rows(desk, "longest")
    least = min(len(row["messages"][-1]["content"]) for row in chosen)
    left = [row for row in desk.source_rows if row["id"] not in {one["id"] for one in chosen}]
    assert all(len(row["messages"][-1]["content"]) <= least for row in left)
    assert choose_rows(desk, "random") == choose_rows(desk, "random")
    assert len(choose_rows(desk, "without-exact")) > len(choose_rows(desk, "filtered"))


def test_what_the_exact_test_does_not_grant_is_not_bought():
    flips = {"fixed": 4, "broken": 1, "both": 20, "neither": 25, "mcnemar": 0.375, "by_cluster": None}
    gap = {"of": "filtered", "minus": "random", "value": 0.06, "low": 0.01, "high": 0.11, "flips": flips, "n": 50}
    about = {"name": "exact", "better": "higher", "unit": "share"}
    told = experiment.describe_difference(gap | {"effective": 50, "clusters": 50}, about)
    assert NOTHING in told and "does not agree" in told


def test_what_can_not_be_compared(desk, tmp_path):
    with pytest.raises(BadInput, match="same steps"):
        ablate(desk, tmp_path, {"epochs": 2})
    with pytest.raises(BadInput, match="some of"):
        ablate(desk, tmp_path, arms=["best"])
    with pytest.raises(BadData, match="nothing to compare"):
        ablate(curate(desk.recipe.data, []), tmp_path)
    Dataset(desk.source_rows[:8] + desk.source_rows[-2:]).save(tmp_path / "no-tests")
    with pytest.raises(BadData, match="with_test"):
        ablate(curate(tmp_path / "no-tests", FILTERS), tmp_path / "out")
