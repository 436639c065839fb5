"""The recipe, the packs, the gradients, the child and its folder."""

import json
import math
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core.errors import BadData, BadInput, BadRecipe, DeviceBusy, EtabliError, NotFinite, UntrustedCode
from etabli.data.dataset import Dataset
from etabli.runs import checkpoints, events
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from etabli.training import train_data
from etabli.training.packing import PackSampler, TokenizedRow, pack_rows
from in_process import dies_after, in_process
from trainings import by_formula, cosine, gradients, in_float32, loss, names, training

# --- recipe ---------------------------------------------------------------------------------------------------------


def test_all_mistakes_at_once(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("learning_rate: -1\nlora: {rank: 0}\nepoch: 3\ndata: x.jsonl\n")
    with pytest.raises(BadRecipe) as error:
        Recipe.load(path)
    assert len(error.value.problems) == 3 and "3 mistakes" in str(error.value)
    for said in ("learning_rate", "lora.rank", "did you mean epochs?"):
        assert said in str(error.value)


@pytest.mark.parametrize("text", ["", "- a\n- b", "a: [", "\x00", "data: x\nepochs: 1\nmax_steps: 2"])
def test_recipes_that_are_none(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(BadRecipe, match=r"r\.yaml"):
        Recipe.load(path)
    with pytest.raises(BadRecipe, match="no such file"):
        Recipe.load(tmp_path / "none.yaml")


def test_a_saved_recipe_is_the_same(tmp_path):
    recipe = Recipe(data="x", lora={"rank": 4, "target_modules": ["q_proj"]}, sample_prompts=["é"], max_steps=3)
    recipe.save(tmp_path / "r.yaml", {"threads": 2})
    assert Recipe.load(tmp_path / "r.yaml") == recipe


# --- packs ----------------------------------------------------------------------------------------------------------

rows = st.lists(st.integers(2, 40), min_size=1, max_size=60).map(
    lambda sizes: [TokenizedRow(str(i), [7] * size, [7] * size) for i, size in enumerate(sizes)]
)


@given(rows, st.integers(0, 3))
def test_a_plan_holds_every_row_once_and_fits(some, epoch):
    recipe = Recipe(data="x", max_length=40, tokens_per_batch=64)
    packs = pack_rows(some, recipe, epoch)
    assert sorted(row.id for pack in packs for row in pack) == sorted(row.id for row in some)
    assert all(sum(len(row.ids) for row in pack) <= 64 for pack in packs)
    assert packs == pack_rows(some, recipe, epoch)


@given(rows, st.integers(1, 3), st.integers(1, 3))
def test_a_schedule_in_epochs_sees_every_row_as_often(some, epochs, accumulate):
    recipe = Recipe(data="x", max_length=40, tokens_per_batch=64, epochs=epochs, gradient_accumulation_steps=accumulate)
    schedule = PackSampler(some, recipe)
    seen = [row.id for step in range(1, schedule.steps + 1) for pack in schedule.packs(step) for row in pack]
    assert sorted(seen) == sorted(row.id for row in some for _ in range(epochs))
    assert schedule.packs(schedule.steps), "no empty last step"


@pytest.mark.parametrize("empty_rows", ["refuse", "leave_out"])
def test_rows_with_nothing_to_train_are_named(tokenizer, dataset, empty_rows):
    recipe = Recipe(data=str(dataset), max_length=8, empty_rows=empty_rows)
    with pytest.raises(BadData, match=r"not-empty: 1\d\d of 1\d\d rows\. row en-(.|\n)*Raise max_length"):
        train_data.load_train_data(recipe, tokenizer)


def test_held_out_templates_are_not_trained_on(commands):
    train, held = train_data.hold_out(commands.part("train"), 0)
    assert held and len(train) + len(held) == len(commands.part("train"))
    assert not {row["template"] for row in train} & {row["template"] for row in held}


# --- gradients ------------------------------------------------------------------------------------------------------


@pytest.fixture
def started(tiny, dataset, tmp_path, no_owner):
    return with_moved_adapters(training(tiny, dataset, tmp_path))


@pytest.fixture
def started_in_bfloat16(tiny, dataset, tmp_path, no_owner, fresh_accelerate):
    """Whatever this machine computes in fastest."""
    return with_moved_adapters(training(tiny, dataset, tmp_path, dtype="bfloat16"))


def with_moved_adapters(made):
    """A tiny training whose adapters are not zero, so that every matrix has a gradient."""
    import torch

    torch.manual_seed(1)
    for parameter in made.trainable:
        torch.nn.init.normal_(parameter, std=0.05)
    return made


def test_packed_rows_do_not_see_each_other(started):
    """A row's loss and gradient are the same packed and alone, in float32."""
    in_float32(started)
    pack = started.sampler.packs(1)[0]
    packed = gradients(started, [pack])
    alone = gradients(started, [[row] for row in pack])
    assert cosine(packed, alone) > 0.99999
    assert loss(started, pack) == pytest.approx(sum(loss(started, [row]) for row in pack), rel=1e-4)


def test_sampling_and_evaluating_leave_the_gradients_alone(started):
    """bitsandbytes repacks its weights in eval mode; on an AVX512-BF16 processor gradients then go silently wrong."""
    packs = started.sampler.packs(1)
    before = gradients(started, packs)
    started.evaluator.sample(0)
    started.evaluator.evaluate(0)
    after = gradients(started, packs)
    assert cosine(before, after) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("sampled", [False, True])
def test_every_gradient_is_that_of_the_formula(started, checkpointing, packed, sampled):
    """Of W + s B A with W dequantised: a plain Llama in float32, row by row, without PEFT, bitsandbytes or packing."""
    import torch

    from etabli.training import lora_and_optimizer

    in_float32(started)
    if sampled:  # bitsandbytes repacks its weights in eval mode
        started.evaluator.sample(0)
        started.evaluator.evaluate(0)
    if checkpointing:
        lora_and_optimizer.checkpoint_layers(started.peft)
    packs = started.sampler.packs(1)
    found = gradients(started, packs if packed else [[row] for pack in packs for row in pack])
    for name, one, other in zip(names(started), found, by_formula(started, packs)):
        assert torch.linalg.norm(one - other) < 1e-3 * torch.linalg.norm(other), name


def test_rounding_to_bfloat16_costs_no_more_than_in_peft_s_own_layers(started_in_bfloat16):
    """Distance from the float32 gradients, of the engine and of PEFT, transformers' attention and whole logits."""
    import torch

    from etabli.training import packed_attention

    started = started_in_bfloat16
    packs = started.sampler.packs(1)
    mine = gradients(started, packs)
    for module in started.model.modules():
        module.__dict__.pop("forward", None)
    started.packed_loss.rowwise, started.packed_loss.head = False, None
    started.packed_loss.base.set_attn_implementation("sdpa")
    theirs = gradients(started, packs)
    packed_attention.use_row_attention(started.packed_loss.base)
    in_float32(started)
    wanted = by_formula(started, packs)
    far, near = (sum(torch.linalg.norm(a - b) ** 2 for a, b in zip(one, wanted)) ** 0.5 for one in (theirs, mine))
    assert near < 1.2 * far


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_changes_nothing(started, parts, monkeypatch):
    """Not the loss, not the norm, not the gradient, in float32: however the rows of a step are shared out."""
    import torch

    from etabli.training import oom, trainer

    monkeypatch.setattr(trainer, "CLIP", 1e9)
    in_float32(started)
    pack, told = started.sampler.packs(1)[0], []
    pieces = oom.split_pack(pack, parts)
    assert len(pieces) == parts and len({len(piece) for piece in pieces}) > 1
    monkeypatch.setattr(
        started, "_step_optimizer", lambda norm: False
    )  # as a step that was skipped: weights and rate stay
    for packs in ([pack], pieces):
        started.sampler.packs = lambda step, packs=packs: packs
        started.train_step()
        told.append({name: started.log[-1][name] for name in ("loss", "grad_norm", "trained_tokens")})
    assert told[1] == pytest.approx(told[0], rel=1e-5)
    for one, other in zip(gradients(started, [pack]), gradients(started, pieces)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_updates_nothing(started, bad):
    import torch

    before = [parameter.detach().clone() for parameter in started.trainable]
    forward = started.packed_loss.forward
    started.packed_loss.forward = lambda *args, **keys: forward(*args, **keys) * bad
    with pytest.raises(NotFinite, match=r"Rows of this batch: (en|fr)-"):
        started.train_step()
    assert all(torch.equal(a, b) for a, b in zip(before, started.trainable))


# --- the child ------------------------------------------------------------------------------------------------------


def recipe(tiny, dataset, **keys):
    given = {"max_steps": 6, "eval_every": 3, "sample_every": 3, "checkpoint_every": 2, "threads": 1, **keys}
    return Recipe(model=tiny, data=str(dataset), **given)


def adapter(run):
    from safetensors.torch import load_file

    return load_file(run.folder / "adapter" / "adapter_model.safetensors")


def test_a_run_from_start_to_end(tiny, dataset, tmp_path, cache):
    run = Run.start(recipe(tiny, dataset), tmp_path / "runs" / "a").wait(quiet=True)
    assert run.state == "completed"
    seen = run.events()
    assert [event["step"] for event in events.of_kind(seen, "step")] == [1, 2, 3, 4, 5, 6]
    assert [event["step"] for event in events.of_kind(seen, "eval")] == [0, 3, 6]
    assert set(events.last_of_kind(seen, "eval")["by"]) == {"en", "fr"}
    assert events.last_of_kind(seen, "start")["steps"] == 6 and events.of_kind(seen, "sample")
    assert [path.name for path in checkpoints.list_checkpoints(run.folder)] == ["step-000006", "step-000004"]
    assert (run.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert run.frozen["data_hash"] and run.frozen["model_hash"] and run.frozen["threads"] == 1
    command = json.loads((run.folder / "process.json").read_text())
    assert command["pid"] and not list(run.folder.rglob("*.bin")) and not list(run.folder.rglob("*.pt"))
    with pytest.raises(BadInput, match="already holds a run"):
        Run.start(recipe(tiny, dataset), run.folder)
    with pytest.raises(BadInput, match="complete"):
        run.resume()
    assert Run.ensure(recipe(tiny, dataset), run.folder).state == "completed"
    with pytest.raises(BadInput, match="learning_rate"):
        Run.ensure(recipe(tiny, dataset, learning_rate=0.5), run.folder)
    copy = tmp_path / "data"
    Dataset(Dataset.open(dataset).rows[:-1]).save(copy)
    edit = run.recipe.model_copy(update={"data": str(copy)})
    edit.save(run.folder / "recipe.yaml", run.frozen)
    with pytest.raises(BadInput, match=r"other rows: .*data has changed since"):
        Run.ensure(edit, run.folder)


def test_killed_and_resumed_is_bit_identical(tiny, dataset, tmp_path, cache):
    """SIGKILL in mid-run, one checkpoint damaged: it goes on from the older good one, to the very same weights."""
    import torch

    keys = {"lora": {"dropout": 0.1}, "checkpoint_every": 2, "max_steps": 9}
    with in_process():
        whole = Run.start(recipe(tiny, dataset, **keys), tmp_path / "whole")
    run = Run.start(recipe(tiny, dataset, callbacks=dies_after(5, tmp_path), **keys), tmp_path / "killed")
    until(lambda: run.state == "lost")
    newest = checkpoints.list_checkpoints(run.folder)[0]
    assert newest.name == "step-000004"
    victim = newest / "optimizer.safetensors"
    data = bytearray(victim.read_bytes())
    data[-5] ^= 1
    victim.write_bytes(bytes(data))
    run.resume().wait(quiet=True)
    assert run.state == "completed"
    assert events.last_of_kind(run.events(), "resume")["step"] == 2
    assert "damaged-step-000004" in [path.name for path in (run.folder / "checkpoints").iterdir()]
    one, other = adapter(whole), adapter(run)
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    losses = [
        [(e["step"], e["loss"], e["grad_norm"]) for e in events.of_kind(r.events(), "step")] for r in (whole, run)
    ]
    assert losses[0] == losses[1]


def until(true, seconds=90):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_stop_saves_and_one_owner_at_a_time(tiny, dataset, tmp_path, cache):
    from etabli.models import loading

    run = Run.start(recipe(tiny, dataset, max_steps=100_000, checkpoint_every=100_000), tmp_path / "a")
    until(lambda: run.state == "running")
    with pytest.raises(DeviceBusy, match=r"run 'a' \(process \d+, .* GiB"):
        loading.load(tiny)
    with pytest.raises(DeviceBusy):
        Run.start(recipe(tiny, dataset), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    with pytest.raises(BadInput, match="running"):
        Run.attach(run.folder).resume()
    run.stop()
    assert run.state == "stopped" and checkpoints.find_newest_valid(run.folder)
    assert loading.load(tiny, adapter=run.adapter).adapter
    run.resume()
    assert run.state in ("starting", "running")
    until(lambda: run.state == "running" and events.of_kind(run.events(), "resume"))
    assert run.stop().state == "stopped"


def test_max_minutes_ends_in_order(tiny, dataset, tmp_path, training_here):
    run = Run.start(recipe(tiny, dataset, max_steps=100_000, max_minutes=0.001), tmp_path / "a").wait(quiet=True)
    assert run.state == "stopped" and "max_minutes" in run.why
    assert checkpoints.find_newest_valid(run.folder)


def test_a_failed_run_says_why(tiny, tmp_path, training_here):
    (tmp_path / "empty.jsonl").touch()
    run = Run.start(recipe(tiny, tmp_path / "empty.jsonl"), tmp_path / "a")
    with pytest.raises(EtabliError, match=r"empty\.jsonl is empty: there are 0 rows"):
        run.wait(quiet=True)
    assert run.state == "failed"
    with pytest.raises(BadInput, match="saved no adapter"):
        run.adapter  # noqa: B018


@pytest.mark.parametrize("key", ["data", "eval_data", "callbacks", "model"])
def test_what_is_not_there_is_told_before_anything_is_written(tiny, dataset, tmp_path, cache, key):
    with pytest.raises(BadInput, match="nowhere"):
        Run.start(Recipe(**{"model": tiny, "data": str(dataset), key: "./nowhere"}), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_resume_refuses_changed_data(tiny, dataset, commands, tmp_path, training_here):
    data = tmp_path / "mine"
    commands.save(data)
    run = Run.start(recipe(tiny, data, max_steps=100_000, max_minutes=0.001), tmp_path / "a").wait(quiet=True)
    Dataset(commands.rows[1:]).save(data)
    with pytest.raises(EtabliError, match="data_hash was"):
        run.resume().wait(quiet=True)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tiny, dataset, tmp_path, cache):
    """devices: 2 over gloo gives the losses of one process that accumulates two packs."""
    keys = {"max_steps": 4, "gradient_accumulation_steps": 2}
    with in_process():
        one = Run.start(recipe(tiny, dataset, **keys), tmp_path / "one")
    two = Run.start(recipe(tiny, dataset, devices=2, **keys), tmp_path / "two").wait(quiet=True)
    losses = [[event["loss"] for event in events.of_kind(run.events(), "step")] for run in (one, two)]
    assert [events.last_of_kind(run.events(), "start")["processes"] for run in (one, two)] == [1, 2]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    norms = [[event["grad_norm"] for event in events.of_kind(run.events(), "step")] for run in (one, two)]
    assert norms[0] == pytest.approx(norms[1], rel=2e-2)
    with pytest.raises(BadInput, match="multiple of 2"):
        Run.start(recipe(tiny, dataset, devices=2, gradient_accumulation_steps=3), tmp_path / "three")


@pytest.mark.slow
def test_a_callback_that_raises_ends_two_processes_at_once(tiny, dataset, tmp_path, cache):
    """It is called in the first alone; both save, and neither waits for the other until a timeout."""
    file = tmp_path / "mine.py"
    file.write_text("def on_step(event):\n    if event['step'] == 3: raise ValueError('enough')\n")
    keys = {"devices": 2, "gradient_accumulation_steps": 2, "callbacks": str(file), "checkpoint_every": 50}
    began, run = time.monotonic(), Run.start(recipe(tiny, dataset, **keys), tmp_path / "run")
    with pytest.raises(EtabliError, match="raised ValueError: enough"):
        run.wait(quiet=True)
    assert [folder.name for folder in checkpoints.list_checkpoints(run.folder)] == ["step-000003"]
    assert time.monotonic() - began < 120


def test_a_failed_start_makes_room_for_the_mended_one(tiny, dataset, tmp_path, training_here):
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(EtabliError):
        Run.start(recipe(tiny, tmp_path / "empty.jsonl"), tmp_path / "runs" / "a").wait(quiet=True)
    run = Run.start(recipe(tiny, dataset, max_steps=1), tmp_path / "runs" / "a").wait(quiet=True)
    assert run.state == "completed"
    assert [path.name.split("-")[0] for path in sorted((tmp_path / "runs").iterdir())] == ["a", "a.failed"]


def rate_by_hand(schedule, step, warmup, steps):
    """Of the step after ``step`` steps, as a share of ``learning_rate``."""
    if step < warmup:
        return step / warmup
    progress = (step - warmup) / (steps - warmup)
    return {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[schedule]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 2])
def test_no_learning_rate_of_the_schedule_is_left_out(tiny, dataset, tmp_path, no_owner, schedule, warmup):
    """The rate that the optimiser has at each step, the first one too, and the one that the log names."""
    keys = {"lr_scheduler": schedule, "warmup_steps": warmup, "learning_rate": 0.01, "tokens_per_batch": 512}
    made, used = training(tiny, dataset, tmp_path, **keys), []
    made.optimizer.optimizer.register_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    for _ in range(made.sampler.steps):
        made.train_step()
    assert used == pytest.approx([0.01 * rate_by_hand(schedule, step, warmup, 4) for step in range(4)])
    assert [event["lr"] for event in made.log if event["kind"] == "step"] == used


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit", "paged_adamw8bit"])
def test_every_optimisers_state_comes_back(tiny, dataset, tmp_path, no_owner, kind):
    import torch

    made = training(tiny, dataset, tmp_path, optimizer=kind, tokens_per_batch=512)
    made.train_step()
    made.save()
    made.train_step()
    wanted = [parameter.detach().clone() for parameter in made.trainable]
    again = training(tiny, dataset, tmp_path, optimizer=kind, tokens_per_batch=512)
    again.restore(checkpoints.find_newest_valid(tmp_path))
    again.train_step()
    assert all(torch.equal(one, other) for one, other in zip(wanted, again.trainable))


# --- events ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["step", "resume"]), st.integers(1, 6)), max_size=20))
def test_superseded_records_are_gone(story):
    log = [{"kind": kind, "step": step, "n": n} for n, (kind, step) in enumerate(story)]
    kept = events.drop_superseded(log)
    for event in kept:
        later = [e for e in log[event["n"] + 1 :] if e["kind"] == "resume" and e["step"] < event["step"]]
        assert not later
    assert [e for e in log if e["kind"] == "resume"][-1:] == [e for e in kept if e["kind"] == "resume"][-1:]


def test_a_torn_line_is_not_glued_to_the_next(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"kind": "step", "step": 1}\n{"kind": "st')
    log = events.EventLog(tmp_path)
    log.write("heartbeat")
    log.close()
    from etabli.core import json_lines

    assert [e["kind"] for e in json_lines.read_lines(Path(tmp_path / "events.jsonl"))[0]] == ["step", "heartbeat"]


def test_plain_text_trains_too(tiny, tmp_path, training_here):
    (tmp_path / "x.txt").write_text("\n\n".join(f"The {n}th harbour lies north of the old town." for n in range(80)))
    text = recipe(tiny, tmp_path / "x.txt", max_steps=3)
    run = Run.start(text, tmp_path / "a").wait(quiet=True)
    start = events.last_of_kind(run.events(), "start")
    assert run.state == "completed" and start["probes"] == [] and start["rows"] + start["held_out"] == 80


def test_own_rules_work_inside_a_run_and_are_frozen(tiny, dataset, tmp_path, training_here):
    rules = tmp_path / "mine.py"
    text = 'import etabli\n\n@etabli.own_filter\ndef only_{0}(row):\n    return row["lang"] == "{0}"\n'
    rules.write_text(text.format("fr"))
    mine = recipe(tiny, dataset, rules=str(rules), max_steps=100_000, max_minutes=0.001)
    run = Run.start(mine, tmp_path / "a").wait(quiet=True)
    rows = {lang: len(Dataset.open(dataset).part("train", lang)) for lang in ("en", "fr")}
    start = events.last_of_kind(run.events(), "start")
    said = [event["what"] for event in events.of_kind(run.events(), "warning")]
    assert 0 < start["rows"] <= rows["fr"] and run.frozen["rules_hash"]
    assert said[0].startswith("Your rule only-fr found ") and 0 < int(said[0].split()[4]) <= rows["en"]
    rules.write_text(text.format("en"))
    with pytest.raises(UntrustedCode, match=r"mine\.py"):
        run.resume()
    with pytest.raises(EtabliError, match="rules_hash was"):
        run.resume(trust_code=True).wait(quiet=True)


# --- going on -------------------------------------------------------------------------------------------------------


def stopped(recipe_, folder):
    """A run that stops after its first steps, with a checkpoint."""
    return Run.start(recipe_, folder).wait(quiet=True)


def test_a_changed_recipe_is_refused_by_name_and_can_be_forced(tiny, dataset, tmp_path, training_here):
    run = stopped(recipe(tiny, dataset, max_steps=6, max_minutes=0.001), tmp_path / "a")
    path = run.folder / "recipe.yaml"
    text = path.read_text()
    head, frozen = text.split("frozen:")
    path.write_text(head.replace("learning_rate: 0.0002", "learning_rate: 0.01") + "frozen:" + frozen)
    with pytest.raises(EtabliError, match=r"recipe\.learning_rate was 0.0002, is 0.01.*resume --force"):
        run.resume().wait(quiet=True)
    path.write_text(path.read_text().replace("max_minutes: 0.001", "max_minutes: null"))
    run.resume(force=True).wait(quiet=True)
    assert run.state == "completed"
    said = [event["what"] for event in events.of_kind(run.events(), "warning")]
    assert any("Forced to go on" in what and "learning_rate" in what for what in said)


def test_what_the_weights_do_not_depend_on_may_change(tiny, dataset, tmp_path, training_here):
    run = stopped(recipe(tiny, dataset, max_steps=4, max_minutes=0.001), tmp_path / "a")
    path = run.folder / "recipe.yaml"
    text = path.read_text().replace("eval_every: 3", "eval_every: 2")
    path.write_text(text.replace("max_minutes: 0.001", "max_minutes: null"))
    assert run.resume().wait(quiet=True).state == "completed"


def test_a_run_is_gone_and_its_backup_goes_on(tiny, commands, tmp_path, cache):
    """Process, run folder and data are deleted; from the backup alone the weights become those of an unbroken run."""
    import torch

    data = tmp_path / "mine"
    commands.save(data)
    keys = {"max_steps": 8, "checkpoint_every": 2, "lora": {"dropout": 0.1}}
    with in_process():
        whole = Run.start(recipe(tiny, data, **keys), tmp_path / "whole")
    there = tmp_path / "drive" / "x"
    callbacks = dies_after(5, tmp_path, once_there_is=there / "checkpoints" / "step-000002" / "MANIFEST.json")
    made = recipe(tiny, data, backup=str(tmp_path / "drive"), callbacks=callbacks, **keys)
    run = Run.start(made, tmp_path / "runs" / "x")
    until(lambda: run.state == "lost")
    for gone in (run.folder, data):
        shutil.rmtree(gone)
    Path(callbacks).unlink()
    again = Run.attach(there)
    assert again.state == "lost"
    with in_process():
        assert again.resume().state == "completed"
    assert events.last_of_kind(again.events(), "resume")["step"] >= 2
    one, other = adapter(whole), adapter(again)
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_backup_has_the_end_and_every_file(tiny, dataset, tmp_path, training_here):
    """Two files of one name don't meet in it."""
    for name, text in (("a", "first"), ("b", "second")):
        (tmp_path / name).mkdir()
        lines = [json.dumps({"prompt": f"{text} {at}", "completion": "ok"}) for at in range(12)]
        (tmp_path / name / "rows.jsonl").write_text("\n".join(lines))
    files = {"eval_data": str(tmp_path / "b" / "rows.jsonl"), "backup": str(tmp_path / "drive")}
    Run.start(recipe(tiny, tmp_path / "a" / "rows.jsonl", max_steps=2, **files), tmp_path / "x").wait(quiet=True)
    there = Run.attach(tmp_path / "drive" / "x")
    assert there.state == "completed" and there.adapter.name == "adapter"
    kept = sorted(path.read_text()[12:18] for path in (there.folder / "data").rglob("rows.jsonl"))
    assert kept == ["first ", "second"]


def test_a_broken_backup_is_a_warning(tiny, dataset, tmp_path, training_here):
    (tmp_path / "file").write_text("not a folder")
    made = recipe(tiny, dataset, max_steps=4, checkpoint_every=1, backup=str(tmp_path / "file"))
    run = Run.start(made, tmp_path / "a").wait(quiet=True)
    said = [event["what"] for event in events.of_kind(run.events(), "warning")]
    assert run.state == "completed" and sum("backup" in what for what in said) == 1, said


def test_a_slow_backup_never_waits(tiny, tmp_path, monkeypatch):
    """Offers come back at once; what was passed over is never begun; closing gives up in time."""
    import threading

    from etabli.runs import backup

    (tmp_path / "run").mkdir()
    begun, free, said = [], threading.Event(), []
    monkeypatch.setattr(backup.storage, "copy_folder", lambda source, place: (begun.append(source.name), free.wait(20)))
    slow = backup.make_backup(
        tmp_path / "run", Recipe(data="home-commands", backup=str(tmp_path / "drive")), said.append
    )
    began = time.monotonic()
    slow.offer(tmp_path / "run" / "step-1")
    until(lambda: begun)
    for number in (2, 3, 4):
        slow.offer(tmp_path / "run" / f"step-{number}")
    slow.close(patience=0.2)
    assert time.monotonic() - began < 5 and "still behind" in said[-1]
    free.set()
    until(lambda: len(begun) == 2)
    assert begun == ["step-1", "step-4"]
