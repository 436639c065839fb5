"""Fixtures: a tiny real model with the embedded model's tokenizer, and the home commands, made once."""

import os
import subprocess

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the tests never need the Hub; the probe itself has a test of its own

import shutil

import pytest

from etabli import storage
from etabli.contracts import RECIPE
from etabli.data.dataset import Dataset
from etabli.data.samples import home_commands


@pytest.fixture(scope="session")
def commands():
    return Dataset(home_commands(n=60, test=12, seed=0), {"sample": "home-commands", "n": 60})


@pytest.fixture(scope="session")
def dataset(commands, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "home-commands"
    commands.save(folder)
    return folder


@pytest.fixture(scope="session")
def embedded():
    from etabli.models import sources

    return sources.resolve("default")


@pytest.fixture(scope="session")
def tokenizer(embedded):
    from etabli.models import loading

    return loading.tokenizer(embedded)


@pytest.fixture(scope="session")
def tiny(embedded, tmp_path_factory):
    """A two-layer Llama with random weights and the embedded model's tokenizer: real code, a second a run."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=1, eos_token_id=2, pad_token_id=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(embedded.folder / name, folder / name)
    return str(folder)


@pytest.fixture(scope="session")
def plain(tiny):
    """The tiny model in float32: no ties broken by rounding."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    for parameter in model.parameters():  # random weights repeat one token for ever unless they are larger
        parameter.data *= 3
    return model


@pytest.fixture
def no_owner(tmp_path, monkeypatch):
    """A cache of this test's own for the owner file alone: runs of other tests don't count."""
    from etabli import processes

    monkeypatch.setattr(processes, "_owner_file", lambda: tmp_path / "owner.json")


@pytest.fixture
def fresh_accelerate():
    """accelerate keeps one precision a process; the trainings of other tests have theirs."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def write_jsonl(tmp_path):
    def write(rows, name="rows.jsonl"):
        path = tmp_path / name
        path.write_text("\n".join(storage.to_json(row) for row in rows) + "\n", encoding="utf-8")
        return path

    return write


def adapted(model, folder, scale, seed=0):
    """A LoRA adapter with random weights, saved as a run saves its own. ``scale`` 0 changes nothing."""
    import torch

    from etabli.models import loading
    from etabli.training import adapters, checkpoints
    from etabli.training.recipe import Recipe

    loaded = loading.load(model)
    peft = adapters.attach(loaded, Recipe(data="x", model=model))
    torch.manual_seed(seed)
    for name, parameter in peft.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale) if scale else torch.nn.init.zeros_(parameter)
    with storage.whole(folder) as place:
        checkpoints.save_adapter(peft, loaded.source, place)


@pytest.fixture(scope="session")
def runs(tiny, tmp_path_factory):
    """Three runs on the same data: an adapter that changes much, one that changes nothing, and another seed's."""
    home = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        from etabli import processes
        from etabli.training.recipe import Recipe

        patch.setattr(processes, "_owner_file", lambda: home / "owner.json")
        Dataset(home_commands(n=40, test=8, seed=0)).save(home / "data")
        for name, scale, seed in (("changed", 0.5, 0), ("nothing", 0.0, 0), ("other", 0.5, 1)):
            Recipe(data="data", model=tiny, seed=seed).save(home / name / RECIPE)
            adapted(tiny, home / name / "adapter", scale, seed)
    for step in (1, 2):
        adapted(tiny, home / "changed" / "checkpoints" / f"step-{step:06d}", 0.1 * step)
    return home


@pytest.fixture
def answered(runs, no_owner):
    """Results of a few rows, of a model that knows nothing."""
    from etabli.evaluation.bench import evaluate

    return evaluate(runs / "changed", limit=6, max_new_tokens=12, save=False)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 6 MB; skipped where one can't be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError as error:
        pytest.skip(f"no mount: {error}")
    if done.returncode:
        pytest.skip(f"a small file system can't be mounted: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
