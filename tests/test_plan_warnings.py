"""A run says what its data and schedule do that nobody may have meant; a wrong target stops it before it loads."""

import json
import re
import struct

import pytest

import test_tokens
from etabli.checks import cost
from etabli.core.errors import BadRecipe
from etabli.data.dataset import Dataset
from etabli.evaluation.caveats import list_caveats
from etabli.evaluation.test_set import TestSet
from etabli.models import loading, lora_names, sources
from etabli.rendering.render import Renderer
from etabli.runs import launch
from etabli.runs.recipe import Recipe
from etabli.training import train_data
from etabli.training.plan_warnings import list_warnings


def make_rows(count, words=3):
    return [
        {
            "id": f"r{number}",
            "messages": [
                {"role": "user", "content": f"question {number}"},
                {"role": "assistant", "content": f"answer {number} " + "word " * words},
            ],
        }
        for number in range(count)
    ]


@pytest.fixture
def warn(tiny, tmp_path):
    """Return the warnings for rows, with keys of a recipe; ``eval_data`` are rows that are saved beside."""

    def warn(rows, steps=20, eval_data=None, **keys):
        Dataset(rows).save(tmp_path / "data")
        if eval_data:
            Dataset(eval_data).save(tmp_path / "eval")
            keys["eval_data"] = str(tmp_path / "eval")
        recipe = Recipe(model=tiny, data=str(tmp_path / "data"), **keys)
        tokenizer = loading.load_tokenizer(sources.resolve(tiny))
        return "\n".join(list_warnings(recipe, train_data.load_train_data(recipe, tokenizer), steps))

    return warn


def test_nothing_is_said_where_nothing_is_wrong(warn):
    assert warn(make_rows(200)) == ""


def test_rows_that_lose_their_end_are_counted(warn):
    text = warn(make_rows(20) + [row | {"id": f"long-{row['id']}"} for row in make_rows(6, words=300)], max_length=256)
    assert "6 of 26 rows are longer than max_length (256 tokens)" in text and "loses" in text


def test_the_advised_length_is_enough(warn):
    rows = make_rows(6, words=300)
    text = warn(rows, max_length=256)
    enough = int(text.partition("Raise max_length to ")[2].partition(",")[0])
    assert "max_length" not in warn(rows, max_length=enough)
    assert "Raise max_length" in warn(rows, max_length=enough - 1)


def test_an_evaluation_on_trained_rows_is_named(warn):
    rows = make_rows(40)
    other_answer = [{**row, "messages": [row["messages"][0], {"role": "assistant", "content": "?!"}]} for row in rows]
    text = warn(rows, eval_data=rows[:5] + other_answer[5:12] + make_rows(60)[40:])
    assert "12 of the 32 rows of eval_data" in text
    assert "the same question in 7, question and answer in 5" in text


def test_a_large_evaluation_set_is_measured_on_some_rows_whatever_the_seed(warn, tiny, tokenizer, tmp_path):
    text = warn(make_rows(40), eval_data=make_rows(60)[40:], eval_rows=12)
    assert "measured on 12 of 20 rows, always the same ones" in text
    assert "always the same" not in warn(make_rows(40), eval_data=make_rows(60)[40:], eval_rows=20)
    keys = {"model": tiny, "data": str(tmp_path / "data"), "eval_data": str(tmp_path / "eval"), "eval_rows": 12}
    loaded = [train_data.load_train_data(Recipe(seed=seed, **keys), tokenizer) for seed in (0, 1)]
    first, second = ([row.id for row in data.held_out] for data in loaded)
    assert first == second and len(set(first)) == 12
    assert len(loaded[0].source_held_out) == 20, "overlaps are looked for in all"


def test_rows_to_measure_are_counted_after_the_untrainable_and_hold_every_language(warn, tiny, tokenizer, tmp_path):
    rows = make_rows(240)[40:]
    for row in rows[::2]:
        row["messages"][0]["content"] = "word " * 300  # nothing is left to train after the cut
    for row in rows:
        row["lang"] = "fr"
    rows[1]["lang"] = "is"
    text = warn(make_rows(40), eval_data=rows, eval_rows=40, max_length=64)
    assert "measured on 40 of 200 rows" in text
    keys = {"model": tiny, "data": str(tmp_path / "data"), "eval_data": str(tmp_path / "eval"), "max_length": 64}
    held = {
        most: [row.id for row in train_data.load_train_data(Recipe(eval_rows=most, **keys), tokenizer).held_out]
        for most in (2, 40, 200)
    }
    assert [len(ids) for ids in held.values()] == [2, 40, 100]
    assert set(held[2]) < set(held[40]) < set(held[200]) and rows[1]["id"] in held[2]
    assert "none has a trained token" in warn(make_rows(40), eval_data=rows[::2], max_length=64)


@pytest.mark.parametrize(("count", "said"), [(48, True), (400, False)])
def test_a_held_out_set_of_few_rows_is_named(warn, count, said):
    assert ("held-out loss is measured on 2 rows" in warn(make_rows(count))) == said


@pytest.mark.parametrize(("steps", "said"), [(4, True), (5, True), (6, False)])
def test_a_warm_up_longer_than_the_run_is_named(warn, steps, said):
    assert ("the learning rate only rises" in warn(make_rows(200), steps=steps, warmup_steps=5)) == said


def test_the_rate_named_is_the_scheduler_s_highest(warn):
    import torch

    from etabli.training.lora_and_optimizer import make_lr_scheduler

    recipe = Recipe(data="x", learning_rate=1e-3, warmup_steps=8)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    scheduler, rates = make_lr_scheduler(optimizer, recipe, 5), []
    for _ in range(5):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert f"only rises, to {max(rates):.2g}," in warn(make_rows(200), steps=5, learning_rate=1e-3, warmup_steps=8)


class TestTargets:
    @pytest.mark.parametrize(
        "targets", [("q_proj", "v_proj"), ("self_attn.q_proj",), r".*layers\.0\..*_proj", "all-linear"]
    )
    def test_names_that_exist_pass(self, tiny, targets):
        source = sources.resolve(tiny)
        lora_names.require_names({"target_modules": targets}, source.folder, "m")

    @pytest.mark.parametrize(
        ("targets", "named"),
        [(("q_proj", "vproj"), "vproj"), (("query",), "query"), (r"layer\d+", r"layer"), ("proj", "proj")],
    )
    def test_a_wrong_name_is_refused_before_anything_is_loaded(self, tiny, targets, named):
        """PEFT takes ("q_proj", "vproj") and trains q_proj alone."""
        recipe = Recipe(model=tiny, data="home-commands", lora={"target_modules": targets})
        with pytest.raises(BadRecipe, match=rf"no module '{named}.*it has .*k_proj.*q_proj.*v_proj"):
            launch.check_recipe(recipe)

    @pytest.mark.parametrize(
        ("targets", "misfits"),
        [
            (r".*attn.*", "self_attn"),
            (r".*layernorm|.*q_proj", "input_layernorm, post_attention_layernorm"),
            (("q_proj", "self_attn"), "self_attn"),
            (("input_layernorm",), "input_layernorm"),
        ],
    )
    def test_what_can_t_carry_an_adapter_is_named_before_anything_is_loaded(self, tiny, targets, misfits):
        """PEFT itself raises, but only once the model is loaded: it is the reference here."""
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        recipe = Recipe(model=tiny, data="home-commands", lora={"target_modules": targets})
        with pytest.raises(BadRecipe, match=rf"names {misfits}, which can't carry an adapter"):
            launch.check_recipe(recipe)
        with pytest.raises(ValueError, match="not supported"):
            get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), LoraConfig(**recipe.lora.peft_fields()))

    @pytest.mark.parametrize(
        ("key", "names", "passes"),
        [
            ("rank_pattern", {"q_proj": 4, r"layers\.0\..*v_proj": 4}, True),
            ("rank_pattern", {"qproj": 4}, False),
            ("alpha_pattern", {"lm_head": 4}, False),
            ("exclude_modules", ["k_proj"], True),
            ("exclude_modules", ["kproj"], False),
            ("modules_to_save", ["input_layernorm"], True),
            ("modules_to_save", ["layernorms"], False),
        ],
    )
    def test_names_in_other_settings_are_looked_up_too(self, tiny, key, names, passes):
        recipe = Recipe(model=tiny, data="home-commands", lora={key: names})
        if passes:
            return launch.check_recipe(recipe)
        with pytest.raises(BadRecipe, match=f"lora.{key}: .*{next(iter(names))}"):
            launch.check_recipe(recipe)

    def test_a_pattern_may_match_what_is_excluded(self, tiny):
        lora = {"target_modules": r".*attn.*", "exclude_modules": ["self_attn"]}
        launch.check_recipe(Recipe(model=tiny, data="home-commands", lora=lora))

    def test_a_pattern_that_never_ends_is_refused(self, tmp_path):
        name = "model.layers.0.self_attn." + "a" * 60
        header = json.dumps({f"{name}.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}}).encode()
        (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        with pytest.raises(BadRecipe, match="can't be used"):
            lora_names.require_names({"target_modules": r"(([a-z_.0-9])+)+!"}, tmp_path, "m")


def test_validation_rows_that_are_trained_too_are_told(warn):
    rows = make_rows(40)
    marked = [{**row, "id": f"v-{row['id']}", "split": "validation"} for row in make_rows(12)]
    assert "12 of the 12 rows of the split validation are also trained" in warn(rows + marked)


TOOLS = [{"type": "function", "function": {"name": "add", "description": "Adds two numbers."}}]


def test_tools_that_the_template_leaves_out_are_counted(warn, tiny, plain):
    """The embedded model's template has no place for tools: training, check and evaluation say so."""
    rows = [*({**row, "tools": TOOLS} for row in make_rows(3)), *make_rows(200)[3:]]
    assert re.search(r"[123] of \d+ rows ha(s|ve) tools that the model's chat template leaves out", warn(rows))
    tokenizer = loading.load_tokenizer(sources.resolve(tiny))
    notes = [note for row in rows[:4] for note in cost.check(row, Renderer(tokenizer), 512, "answers", cost.Cost())]
    assert [(note.code, note.excerpt) for note in notes] == [("tools-left-out", "add")] * 3
    loaded_model = loading.LoadedModel(plain, tokenizer, sources.resolve(tiny), "cpu", plain.dtype)
    test_set = TestSet(rows[:4], [], "", clusters=["a", "b", "c", "d"], provenance={"clustered_by": "question"})
    caveats = "\n".join(list_caveats(test_set, [], [], [], loaded_model))
    assert "3 of 4 test rows have tools" in caveats and "no system saw them" in caveats


def test_thoughts_that_the_template_leaves_out_are_counted(warn, tiny, monkeypatch):
    tokenizer = test_tokens.with_template(loading.load_tokenizer(sources.resolve(tiny)), test_tokens.DROPS_THOUGHTS)
    monkeypatch.setattr(loading, "load_tokenizer", lambda source: tokenizer)
    messages = test_tokens.conversation("q", "one", "r", "two", "s", "three")
    for message in messages[1::2]:
        message["reasoning"] = "hm"
    rows = [*make_rows(20), {"id": "thinks", "messages": messages}]
    assert "2 thoughts in 1 of 21 rows are left out" in warn(rows)
    [note] = cost.check(rows[-1], Renderer(tokenizer), 512, "answers", cost.Cost())
    assert (note.code, note.excerpt) == ("thoughts-left-out", "2 thoughts")
