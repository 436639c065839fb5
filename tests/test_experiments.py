"""Encoding that is kept, callbacks, curves of many runs, and the learning rate that a short run advises."""

import json
import math
from pathlib import Path

import pytest

from etabli.core import trust
from etabli.core.errors import BadInput, UntrustedCode
from etabli.data.dataset import Dataset
from etabli.data.samples import home_commands
from etabli.runs import lr_finder as ranges
from etabli.runs.plots import overlay
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from etabli.training import tokenize_dataset, train_data
from etabli.training.callbacks import Callbacks

# --- encoding -------------------------------------------------------------------------------------------------------


def test_rows_encoded_in_parallel_or_read_back_are_the_same(commands, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    rows = [*commands.rows, {"id": "bad", "messages": [{"role": "nobody", "content": "?"}]}]
    recipe = Recipe(data="x", max_length=60)  # some are cut to nothing
    plain = tokenize_dataset.tokenize_rows(rows, tokenizer, recipe)
    monkeypatch.setattr(tokenize_dataset, "CACHED_FROM", 1)
    monkeypatch.setattr(tokenize_dataset, "PARALLEL_FROM", 1)
    fresh = tokenize_dataset.tokenize_rows(rows, tokenizer, recipe)
    monkeypatch.setattr(tokenize_dataset, "_tokenize", None)  # from now on nothing can be encoded
    assert (
        plain == fresh == tokenize_dataset.tokenize_rows(rows, tokenizer, recipe) and plain[0] and plain[1] and plain[2]
    )


@pytest.mark.parametrize("change", ["row", "tools", "policy", "length", "template", "end"])
def test_what_the_tokens_depend_on_is_in_the_key(commands, tokenizer, change):
    rows, recipe = list(commands.rows), Recipe(data="x")
    before = tokenize_dataset._key(rows, tokenizer, recipe)
    held = tokenizer.chat_template
    if change == "row":
        rows[3] = {**rows[3], "messages": [*rows[3]["messages"][:-1], {"role": "assistant", "content": "{}"}]}
    elif change == "tools":
        rows[3] = {**rows[3], "tools": [{"name": "f"}]}
    elif change == "template":
        tokenizer.chat_template = held + " "
    elif change == "end":
        tokenizer.eos_token, end = "<|endoftext|>", tokenizer.eos_token
    else:
        recipe = Recipe(data="x", **({"train_on": "last"} if change == "policy" else {"max_length": 99}))
    after = tokenize_dataset._key(rows, tokenizer, recipe)
    tokenizer.chat_template = held
    if change == "end":
        tokenizer.eos_token = end
    assert before != after and before == tokenize_dataset._key(commands.rows, tokenizer, Recipe(data="x"))


def test_a_damaged_cache_is_made_again(commands, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    monkeypatch.setattr(tokenize_dataset, "CACHED_FROM", 1)
    recipe = Recipe(data="x")
    first = tokenize_dataset.tokenize_rows(commands.rows, tokenizer, recipe)
    place = next((tmp_path / "encoded").glob("*/tokens.npz"))
    place.write_bytes(place.read_bytes()[:-9])
    assert tokenize_dataset.tokenize_rows(commands.rows, tokenizer, recipe) == first
    (place.parent / "MANIFEST.json").unlink()  # as a cleaner that was interrupted leaves it
    assert tokenize_dataset.tokenize_rows(commands.rows, tokenizer, recipe) == first
    assert (place.parent / "MANIFEST.json").is_file()


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory, training_in_process):
    """Two finished runs on the tiny model, one with callbacks that write down what they are given."""
    place = tmp_path_factory.mktemp("runs")
    Dataset(home_commands(n=60, test=4, seed=0)).save(place / "data")
    (place / "watch.py").write_text(
        "import json, pathlib\n"
        f"SEEN = pathlib.Path({str(place / 'seen.jsonl')!r})\n"
        "def note(name, event):\n"
        "    with SEEN.open('a') as file:\n"
        "        file.write(json.dumps([name, event]) + '\\n')\n"
        "def on_step(event): note('step', event)\n"
        "def on_eval(event): note('eval', event)\n"
        "def on_checkpoint(event):\n"
        "    note('checkpoint', event)\n"
        "    return 'enough' if event['step'] == 4 else None\n"
    )
    keys = {"model": tiny, "data": str(place / "data"), "max_steps": 6, "eval_every": 2, "checkpoint_every": 4}
    keys |= {"sample_every": 9, "threads": 1}
    with training_in_process(place):
        first = Run.start(Recipe(**keys, callbacks=str(place / "watch.py")), place / "first")
        second = Run.start(Recipe(**keys, seed=1, lora={"use_rslora": True}), place / "second")
    return first, second


def test_callbacks_are_called_with_what_the_log_has_and_can_stop(runs):
    first = runs[0]
    told = [json.loads(line) for line in (first.folder.parent / "seen.jsonl").read_text().splitlines()]
    assert first.state == "stopped" and first.why == "enough"
    for kind in ("step", "eval"):
        logged = [{k: v for k, v in e.items() if k not in ("kind", "t")} for e in first.events() if e["kind"] == kind]
        assert [event for name, event in told if name == kind] == logged
    assert [event["path"] for name, event in told if name == "checkpoint"] == [
        str(first.folder / "checkpoints" / "step-000004")
    ]
    assert first.frozen["callbacks_hash"] and runs[1].frozen["callbacks_hash"] is None


def test_a_run_does_not_go_on_with_other_callbacks(runs, training_here):
    first, file = runs[0], runs[0].folder.parent / "watch.py"
    before = file.read_text()
    file.write_text(before + "# changed\n")
    with pytest.raises(UntrustedCode, match=r"watch\.py"):
        first.resume()
    with pytest.raises(Exception, match="callbacks_hash"):
        first.resume(trust_code=True).wait(quiet=True)
    file.write_text(before)


def test_callbacks_that_are_none(tmp_path):
    file = tmp_path / "mine.py"
    slips = {"x = 1\n": "none of them", "def on_step(:\n": "SyntaxError", "1 / 0": "ZeroDivisionError", None: "no file"}
    slips |= {"import sys; sys.exit('bye')": "SystemExit: bye", "async def on_step(event): pass": "plain function"}
    for text, said in slips.items():
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
            trust.remember([trust.read_code(file, "callbacks")])
        with pytest.raises(BadInput, match=said):
            Callbacks(Recipe(data="x", callbacks=str(file)), tmp_path)


def test_a_callback_that_raises_ends_the_run_saved_and_names_its_line(runs, tmp_path, training_here):
    file = tmp_path / "mine.py"
    file.write_text("def on_step(event):\n    if event['step'] == 3:\n        event['none']\n")
    recipe = Recipe(**{**runs[1].recipe.keys(), "callbacks": str(file), "checkpoint_every": 50})
    run = Run.start(recipe, tmp_path / "run")
    with pytest.raises(Exception, match=r"on_step of .*mine\.py raised KeyError: 'none' \(line 3 of mine\.py\)"):
        run.wait(quiet=True)
    assert [folder.name for folder in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-000003"]


def test_what_a_callback_does_to_torch_stays_its_own(runs, tmp_path, training_here):
    """Dice and gradients: the weights are those of a run without it, with dropout too."""
    from safetensors.torch import load_file

    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "def on_step(event): torch.rand(3); torch.set_grad_enabled(False)\n"
        "def on_checkpoint(event): torch.manual_seed(7)\n"
    )
    keys = {**runs[1].recipe.keys(), "lora": {"dropout": 0.2}, "checkpoint_every": 2}
    made = []
    for name, callbacks in (("plain", None), ("mine", str(file))):
        made.append(Run.start(Recipe(**{**keys, "callbacks": callbacks}), tmp_path / name).wait(quiet=True))
    one, other = (load_file(run.folder / "adapter" / "adapter_model.safetensors") for run in made)
    assert all((one[name] == other[name]).all() for name in one)


def test_all_events_are_a_frame_too(runs):
    assert len(runs[1].frame(None)) == len(runs[1].events()) and len(runs[1].frame()) == 6


def test_a_run_of_another_engine_is_not_the_same_run(runs, training_here):
    import yaml

    file = runs[0].folder / "recipe.yaml"
    before = file.read_text()
    held = yaml.safe_load(before)
    held["frozen"].pop("engine")  # as the first engine left it
    file.write_text(yaml.safe_dump(held))
    with pytest.raises(Exception, match=f"engine was 1, is {train_data.ENGINE}"):
        runs[0].resume().wait(quiet=True)
    file.write_text(before)


def test_overlay_draws_what_the_events_say(runs):
    figure = overlay(runs, "grad_norm")
    assert [line.name for line in figure.data] == ["first", "second"]
    assert list(figure.data[1].y) == runs[1].frame("step").grad_norm.tolist()
    assert list(overlay(runs[1], "by.en", kind="eval").data[0].x) == [0, 2, 4, 6]
    assert overlay(runs, over="lr").layout.xaxis.type == "log"
    assert [line.name for line in overlay([runs[0], runs[0], runs[1]]).data] == ["first", "second"]
    minutes = overlay(runs[1], over="minutes").data[0].x
    assert 0 < minutes[0] < minutes[-1] < 5
    with pytest.raises(BadInput, match="grad_norm, loss, lr"):
        overlay(runs, "los")
    with pytest.raises(BadInput, match="at least one"):
        overlay([])


def test_the_rehearsal_is_in_the_log(runs):
    phases = [event["phase"] for event in runs[1].events() if event["kind"] == "memory"]
    assert phases == ["load", "forward", "backward", "optimizer", "evaluation", "dequantized"]


# --- the learning rate ----------------------------------------------------------------------------------------------


def test_the_advice_is_a_tenth_of_where_the_loss_turns():
    rates = [1e-5 * 1e4 ** (at / 59) for at in range(60)]
    losses = [2 + (math.log10(rate) + 2.5) ** 2 for rate in rates]
    told = ranges._find_turn("x", rates, losses, 60)
    assert 1 < told["lowest_at"] / 10**-2.5 < 2.5, "the running mean lags a little behind"
    assert told["advice"] == pytest.approx(told["lowest_at"] / 10) and told["turned"]
    assert not ranges._find_turn("x", rates, [9 - at / 10 for at in range(60)], 60)["turned"]
    assert ranges._find_turn("x", rates[:30], [9 - at / 10 for at in range(30)], 60)["turned"], "it broke"
    with pytest.raises(BadInput, match="never fell"):
        ranges._find_turn("x", rates, [1 + at for at in range(60)], 60)
    with pytest.raises(BadInput, match="broke after 0"):
        ranges._find_turn("x", [], [], 60)


def test_a_running_mean_of_what_does_not_change_is_that():
    assert ranges.smooth([3.0] * 5) == pytest.approx([3.0] * 5)


def test_a_range_test_is_a_run(runs, tiny, tmp_path, training_here, monkeypatch):
    recipe = Recipe(model=tiny, data=runs[0].recipe.data, epochs=1, threads=1)
    told = ranges.lr_range(recipe, tmp_path / "range", steps=30, top=0.5)
    assert told["rates"][0] == pytest.approx(5e-5) and told["rates"][-1] == pytest.approx(0.5)
    assert 5e-6 < told["advice"] < 0.05 and len(told["losses"]) == 30
    monkeypatch.setattr(Run, "start", lambda *_: pytest.fail("it was trained again"))
    assert ranges.lr_range(recipe, tmp_path / "range", steps=30, top=0.5) == told
    with pytest.raises(BadInput, match="at least 10"):
        ranges.lr_range(recipe, tmp_path / "other", steps=3)


def test_rslora_reached_the_adapter(runs):
    config = json.loads((runs[1].folder / "adapter" / "adapter_config.json").read_text())
    assert config["use_rslora"] is True and config["r"] == 16


@pytest.mark.parametrize("end", ["embed_tokens", "lm_head"])
def test_embeddings_that_are_also_the_head_are_not_merged(runs, tmp_path, training_here, end):
    from etabli.exports import merge

    keys = {**runs[1].recipe.keys(), "lora": {"target_modules": ["q_proj", end]}, "max_steps": 2}
    run = Run.start(Recipe(**keys), tmp_path / "run").wait(quiet=True)
    with pytest.raises(BadInput, match=r"one matrix(.|\n)*adapter alone"):
        merge.merge(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists() and merge.export_adapter(run, tmp_path / "alone")
    for file in (tmp_path / "alone").glob("*.json"):
        assert str(Path(run.recipe.model).parent) not in file.read_text(), "the base's folder is a private path"
