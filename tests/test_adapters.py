"""Adapters from elsewhere: PEFT's own folders judged and exported, and what is wrong with one named."""

import json
import shutil
from pathlib import Path

import pytest

from etabli import open_adapter
from etabli.core.errors import BadInput, EtabliError, WrongAdapter
from etabli.data.dataset import Dataset
from etabli.data.samples import home_commands
from etabli.models import adapters, embedded, loading, sources
from etabli.runs.adapter_run import AdapterRun

KEY = "base_model.model.model.layers.1.self_attn.q_proj.lora_{side}.weight"


def make_adapter(model, folder, name=None, **keys):
    """A folder as PEFT itself writes it, with random weights, on a base called ``name``."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = LoraConfig(task_type="CAUSAL_LM", **({"r": 4, "target_modules": ["q_proj", "down_proj"]} | keys))
    peft = get_peft_model(base, config)
    for parameter in peft.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    peft.save_pretrained(folder)
    edit_config(folder, base_model_name_or_path=name or str(model))
    return folder


def edit_config(folder, **keys):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def edit_weights(folder, change):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "adapter_model.safetensors")
    change(weights)
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})


@pytest.fixture(scope="module")
def original(tiny, tmp_path_factory):
    return make_adapter(tiny, tmp_path_factory.mktemp("peft") / "adapter")


@pytest.fixture
def foreign(original, tmp_path, no_owner):
    return shutil.copytree(original, tmp_path / "foreign")


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions") / "data"
    Dataset(home_commands(n=12, test=4, seed=0)).save(folder)
    return folder


# --- which base -----------------------------------------------------------------------------------------------------


def test_a_path_in_the_folder_is_not_followed_and_base_names_it(foreign, tiny):
    with pytest.raises(WrongAdapter, match=r"a path, which is followed only where.*--base MODEL"):
        open_adapter(foreign)
    assert open_adapter(foreign, tiny).load().adapter == foreign


def test_a_base_is_found_by_its_hash(foreign, tiny):
    (foreign / "base.json").write_text(json.dumps({"name": tiny, "hash": sources.resolve(tiny).hash}))
    assert open_adapter(foreign).recipe.model == tiny
    (foreign / "base.json").write_text(json.dumps({"name": tiny, "hash": "0" * 64}))
    with pytest.raises(WrongAdapter, match="is not found"):
        open_adapter(foreign)
    with pytest.raises(WrongAdapter, match="was trained on"):
        open_adapter(foreign, tiny).load()
    known = sources.resolve(embedded.NAME)
    (foreign / "base.json").write_text(json.dumps({"name": "renamed", "hash": known.hash}))
    assert open_adapter(foreign).recipe.model == embedded.NAME


def test_a_base_is_found_by_its_hub_name(foreign, tiny, tmp_path, monkeypatch):
    place = tmp_path / "hub" / "models--lab--tiny"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(tiny, place / "snapshots" / ("0" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    edit_config(foreign, base_model_name_or_path="lab/tiny")
    assert open_adapter(foreign).load().name == "lab/tiny"
    edit_config(foreign, base_model_name_or_path="lab/other")
    with pytest.raises(WrongAdapter, match="it names 'lab/other'"):
        open_adapter(foreign)


def test_a_run_needs_no_base_and_an_empty_folder_is_neither(runs, tmp_path):
    assert not isinstance(open_adapter(runs / "changed"), AdapterRun)
    with pytest.raises(BadInput, match="leave --base out"):
        open_adapter(runs / "changed", "default")
    with pytest.raises(BadInput, match="neither recipe"):
        open_adapter(tmp_path)


# --- the same model as in PEFT ----------------------------------------------------------------------------------------


def test_it_is_the_model_that_peft_loads(foreign, tiny):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.arange(20)[None] + 100
    ours = open_adapter(foreign, tiny).load(four_bit=False, dtype="float32")
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32), foreign).eval()
    with torch.no_grad():
        assert torch.equal(ours.model(ids).logits, theirs(ids).logits)
        with ours.as_base():
            assert not torch.allclose(ours.model(ids).logits, theirs(ids).logits, atol=1e-3)


def test_all_that_judges_takes_it(foreign, tiny, questions, tmp_path):
    import etabli
    from etabli.review import token_diff
    from etabli.review.answers import ask_systems
    from etabli.review.chat import ChatSession

    place = open_adapter(foreign, tiny)
    results = etabli.evaluate(place, questions, limit=2, max_new_tokens=4)
    assert results["arms"] == ["base", "tuned"] and "prompted and lookup are left out" in " ".join(results["warnings"])
    diffs = token_diff.measure(place, limit=1)
    assert diffs["adapter"] == loading.adapter_hash(foreign)
    assert list(ask_systems(place, ["Hello"], ["base", "tuned"], max_new_tokens=4).arms) == ["base", "tuned"]
    assert isinstance(list(ChatSession(place, max_new_tokens=3).answerer("tuned")("Hello")), list)
    with pytest.raises(BadInput, match="name a data set with --data"):
        etabli.evaluate(place)


def test_it_is_compared_with_a_run(foreign, tiny, runs):
    import etabli

    results = etabli.compare(runs / "other", open_adapter(foreign, tiny), limit=2, max_new_tokens=4)
    assert results["subject"] == "foreign" and "learning_rate" in results["recipes"]
    assert results["recipes"]["learning_rate"][1] is None, "what nobody knows of its training is not made up"
    assert results["recipes"]["lora.rank"] == [16, 4]


def test_it_is_exported_without_what_lies_beside(foreign, tiny, tmp_path):
    import torch
    from safetensors.torch import load_file

    from etabli.exports import merge

    (foreign / "training_args.bin").write_bytes(b"\x80\x04.")
    (foreign / "results.json").write_text("{}")
    (foreign / "README.md").write_text("mine")
    place = open_adapter(foreign, tiny)
    assert set(merge.export_adapter(place, tmp_path / "out")) == {
        *("adapter_config.json", "adapter_model.safetensors", "README.md", "MANIFEST.json", "base.json")
    }
    for path in (tmp_path / "out").glob("*.json"):
        assert str(tiny) not in path.read_text(), "a path of this machine is private"
    facts = json.loads((tmp_path / "out" / "base.json").read_text())
    assert facts == {"name": Path(tiny).name, "hash": sources.resolve(tiny).hash}
    assert open_adapter(tmp_path / "out", tiny).load().adapter
    merge.merge(place, tmp_path / "merged")
    delta, base = load_file(foreign / "adapter_model.safetensors"), load_file(f"{tiny}/model.safetensors")
    key = "model.layers.1.self_attn.q_proj.weight"
    wanted = base[key].float() + 2.0 * delta[KEY.format(side="B")] @ delta[KEY.format(side="A")]
    assert torch.allclose(load_file(tmp_path / "merged" / "model.safetensors")[key].float(), wanted, atol=0.02)


def test_the_command_line_takes_the_base(foreign, tiny, capsys):
    from etabli.app.cli import run_command

    assert run_command(["chat", str(foreign), "Hello", "--max-new-tokens", "2"], False) == 2
    assert "--base MODEL" in capsys.readouterr().err
    assert run_command(["chat", str(foreign), "Hello", "--max-new-tokens", "2", "--base", tiny, "--json"], False) == 0
    assert set(json.loads(capsys.readouterr().out)["answers"]) == {"base", "tuned"}
    assert run_command(["chat", str(foreign), "--base", tiny, "--json"], False) == 0


# --- what is wrong with one -------------------------------------------------------------------------------------------


def drop(weights):
    del weights[KEY.format(side="B")]


def move(weights):
    for side in "AB":
        key = KEY.format(side=side)
        weights[key.replace("layers.1", "layers.7")] = weights[key].clone()


def widen(weights):
    import torch

    weights[KEY.format(side="A")] = torch.zeros(4, 99)


def replace_embeddings(weights):
    import torch

    weights["base_model.model.model.embed_tokens.weight"] = torch.zeros(49152, 64)


@pytest.mark.parametrize(
    "change, words",
    [
        (drop, r"lacks 1 matrices.*layers\.1.*lora_B"),
        (move, r"2 of its matrices have no place in this base.*layers\.7"),
        (widen, r"does not fit this base: size mismatch.*layers\.1.*99.*--base"),
        (replace_embeddings, r"1 tensors of the base itself.*embed_tokens.*merge_and_unload"),
    ],
)
def test_weights_that_do_not_fit_are_named(foreign, tiny, change, words):
    edit_weights(foreign, change)
    with pytest.raises(WrongAdapter, match=words):
        open_adapter(foreign, tiny).load()


@pytest.mark.parametrize("change", [drop, move, widen])
def test_a_base_that_the_folder_does_not_name_is_not_called_none(foreign, tiny, change):
    edit_weights(foreign, change)
    edit_config(foreign, base_model_name_or_path=None)
    with pytest.raises(WrongAdapter, match=r"does not say on which base it was trained") as error:
        open_adapter(foreign, tiny).load()
    assert "None" not in str(error.value)


def test_the_cause_of_a_base_that_cannot_be_had_is_told(foreign):
    edit_config(foreign, base_model_name_or_path="lab/unreachable")
    with pytest.raises(WrongAdapter) as error:
        open_adapter(foreign)
    with pytest.raises(EtabliError) as cause:
        sources.resolve("lab/unreachable")
    assert str(cause.value).rstrip(".") in str(error.value) and "--base MODEL" in str(error.value)


# --- base and tuned are base and tuned --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def biased(tiny, tmp_path_factory):
    """The tiny model with random biases in its attention."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = shutil.copytree(tiny, tmp_path_factory.mktemp("biased") / "model")
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tiny, attention_bias=True))
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("bias", ["all", "lora_only"])
def test_biases_of_the_base_are_refused(biased, tmp_path, no_owner, bias):
    folder = make_adapter(biased, tmp_path / "adapter", bias=bias)
    with pytest.raises(WrongAdapter, match=r"tensors of the base itself.*\.bias.*would change the base"):
        open_adapter(folder, str(biased)).load()


KINDS = {
    "no bias in the base": {"bias": "all"},
    "a head of its own": {"modules_to_save": ["lm_head"]},
    "embeddings of their own": {"modules_to_save": ["embed_tokens"]},
    "norm layers": {"modules_to_save": ["input_layernorm", "model.norm"]},
    "tokens of their own": {"trainable_token_indices": [5, 105]},
    "DoRA": {"use_dora": True},
    "ranks by layer": {"rank_pattern": {"layers.0.self_attn.q_proj": 2}, "alpha_pattern": {"down_proj": 3}},
    "LoRA's biases": {"lora_bias": True},
    "rsLoRA": {"use_rslora": True},
    "embeddings": {"target_modules": ["embed_tokens", "q_proj"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_stays_the_base_under_every_kind(tiny, tmp_path, no_owner, kind):
    """Or the adapter is refused: nothing is judged beside a base that it has changed."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    def read_base():
        return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()

    folder, ids = make_adapter(tiny, tmp_path / "adapter", **KINDS[kind]), torch.arange(20)[None] + 100
    try:
        ours = open_adapter(folder, tiny).load(four_bit=False, dtype="float32")
    except WrongAdapter as error:
        assert "of the base itself" in str(error) and "embeddings" in kind
        return
    tuned = PeftModel.from_pretrained(read_base(), folder).eval()
    with torch.no_grad():
        assert torch.equal(ours.model(ids).logits, tuned(ids).logits)
        with ours.as_base():
            assert torch.equal(ours.model(ids).logits, read_base()(ids).logits)


@pytest.mark.parametrize(
    "keys, words",
    [
        ({"layer_replication": [[0, 2], [1, 2]]}, "repeats layers of its base"),
        ({"r": "two"}, "r is 'two'.*whole number above 0.*Copy the adapter again"),
        ({"r": -4}, "r is -4.*whole number above 0"),
        ({"r": True}, "r is True"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'.*a number"),
        ({"lora_alpha": None}, "lora_alpha is None"),
        ({"lora_dropout": 3}, "lora_dropout is 3"),
        ({"rank_pattern": {"q_proj": "2"}}, "rank_pattern is .*whole numbers"),
        ({"alpha_pattern": [1]}, "alpha_pattern is"),
        ({"modules_to_save": "lm_head"}, "modules_to_save is 'lm_head'"),
        ({"target_modules": 7}, "target_modules is 7"),
        ({"bias": "some"}, "bias is 'some'"),
        ({"target_modules": ["c_attn"]}, "does not fit this base.*c_attn"),
        ({"init_lora_weights": "pissa_niter_4"}, "rewrites the base"),
        ({"init_lora_weights": "OLoRA"}, "rewrites the base"),
        ({"peft_type": "PROMPT_TUNING"}, "only LORA"),
        ({"megatron_config": {}, "megatron_core": "evil"}, None),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, "never done"),
    ],
)
def test_configurations_that_do_not_fit_are_named(foreign, tiny, keys, words):
    edit_config(foreign, **keys)
    if words is None:
        assert open_adapter(foreign, tiny).load().model
        return
    with pytest.raises(WrongAdapter, match=words):
        open_adapter(foreign, tiny).load()


def zero_ups(weights):
    for name in weights:
        if "lora_B" in name:
            weights[name].zero_()


def zero_in_turn(weights):
    for number, name in enumerate(sorted(name for name in weights if "lora_A" in name)):
        weights[name if number % 2 else name.replace("lora_A", "lora_B")].zero_()


def all_but_one(weights):
    zero_ups(weights)
    weights[KEY.format(side="B")][0, 0] = 1e-6


def shrink_ups(weights):
    for name in weights:
        if "lora_B" in name:
            weights[name].mul_(1e-30)


CHANGES = [(zero_ups, True), (zero_in_turn, True), (shrink_ups, True), (all_but_one, False)]


@pytest.mark.parametrize("change, is_nothing", CHANGES)
def test_an_adapter_that_changes_nothing_is_named(foreign, tiny, questions, change, is_nothing, capsys):
    import torch

    import etabli

    edit_weights(foreign, change)
    place = open_adapter(foreign, tiny)
    loaded = place.load(four_bit=False, dtype="float32")
    ids = torch.arange(20)[None] + 100
    with torch.no_grad(), loaded.as_base():
        base = loaded.model(ids).logits
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, base) == is_nothing, "what the note says is so"
    notes = etabli.evaluate(place, questions, limit=1, max_new_tokens=2, loaded=loaded, save=False)["warnings"]
    assert any("CHANGES NOTHING" in note for note in notes) == is_nothing
    assert ("CHANGES NOTHING" in capsys.readouterr().err) == is_nothing


def test_a_scale_of_nothing_and_a_target_of_nothing(foreign, tiny):
    edit_config(foreign, lora_alpha=0, target_modules=["q_proj", "down_proj", "c_attn"])
    notes = " ".join(open_adapter(foreign, tiny).load().notes)
    assert "its lora_alpha is 0" in notes and "also targets c_attn" in notes


def test_the_configuration_is_read_once(foreign, tiny, monkeypatch):
    from etabli.core import parsing

    place = open_adapter(foreign, tiny)
    reads, read_json = [], parsing.read_json

    def read(path, *rest, **keys):
        reads.append(path)
        return read_json(path, *rest, **keys)

    monkeypatch.setattr(parsing, "read_json", read)
    place.load()
    # Twice in all: the look at every JSON file of a folder before anything is made of it is the other.
    assert [path.name for path in reads].count(adapters.CONFIG) == 2


# --- our own ----------------------------------------------------------------------------------------------------------


def test_our_own_adapters_name_the_model_and_no_place_in_the_cache(runs, tiny, tmp_path, no_owner):
    from random_adapter import adapted

    config = json.loads((runs / "changed" / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny, "what the recipe said"
    adapted("default", tmp_path / "adapter", 0.1)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == embedded.HUB_ID
    assert json.loads((tmp_path / "adapter" / "base.json").read_text())["name"] == embedded.NAME
    assert open_adapter(tmp_path / "adapter").recipe.model == embedded.NAME
