"""The seal finds planted faults by their names, and none in healthy exports; what left opens without établi."""

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etabli.core.errors import BadInput, MissingExtra
from etabli.exports import comparison, divergence, form_names, formats, forms, gguf_file, mends, merge
from etabli.exports import seal as sealing
from etabli.exports.reference import build_reference
from etabli.runs.adapter_run import open_adapter
from planted_exports import FAULTS, change_json, change_weights
from random_adapter import sure_run


@pytest.fixture(scope="module")
def free_device(tmp_path_factory):
    """Runs of other tests don't count."""
    from etabli.core import processes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_owner_file", lambda: tmp_path_factory.getbasetemp() / "no-owner.json")
        yield


@pytest.fixture(scope="module", params=["llama", pytest.param("qwen3", marks=pytest.mark.nightly)])
def run(request, embedded, free_device, tmp_path_factory):
    return sure_run(request.param, tmp_path_factory.mktemp("seal"), embedded.folder)


@pytest.fixture(scope="module")
def reference(run, free_device):
    return build_reference(run, limit=3)


@pytest.fixture(scope="module")
def merged(run, free_device, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "merged"
    formats.export(run, "merged", folder, seal=False)
    return folder


@pytest.fixture(scope="module")
def gguf(run, free_device, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "gguf"
    formats.export(run, "gguf:f16", folder, seal=False)
    return folder


def judge(reference, run, form, folder):
    return formats.seal_folder(reference, run, form_names.parse_form(form), folder)


def test_healthy_exports_are_sealed(reference, run, merged, gguf, tmp_path):
    formats.export(run, "adapter", tmp_path / "adapter", seal=False)
    for form, folder in (("adapter", tmp_path / "adapter"), ("merged", merged), ("gguf:f16", gguf)):
        found = judge(reference, run, form, folder)
        assert found["verdict"] == "sealed" and found["cause"] is None, found
        assert found["prompt_same"] and found["kl"] < sealing.SEALED_KL and found["bytes"] > 0


def test_an_adapter_of_which_no_rows_are_known_is_asked_the_hard_conversations(run, free_device, merged):
    elsewhere = open_adapter(run.adapter, run.recipe.model)
    reference = build_reference(elsewhere)
    names = [conversation.name for conversation in reference.conversations]
    assert names == ["system turn", "several turns", "emoji and accents", "blanks and line breaks", *names[4:]]
    found = judge(reference, elsewhere, "merged", merged)
    assert found["verdict"] == "sealed" and found["score"] is None and found["score_says"] is None


def test_a_model_that_thinks_by_default_is_compared_as_it_was_judged(run, free_device, merged, tmp_path):
    """Qwen 3's kind of template: an empty thought is written only where ``enable_thinking`` is false."""
    place = tmp_path / "run"
    shutil.copytree(run.folder, place)
    template = (merged / "chat_template.jinja").read_text() + (
        "{%- if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
        "{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    )
    (place / "adapter" / "chat_template.jinja").write_text(template)
    (place / "adapter" / "MANIFEST.json").unlink()
    thinking = open_adapter(place / "adapter", run.recipe.model)
    reference = build_reference(thinking)
    formats.export(thinking, "merged", tmp_path / "merged", seal=False)
    found = judge(reference, thinking, "merged", tmp_path / "merged")
    assert (
        found["verdict"] != "broken" and found["prompt_same"] and "enable_thinking=false" in " ".join(found["notes"])
    ), found


def test_a_row_in_which_a_person_typed_a_control_token_breaks_nothing(run, free_device, merged, tmp_path, write_jsonl):
    row = {"messages": [{"role": "user", "content": "Hi <|im_end|>"}, {"role": "assistant", "content": "Hello"}]}
    reference = build_reference(run, data=write_jsonl([row]))
    found = judge(reference, run, "merged", merged)
    assert found["verdict"] == "sealed" and "In 1 test row a person typed" in found["notes"][0], found


def test_the_score_of_a_form_is_compared_on_the_test_rows_alone(reference, run, merged):
    count = len(reference.test_set.tests)
    score = judge(reference, run, "merged", merged)["score"]
    assert 0 < count < len(reference.conversations) and score["n"] == count and score["value"] == 0


def test_a_test_row_that_the_template_can_t_write_is_left_out_with_its_score(run, free_device, tmp_path, write_jsonl):
    """Its place may be taken by no other: every score belongs to its own row."""
    place = tmp_path / "run"
    shutil.copytree(run.folder, place)
    template = (
        "{% if tools %}{{ raise_exception('no tools') }}{% endif %}"
        + (run.adapter / "../../model").joinpath("chat_template.jinja").read_text()
    )
    (place / "adapter" / "chat_template.jinja").write_text(template)
    (place / "adapter" / "MANIFEST.json").unlink()
    rows = [
        {"messages": [{"role": "user", "content": f"Q{number}"}, {"role": "assistant", "content": "A"}]}
        for number in range(4)
    ]
    rows[1]["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    reference = build_reference(open_adapter(place / "adapter", run.recipe.model), data=write_jsonl(rows))
    assert [turns["content"] for row in reference.test_set.tests for turns in row["messages"][:1]] == ["Q0", "Q2", "Q3"]
    asked = [conversation.messages[-1]["content"] for conversation in reference.conversations[:4]]
    assert asked == ["Q0", "Q2", "Q3", "Is water wet?"]
    assert "1 test row can't be written" in reference.notes[0]
    assert len(reference.test_set.clusters) == len(reference.test_set.slices) == 3


@pytest.mark.parametrize(
    ("own", "is_on"), [([1, 2, 9, 4], True), ([1, 2, 9], False), ([1, 3, 9, 4], False), ([1, 2, 8, 4], False)]
)
def test_an_answer_that_goes_on_after_its_end_is_told_from_another_one(own, is_on):
    assert comparison.runs_on(own, [1, 2, 9], ends={9}) == is_on
    assert not comparison.runs_on([1, 2, 8, 4], [1, 2, 8], ends={9})  # the judged one was cut, too


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(-0.01, 0.5, "same"), (-0.5, -0.03, "worse"), (-0.5, 0.5, "cannot tell"), (None, None, "cannot tell")],
)
def test_what_a_score_s_interval_says_against_a_margin(low, high, says):
    assert sealing._score_says({"low": low, "high": high}, 0.02) == says


# --- planted faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plant", "cause"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_fault_is_found_by_its_name(reference, run, merged, tmp_path, plant, cause):
    shutil.copytree(merged, tmp_path / "model")
    plant(tmp_path / "model", run)
    found = judge(reference, run, "merged", tmp_path / "model")
    assert (found["verdict"], found["cause"]) == ("broken", cause), found
    assert cause in found["sentence"]


def no_numbers(folder, run):
    change_weights(folder, lambda name, weight, without: weight * float("nan"), run)


def other_settings(folder, run):
    change_json(folder / "generation_config.json", lambda values: values.update(repetition_penalty=1.5))


def more_stops(folder, run):
    change_json(folder / "generation_config.json", lambda values: values.update(eos_token_id=[2, 28]))


def template_with_a_fault(folder, run):
    (folder / "chat_template.jinja").write_text("{% for %}")


def half_a_file(folder, run):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def no_tokenizer(folder, run):
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("plant", "cause"),
    [
        (no_numbers, "NaN"),
        (other_settings, "generation settings (repetition_penalty)"),
        (more_stops, "other stop tokens"),
        (template_with_a_fault, "can't be asked"),
        (half_a_file, "can't be opened"),
        (no_tokenizer, "can't be opened"),
    ],
)
def test_a_form_that_answers_nothing_is_broken(reference, run, merged, tmp_path, plant, cause):
    shutil.copytree(merged, tmp_path / "model")
    plant(tmp_path / "model", run)
    found = judge(reference, run, "merged", tmp_path / "model")
    assert found["verdict"] == "broken" and cause in found["sentence"]


def test_a_gguf_whose_weights_give_no_numbers_is_broken(reference, run, merged, tmp_path):
    shutil.copytree(merged, tmp_path / "model")
    no_numbers(tmp_path / "model", run)
    (tmp_path / "out").mkdir()
    gguf_file.convert_model(tmp_path / "model", tmp_path / "out" / "a.gguf", "f16")
    found = judge(reference, run, "gguf:f16", tmp_path / "out")
    assert found["verdict"] == "broken" and found["mend"], found


def test_settings_that_got_lost_are_named(reference, run, merged, gguf):
    changed = dataclasses.replace(reference, settings={"repetition_penalty": 1.8})
    found = judge(changed, run, "merged", merged)
    assert (found["verdict"], found["cause"]) == ("broken", "generation settings lost (repetition_penalty)")
    assert "'repetition_penalty': 1.8" in " ".join(judge(changed, run, "gguf:f16", gguf)["notes"])


def test_a_form_that_can_t_be_written_ends_no_other(run, free_device, monkeypatch, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(run.folder, place)

    def refuse(*arguments):
        raise BadInput("No. ")

    monkeypatch.setattr(merge, "write_merged", refuse)
    found = formats.seal(place, ["merged", "adapter"], limit=1)
    first, second = found["forms"]
    assert first["sentence"] == "merged is broken: it can't be written: No." and first["prompt_same"] is None
    assert second["verdict"] == "sealed" and (place / "seal.json").is_file()


def test_every_cause_has_a_mend():
    for cause in [*FAULTS.values(), "other stop tokens ('a' too)", "BOS added", "it can't be asked: x", "quantisation"]:
        assert mends.mend_of(cause) != mends.OTHERWISE


def test_a_folder_without_a_gguf_is_broken(reference, run, tmp_path):
    found = judge(reference, run, "gguf:f16", tmp_path)
    assert found["verdict"] == "broken" and "holds 0 GGUF files" in found["sentence"]


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 30), st.floats(0.1, 8))
def test_the_bound_is_below_the_divergence_and_equals_it_where_all_is_listed(seed, top, spread):
    import torch

    generator = torch.Generator().manual_seed(seed)
    p, q = (torch.randn(30, generator=generator) * spread for _ in range(2))
    p, q = p.double().log_softmax(0), q.double().log_softmax(0)
    true = float((p.exp() * (p - q)).sum())
    listed = [{int(i): float(side[i]) for i in side.topk(top).indices} for side in (p, q)]
    bound = divergence.bound_kl(*listed)
    assert -1e-9 <= bound <= true + 1e-6
    if top == 30:
        assert bound == pytest.approx(true, abs=1e-6)


# --- what is refused, before anything is written --------------------------------------------------------------------


def test_forms_that_there_are_not(run, free_device, tmp_path, monkeypatch):
    for form in ("olama", "adapter:x", "merged:4bit", "gguf:q4_9"):
        with pytest.raises(BadInput, match=r"choose from|llama-quantize"):
            formats.export(run, form, tmp_path / "out")
    monkeypatch.setattr(gguf_file, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"etabli\[export\]"):
        formats.export(run, "gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_architecture_that_the_converter_does_not_know(run, tmp_path, monkeypatch, free_device):
    converter = gguf_file._ensure_converter()
    (tmp_path / "config.json").write_text('{"architectures": ["Strange9000ForCausalLM"]}')
    with pytest.raises(BadInput, match="Strange9000ForCausalLM"):
        gguf_file._require_architecture(tmp_path, converter)


def test_python_files_of_a_model_are_not_named_to_the_converter(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "a/b--c.T"}, "x": 1}')
    gguf_file._remove_remote_code(tmp_path)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {"x": 1}


# --- opened by others' code -----------------------------------------------------------------------------------------


def test_what_is_merged_is_the_trained_values_plus_the_adapter(run, merged):
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from safetensors.torch import load_file

    from etabli.models import loading

    loaded = loading.load(run.recipe.model, adapter=run.adapter, dtype=run.dtype, keep_dequantized=False)
    weights, seen = load_file(merged / "model.safetensors"), 0
    for name, layer in loaded.model.get_base_model().named_modules():
        if hasattr(layer, "lora_A"):
            held = layer.base_layer.weight
            delta = layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            expected = dequantize_4bit(held.data, held.quant_state).float() + delta.float()
            torch.testing.assert_close(weights[f"{name}.weight"].float(), expected, rtol=0.01, atol=1e-3)
            seen += 1
    assert seen == 14


OUTSIDE = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, text = sys.argv[1:]
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
talk, keys = [{"role": "user", "content": text}], {"return_tensors": "pt", "return_dict": True}
ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, **keys)
made = model.generate(**ids, max_new_tokens=8, do_sample=False)
print(json.dumps(made[0, ids["input_ids"].shape[1]:].tolist()), "etabli" in sys.modules)
"""


def test_a_merged_model_answers_the_same_in_a_process_without_etabli(reference, merged, tmp_path):
    conversation = reference.conversations[0]
    text = conversation.messages[-1]["content"]
    prompt = reference.tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )
    done = subprocess.run(
        [sys.executable, "-c", OUTSIDE, str(merged), text], capture_output=True, text=True, check=True
    )
    ids, had_etabli = done.stdout.strip().splitlines()[-1].rsplit(" ", 1)
    form = forms.TransformersForm.open(merged)
    assert json.loads(ids) == form.answers([list(prompt)], 8)[0] and had_etabli == "False"


def test_merge_refuses_an_unknown_base(run, tmp_path, free_device):
    with pytest.raises(BadInput, match="trained, original"):
        merge.merge(run, tmp_path / "out", "4bit")
