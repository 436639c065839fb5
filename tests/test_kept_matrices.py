"""Dequantised matrices that are kept: the same numbers, no more memory than was given, given back when it runs out."""

import math

import pytest
import torch

import trainings
from etabli.core import machine
from etabli.models import kept_matrices
from etabli.training.preflight import run_preflight


@pytest.fixture
def training(tiny, dataset, tmp_path, no_owner):
    return trainings.training(tiny, dataset, tmp_path)


def matrices(training):
    return training.packed_loss.kept_matrices


def weights(training):
    return torch.cat([parameter.detach().flatten() for parameter in training.trainable]).clone()


def test_steps_are_the_same_to_the_last_bit(tiny, dataset, tmp_path, no_owner):
    without, kept = (trainings.training(tiny, dataset, tmp_path / name) for name in "ab")
    assert matrices(kept).keep(math.inf) == matrices(kept).bytes() > 0
    for one in (without, kept):
        one.train_step()
        one.train_step()
    assert torch.equal(weights(without), weights(kept)) and matrices(without).bytes() == 0


def test_no_more_is_kept_than_there_is_room_for(training):
    everything = matrices(training).keep(math.inf)
    assert matrices(training).give_back() == everything and matrices(training).bytes() == 0
    sizes = sorted({kept for room in range(0, everything, 1000) if (kept := matrices(training).keep(room)) <= room})
    assert sizes[0] == 0 and len(sizes) > 3
    assert all(matrices(training).give_back() or matrices(training).keep(room) <= room for room in (0, everything - 1))


@pytest.mark.parametrize(
    ("setting", "free", "share"), [("auto", 1e12, 1), ("auto", 1, 0), ("none", 1e12, 0), ("all", 1, 1)]
)
def test_a_rehearsal_spends_what_stays_free(tiny, dataset, tmp_path, no_owner, monkeypatch, setting, free, share):
    training = trainings.training(tiny, dataset, tmp_path, keep_dequantized=setting)
    everything = matrices(training).keep(math.inf)
    matrices(training).give_back()
    monkeypatch.setattr(machine, "free_bytes", lambda: free)
    run_preflight(training)
    assert matrices(training).bytes() == share * everything
    events = [event for event in training.log if event.get("phase") == "dequantized"]
    assert [event["allocated"] for event in events] == [everything] * share


@pytest.mark.parametrize("place", ["step", "loss", "answers"])
def test_what_is_kept_is_given_back_before_anything_gets_smaller(training, monkeypatch, place):
    from etabli.models import generate

    module, name = {
        "step": (training.accelerator, "backward"),
        "loss": (training.packed_loss, "forward"),
        "answers": (generate, "answer"),
    }[place]
    original, kept_bytes = getattr(module, name), matrices(training).keep(math.inf)

    def only_without(*args, **keys):
        if matrices(training).bytes():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(*args, **keys)

    monkeypatch.setattr(module, name, only_without)
    {"step": training.train_step, "loss": lambda: training.evaluator.evaluate(0)}.get(
        place, lambda: training.evaluator.sample(0)
    )()
    (event,) = [event for event in training.log if event["kind"] == "retry"]
    assert f"{kept_bytes / 2**30:.2f} GiB" in event["what"] and "given back" in event["what"]
    assert matrices(training).bytes() == 0 and training.micro_batches == 1
    assert not [event for event in training.log if event["kind"] == "warning"]


def test_memory_that_runs_out_while_matrices_are_kept_ends_nothing(training, monkeypatch):
    calls = []

    def dequantise(weight, dtype):
        calls.append(weight)
        if len(calls) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return torch.zeros(weight.quant_state.shape, dtype=dtype)

    monkeypatch.setattr(kept_matrices, "dequantise", dequantise)
    monkeypatch.setattr(machine, "free_bytes", lambda: 1e12)
    run_preflight(training)
    assert len(calls) == 3 and matrices(training).bytes() == 0


def test_answers_come_from_kept_matrices_while_memory_is_free(tiny, no_owner, monkeypatch):
    from etabli.models import loading

    ids = torch.tensor([[7, 3, 9, 11]])
    free = {"much": 1e12, "none": 0.0}
    logits = {}
    for name, size in free.items():
        monkeypatch.setattr(machine, "free_bytes", lambda size=size: size)
        model = loading.load(tiny, dtype="float32").model
        assert (kept_matrices.KeptMatrices(model, torch.float32).bytes() > 0) == (name == "much")
        with torch.inference_mode():
            logits[name] = model(input_ids=ids).logits
    torch.testing.assert_close(logits["much"], logits["none"], rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(machine, "free_bytes", lambda: 1e12)
    assert not kept_matrices.KeptMatrices(loading.load(tiny, keep_dequantized=False).model, torch.float32).bytes()


def test_a_layer_goes_back_to_four_bits(training):
    ids = torch.tensor([[7, 3, 9, 11]])
    training.peft.eval()
    with torch.inference_mode():
        before = training.peft(input_ids=ids).logits
        matrices(training).keep(math.inf)
        training.peft(input_ids=ids)
        matrices(training).give_back()
        assert torch.equal(training.peft(input_ids=ids).logits, before)


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_s_limit_counts(tmp_path, monkeypatch, version):
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    limit, used, cached = names[version]
    folder = tmp_path / "memory" if version == 1 else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / limit).write_text("1000\n")
    (folder / used).write_text("700\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cached} 100\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    assert machine.free_bytes() == 400
    (folder / limit).write_text("max\n" if version == 2 else "9223372036854771712\n")
    assert machine.free_bytes() > 2**20
