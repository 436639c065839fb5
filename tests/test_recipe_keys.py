"""Recipe keys that were renamed: the old names still load, with one warning, and old run folders are the same runs."""

import warnings

import pytest
import yaml

from etabli.core.errors import BadRecipe
from etabli.data.dataset import Dataset
from etabli.runs import backup
from etabli.runs.recipe import OLD_KEYS, Recipe, read_recipe
from etabli.runs.run import Run
from etabli.training import train_data, worker

OLD = {
    "accumulate": 2,
    "checkpointing": "all",
    "schedule": "cosine",
    "policy": "last",
    "probes": ["Turn on the lamp"],
    "mirror": "/backup",
}
NEW = {OLD_KEYS[key]: value for key, value in OLD.items()}
FROZEN = {"model_hash": "m", "data_hash": "d"}


def as_old(keys):
    """Recipe keys under the names of before."""
    old_names = {new: old for old, new in OLD_KEYS.items()}
    return {old_names.get(key, key): value for key, value in keys.items()}


def old_run(folder, recipe, data_hash="d"):
    """A run folder as an older version wrote it: old keys, in the section ``frozen`` too."""
    folder.mkdir()
    trained = {key: value for key, value in recipe.keys().items() if key not in train_data.FREE}
    text = yaml.safe_dump(
        as_old(recipe.keys()) | {"frozen": FROZEN | {"data_hash": data_hash, "recipe": as_old(trained)}}
    )
    assert "lr_scheduler" not in text and "accumulate: 2" in text
    (folder / "recipe.yaml").write_text(text)
    return folder


def test_every_renamed_key_is_tried():
    assert (
        set(OLD) == set(OLD_KEYS) and set(NEW) <= set(Recipe.model_fields) and not set(OLD) & set(Recipe.model_fields)
    )


@pytest.mark.parametrize("key", OLD)
def test_an_old_keyword_is_the_new_one(key):
    with pytest.warns(FutureWarning, match=f"{key} is now {OLD_KEYS[key]}") as seen:
        recipe = Recipe(data="x", **{key: OLD[key]})
    assert recipe == Recipe(data="x", **{OLD_KEYS[key]: OLD[key]})
    assert len(seen) == 1 and seen[0].filename == __file__


def test_a_file_with_old_keys_loads_with_one_warning_and_is_written_with_new_ones(tmp_path):
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({"data": "x", **OLD}))
    with pytest.warns(FutureWarning) as seen:
        recipe = Recipe.load(tmp_path / "recipe.yaml")
    assert len(seen) == 1 and all(f"{old} is now {new}" in str(seen[0].message) for old, new in OLD_KEYS.items())
    assert seen[0].filename == __file__
    recipe.save(tmp_path / "new.yaml")
    written = yaml.safe_load((tmp_path / "new.yaml").read_text())
    assert set(NEW) <= set(written) and not set(OLD) & set(written)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Recipe.load(tmp_path / "new.yaml") == recipe == Recipe(data="x", **NEW)


def test_a_mistake_under_an_old_key_is_told_by_the_new_one():
    with pytest.warns(FutureWarning), pytest.raises(BadRecipe, match=r"gradient_accumulation_steps.*, not 0"):
        Recipe(data="x", accumulate=0)


@pytest.mark.parametrize("key", OLD)
def test_both_names_of_a_key_are_refused(key):
    with pytest.raises(BadRecipe, match=f"{key}: the old name of {OLD_KEYS[key]}"):
        Recipe(data="x", **{key: OLD[key], OLD_KEYS[key]: OLD[key]})


def test_an_old_run_opens_without_a_warning_and_is_the_same_run(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"prompt": "a", "completion": "b"}')
    recipe = Recipe(data=str(tmp_path / "x.jsonl"), **NEW)
    folder = old_run(tmp_path / "run", recipe, Dataset.open(recipe.data).hash)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = Run.ensure(recipe, folder)
        assert run.recipe == recipe and run.recipe is run.recipe, "the file is parsed once"
    trained = {key: value for key, value in recipe.keys().items() if key not in train_data.FREE}
    now = FROZEN | {"data_hash": Dataset.open(recipe.data).hash, "recipe": trained}
    assert run.frozen == now and worker.changes(run.frozen, now) == ""


CHANGES = {"train_on": "all", "gradient_accumulation_steps": 4, "lr_scheduler": "linear"}


@pytest.mark.parametrize(("key", "value"), CHANGES.items())
def test_a_change_of_an_old_run_is_still_seen(tmp_path, key, value):
    """A key that only has another name must not be passed over as one that the run did not know."""
    folder = old_run(tmp_path / "run", Recipe(data="x", **NEW))
    changed = Recipe(data="x", **NEW | {key: value}).keys()
    now = {"recipe": {name: held for name, held in changed.items() if name not in train_data.FREE}}
    assert worker.changes(read_recipe(folder / "recipe.yaml")[1], now) == f"recipe.{key} was {NEW[key]!r}, is {value!r}"


def test_an_old_run_knows_its_backup(tmp_path):
    recipe = Recipe(data="x", **NEW | {"backup": str(tmp_path / "backup")})
    (tmp_path / "backup").mkdir()
    run, warned = old_run(tmp_path / "run", recipe), []
    keys, frozen = read_recipe(run / "recipe.yaml")
    assert backup.without_unknown_backup(run, Recipe(**keys), frozen, warned.append).backup is None and len(warned) == 1
    old_run(tmp_path / "backup" / "run", recipe)
    assert backup.without_unknown_backup(run, Recipe(**keys), frozen, warned.append) == recipe and len(warned) == 1


def test_keys_of_other_programs_are_answered_with_ours():
    from peft import LoraConfig

    from etabli.runs.foreign_keys import FOREIGN_KEYS

    theirs = {
        "num_train_epochs": "epochs",
        "per_device_train_batch_size": "batch_size",
        "micro_batch_size": "batch_size",
    }
    theirs |= {"lr_scheduler_type": "lr_scheduler", "lora_r": "lora.rank", "sequence_len": "max_length"}
    with pytest.raises(BadRecipe) as error:
        Recipe(data="x", **dict.fromkeys(theirs, 1))
    assert set(error.value.problems) == {f"{key}: no such key; it is {ours} here" for key, ours in theirs.items()}
    with pytest.raises(BadRecipe, match="warmup_ratio: no such key; it is warmup_steps here, a number of steps"):
        Recipe(data="x", warmup_ratio=0.1)
    known = {*Recipe.model_fields, *(f"lora.{name}" for name in Recipe.model_fields["lora"].annotation.model_fields)}
    assert not known & FOREIGN_KEYS.keys()
    known |= {f"lora.{name}" for name in LoraConfig.__dataclass_fields__}  # PEFT's other fields, by their own names
    assert {text.split()[1] for text in FOREIGN_KEYS.values() if len(text.split()) == 3} <= known


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("eval_strategy", "eval_every"),
        ("save_strategy", "checkpoint_every"),
        ("val_size", "eval_data"),
        ("val_set_size", "eval_data"),
        ("test_size", "etabli data read FILE --test 0.1"),
    ],
)
def test_keys_that_are_something_else_here_say_what(key, ours):
    with pytest.raises(BadRecipe, match=rf"{key}: no such key; it is .*{ours}"):
        Recipe(data="x", **{key: "steps"})
