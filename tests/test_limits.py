"""Hostile input is refused in a sentence, soon and in little memory; honest input of the same kind still goes.

Each hostile file is read by ``hostile.py`` in a process with little memory, which has to have ended by a deadline.
"""

import copy
import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from etabli.core import confined, parsing
from etabli.core.errors import BadData, BadRecipe, Damaged, WrongAdapter
from etabli.models import adapter_files
from etabli.models.counting import CountingTokenizer
from etabli.rendering import template_engine
from etabli.rendering.render import Renderer, render
from etabli.rendering.template_engine import Conversation

DEADLINE = 60  # seconds, with the imports, on a machine where eight others work; alone each takes one or two
DEEP = "[" * 200_000 + "]" * 200_000
LAUGHS = "data: x.jsonl\nmodel:\n  - &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"  - &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 11)
)


def outcome(reader, path):
    """What reading a hostile file ended in: the class of the error and its text."""
    command = [sys.executable, str(Path(__file__).with_name("hostile.py")), reader, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "Traceback" not in ended.stderr and "RecursionError" not in ended.stdout
    assert len(ended.stdout) < 1500
    return ended.stdout


# --- YAML ------------------------------------------------------------------------------------------------------------

YAMLS = {
    "laughs": (LAUGHS, "20,000 values"),
    "deep": ("data: " + DEEP[:6000], "levels deep"),
    "deeper": ("- " * 200_000, "levels deep"),
    "merge keys": (
        "a0: &a0 {x: 1, y: 2}\n"
        + "\n".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)),
        "20,000 values",
    ),
    "itself": ("data: &a [*a]", "stands within"),
    "base 60": ("seed: 1" + ":59" * 300_000, "a number of"),
    "tagged number": ("seed: !!int " + "9" * 5000, "a number of"),
    "code": ("data: !!python/object/apply:os.system [ls]", "constructor"),
    "empty number": ("seed: !!int ''", "YAML"),
    "no such day": ("seed: 2024-99-99", "YAML"),
    "long": ("data: x\nprobes: [" + "x" * 2**21 + "]", "MB"),
}


@pytest.mark.parametrize("name", YAMLS)
def test_hostile_yaml_is_refused(name, tmp_path):
    text, why = YAMLS[name]
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    said = outcome("recipe", path)
    assert said.startswith("BadRecipe") and why in said and str(path) in said


@pytest.mark.parametrize("reader", ["curation", "mapping", "speed", "card"])
@pytest.mark.parametrize("text", [LAUGHS, DEEP], ids=["laughs", "deep"])
def test_every_reader_of_yaml_has_the_same_limits(reader, text, tmp_path):
    path = tmp_path / ("README.md" if reader == "card" else "recipe.yaml")
    path.write_text(f"---\n{text}\n---\n" if reader == "card" else text)
    expected = {"curation": "BadRecipe", "mapping": "Unreadable", "speed": "read None", "card": "read {}"}
    assert outcome(reader, path).startswith(expected[reader])


def test_merge_keys_and_aliases_of_honest_size_mean_what_yaml_says():
    import yaml

    text = "base: &base {type: alpaca, split: train}\ndatasets:\n  - {<<: *base, path: a}\n  - {<<: [*base], path: b}\n"
    assert parsing.parse_yaml(text) == yaml.safe_load(text)
    assert parsing.parse_yaml("a: !other 1\nb: 2", tagged_values=[]) == {"a": None, "b": 2}


def test_an_error_shows_the_beginning_of_a_value():
    from etabli.runs.recipe import Recipe

    with pytest.raises(BadRecipe) as raised:
        Recipe(data="x", seed=["y" * 50] * 100_000, **{"k" * 10_000: 1})
    assert len(str(raised.value)) < 1000
    many = {f"key{number}": 1 for number in range(5000)}
    with pytest.raises(BadRecipe) as raised:
        Recipe(data="x", **many)
    assert str(raised.value).endswith("and 4900 more")


@pytest.mark.parametrize("value", [1, "a'b", [1, ("x",), {}], {"a": [None, (1, 2)], 2: b"x"}, (), [], -1.5, "é" * 150])
def test_brief_is_repr_of_what_is_short(value):
    assert parsing.short_repr(value) == repr(value)


def test_brief_makes_no_more_than_it_shows():
    value = ["x" * 10]
    for _ in range(40):
        value = [value] * 9
    tracemalloc.start()
    shown = parsing.short_repr(value), parsing.short_repr("x" * 10**7), parsing.short_repr(1 << 10**6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(len(text) <= 201 for text in shown) and peak < 12 * 10**6


# --- JSON ------------------------------------------------------------------------------------------------------------

JSONS = {
    "deep": DEEP,
    "deep keys": '{"a":' * 200_000,
    "digits": "[" + "9" * 10**6 + "]",
    "exponent": "[1e5000]",
    "not a number": "[NaN]",
    "twice": '{"version": 1, "version": 2}',
    "wide": "[" + "[]," * 11_000_000 + "1]",
    "bytes": "\udcff\udcfe",
    "nothing": "",
}
FILES = {
    "results": ("results.json", "ParseError"),
    "manifest": ("MANIFEST.json", "Damaged"),
    "token_diff": ("token_diff.json", "Damaged"),
    "answers": ("answers.json", "BadData"),
    "config": ("config.json", "UnknownModel"),
}


@pytest.mark.parametrize("name", JSONS)
def test_hostile_json_is_refused(name, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(JSONS[name], errors="surrogateescape")
    said = outcome("results", path)
    assert said.startswith("ParseError") and str(path) in said


@pytest.mark.parametrize("reader", FILES)
def test_every_reader_of_json_has_the_same_limits(reader, tmp_path):
    name, error = FILES[reader]
    path = tmp_path / name
    path.write_text(DEEP)
    assert outcome(reader, path).startswith(error)


@pytest.mark.parametrize("reader", ["events", "votes"])
def test_a_hostile_line_is_passed_over(reader, tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text("\n".join([JSONS[name] for name in ("deep", "digits", "not a number")] + ['{"kind": "step"}', ""]))
    assert outcome(reader, path).startswith("read 1" if reader == "events" else "read ([],")


def test_a_line_without_end_fills_no_memory(tmp_path):
    path = tmp_path / "events.jsonl"
    with path.open("wb") as file:
        file.truncate(2**29)
        file.seek(0, os.SEEK_END)
        file.write(b'\n{"kind": "step"}\n')
    assert outcome("events", path).startswith("read 1")


def test_files_of_models_are_read_as_other_libraries_read_them(tmp_path):
    """Mamba's configuration holds Infinity."""
    path = tmp_path / "config.json"
    path.write_text('{"time_step_limit": [0.0, Infinity], "a": 1, "a": 2}')
    assert parsing.read_json(path, lenient=True) == json.loads(path.read_text())
    with pytest.raises(Damaged, match=r"stands twice|Infinity"):
        parsing.read_json(path)


def test_honest_json_is_what_python_reads(tmp_path):
    value = {"é": [1, 2.5, None, True, "\ud800", {"a": [[]]}], "large": 10**300, "small": 1e-300}
    path = tmp_path / "honest.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(value).encode())
    assert parsing.read_json(path) == value
    assert parsing.depth([[[1]]]) == 3 and parsing.depth({}) == 1 and parsing.depth(1) == 1


# --- models' files ---------------------------------------------------------------------------------------------------


def header(length, text=b"", rest=b""):
    return struct.pack("<Q", length) + text + rest


ENTRY = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
WEIGHTS = {
    "longer than the file": header(2**40),
    "negative": header(2**64 - 1),
    "cut off": header(len(ENTRY), ENTRY, b"\0\0"),
    "hole": header(len(ENTRY) + 4, ENTRY.replace(b"[0, 4]", b"[99, 103]"), b"\0" * 4),
    "deep": header(len(DEEP), DEEP.encode()),
    "short": b"\0\0",
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_forged_weights_are_refused_before_they_are_parsed(name, tmp_path):
    from etabli.models import headers

    (tmp_path / "model.safetensors").write_bytes(WEIGHTS[name])
    with pytest.raises(Damaged, match=r"model\.safetensors"):
        headers.require_valid_files(tmp_path)


def test_weights_that_safetensors_writes_are_sane(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    from etabli.models import headers

    tensors = {"b": np.zeros((3, 2), np.float32), "a": np.ones(5, np.int8), "none": np.zeros((0, 4), np.float32)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    headers.require_valid_files(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_hostile_tokenizer_is_refused(name, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / name).write_text('{"a":' * 200_000)
    assert outcome("tokenizer", tmp_path / name).startswith("ParseError")
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(2**30)
    assert outcome("tokenizer", tmp_path / "tokenizer.json").startswith("ParseError")


# --- chat templates --------------------------------------------------------------------------------------------------

R = "range(99999)"
TEMPLATES = {
    "loops": f"{{% for a in {R} %}}{{% for b in {R} %}}{{% for c in {R} %}}{{% endfor %}}{{% endfor %}}{{% endfor %}}",
    "repeated": "{{ 'a' * 10**10 }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "range": "{% for a in range(10**9) %}a{% endfor %}",
    "wide": "{{ '%1000000000d' % 1 }}",
    "format": "{{ '{:>1000000000}'.format(1) }}",
    "filter": "{{ 'a' | center(10**10) }}",
    "doubled": "{% set n = namespace(x='aa') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "written": f"{{% for a in {R} %}}{{% for b in range(999) %}}aaaaaaaaaa{{% endfor %}}{{% endfor %}}",
    "recursion": "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "two by two": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(90) }}",
    "lorem": "{{ lipsum(n=10**9) }}",
    "include": "{% include '/etc/passwd' %}",
    "attribute": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "namespace": "{% set n = namespace(__class__=1) %}",
    "parentheses": "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
    "long": "a" * 2**21,
    "of a word": f"{{% if 'go' in messages[0].content %}}{{% for a in {R} %}}{{% for b in {R} %}}{{% endfor %}}"
    "{% endfor %}{% endif %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_template_is_ended(name, tmp_path):
    (tmp_path / "template.jinja").write_text(TEMPLATES[name])
    (tmp_path / "talk.json").write_text(json.dumps([{"role": "user", "content": "go"}]))
    said = outcome("template", tmp_path / "template.jinja")
    assert said.startswith(("BadData The model's chat template", "BadInput The model's chat template"))


class Templated:
    """What a renderer needs of a tokenizer."""

    def __init__(self, template):
        self.special_tokens_map = {"bos_token": "<s>"}
        self.chat_template = template


TALK = [{"role": "user", "content": " hi é\n"}, {"role": "assistant", "content": "ok"}]


def test_a_template_is_given_up_after_three_strikes(monkeypatch):
    monkeypatch.setattr(confined, "SECONDS", 0.2)
    process = confined.ConfinedProcess()
    monkeypatch.setattr(confined, "ask", process.ask)
    slow = Templated(TEMPLATES["loops"])
    for _ in range(confined.STRIKES):
        with pytest.raises(BadData, match="was ended after"):
            template_engine.apply_template(slow, [Conversation(TALK)])
    with pytest.raises(BadData, match="not tried again"):
        template_engine.apply_template(slow, [Conversation(TALK)])
    assert process._process is None, "nothing was started for it again"
    assert template_engine.apply_template(Templated("{{ messages | length }}"), [Conversation(TALK)]) == ["2"]
    process.close()


def test_a_template_that_is_slow_on_every_row_is_ended_too(monkeypatch):
    """A little below the limit on each of many rows would be days."""
    monkeypatch.setattr(confined, "SECONDS", 0.5)
    process = confined.ConfinedProcess()
    monkeypatch.setattr(confined, "ask", process.ask)
    slow = Templated("{% for a in range(90000) %}{% for b in range(40) %}{% endfor %}{% endfor %}x")
    with pytest.raises(BadData, match="was ended"):
        for _ in range(2000):
            template_engine.apply_template(slow, [Conversation(TALK)])
    process.close()


def test_a_killed_process_is_started_again():
    process = confined.ConfinedProcess()
    assert process.ask("search", "b+", jobs=["abc", "ac"]) == [True, False]
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert process.ask("search", "b+", jobs=["abc"]) == [True]
    process.close()


def test_an_interrupt_leaves_no_answer_to_the_next_question(monkeypatch):
    process = confined.ConfinedProcess()
    process.ask("search", "a", jobs=["a"])

    class Interrupted:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    running = process._process
    monkeypatch.setattr(running, "stdout", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        process.ask("search", "a", jobs=["a", "a", "a"])
    assert running.poll() is not None
    assert process.ask("search", "b", jobs=["a"]) == [False]
    process.close()


def test_the_confined_process_knows_no_secret_and_writes_no_file(monkeypatch, tmp_path):
    if not Path("/proc/self/environ").exists():
        pytest.skip("needs /proc")
    monkeypatch.setenv("HF_TOKEN", "hf_" + "aB3" * 10)
    process = confined.ConfinedProcess()
    process.ask("search", "a", jobs=["a"])
    environment = Path(f"/proc/{process._process.pid}/environ").read_bytes()
    limits = Path(f"/proc/{process._process.pid}/limits").read_text()
    process.close()
    assert b"HF_TOKEN" not in environment and b"PYTHONPATH" in environment
    assert {line.split()[3] for line in limits.splitlines() if line.startswith("Max file size")} == {"0"}
    assert {line.split()[3] for line in limits.splitlines() if line.startswith("Max address space")} == {str(2**30)}


# --- as transformers renders -----------------------------------------------------------------------------------------

FOR_TRAINING = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ODD = {
    "generation": FOR_TRAINING,
    "generation keeps names": "{% set x = 1 %}{% generation %}{% set x = 2 %}{% endgeneration %}{{ x }}",
    "break and continue": "{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{{ m.role }}"
    "{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}",
    "tojson": "{{ tools | tojson }}{{ tools | tojson(indent=2, sort_keys=True) }}{{ {'é': '<&>'} | tojson }}",
    "year": "{{ strftime_now('%Y') }}",
    "refuses": "{{ raise_exception('no ' ~ messages[0].role) }}",
    "names": "{{ documents is none }}{{ documents is defined }}{{ tools is none }}{{ pad_token }}{{ nothing }}"
    "{{ enable_thinking }}{{ add_generation_prompt }}",
    "missing": "{% for m in messages %}{{ 'tool_calls' in m }}{{ m.tool_calls is defined }}{% endfor %}",
    "thoughts": "{% for m in messages %}{{ m.thinking }}|{{ m.reasoning_content }}|{{ m.reasoning }}{% endfor %}",
    "namespace": "{% set n = namespace(self=1, x='') %}{% for m in messages %}{% set n.x = n.x ~ m.role %}"
    "{% endfor %}{{ n.x }}{{ dict(a=1) }}{{ dict.fromkeys([1], 2) }}",
    "blanks": "  {% if true %}\n  a\n  {%- endif %}\n\n{# note #}\n b {{ messages[0].content | trim }}\n",
    "immutable": "{{ messages.append(1) }}",
    "syntax": "{% for %}",
    "numbers": "{{ messages[0].content.split('é') }}{{ 1.0 }}{{ 10**20 }}{{ '%.3f' % 2 }}",
}
TALKS = {
    "plain": (TALK, None),
    "thinking": ([*TALK, {"role": "assistant", "content": "b", "reasoning": "hm", "tool_calls": None}], None),
    "tools": (TALK, [{"type": "function", "function": {"name": "f", "parameters": {"b": 1, "a": "é<"}}}]),
}


def with_template(tokenizer, text):
    changed = copy.deepcopy(tokenizer)
    changed.chat_template = text
    return changed


def of_transformers(tokenizer, talk, tools, prompt):
    """transformers' own rendering, or None where it refuses."""
    try:
        return tokenizer.apply_chat_template(
            talk, tools=tools, tokenize=False, add_generation_prompt=prompt, enable_thinking=False
        )
    except Exception:
        return None


@pytest.mark.parametrize("kind", TALKS)
@pytest.mark.parametrize("name", [None, *ODD])
def test_templates_render_as_transformers_renders_them(tokenizer, name, kind):
    talk, tools = TALKS[kind]
    changed = with_template(tokenizer, ODD[name]) if name else tokenizer
    for prompt in (False, True):
        expected = of_transformers(changed, talk, tools, prompt)
        if expected is None:
            with pytest.raises(BadData, match="refuses this conversation"):
                template_engine.apply_template(changed, [Conversation(talk, prompt, tools)])
        else:
            assert template_engine.apply_template(changed, [Conversation(talk, prompt, tools)]) == [expected]


def test_of_several_templates_the_one_for_tools_is_taken(tokenizer):
    several = with_template(tokenizer, {"default": "plain", "tool_use": "tools"})
    for _, tools in TALKS.values():
        assert template_engine.apply_template(several, [Conversation(TALK, tools=tools)]) == [
            of_transformers(several, TALK, tools, False)
        ]


def test_rows_rendered_ahead_are_rows_rendered_one_by_one(tokenizer, commands):
    """Rows that are refused, plain text, calls: each is what it is by itself."""
    refusing = with_template(
        tokenizer, "{% if messages[0].content == 'no' %}{{ raise_exception('no') }}{% endif %}" + FOR_TRAINING
    )
    rows = [{"messages": row["messages"]} for row in commands.rows[:70]]
    rows[5:5] = [{"messages": [{"role": "user", "content": "no"}]}, {"messages": [{"role": "text", "content": "a"}]}]
    rows[40:40] = [{"messages": []}, {"messages": [{"role": "user", "content": None}]}]
    ahead = list(Renderer(refusing).render_texts(rows))
    assert [at for at, text in enumerate(ahead) if text is None] == [5, 6, 40, 41]
    for row, text in zip(rows, ahead):
        if text:
            assert render(row["messages"], refusing, text=text) == render(row["messages"], refusing)


@pytest.fixture
def counted(embedded, tmp_path):
    """A model's folder whose template is one for training."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((embedded.folder / name).read_bytes())
    (tmp_path / "chat_template.jinja").write_text(FOR_TRAINING)
    return tmp_path


def test_a_template_for_training_is_counted_as_it_is_trained(counted, tokenizer, commands):
    light, whole = CountingTokenizer(counted), with_template(tokenizer, FOR_TRAINING)
    for row in commands.rows[:20]:
        assert render(row["messages"], light) == render(row["messages"], whole)


def test_check_calls_no_row_of_a_template_for_training_unrenderable(counted, commands):
    from etabli.checks.check import check

    rows = [{"messages": row["messages"]} for row in commands.rows[:20]]
    report = check(rows, model=str(counted))
    assert "not-renderable" not in report.counts and report.cost["rows"] == 20


def test_several_templates_of_a_folder_are_found_as_transformers_finds_them(counted):
    from transformers import AutoTokenizer

    (counted / "additional_chat_templates").mkdir()
    (counted / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    (counted / "config.json").write_text('{"model_type": "llama"}')
    assert CountingTokenizer(counted).chat_template == AutoTokenizer.from_pretrained(counted).chat_template


# --- packed files and tables -----------------------------------------------------------------------------------------

ROW = b'{"prompt":"a","completion":"b"}\n'


def many_members(path):
    path.write_bytes(gzip.compress(ROW * 2000) * 5000)


def one_member(path):
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(ROW * 2**15)


def one_line(path):
    with gzip.open(path, "wb", compresslevel=6) as file:
        file.write(b'{"prompt":"')
        for _ in range(400):
            file.write(b"a" * 2**20)


def zipped(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", ROW * 2_000_000)


def zip_within_gz(path):
    zipped(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def overlapping(path):
    """A thousand names for the same packed bytes."""
    zipped(path)
    data = path.read_bytes()
    start, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    count = 1000
    tail = bytearray(data[end:])
    tail[8:12], tail[12:16] = struct.pack("<HH", count, count), struct.pack("<I", (end - start) * count)
    path.write_bytes(data[:start] + data[start:end] * count + tail)


def sparse(path):
    with path.open("wb") as file:
        file.truncate(2**40)


def alike_rows(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    one = pa.DictionaryArray.from_arrays(pa.array([0] * 3_000_000, pa.int8()), pa.array(["x"]))
    pq.write_table(pa.table({"prompt": one, "completion": one}), path, row_group_size=3_000_000)


def large_value(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    large = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int8()), pa.array(["y" * 2**25]))
    pq.write_table(pa.table({"prompt": large, "completion": ["a"] * 64}), path, compression="zstd")


def nested_value(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    turns = [[{"role": "user", "content": "y" * 2**18}] * 500] * 2
    pq.write_table(pa.table({"messages": pa.array(turns)}), path, compression="zstd")


def long_list(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = pa.Array.from_buffers(pa.int8(), 2 * 10**7, [None, pa.py_buffer(bytes(2 * 10**7))])
    lists = pa.ListArray.from_arrays(pa.array([0, 2 * 10**7], pa.int32()), values)
    pq.write_table(pa.table({"prompt": ["a"], "ids": lists}), path, compression="zstd")


def packed_arrow(path):
    import pyarrow as pa

    table = pa.table({"prompt": ["y" * 2**25] * 8, "completion": ["a"] * 8})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table)


def forged_arrow(path):
    """Arrow whose packed buffers say that they are a terabyte."""
    packed_arrow(path)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<q", 2**28), struct.pack("<q", 2**40)))


PACKED = {
    "many.jsonl.gz": (many_members, "out-of-proportion"),
    "one.jsonl.gz": (one_member, "out-of-proportion"),
    "line.jsonl.gz": (one_line, "out-of-proportion"),
    "one.zip": (zipped, "out-of-proportion"),
    "within.gz": (zip_within_gz, "unreadable"),
    "overlapping.zip": (overlapping, "unreadable"),
    "sparse.jsonl": (sparse, "out-of-proportion"),
    "alike.parquet": (alike_rows, "out-of-proportion"),
    "large.parquet": (large_value, "out-of-proportion"),
    "nested.parquet": (nested_value, "out-of-proportion"),
    "list.parquet": (long_list, "out-of-proportion"),
    "packed.arrow": (packed_arrow, "out-of-proportion"),
    "forged.arrow": (forged_arrow, ""),
}


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_bomb_is_refused(name, tmp_path):
    make, code = PACKED[name]
    make(tmp_path / name)
    said = outcome("check", tmp_path / name)
    assert said.startswith("read 0 rows") and code in said


def test_an_honest_repetitive_file_goes(tmp_path):
    """Nearly a hundred times its size, as a log of the same few sentences may be."""
    from etabli.data.reading.opening import open_file

    path = tmp_path / "rows.jsonl.gz"
    rows = [
        json.dumps({"prompt": f"{at} " + "Turn on the light in the kitchen. " * 26, "completion": "Done."}).encode()
        for at in range(60_000)
    ]
    path.write_bytes(gzip.compress(b"\n".join(rows), compresslevel=6))
    assert sum(map(len, rows)) > 80 * path.stat().st_size
    assert sum(1 for _ in open_file(path).stream) == 60_000


def test_a_table_of_conversations_is_read_as_it_was_written(tmp_path):
    """Texts are read as dictionaries, nested ones too; what comes out is the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from etabli.data.reading.opening import open_file
    from etabli.data.reading.tables import read_columnar

    rows = [
        {
            "messages": [{"role": "user", "content": f"q {at}"}, {"role": "assistant", "content": "a"}],
            "lang": None if at % 3 else "en",
            "map": [("k", "v")],
            "n": at,
            "tags": ["x", None],
        }
        for at in range(200)
    ]
    schema = pa.Table.from_pylist([{**row, "map": None} for row in rows]).schema
    schema = schema.set(schema.get_field_index("map"), pa.field("map", pa.map_(pa.string(), pa.string())))
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), tmp_path / "rows.parquet")
    assert [record.value for record in read_columnar(open_file(tmp_path / "rows.parquet"))] == rows


# --- patterns and schemas --------------------------------------------------------------------------------------------


def test_a_pattern_of_a_stranger_is_ended(tmp_path):
    (tmp_path / "pattern.txt").write_text("(a+)+b")
    assert outcome("pattern", tmp_path / "pattern.txt").startswith("LimitExceeded")
    (tmp_path / "pattern.txt").write_text("(" * 5000 + ")" * 5000)
    assert outcome("pattern", tmp_path / "pattern.txt").startswith("BadInput")


def test_a_schema_of_a_stranger_is_ended(tmp_path):
    levels = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)} | {"a60": {"type": "string"}}
    (tmp_path / "schema.json").write_text(json.dumps({"$defs": levels, "$ref": "#/$defs/a0"}))
    assert outcome("schema", tmp_path / "schema.json").startswith("LimitExceeded")
    (tmp_path / "schema.json").write_text(json.dumps({"pattern": "(a+)+b"}))
    assert outcome("schema", tmp_path / "schema.json").startswith("LimitExceeded")


@pytest.mark.parametrize("answer", ["Mary had 3 lambs", "none", "", "\n7\n", "é9"])
@pytest.mark.parametrize("pattern", [r"\d", r"^\d", r"(?m)^\d$", r"(?i)MARY"])
def test_a_pattern_says_what_re_says(pattern, answer):
    import re

    from etabli.evaluation.scores.registry import load_scores

    (score,) = load_scores(f"regex:{pattern}")
    assert score.compute(answer, "", {}) is (re.search(pattern, answer) is not None)


@pytest.mark.parametrize("key", ["target_modules", "exclude_modules", "rank_pattern", "layers_pattern"])
def test_an_adapter_whose_pattern_of_modules_takes_for_ever_is_refused(tmp_path, key):
    slow = "(([a-z_.0-9])+)+!"
    config = {key: {slow: 8} if key == "rank_pattern" else slow}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    names = [f"model.layers.{layer}.self_attn.q_proj" for layer in range(4)]
    with pytest.raises(WrongAdapter, match=rf"{key} .* pattern that can't be used"):
        adapter_files.require_fast_patterns(tmp_path, names)


def test_patterns_of_modules_that_end_are_let_through(tmp_path):
    config = {"target_modules": r".*\.(q|v)_proj", "rank_pattern": {"q_proj": 4}, "alpha_pattern": {}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    adapter_files.require_fast_patterns(tmp_path, ["model.layers.0.self_attn.q_proj"])
