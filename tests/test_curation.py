"""Curation against references, invariants and faults: every rejected row has its reason, and no decision is lost."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core.contracts import DECISIONS
from etabli.core.errors import BadData, BadInput, BadRecipe
from etabli.curation import pairs
from etabli.curation.curation import Curation
from etabli.curation.decisions import Decisions
from etabli.curation.diff import compare_words
from etabli.curation.recipe import CurationRecipe
from etabli.curation.session import curate
from etabli.curation.table import Table
from etabli.curation.texts import split_words
from etabli.curation.threshold import Threshold
from etabli.data.dataset import Dataset, with_unique_ids


def row(name, asked, answer="It lies north of the old town.", **more):
    return {
        "id": name,
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}],
        **more,
    }


HARBOUR = "Where in the old harbour of the town does the small white boat of the fishermen lie at night?"
ROWS = [
    row("a", HARBOUR, source="sea"),
    row("b", HARBOUR.upper() + " ", source="sea"),  # a copy but for case
    row("c", HARBOUR.replace("night", "noon"), source="sea"),  # nearly
    row("d", "Name three trees.", "Oak, ash and elm.", source="wood"),
    row("e", "Name a bird.", "As an AI language model, I cannot have opinions on birds.", source="wood"),
    row("f", "Which tree is the tallest of all?", "The sequoia.", source="wood"),
    row("t", "Which tree is the tallest of all?", "The redwood.", source="wood", split="test"),
]
FILTERS = [
    {"filter": "exact"},
    {"filter": "near", "threshold": 0.7},
    {"filter": "quality"},
    {"filter": "contamination"},
    {"filter": "length", "least": 8},
]


@pytest.fixture
def folder(tmp_path):
    Dataset(ROWS, {"made": "here"}).save(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def desk(folder):
    return curate(folder, {"filters": FILTERS, "protect": {"least": 0}}, author="ann")


def test_each_row_that_goes_says_why_and_nothing_is_lost(desk, tmp_path):
    done = desk.save(tmp_path / "out")
    assert (done["rows"], done["kept"], done["test"]) == (6, 2, 1)
    assert done["dropped"] == {"exact": 1, "near": 1, "quality": 1, "contamination": 1}
    made = Dataset.open(tmp_path / "out")
    assert [one["id"] for one in made.rows] == ["a", "d", "t"] and made.hash == done["hash"]
    why = {one["id"]: one["reasons"] for one in made.rejected}
    assert set(why) == {"b", "c", "e", "f"}
    assert [reason["like"] for reason in (why["b"][0], why["c"][0], why["f"][0])] == ["a", "a", "t"]
    assert "ai-disclaimer" in why["e"][0]["why"]
    assert {one["id"] for one in made.rows + made.rejected} == {one["id"] for one in ROWS}
    assert made.recipe["curation"]["data"].endswith("mine") and made.recipe["of"] == {"made": "here"}


def test_it_is_the_same_whenever_it_is_run(desk, folder, tmp_path):
    desk.recipe.save(tmp_path / "mine.yaml")
    again = curate(tmp_path / "mine.yaml", author="bob")
    assert again.recipe == desk.recipe and again.summary() == desk.summary()
    assert again.set("near", threshold=0.99).summary()["recipe_hash"] != desk.summary()["recipe_hash"]


def test_a_persons_word_is_the_last(desk, tmp_path):
    desk.decide("keep", "e", "a fair answer")
    desk.decide("drop", "a", "not ours")
    desk.decide("fix", "d", "shorter", desk.rewrite_answer("d", "Oak, ash."))
    done = desk.save(tmp_path / "out")
    made = Dataset.open(tmp_path / "out")
    assert {one["id"] for one in made.rows} == {"b", "d", "e", "t"}, "b stands for its copies now that a is out"
    kept = {one["id"]: one for one in made.rows}
    assert kept["d"]["messages"][1]["content"] == "Oak, ash." and kept["e"]["decision"]["why"] == "a fair answer"
    assert done["dropped"]["person"] == 1 and done["decisions"] == 3
    for name in ("e", "a", "d"):
        desk.decide("undo", name)
    assert desk.summary()["dropped"] == {"exact": 1, "near": 1, "quality": 1, "contamination": 1}


def test_what_is_kept_by_hand_stands_for_its_copies(desk):
    desk.decide("keep", "c")
    done = desk.result
    assert {done.rows[at]["id"] for at in done.kept_rows} >= {"c"}
    assert done.rejections[0]["like"] == "c", "the copy that was not chosen goes"


def test_a_decision_about_a_row_that_has_changed_since_says_nothing(folder, desk):
    desk.decide("drop", "d")
    Dataset([*ROWS[:3], row("d", "Name four trees.", "Oak, ash, elm and yew.", source="wood"), *ROWS[4:]]).save(folder)
    again = curate(folder, {"filters": FILTERS, "protect": {"least": 0}})
    assert "d" not in again.standing and len(again.decisions.all()) == 1, "a new Dataset keeps the file of decisions"


def test_small_sources_are_not_wiped_out(folder):
    desk = curate(folder, {"filters": FILTERS, "protect": {"by": "source", "least": 2}})
    back = {desk.result.rows[at]["id"] for at in desk.result.protections}
    assert back == {"c", "e"}, "copies and what gives the test away do not come back; opinions do"


def test_small_sources_stay_out_when_people_or_leaks_say_so(folder):
    desk = curate(folder, {"filters": FILTERS, "protect": {"by": "source", "least": 5}})
    desk.decide("drop", "e")
    kept = {desk.result.rows[at]["id"] for at in desk.result.kept_rows}
    assert not kept & {"b", "e", "f"}


def test_the_source_is_never_replaced(desk, folder):
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(BadInput, match="choose another folder"):
        desk.save(folder)
    assert (folder / "manifest.json").read_bytes() == before


def test_a_training_run_does_not_see_rejected_rows(desk, tmp_path, tokenizer):
    from etabli.runs.recipe import Recipe
    from etabli.training import train_data

    desk.save(tmp_path / "out")
    made = train_data.load_train_data(Recipe(data=str(tmp_path / "out")), tokenizer)
    assert {one.id for one in made.rows + made.held_out} == {"a", "d"}


# --- mistakes ----------------------------------------


def test_all_mistakes_of_a_recipe_are_named(tmp_path):
    text = "data: x\nfilters:\n- filter: near\n  treshold: 2\n- filter: quality\n  codes: [nonsense]\nseeds: 3\n"
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(BadRecipe) as caught:
        CurationRecipe.load(tmp_path / "bad.yaml")
    said = str(caught.value)
    assert "did you mean threshold" in said and "no such code as nonsense" in said and "did you mean seed" in said


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ([{"filter": "length", "least": 5, "most": 2}], "no row would stay"),
        ([{"filter": "sieve"}], "sieve"),
        ([{"filter": "language", "keep": []}], "keep"),
        ([{"filter": "near", "threshold": 0.1}], "threshold"),
    ],
)
def test_filters_that_make_no_sense(filters, said):
    with pytest.raises(BadRecipe, match=said):
        CurationRecipe(data="x", filters=filters)


def test_what_can_not_be_curated_is_said(tmp_path, folder):
    Dataset([ROWS[-1]]).save(tmp_path / "tests")
    with pytest.raises(BadData, match="all are marked test"):
        curate(tmp_path / "tests")
    with pytest.raises(BadData, match="none is left"):
        strict = {"filters": [{"filter": "length", "least": 10_000}], "protect": {"least": 0}}
        curate(folder, strict).set("length", least=10_001).save(tmp_path / "o")
    with pytest.raises(BadInput, match="no row 'zz'"):
        curate(folder).decide("keep", "zz")
    with pytest.raises(BadInput, match="Nothing was decided"):
        curate(folder).decide("undo", "a")
    with pytest.raises(BadInput, match="needs a text"):
        curate(folder).rewrite_answer("a", "  ")
    with pytest.raises(BadData, match="column"):
        assert curate(folder, [{"filter": "balance", "by": "nothing"}]).result


def test_contamination_without_an_evaluation_is_not_run(tmp_path):
    Dataset(ROWS[:-1]).save(tmp_path / "mine")
    assert "nothing to give away" in curate(tmp_path / "mine").summary()["not_run"][0]


def test_neither_source_nor_tests_are_replaced_whatever_they_are_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Dataset(ROWS[:-1]).save("p/mine")
    Dataset(ROWS[-1:]).save("p/tests")
    CurationRecipe(data="mine", eval_data="tests", filters=FILTERS).save("p/r.yaml")
    (tmp_path / "link").symlink_to(tmp_path / "p" / "mine")
    for place in ("p/mine", "p/../p/mine", "link", "p/tests"):
        with pytest.raises(BadInput, match="choose another folder"):
            curate("p/r.yaml").save(place)


def test_files_are_found_from_the_recipe(tmp_path, monkeypatch):
    Dataset(ROWS).save(tmp_path / "p" / "mine")
    (tmp_path / "p" / "mine.py").write_text("import etabli\n@etabli.own_filter\ndef calm(row):\n    return True\n")
    keys = {"data": "mine", "filters": [{"filter": "own", "rules": "mine.py"}], "decisions": "who.jsonl"}
    CurationRecipe(**keys).save(tmp_path / "p" / "r.yaml")
    curate(tmp_path / "p" / "r.yaml", trust_code=True).decide("drop", "a")
    monkeypatch.chdir(tmp_path)
    assert [one["do"] for one in curate("p/r.yaml").standing.values()] == ["drop"]
    (tmp_path / "p" / "mine.py").unlink()
    with pytest.raises(BadInput, match=r"no file mine\.py"):
        curate("p/r.yaml")


def test_a_curated_data_set_curated_again_remembers_people(desk, tmp_path):
    desk.decide("drop", "d", "not ours")
    desk.decide("keep", "e", "fair")
    desk.save(tmp_path / "once")
    again = curate(tmp_path / "once", {"filters": FILTERS, "protect": {"least": 0}})
    kept = {again.result.rows[at]["id"] for at in again.result.kept_rows}
    assert "d" not in {one["id"] for one in again.source_rows} and "e" in kept
    assert "d" in {one["id"] for one in again.dataset().rejected}, "nothing is deleted"
    again.save(tmp_path / "twice")
    assert Dataset.open(tmp_path / "twice").hash == Dataset.open(tmp_path / "once").hash


def test_stale_decisions_are_said(desk, folder):
    desk.decide("drop", "d")
    Dataset([one for one in ROWS if one["id"] != "d"]).save(folder)
    with (folder / DECISIONS).open("a") as file:
        file.write("{}\n")
    said = " ".join(curate(folder, FILTERS).summary()["not_run"])
    assert "1 is about rows that are not here" in said and "1 line of" in said


def test_copies_do_not_come_back_to_a_small_source(tmp_path):
    rows = [row(f"s{n}", HARBOUR, source="small") for n in range(8)]
    rows += [
        row(f"r{n}", f"What is {n} and {n + 1} and {n + 2} and {n * n}?", f"{n}.", source="big") for n in range(30)
    ]
    Dataset(rows).save(tmp_path / "rows")
    desk = curate(tmp_path / "rows", [{"filter": "near"}, {"filter": "exact"}])
    assert desk.summary()["protected"] == 0 and desk.summary()["dropped"]["near"] == 7


def test_a_row_that_came_back_says_so(folder):
    desk = curate(folder, {"filters": FILTERS, "protect": {"by": "source", "least": 2}})
    back = next(one for one in desk.dataset().rows if one["id"] == "c")
    assert (
        back["reasons"][-1]["filter"] == "protect"
        and "only 1 of 3 rows with source sea would be left" in back["reasons"][-1]["why"]
    )
    with pytest.raises(BadData, match="sorce"):
        assert curate(folder, {"filters": FILTERS, "protect": {"by": "sorce"}}).result


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "banana", "content": "x"}, {"role": "assistant", "content": "y"}],
        [{"role": "user", "content": "x"}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "\ud800"}],
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "spans": "zz"}],
    ],
)
def test_a_fix_that_could_not_be_trained_is_refused(desk, messages):
    with pytest.raises(BadInput):
        desk.decide("fix", "a", "", messages)
    assert not desk.standing


def test_a_reason_is_a_text(desk):
    with pytest.raises(BadInput, match="its reason a text"):
        desk.decide("drop", "a", None)


def test_other_tool_calls_are_no_copies(tmp_path):
    def calling(name, function):
        call = {"type": "function", "function": {"name": function, "arguments": {}}}
        turns = [{"role": "user", "content": "Now?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
        return {"id": name, "messages": turns}

    rows = [
        calling("a", "light_on"),
        calling("b", "heating_on"),
        calling("c", "light_on"),
        row("d", "a b", "c"),
        row("e", "a", "b\nc"),
    ]
    assert set(only(rows, tmp_path, filter="exact")) == {"c"}


# --- filters, one by one ----------------------------------------


def only(rows, tmp_path, **step):
    Dataset(rows).save(tmp_path / "rows")
    desk = curate(tmp_path / "rows", {"filters": [step], "protect": {"least": 0}})
    return {desk.result.rows[at]["id"]: held[0] for at, held in desk.result.reasons.items()}


def test_exact_by_question(tmp_path):
    rows = [row("a", "Who?", "Ann."), row("b", " who ", "Bob."), row("c", "Why?", "Ann.")]
    assert not only(rows, tmp_path / "x", filter="exact")
    assert set(only(rows, tmp_path / "y", filter="exact", by="question")) == {"b"}


def test_language_leaves_what_it_can_not_tell(tmp_path):
    rows = [
        row(
            "en", "Where does the small boat lie at night, and who owns it?", "It lies in the harbour of the old town."
        ),
        row(
            "fr",
            "Où se trouve le petit bateau blanc du pêcheur la nuit ?",
            "Il se trouve dans le vieux port de la ville.",
        ),
        row("short", "Oui ?", "Non."),
    ]
    assert set(only(rows, tmp_path, filter="language", keep=["en"])) == {"fr"}


def test_a_test_question_within_a_long_text_is_found(tmp_path):
    question = "Who was the second president of the united states of america?"
    rows = [
        row("a", "Tell me a story.", f"He asked: {question.lower()} Nobody knew."),
        row("b", "Who was the first?", "Washington."),
        row("c", "turn on the light in the kitchen", "ok"),
        row("d", "turn on the light", "ok"),
        row("t1", question, "Adams.", split="test"),
        row("t2", "Turn on the light!", "ok", split="test"),
    ]
    found = only(rows, tmp_path, filter="contamination", likeness=1)
    assert {name for name, reason in found.items() if reason["rejects"]} == {"a", "d"}
    assert (
        found["a"]["like"] == "t1"
        and "who was the second president of the united" in found["a"]["why"]
        and "cosine" in found["a"]["why"]
    )


def test_a_test_question_is_found_however_often_and_wherever_it_is_asked(tmp_path):
    question = "Name the capital city of the country France and nothing else please."
    tests = [row(f"t{n}", question, "Paris.", split="test") for n in range(6)]
    rows = [
        row("a", question.upper()),
        {"id": "b", "messages": [*row("x", "Why?", "So.")["messages"], *row("x", "And?", "So.")["messages"]]},
    ]
    why = {
        "id": "tw",
        "messages": [*row("x", "Is it?", "Yes.")["messages"], *row("x", "Why?", "So.")["messages"]],
        "split": "test",
    }
    first = row("ts", "Why?", "Because.", split="test")
    found = only([*rows, row("c", "Why not?"), *tests, why, first], tmp_path, filter="contamination", likeness=1)
    assert {name: reason["like"] for name, reason in found.items() if reason["rejects"]} == {"a": "t0", "b": "ts"}


def test_leaks_across_scripts_and_signs(tmp_path):
    chinese = "请用一个简短的句子告诉我法国的首都是哪一座城市好吗"
    rows = [
        row("a", "Translate into English, please, and say nothing else:", chinese),
        row("b", "turn off the lights please", "ok"),
        {"id": "c", "messages": [{"role": "assistant", "content": "Welcome."}, *row("x", "Hi?")["messages"]]},
        row("t1", chinese, "Paris", split="test"),
        row("t2", "Turn off the lights, please!", "ok", split="test"),
        {"id": "t3", "messages": [{"role": "assistant", "content": "Hello."}], "split": "test"},
    ]
    found = only(rows, tmp_path, filter="contamination", likeness=1)
    assert {name: one["like"] for name, one in found.items() if one["rejects"]} == {"a": "t1", "b": "t2"}


def test_accents_and_marks_are_one_word_however_they_are_written():
    assert split_words("Où été") == split_words("Où été") == ["où", "été"]
    assert split_words("हिन्दी में") == ["हिन्दी", "में"] and split_words("東京タワーへ go") == [*"東京タワーへ", "go"]
    assert len(split_words("ภาษาไทย")) >= 5


def test_phrasing_that_many_test_questions_share_is_no_leak(tmp_path):
    frame = "please answer the following question in one short sentence: {}?"
    tests = [row(f"t{n}", frame.format(f"word{n}"), "x", split="test") for n in range(40)]
    found = only([row("a", frame.format("other"), "y"), *tests], tmp_path, filter="contamination", likeness=1)
    assert not found


def test_balance_draws_the_same_rows_again(tmp_path):
    rows = [row(f"e{n}", f"English {n}?", "Yes.", lang="en") for n in range(40)]
    rows += [row(f"f{n}", f"French {n}?", "Oui.", lang="fr") for n in range(12)] + [row("x", "Odd?", "Ja.", lang="de")]
    first = only(rows, tmp_path, filter="balance")
    assert len(first) == 28 and all(name.startswith("e") for name in first)
    assert set(only(rows, tmp_path, filter="balance")) == set(first)
    assert len(only(rows, tmp_path, filter="balance", most=5)) == 35 + 7


def test_rules_of_ones_own(tmp_path):
    rules = tmp_path / "mine.py"
    rules.write_text(
        "import etabli\n@etabli.own_filter\ndef calm(row):\n    return '!' not in row['messages'][-1]['content']\n"
    )
    rows = [row("a", "Hi?", "Hi!"), row("b", "Hi?", "Hi.")]
    assert set(only(rows, tmp_path, filter="own", rules=str(rules))) == {"a"}
    rules.write_text("import etabli\n@etabli.own_check\ndef odd(row):\n    return 1 / 0\n")
    with pytest.raises(BadInput, match="ZeroDivisionError"):
        only(rows, tmp_path, filter="own", rules=str(rules))


def test_an_encoder_of_ones_own(tmp_path, folder):
    code = "import numpy\ndef ones(texts):\n    return numpy.ones((len(texts), 3))\ndef bad(texts):\n    return [1]\n"
    (tmp_path / "enc.py").write_text(code)
    steps = {"filters": [{"filter": "semantic"}], "protect": {"least": 0}, "encoder": f"{tmp_path}/enc.py:ones"}
    assert len(curate(folder, steps).result.kept_rows) == 1
    with pytest.raises(BadInput, match="one row of finite numbers"):
        assert curate(folder, steps | {"encoder": f"{tmp_path}/enc.py:bad"}).result
    with pytest.raises(BadInput, match="Unknown encoder"):
        assert curate(folder, steps | {"encoder": "magic"}).result


# --- pairs, against brute force ----------------------------------------

WORDS = st.sampled_from(["oak", "ash", "elm", "yew", "fir", "box", "bay", "fig"])
TEXTS = st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=25)


def jaccard(one, other):
    def shingles(text):
        held = split_words(text)
        return {tuple(held[at : at + 3]) for at in range(max(1, len(held) - 2))} if held else set()

    mine, theirs = shingles(one), shingles(other)
    return len(mine & theirs) / len(mine | theirs) if mine and theirs else 0.0


@given(TEXTS)
def test_every_pair_is_true(texts):
    found = pairs.find_lexical_pairs(pairs.compute_signatures(texts))
    for one, other, likeness in zip(found.first, found.second, found.similarity):
        assert one < other and likeness == pytest.approx(jaccard(texts[one], texts[other]), abs=1e-6)
    assert list(found.similarity) == sorted(found.similarity, reverse=True)


@given(TEXTS, st.sampled_from([0.8, 0.9, 1.0]), st.randoms(use_true_random=False))
def test_no_row_goes_for_one_that_goes_too_and_of_two_one_goes(texts, threshold, rng):
    order = rng.sample(range(len(texts)), len(texts))
    gone = pairs.find_lexical_duplicates(pairs.compute_signatures(texts), threshold, order)
    for one, (other, likeness) in gone.items():
        assert other not in gone and order.index(other) < order.index(one)
        assert likeness == pytest.approx(jaccard(texts[one], texts[other]), abs=1e-6) and likeness >= threshold
    kept = [at for at in order if at not in gone]
    missed = [(a, b) for a in kept for b in kept if a < b and jaccard(texts[a], texts[b]) >= threshold]
    assert not missed or threshold < 0.9, "MinHash misses hardly any"


def crowd(count, changed, seed=0):
    """Copies of one text in which some words are others."""
    rng = np.random.default_rng(seed)
    base = [f"w{n}" for n in range(60)]
    made = []
    for at in range(count):
        held = list(base)
        for place in rng.choice(60, changed, replace=False):
            held[place] = f"x{at}-{place}"
        made.append(" ".join(held))
    return made


def test_in_a_crowd_of_copies_none_is_left_that_is_like_another_that_stays():
    texts = crowd(300, 2)
    for threshold in (0.7, 0.8):
        gone = pairs.find_lexical_duplicates(pairs.compute_signatures(texts), threshold, range(300))
        kept = [at for at in range(300) if at not in gone]
        alike = [(a, b) for a in kept for b in kept if a < b and jaccard(texts[a], texts[b]) >= threshold]
        assert len(alike) <= 0.02 * len(kept) * (len(kept) - 1) / 2 + 1, (threshold, len(kept), len(alike))


def test_a_crowd_of_copies_costs_no_more_than_other_rows(monkeypatch):
    compared = []
    real = pairs.Signatures.most_similar

    def counting(self, row, found):
        compared.append(len(found))
        return real(self, row, found)

    monkeypatch.setattr(pairs.Signatures, "most_similar", counting)
    counts = []
    for size in (500, 2000):
        signed = pairs.compute_signatures(crowd(size, 1))
        compared.clear()
        pairs.find_lexical_duplicates(signed, 0.8, range(size))
        pairs.find_lexical_pairs(signed)
        counts.append(sum(compared) / size)
    assert counts[1] < 1.5 * counts[0], "what is compared for a row does not grow with the copies"


def test_near_copies_that_were_planted_are_found():
    rng = np.random.default_rng(0)
    bag = [f"w{n}" for n in range(3000)]
    texts = [" ".join(rng.choice(bag, 60)) for _ in range(300)]
    for at in range(100):
        changed = texts[at].split()
        changed[30] = "changed"
        texts.append(" ".join(changed))
    held = pairs.find_lexical_pairs(pairs.compute_signatures(texts))
    found = set(zip(held.first.tolist(), held.second.tolist()))
    assert sum((at, 300 + at) in found for at in range(100)) >= 99, "90 % alike: MinHash misses hardly any"


def test_embeddings_are_compared_as_a_matrix_product_does():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(700, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    held = pairs.find_semantic_pairs(vectors)
    found = dict(zip(zip(held.first.tolist(), held.second.tolist()), held.similarity.tolist()))
    full = vectors @ vectors.T
    for (one, other), cosine in found.items():
        assert cosine == pytest.approx(full[one, other], abs=1e-5) and cosine >= pairs.SEMANTIC_FLOOR
    for other in range(700):
        near = [one for one in range(other) if full[one, other] >= pairs.SEMANTIC_FLOOR + 1e-6]
        assert sum((one, other) in found for one in near) == min(len(near), pairs.MAX_NEIGHBOURS)
    gone = pairs.find_semantic_duplicates(vectors, 0.9, range(699, -1, -1))
    kept = [at for at in range(699, -1, -1) if at not in gone]
    assert all(full[row, other] >= 0.9 - 1e-6 and other in kept for row, (other, _) in gone.items()) and gone
    assert (full[np.ix_(kept, kept)] - 2 * np.eye(len(kept)) < 0.9).all()
    at, cosines = pairs.find_nearest(vectors[:600], vectors[600:])
    assert (at == full[:600, 600:].argmax(1)).all() and np.allclose(cosines, full[:600, 600:].max(1), atol=1e-5)


def test_the_border_has_pairs_of_both_sides():
    made = pairs.Pairs.from_similarities({(0, at): at / 20 for at in range(1, 20)})
    border = made.closest_to(0.5, 3)
    assert [round(value * 20) for _, _, value in border] == [12, 11, 10, 9, 8, 7] and made.count_above(0.5) == 10


@given(st.text(max_size=80), st.text(max_size=80))
def test_a_difference_holds_both_texts(one, other):
    found = compare_words(one, other)
    found = [piece for piece in found if piece[0] != "cut"]
    assert "".join(text for kind, text in found if kind != "in") == one
    assert "".join(text for kind, text in found if kind != "out") == other


def test_a_threshold_is_chosen_by_looking(folder):
    desk = curate(folder, {"filters": [{"filter": "near", "threshold": 0.7}], "protect": {"least": 0}})
    look = Threshold(desk, "near")
    seen = look.at(0.7)
    assert seen["gone"] == 2 and seen["rows"] == 6 and seen["border"][0]["likeness"] == 1.0
    assert ["out", "night"] in [list(piece) for piece in seen["border"][1]["difference"]] or len(seen["border"]) > 1
    gone = {desk.result.rows[index]["id"] for index in desk.result.rejections}
    for pair in seen["border"]:
        removed = [row_id for row_id in pair["ids"] if row_id in gone]
        assert ("both stay" in pair["outcome"]) == (not removed)
        assert len(removed) != 1 or pair["outcome"].startswith(f"row {removed[0]} is removed")
    look.choose(1.0)
    assert len(desk.result.rejections) == 1 and desk.recipe.filters[0].threshold == 1.0
    with pytest.raises(BadInput, match="no pairs"):
        Threshold(desk, "quality")


def test_rows_with_one_id_are_told_apart():
    rows = with_unique_ids([row("a", "1"), row("a", "2"), row("a~2", "3"), row("a", "4")])
    assert [one["id"] for one in rows] == ["a", "a~3", "a~2", "a~4"]


# --- decisions, and what may happen to their file ----------------------------------------


def test_decisions_are_on_the_disk_and_read_again(tmp_path):
    first = Decisions(tmp_path / DECISIONS, "ann")
    first.add("drop", ROWS[0], "a copy")
    other = Decisions(tmp_path / DECISIONS, "bob")
    other.add("keep", ROWS[0])
    assert first.standing()["a"]["by"] == "bob", "what others decide is seen"
    assert other.latest(ROWS)["do"] == "keep" and first.latest(ROWS) is None
    line = json.loads((tmp_path / DECISIONS).read_text().splitlines()[0])
    assert (line["do"], line["row"], line["by"], line["why"]) == ("drop", "a", "ann", "a copy")


def test_a_file_in_the_working_directory_can_be_decided_on(tmp_path, monkeypatch, write_jsonl):
    write_jsonl([{"prompt": "Where?", "completion": "North."}], "mine.jsonl")
    monkeypatch.chdir(tmp_path)
    desk = curate("mine.jsonl", [])
    desk.decide("drop", desk.source_rows[0]["id"])
    assert (tmp_path / f"mine.jsonl.{DECISIONS}").is_file() and len(curate("mine.jsonl", []).standing) == 1


def test_a_view_after_several_fixes_knows_what_a_new_one_does(desk):
    desk.result  # noqa: B018
    for text in ("Oak.", "As an AI, I have no idea.", "Oak and ash."):
        desk.decide("fix", "d", "", desk.rewrite_answer("d", text))
        held, fresh = desk.result, curate(desk.recipe).result
        assert {at: [r["why"] for r in rs] for at, rs in held.reasons.items()} == {
            at: [r["why"] for r in rs] for at, rs in fresh.reasons.items()
        }
    for _ in range(3):
        desk.decide("undo", "d")
    assert desk.result.rejections.keys() == curate(desk.recipe).result.rejections.keys()


def test_a_torn_line_costs_nothing_but_itself(tmp_path):
    path = tmp_path / DECISIONS
    Decisions(path, "ann").add("drop", ROWS[0])
    with path.open("a") as file:
        file.write('{"id": "x", "do": "keep", "ro')
    held = Decisions(path, "ann")
    held.add("drop", ROWS[1])
    with path.open("ab") as file:
        file.write(b'{"do": "drop"}\n\xff\xfe\n[1]\n{"id":"y","do":"fix","row":"a","was":"","by":"","why":""}\n')
    again = Decisions(path)
    assert set(again.standing()) == {"a", "b"} and again.skipped_lines == 2


KILLED = textwrap.dedent("""
    import sys
    from etabli.curation.session import curate
    desk = curate(sys.argv[1], [{"filter": "exact"}], author="ann")
    while True:
        for name in "abcdef":
            desk.decide("keep", name)
            print(name, flush=True)
""")


@pytest.mark.parametrize("after", [0.05, 0.3])
def test_a_killed_process_loses_no_decision(folder, after):
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True)
    first = child.stdout.readline()
    time.sleep(after)
    os.kill(child.pid, signal.SIGKILL)
    said = [first, *child.stdout.readlines()]
    child.wait()
    held = Decisions(folder / DECISIONS).all()
    assert len(held) >= len([line for line in said if line.endswith("\n")]) > 0
    assert Dataset.open(folder).rows, "the manifest does not speak of the file that grows"


@given(
    steps=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["keep", "drop", "fix", "undo"])), max_size=25)
)
def test_undo_gives_back_what_stood_before(tmp_path_factory, steps):
    held = Decisions(tmp_path_factory.mktemp("d") / DECISIONS, "ann")
    rows = {one["id"]: one for one in ROWS}
    stacks = {name: [] for name in "abcd"}
    for name, do in steps:
        if do == "undo" and not stacks[name]:
            with pytest.raises(BadInput):
                held.add(do, rows[name])
            continue
        held.add(do, rows[name], messages=rows[name]["messages"] if do == "fix" else None)
        stacks[name] = stacks[name][:-1] if do == "undo" else [*stacks[name], do]
    expected = {name: stack[-1] for name, stack in stacks.items() if stack}
    assert {name: one["do"] for name, one in Decisions(held.path).standing().items()} == expected


# --- the table ----------------------------------------


def test_the_table_narrows_and_sorts(desk):
    table = Table(desk)
    assert table.select(finding="near") == 1 and table.lines(0, 9)[0]["id"] == "c"
    assert table.select(search="OAK") == 1 and table.select(status="rejected") == 4 and table.select(source="wood") == 3
    table.select(sort="length", descending=True)
    lengths = [line["length"] for line in table.lines(0, 9)]
    assert lengths == sorted(lengths, reverse=True) and len(lengths) == 6
    assert table.facets()["status"] == {"stays": 2, "rejected": 4}
    with pytest.raises(BadInput):
        table.select(sort="colour")


def test_the_table_shows_a_row_with_its_neighbour(desk):
    table = Table(desk)
    seen = table.detail("c")
    assert seen["like"]["id"] == "a" and ("in", "noon") in seen["like"]["difference"]
    assert table.detail("f")["like"]["test"] and table.detail("d")["like"] is None


def test_the_table_decides(desk):
    table = Table(desk)
    assert table.decide("drop", "e")["status"] == "dropped"
    assert desk.standing["e"]["why"] == "quality", "what the filters found is the reason, unless one is given"
    assert table.decide("fix", "d", "", "Oak.")["answer"] == "Oak."
    assert table.undo()["id"] == "d" and table.undo()["status"] == "rejected" and table.undo() is None
    table.decide("keep", "c")
    assert table.refresh() == 6 and table.line(2)["status"] == "kept"


def test_the_table_counts_what_filters_that_are_applied_again_change(desk):
    table = Table(desk)
    table.decide("drop", "e")
    table.refresh()
    assert table.changed_count == 0, "a decision is shown at once: it is no change of the filters"
    before = [line["status"] for line in table.lines(0, 6)]
    desk.set("near", threshold=1.0)
    table.refresh()
    after = [line["status"] for line in table.lines(0, 6)]
    assert table.changed_count == sum(old != new for old, new in zip(before, after)) > 0


# --- maps and commands ----------------------------------------


@pytest.mark.parametrize("colour", ["finding", "status", "cluster", "source"])
def test_a_map_has_every_row_once(desk, colour):
    figure = desk.map(colour)
    assert sum(len(trace.x) for trace in figure.data) == 6
    assert len(figure.to_json()) < 200_000


def test_a_map_of_many_kinds_leaves_none_out(tmp_path):
    rows = [row(f"r{n}", f"Question {n}?", f"Answer {n}.", source=f"<b>{n}</b>") for n in range(30)]
    Dataset(rows).save(tmp_path / "rows")
    figure = curate(tmp_path / "rows", []).map("source")
    assert sum(len(trace.x) for trace in figure.data) == 30 and "<b>1</b>" not in figure.to_json()


def etabli(*given):
    done = subprocess.run([sys.executable, "-m", "etabli", *map(str, given)], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_the_commands(desk, tmp_path):
    desk.recipe.save(tmp_path / "mine.yaml")
    code, out, _ = etabli(
        "data", "prepare", tmp_path / "mine.yaml", "--out", tmp_path / "out", "--workers", 1, "--json"
    )
    said = json.loads(out)
    assert code == 0 and said["kept"] == 2 and said["dropped"]["near"] == 1 and len(said["hash"]) == 64
    code, out, _ = etabli("data", "decide", tmp_path / "mine.yaml", "e", "keep", "--author", "ann", "--json")
    assert code == 0 and json.loads(out)["do"] == "keep"
    code, out, _ = etabli("data", "rows", tmp_path / "mine.yaml", "--status", "kept", "--json")
    assert code == 0 and [line["id"] for line in json.loads(out)["rows"]] == ["e"]
    code, _, err = etabli("data", "decide", tmp_path / "mine.yaml", "zz", "keep")
    assert code == 2 and "no row 'zz'" in err and "Traceback" not in err


def test_a_curation_is_shown_in_words(desk):
    assert isinstance(desk, Curation) and "2 of 6 rows stay" in repr(desk)
