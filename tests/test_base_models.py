"""Base models: a template of the recipe's, trained, stored with the adapter, and used by all that comes after."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etabli.core.errors import BadInput
from etabli.data.dataset import Dataset
from etabli.data.samples import home_commands
from etabli.models import chat_templates, counting, loading, sources
from etabli.rendering.render import render
from etabli.runs import run_template
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run

PAIR = [{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}]


def without_template(model, folder):
    """A base model: the same weights and vocabulary without a chat template, and with end-of-text as its stop."""
    shutil.copytree(model, folder)
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    config["eos_token"] = "<|endoftext|>"
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def base(tiny, tmp_path_factory):
    return without_template(tiny, tmp_path_factory.mktemp("base") / "tiny-base")


def tokenizer_of(base, template=None):
    return loading.load_tokenizer(sources.resolve(str(base)), template)


# Stanford Alpaca's prompt without input (tatsu-lab/stanford_alpaca, train.py), and what LLaMA-Factory 0.9.5 makes of a
# second turn; there is a line break after "Response:" as in all later trainers.
ONE_TURN = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nName a colour.\n\n### Response:\nBlue.<|endoftext|>"
)
TWO_TURNS = f"{ONE_TURN}\n\n### Instruction:\nAnother?\n\n### Response:\nRed.<|endoftext|>"


def test_alpaca_is_alpacas_text_and_its_answers_are_trained_to_their_end(base):
    tokenizer = tokenizer_of(base, "alpaca")
    row = render(PAIR, tokenizer)
    assert "".join(row.text) == ONE_TURN
    assert "".join(text for text, is_trained in zip(row.text, row.trained) if is_trained) == "Blue.<|endoftext|>"
    more = [*PAIR, {"role": "user", "content": "Another?"}, {"role": "assistant", "content": "Red."}]
    assert "".join(render(more, tokenizer).text) == TWO_TURNS
    own_system = [{"role": "system", "content": "Answer in one word."}, *PAIR]
    assert "".join(render(own_system, tokenizer).text).startswith("Answer in one word.\n\n### Instruction:\n")
    prompt = render(PAIR[:1], tokenizer, prompt=True).ids
    assert row.ids[: len(prompt)] == prompt, "a trained answer follows the very prompt that is generated from"


def test_plain_is_prompt_and_answer_as_they_stand(base):
    tokenizer = tokenizer_of(base, "plain")
    row = render([{"role": "user", "content": "2 + 2 ="}, {"role": "assistant", "content": " 4"}], tokenizer)
    assert row.ids == [*tokenizer("2 + 2 = 4", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def test_chatml_is_what_a_model_with_chatml_has(base, tiny):
    """SmolLM2's own template is ChatML, but for a system turn of its own where there is none."""
    turns = [{"role": "system", "content": "Be brief."}, *PAIR]
    ours, theirs = tokenizer_of(base, "chatml"), tokenizer_of(tiny)
    assert render(turns, ours).ids == render(turns, theirs).ids
    assert render(turns[:2], ours, prompt=True).ids == render(turns[:2], theirs, prompt=True).ids
    assert ours.eos_token == "<|im_end|>", "generation stops where an answer was trained to stop"


def drop_tokens(base, folder, *names):
    """The same model with these tokens renamed, as in a vocabulary that has never heard of them."""
    shutil.copytree(base, folder)
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    for number, name in enumerate(names):
        text = text.replace(name, f"<|unused{number}|>")
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    config = (folder / "tokenizer_config.json").read_text(encoding="utf-8")
    for number, name in enumerate(names):
        config = config.replace(name, f"<|unused{number}|>")
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
    return folder


def test_new_control_tokens_are_refused_by_name(base, tmp_path):
    poor = drop_tokens(base, tmp_path / "poor", "<|im_end|>", "<|im_start|>")
    with pytest.raises(BadInput, match=r"needs <\|im_start\|> and <\|im_end\|> as tokens.*template: alpaca or plain"):
        tokenizer_of(poor, "chatml")
    assert tokenizer_of(poor, "alpaca").eos_token == "<|endoftext|>"


def test_a_template_whose_answers_never_end_is_refused(base, tmp_path):
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    with pytest.raises(BadInput, match=r"never learn to stop.*eos_token"):
        tokenizer_of(base, chat_templates.read_template(str(file)))
    file.write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}\n{% endfor %}")
    row = render(PAIR, tokenizer_of(base, chat_templates.read_template(str(file))))
    assert "".join(row.text) == "user: Name a colour.<|endoftext|>\nassistant: Blue.<|endoftext|>\n"


@pytest.mark.parametrize("value", ["alpacca", "nowhere.jinja", "/etc"])
def test_neither_a_name_nor_a_file(value):
    with pytest.raises(BadInput, match="take alpaca, chatml, plain, or a Jinja file that exists"):
        chat_templates.read_template(value)


@pytest.mark.parametrize("template", chat_templates.NAMES)
def test_counting_counts_what_is_trained(base, template):
    counter = counting.load_tokenizer(str(base))
    chat_templates.set_template(counter, template)
    assert render(PAIR, counter).ids == render(PAIR, tokenizer_of(base, template)).ids


def etabli(*words):
    code = f"import sys; from etabli.app.cli import run_command; sys.exit(run_command({list(words)!r}, False))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_commands_say_how_to_go_on_and_take_the_template(base, write_jsonl):
    rows = write_jsonl([{"messages": PAIR}] * 2)
    for command in (["data", "check"], ["data", "tokens"]):
        code, printed = etabli(*command, str(rows), "--model", str(base))
        assert code == 2 and "no chat template" in printed and "--template alpaca" in printed, printed
        code, printed = etabli(*command, str(rows), "--model", str(base), "--template", "alpaca", "--json")
        assert code == (0 if command[1] == "tokens" else 1), printed
    assert "Response" in printed or "###" in json.dumps(json.loads(printed[: printed.rindex("}") + 1]))


# --- a run ----------------------------------------------------------------------------------------------------------


def hub_cache(folder, model, name):
    """The Hub's cache with one model in it, as ``huggingface_hub`` writes it."""
    place = folder / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    shutil.copytree(model, place / "snapshots" / ("0" * 40))
    return folder


@pytest.fixture(scope="module")
def trained(base, training_in_process, tmp_path_factory):
    """A run on a base with a Hub name, trained with Alpaca's template; its folder, and the Hub's cache."""
    home = tmp_path_factory.mktemp("alpaca")
    cache = hub_cache(home / "hub", base, "lab/tiny-base")
    Dataset(home_commands(n=40, test=8, seed=0)).save(home / "data")
    keys = {"max_steps": 3, "max_length": 256, "learning_rate": 2e-2, "lora": {"rank": 4}}
    recipe = Recipe(model="lab/tiny-base", template="alpaca", data=str(home / "data"), **keys)
    with training_in_process(home), pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        run = Run.start(recipe, home / "run")
        assert run.state == "completed", run.why
        yield run, cache


def test_without_a_template_it_says_what_to_write(base, dataset, tmp_path, training_here):
    run = Run.start(Recipe(model=str(base), data=str(dataset), max_steps=1), tmp_path / "run")
    assert run.state == "failed" and "template: alpaca" in run.why


def test_the_template_lies_with_the_adapter_and_all_systems_use_it(trained):
    from etabli.evaluation.evaluate import evaluate

    run, _ = trained
    assert chat_templates.read_stored_template(run.adapter)
    results = evaluate(run, limit=2, max_new_tokens=4, save=False)
    assert results["arms"] == ["base", "prompted", "lookup", "tuned"]
    for row in results["rows"]:
        for system in ("base", "prompted", "tuned"):
            assert row["rendered"][system].endswith("### Response:\n"), row["rendered"]


ELSEWHERE = """
import sys, json
sys.modules["etabli"] = None
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer
kind, folder, question = sys.argv[1:]
auto = AutoPeftModelForCausalLM if kind == "adapter" else AutoModelForCausalLM
model = auto.from_pretrained(folder, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
turns = [{"role": "user", "content": question}]
text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
with torch.no_grad():
    logits = model(ids).logits[0, -1, :50].tolist()
stops = model.generation_config.eos_token_id
print("RESULT", json.dumps({"ids": ids[0].tolist(), "logits": logits, "eos": tokenizer.eos_token_id, "stops": stops}))
"""


def elsewhere(kind, folder, hub):
    """Load an export in a process without établi, and with another cache: what stands in for another machine."""
    hidden = ("ETABLI_", "HF_", "PYTHONPATH", "HOME")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    environment |= {"HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1", "HOME": str(Path(folder).parent)}
    command = [sys.executable, "-c", ELSEWHERE, kind, str(folder), "Turn on the light."]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(folder).parent)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.partition("RESULT")[2])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_an_export_is_loaded_where_etabli_and_its_cache_are_not(trained, tmp_path, kind):
    import torch

    from etabli.exports import merge

    run, cache = trained
    shutil.copytree(cache, tmp_path / "other-hub")
    place = tmp_path / kind
    merge.export_adapter(run, place) if kind == "adapter" else merge.merge(run, place)
    for file in place.glob("*.json*"):
        text = file.read_text(encoding="utf-8")
        assert str(cache) not in text and str(run.folder) not in text, f"{file.name} names a place of this machine"
    there = elsewhere(kind, place, tmp_path / "other-hub")
    here = run.load(four_bit=False, dtype="float32", alongside=True)
    ids = render([{"role": "user", "content": "Turn on the light."}], here.tokenizer, prompt=True).ids
    with torch.no_grad():
        logits = here.model(torch.tensor([ids])).logits[0, -1, :50]
    assert there["ids"] == ids, "the same prompt"
    assert torch.allclose(torch.tensor(there["logits"]), logits, atol=0.05 if kind == "merged" else 1e-4)
    assert there["eos"] == here.tokenizer.eos_token_id
    if kind == "merged":
        stops = there["stops"]
        assert there["eos"] in (stops if isinstance(stops, list) else [stops])
    else:
        config = json.loads((place / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "lab/tiny-base"


def test_a_run_keeps_the_file_as_it_was(base, dataset, tmp_path, training_here):
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}{{ eos_token }}{% endfor %}")
    keys = {"max_steps": 1, "template": str(file), "lora": {"rank": 2}}
    run = Run.start(Recipe(model=str(base), data=str(dataset), **keys), tmp_path / "runs" / "run")
    assert run.state == "completed", run.why
    before = file.read_text()
    file.write_text("changed")
    assert run_template.read_run_template(run.recipe, run.folder) == before
    assert chat_templates.read_stored_template(run.adapter) == before


def test_a_strangers_recipe_names_no_file_outside_of_the_run(base, dataset, tmp_path):
    (tmp_path / "secret.txt").write_text("not for you {{ eos_token }}")
    recipe = Recipe(model=str(base), data=str(dataset), template=str(tmp_path / "secret.txt"))
    recipe.save(tmp_path / "run" / "recipe.yaml")
    with pytest.raises(BadInput, match="holds no copy"):
        run_template.read_run_template(recipe, tmp_path / "run")
    (tmp_path / "run" / "chat_template.jinja").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(BadInput, match="leads out"):
        run_template.read_run_template(recipe, tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("{% for m in messages %}", "Unexpected end of template"),
        ("{{ messages | nosuch }}", "No filter named 'nosuch'"),
        ("{{ nobody.name }}", "'nobody' is undefined"),
        ("hello", "leaves out what|rewrites|no control token"),
    ],
)
def test_a_template_file_that_can_not_be_used_says_why(base, tmp_path, text, cause):
    (tmp_path / "chat.jinja").write_text(text)
    with pytest.raises(BadInput, match=cause) as refusal:
        tokenizer_of(base, chat_templates.read_template(str(tmp_path / "chat.jinja")))
    assert "this conversation" not in str(refusal.value), "no conversation of the person's was looked at"


@pytest.mark.parametrize(
    "read", [tokenizer_of, counting.CountingTokenizer], ids=["chat and evaluate", "check and tokens"]
)
def test_tokens_without_a_row_in_the_embedding_are_refused_before_any_use(base, tmp_path, read):
    shutil.copytree(base, tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    (tmp_path / "model" / "config.json").write_text(json.dumps({**config, "vocab_size": 49150}))
    with pytest.raises(BadInput, match="ids up to 49151, but the model's embedding has 49150 rows"):
        read(tmp_path / "model")
