"""What leaves: GGUF of fewer bits and of an adapter alone, Ollama, vLLM, the Hub; opened by programs of others."""

import base64
import http.server
import json
import shutil
import subprocess
import sys
import threading

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import vocabularies
from etabli.core.contracts import Message
from etabli.core.errors import BadInput, EtabliError
from etabli.exports import formats, gguf_file, hub, model_card, ollama, quantise_gguf, serving
from etabli.exports.reference import build_reference
from etabli.runs.adapter_run import open_adapter
from random_adapter import sure_run


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
    return formats.seal_folder(reference, run, formats.parse_form(form), folder)


# --- forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["ollama:f16", "vllm", "hub", "hub:merged"])
def test_a_healthy_export_of_each_form_is_sealed(reference, run, tmp_path, form):
    found = sealed(reference, run, form, tmp_path / "out")
    assert (found["verdict"], found["cause"], found["prompt_same"]) == ("sealed", None, True), found
    assert ("holds no tools" in " ".join(found["notes"])) == form.startswith("ollama")


def test_fewer_bits_are_further_away_and_are_named_quantisation(reference, run, tmp_path):
    kl = {}
    for quant in ("f16", "q8_0", "q4_k_m"):
        found = sealed(reference, run, f"gguf:{quant}", tmp_path / quant)
        kl[quant] = found["kl"]
        assert found["prompt_same"] and found["cause"] in (None, "quantisation", "other base"), found
    assert kl["f16"] < kl["q8_0"] < kl["q4_k_m"]
    assert formats.size_of(tmp_path / "q4_k_m") < 0.62 * formats.size_of(tmp_path / "q8_0") + 4e6  # the vocabulary


def test_an_adapter_alone_over_its_base_s_gguf_is_the_adapter_over_its_16_bit_base(reference, run, tmp_path):
    """Both drift from what was judged in 4 bits, and by the same: a wrong scale or order of rows would be far away."""
    alone = sealed(reference, run, "gguf:lora", tmp_path / "lora")
    merged = sealed(reference, run, "merged:original", tmp_path / "merged")
    assert alone["prompt_same"] and alone["kl"] == pytest.approx(merged["kl"], rel=0.1, abs=0.02)
    assert alone["bytes"] < merged["bytes"] / 10


def test_a_modelfile_with_another_template_is_broken(reference, run, tmp_path):
    formats.export(run, "ollama:f16", tmp_path / "out", seal=False)
    file = tmp_path / "out" / "Modelfile"
    file.write_text(file.read_text().replace("im_start", "im_begin"))
    found = formats.seal_folder(reference, run, formats.parse_form("ollama:f16"), tmp_path / "out")
    assert found["verdict"] == "broken" and "not the one that the model was judged with" in found["cause"]


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


@pytest.mark.parametrize("family", ["smollm2", *vocabularies.NAMES])
def test_a_go_template_writes_what_the_model_s_own_does(family, tokenizer, tmp_path):
    """Every family's template of this machine; Go's own engine where there is one."""
    tokenizer = tokenizer if family == "smollm2" else vocabularies.tokenizer(family)
    if not tokenizer.chat_template:
        pytest.skip("this vocabulary comes without a template")
    texts = ollama.find_turn_texts(tokenizer)
    for messages in TALKS:
        if texts.before_system is None and messages[0]["role"] == "system":
            continue
        own = ollama._without_begin(tokenizer, ollama._render(tokenizer, messages))
        if not any(message["content"] != message["content"].strip() for message in messages):
            assert texts.compose(messages) == own
    if go := shutil.which("go"):
        values = [
            {
                "System": next((turn["content"] for turn in messages if turn["role"] == "system"), ""),
                "Messages": [{"Role": turn["role"], "Content": turn["content"]} for turn in messages],
            }
            for messages in TALKS
        ]
        (tmp_path / "main.go").write_text(GO)
        (tmp_path / "template").write_text(texts.go_template())
        done = subprocess.run(
            [go, "run", "main.go", "template"],
            input=json.dumps(values).encode(),
            capture_output=True,
            cwd=tmp_path,
            check=True,
            env={"GOCACHE": "/tmp/gocache", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        )
        expected = [texts.compose(messages) for messages in TALKS if texts.before_system is not None]
        made = done.stdout.decode().split("\0")[: len(expected)]
        assert made == expected


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "chat_template"),
        ("{% for m in messages %}{{ m.content }}|{{ m.content }}{% endfor %}", "2 times"),
        ("{% for m in messages %}[{{ loop.index }}]{{ m.content }}{% endfor %}" + PROMPTED, "sum"),
        ("{{ add_generation_prompt }}{% for m in messages %}{{ m.content }}{% endfor %}", "what follows"),
    ],
)
def test_a_template_that_go_s_can_t_say_is_refused_by_name(tokenizer, template, why, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", template)
    with pytest.raises(BadInput, match=why):
        ollama.find_turn_texts(tokenizer)


def test_a_modelfile_answers_as_the_model_was_judged(tokenizer):
    text = ollama.write_modelfile("a.gguf", ollama.find_turn_texts(tokenizer), ["<|im_end|>"], 4096)
    lines = [line for line in text.splitlines() if line.startswith("PARAMETER")]
    assert 'PARAMETER stop "<|im_end|>"' in lines and "PARAMETER repeat_penalty 1" in lines  # Ollama's own: 1.1
    assert text.count('"""') == 2


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
    with formats.open_form(run, formats.parse_form("gguf:f16"), tmp_path / "out", reference) as form:
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


def test_what_the_seal_found_stands_in_the_card(llama, tmp_path):
    place = tmp_path / "run"
    shutil.copytree(llama.folder, place)
    found = formats.seal(place, ["merged"], limit=2)
    assert json.loads((place / "seal.json").read_text())["forms"][0]["verdict"] == found["forms"][0]["verdict"]
    model_card.card(place)
    assert "merged is sealed" in read_card(place / "card")[1]


def test_rows_that_restrict_what_is_trained_on_them_are_named(llama, tmp_path):
    from etabli.core.contracts import RECIPE
    from etabli.data.dataset import Dataset
    from etabli.runs.recipe import Recipe

    place = tmp_path / "run"
    shutil.copytree(llama.folder, place)
    rows = Dataset.open(llama.recipe.data).rows
    rows[0] |= {"licence": "CC-BY-NC-4.0", "terms": "its terms forbid training | [x](javascript:alert(1)) <img>"}
    data = Dataset(rows).save(tmp_path / "data")
    keys = llama.recipe.keys() | {"data": str(tmp_path / "data")}
    (place / RECIPE).unlink()
    Recipe(**keys).save(place / RECIPE, {"data_hash": data.hash})
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
    for kind, variants in formats.VARIANTS.items():
        for variant in variants:
            name = formats.parse_form(f"{kind}:{variant}" if variant else kind)
            assert formats.parse_form(str(name)) == formats.parse_form(name.asked) == name
    assert formats.parse_form("gguf") == ("gguf", gguf_file.DEFAULT)
