"""An adapter that TRL trains, in a process without établi, judged here."""

import json
import os
import subprocess
import sys

import pytest

import families
from etabli import open_adapter
from etabli.core.errors import WrongAdapter

pytestmark = [pytest.mark.nightly, pytest.mark.slow]
TRAIN = """
import sys, json
sys.modules["etabli"] = None
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer
model, out = sys.argv[1:]
turns = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}]
settings = {"output_dir": out, "max_steps": 2, "per_device_train_batch_size": 2, "report_to": "none", "use_cpu": True}
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(**settings, learning_rate=1e-2, bf16=False, logging_steps=1),
    train_dataset=Dataset.from_list([{"messages": turns}] * 4),
    peft_config=LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear"),
)
trainer.train()
trainer.save_model(out)
"""


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """A folder as TRL leaves it: adapter, tokenizer, chat template, a pickle, and its checkpoints."""
    home = tmp_path_factory.mktemp("trl")
    try:
        families.archive("trl==1.16.0").extractall(home / "packages")
    except OSError as error:
        pytest.skip(f"no package index answered: {error}")
    environment = {**os.environ, "PYTHONPATH": str(home / "packages"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", TRAIN, tiny, str(home / "adapter")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=home)
    assert done.returncode == 0, done.stderr[-3000:]
    return home / "adapter"


def test_it_is_judged_on_the_base_that_is_named(adapter, tiny, dataset, no_owner, tmp_path):
    import etabli
    from etabli.exports import merge

    assert (adapter / "training_args.bin").is_file(), "the pickle that TRL leaves is no reason to refuse"
    with pytest.raises(WrongAdapter, match="--base MODEL"):
        open_adapter(adapter)
    place = open_adapter(adapter, tiny)
    results = etabli.evaluate(place, dataset, limit=2, max_new_tokens=4)
    assert results["arms"] == ["base", "tuned"] and not any("CHANGES NOTHING" in note for note in results["warnings"])
    assert (adapter / "results.json").is_file()
    names = merge.export_adapter(place, tmp_path / "out")
    assert "training_args.bin" not in names and "results.json" not in names and "tokenizer.json" in names
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == tiny
