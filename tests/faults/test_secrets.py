"""Every shape of secrets in a callback's words, its traceback, the data, the command line: none is left anywhere."""

import contextlib
import io

import pytest

from etabli.core import secrets, streams
from etabli.core.errors import EtabliError
from etabli.data.dataset import Dataset
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from planted import SHAPES, leaks, letters


@pytest.fixture
def everything():
    return " | ".join(around.format(secret) for around, secret in SHAPES.values())


def test_no_secret_is_left_in_a_run_folder(tiny, tmp_path, cache, everything, monkeypatch, counted):
    monkeypatch.setenv("HF_TOKEN", SHAPES["Hugging Face"][1])
    own = tmp_path / "own.py"
    own.write_text(
        "import os, sys\nsaid = open(os.environ['SAID']).read()\n"
        "def on_step(event):\n    print(said)\n    print(said, file=sys.stderr, end='')\n"
        "    if event['step'] == 2:\n        raise RuntimeError(said)\n"
    )
    (tmp_path / "said.txt").write_text(everything)
    monkeypatch.setenv("SAID", str(tmp_path / "said.txt"))
    rows = [
        {
            "id": str(at),
            "messages": [
                {"role": "user", "content": f"{at} {everything}"[:900]},
                {"role": "assistant", "content": "ok"},
            ],
        }
        for at in range(40)
    ]
    Dataset(rows).save(tmp_path / "data")
    recipe = Recipe(
        model=tiny, data=str(tmp_path / "data"), max_steps=4, max_length=1024, threads=1, callbacks=str(own)
    )
    run = Run.start(recipe, tmp_path / "run")
    with pytest.raises(EtabliError) as raised:
        run.wait(quiet=True)
    assert not leaks(str(raised.value)) and not leaks(run.why) and "RuntimeError" in run.why
    for path in (path for path in run.folder.rglob("*") if path.is_file()):
        assert not leaks(path.read_bytes().decode("utf-8", "replace")), path.name
    assert "•" in (run.folder / "log.txt").read_text(), "the callback did speak"
    counted["secrets_planted"] += len(SHAPES)


def test_no_secret_is_shown_by_an_error_or_a_command(everything, tmp_path, monkeypatch, capsys):
    from etabli.app.cli import run_command

    assert not leaks(str(EtabliError(everything))) and leaks(everything) == list(SHAPES)
    monkeypatch.chdir(tmp_path)
    for words in (["train", everything], ["evaluate", everything], ["resume", everything]):
        for debug in (False, True):
            with contextlib.redirect_stderr(io.StringIO()):
                run_command(words, debug)
            out, err = capsys.readouterr()
            assert not leaks(out + err), words[0]
    assert not list(tmp_path.iterdir())


CELLS = """
import etabli
from etabli.core.errors import BadInput
said = open("said.txt").read()
---
raise BadInput(said)
---
etabli.read(said)
---
run = etabli.Run.attach("failed")
run.show()
---
run
---
run.notes()
---
run.wait()
---
etabli.film("failed")
---
etabli.Run.start(etabli.Recipe(data="rows.jsonl", model=said), "other")
---
etabli.chat("failed").ask(said)
"""


def test_no_secret_is_in_a_saved_notebook(everything, tmp_path, monkeypatch, counted):
    """Tracebacks, the monitor's twin, notes, a film: what a notebook keeps of a run whose every word is a secret."""
    import json

    import nbformat
    from nbclient import NotebookClient

    from etabli.core.contracts import EVENTS, RECIPE
    from etabli.runs.events import EventLog

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "said.txt").write_text(everything)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "a", "completion": "b"}))
    Recipe(data="rows.jsonl").save(tmp_path / "failed" / RECIPE)
    log = EventLog(tmp_path / "failed")
    log.write("start", steps=4, probes=[everything])
    log.write("sample", step=0, probe=0, text=everything, ids=[1])
    log.write("warning", what=everything)
    log.write("end", state="failed", why=everything)
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in CELLS.split("---")])
    NotebookClient(made, timeout=120, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for number, cell in enumerate(made.cells):
        assert cell.outputs or number == 0, f"cell {number} said nothing"
        assert not leaks(json.dumps(cell.outputs, ensure_ascii=False)), f"cell {number}: {cell.source}"
    assert not leaks((tmp_path / "failed" / EVENTS).read_text())
    counted["notebook_cells_without_a_secret"] += len(made.cells)


KEY = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow\nAbCdEf123\n-----END RSA " + "PRIVATE KEY-----"


def test_private_keys_are_covered_whole():
    assert "AbCdEf123" not in secrets.cover_secrets(f"a {KEY} b") and secrets.cover_secrets(f"a {KEY} b").endswith(" b")
    stream = io.StringIO()
    scrubbed = streams.GuardedStream(stream)
    scrubbed.writelines([f"before\n{KEY}\n", "after " + SHAPES["Hugging Face"][1] + "\n"])
    assert "AbCdEf123" not in stream.getvalue() and not leaks(stream.getvalue())
    assert stream.getvalue().startswith("before\n") and "after " in stream.getvalue()


@pytest.mark.parametrize(
    "around",
    [
        "gsk" + "_{}",
        "xai" + "-{}",
        "r8" + "_{}",
        "https://{}@example.org/x",
        "redis://:{}@example.org",
        "TOKEN={}",
        "token: '{}'",
        "Bearer {}",
        "https:/someone:{}@example.org",
    ],
)
def test_more_shapes(around):
    secret = letters(24) + "7"
    assert secret not in secrets.cover_secrets(f"before {around.format(secret)} after")


@pytest.mark.parametrize(
    "text",
    [
        "data/task-specific-rows.jsonl",
        "a risk-averse answer",
        "hf_models_cache",
        "pad_token: '<|endoftext|>'",
        "eyJealous",
        "the password is asked for",
        "secret: none",
        "learning_rate was 0.0002",
        "eos_token: 2",
        "bearer of bad news",
        "trained_tokens: 123456789012345678",
        "desk-bound-words-2",
    ],
)
def test_ordinary_words_stay(text):
    assert secrets.cover_secrets(text) == text
