"""Secrets of thirty shapes and of any value, in every place where établi writes or shows; nothing steers a terminal."""

import base64
import contextlib
import html
import io
import json
import os
import random
import re
import sys
import time
import urllib.parse
import warnings
from pathlib import Path

import pytest

from etabli.core import journal, secret_shapes, secret_values, secrets, storage, streams, terminal
from etabli.core.errors import BadRecipe, EtabliError
from etabli.runs.recipe import Recipe
from planted import EVERY, HEX, SHAPES, leaks, letters

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def a_home_of_our_own(monkeypatch, tmp_path):
    """No variable and no token file of whoever runs the tests."""
    for name in list(os.environ):
        if secret_values._NAMES.search(name) or name in ("HF_HOME", "NETRC", "KAGGLE_CONFIG_DIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    secret_values.forget()
    yield
    secret_values.forget()


# --- shapes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("around", ["{}", "before {} after", "\x1b[31m{}\x1b[0m", "a\\n{}", "'{}'", "({})", "x\n{}\ny"])
def test_every_shape_is_covered_and_nothing_else(name, around):
    text = around.format(SHAPES[name][0].format(SHAPES[name][1]))
    covered = secrets.cover_secrets(text)
    assert SHAPES[name][1] not in covered and len(covered) == len(text)
    assert secrets.cover_secrets(covered) == covered, "covered twice is covered once"
    start, end = around.split("{}")
    assert covered.startswith(start) and covered.endswith((end, "•" * len(end))), "a password may end with a bracket"


def test_each_shape_says_who_documents_it_and_can_be_found_by_its_hints():
    for shape in secret_shapes.shapes():
        assert shape.name and shape.source and all(hint == hint.lower() and hint for hint in shape.hints)
    found = {shape.name for shape, _ in secret_shapes.findings(EVERY)}
    assert {"an AWS access key", "a Weights & Biases key", "a Kaggle key", "a Google access token"} <= found


def test_json_that_was_covered_as_text_is_still_json():
    dice = random.Random(0)
    for _ in range(300):
        odd = "".join(dice.choice('ab1\\"\n{}, \x1bé') for _ in range(12))
        around = dice.choice(list(SHAPES.values()))
        text = json.dumps({"a": odd + around[0].format(around[1]) + odd, "password": odd, "b": [odd]})
        json.loads(terminal.to_printable(text))


ORDINARY = [
    "data/task-specific-rows.jsonl",
    "sk-learn and scikit-learn-style-pipelines-v2",
    "hf_models_cache_2024_large",
    "pad_token: '<|endoftext|>'",
    "eyJealous",
    "the password is asked for",
    "password: required",
    "secret: none",
    "password = getpass.getpass()",
    "token = tokens[0].next_one(12345678)",
    "PASSWORD=$1",
    "pwd=/srv/anna/run1",
    "commit 05c4fecab1d2e3f405c4fecab1d2e3f405c4feca",
    "sha256 " + letters(64, HEX),
    "run-20260812-101112-3f2a",
    "base_model.model.model.layers.11.self_attn.q_proj.lora_A.default.weight",
    "trained_tokens: 123456789012345678",
    "mistralai/Mistral-7B-Instruct-v0.3",
    "https://example.org:8080/@anna/x",
    "key: value",
    "{'key': 'language'}",
    base64.b64encode(b"base_model.model.lora_A.weight").decode(),
    "tokens_per_batch: 4096",
    "bearer of bad news",
    "wordToken===102&&e.name.escapedText===meta",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text):
    assert secrets.cover_secrets(text) == text and secrets.cover_secrets_in({"a": [text]}) == {"a": [text]}


def test_the_package_and_its_rows_come_through_unchanged():
    from etabli.data.samples import home_commands

    files = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("notebooks/*.ipynb"),
        *ROOT.glob("widgets/etabli_widgets/**/*.js"),
    ]
    files += ROOT.glob("workbench/**/*.py")
    assert len(files) > 100
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert secrets.cover_secrets(text) == text, path
    rows = home_commands()
    assert secrets.cover_secrets_in(rows) == rows


@pytest.mark.parametrize(
    "part",
    [
        "x:/y:",
        "password=a",
        "://a:bbb",
        "sk-a",
        "hf_a",
        "token=a",
        "wandb a1",
        "mistral aB3",
        "-----BEGIN PRIVATE KEY ",
        "api_key ab ",
        "login a password",
        '"key":"',
        "a_key=\\",
        "Authorization: ",
        "eyJ",
        "ya29.",
        "password: a-b",
    ],
)
def test_the_time_is_in_proportion_to_the_text(part):
    def seconds(times):
        began = time.process_time()
        secrets.cover_secrets(part * times)
        return time.process_time() - began

    seconds(10)
    short = min(seconds(4_000) for _ in range(3))
    assert seconds(32_000) < 8 * 4 * (short + 0.002), "eight times the text, four times the time a letter"


# --- by value ---------------------------------------------------------------------------------------------------------

ODD = {
    "no digits": "correct" + "horsebattery",
    "quotes": "pa\"ss'wo\\rd" + "x",
    "blanks": "four words " + "of a phrase",
    "signs": "a&b<c>/+=%d" + "e",
    "letters": "clé-très-" + "secrète",
    "regex": "(a+)+$[b" + "]*",
    "astral": "🔑🔒🗝️key" + "aa",
    "key": "-----BEGIN X-----\nMIIEowIBAAKCAQEA" + "75\n-----END X-----",
}


def written(value):
    """Ways in which programs write a value."""
    data = value.encode()
    yield from (value, json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value), html.escape(value))
    yield from (urllib.parse.quote(value), urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value))
    yield from (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode(), data.hex())
    yield from (value[: max(8, len(value) * 3 // 4)], *(line for line in value.splitlines() if len(line) > 16))


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "name", ["MY_TOKEN", "mykeyx", "A_SECRET_B", "DB_PASSWORD", "MYCREDENTIALS", "DB_PASSWD", "X_PWD"]
)
def test_a_value_of_the_environment_is_covered_however_it_is_written(monkeypatch, kind, name):
    assert secrets.cover_secrets(ODD[kind]) == ODD[kind] or kind == "key"
    monkeypatch.setenv(name, ODD[kind])
    for way in written(ODD[kind]):
        bare = way.strip("\"'")
        covered = secrets.cover_secrets(f"x {way} y")
        assert bare not in covered and covered.startswith("x ") and covered.endswith(" y"), way
        longest = max(re.findall("[^•]+", covered[2:-2]), key=len, default="")
        assert len(longest) <= max(3, len(bare) // 5), f"{covered!r} keeps {longest!r}"


def test_in_the_middle_of_something_in_base64(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", ODD["no digits"])
    for offset in range(6):
        text = base64.b64encode(b"u" * offset + ODD["no digits"].encode() + b":rest of it").decode()
        assert "•" * 20 in secrets.cover_secrets(f"Basic {text}")


@pytest.mark.parametrize(
    "value", ["1", "true", "false", "abc123", "/", "aaaaaaaaaaaa", "12345678", "disabled", "PASSWORD", " ", "", "~"]
)
def test_short_and_ordinary_values_stay(monkeypatch, value, tmp_path):
    monkeypatch.setenv("SOME_TOKEN", value)
    monkeypatch.setenv("OTHER_KEY", str(tmp_path))
    monkeypatch.setenv("THE_KEY_FILE", "/etc/a/long/name.pem")
    text = f"1 true false abc123 / aaaaaaaaaaaa 12345678 disabled PASSWORD {tmp_path} /etc/a/long/name.pem"
    assert secrets.cover_secrets(text) == text


def test_a_value_counts_from_when_it_is_set_and_stays_secret(monkeypatch):
    text = f"it is {ODD['no digits']}"
    assert secrets.cover_secrets(text) == text
    monkeypatch.setenv("A_TOKEN", ODD["no digits"])
    assert ODD["no digits"] not in secrets.cover_secrets(text)
    monkeypatch.delenv("A_TOKEN")
    monkeypatch.setenv("B_TOKEN", "another" + "-value")
    assert ODD["no digits"] not in secrets.cover_secrets(text) and "another-value" not in secrets.cover_secrets(
        "another-value"
    )


def test_a_password_within_an_address_of_the_environment(monkeypatch):
    monkeypatch.setenv("DATABASE", "postgresql://anna:correct" + "horse@example.org/x")
    assert secrets.cover_secrets("refused: correct" + "horse") == "refused: " + "•" * 12


FILES = {
    ".cache/huggingface/token": "{}\n",
    ".netrc": "machine example.org login anna password {}\n",
    ".kaggle/kaggle.json": '{{"username": "anna", "key": "{}"}}',
    ".kaggle/access_token": "{}",
    ".aws/credentials": "[default]\naws_access_key_id = x\naws_secret_access_key = {}\n",
}


@pytest.mark.parametrize("name", FILES)
def test_what_token_files_hold_is_covered_and_read_once(tmp_path, name, monkeypatch):
    value = "zyxwv" + letters(20)
    path = tmp_path / "home" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILES[name].format(value))
    assert value not in secrets.cover_secrets(f"it is {value}")
    path.unlink()
    monkeypatch.setenv("SOMETHING", "else")
    assert value not in secrets.cover_secrets(f"it is {value}")


# --- sinks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def everything(monkeypatch):
    """A text with every shape, and a value that no shape tells."""
    monkeypatch.setenv("PLAIN_TOKEN", ODD["no digits"])
    return f"{EVERY}\nand {ODD['no digits']} too"


def clean(text):
    return not leaks(text) and ODD["no digits"] not in text


def test_files(everything, tmp_path):
    storage.write_json(tmp_path / "a.json", {"why": everything, "in": [{everything: 1}], "n": (everything,)})
    storage.write_text(tmp_path / "a.html", f"<p>{html.escape(ODD['no digits'])}</p>")
    journal.Journal(tmp_path / "a.jsonl", lambda line: True).add({**journal.new_entry(), "why": everything})
    with storage.write_folder(tmp_path / "whole", {"source": everything}) as folder:
        (folder / "x").write_text("x")
    for path in tmp_path.rglob("*.*"):
        assert not path.is_file() or clean(path.read_text()), path
    assert clean((tmp_path / "whole" / "MANIFEST.json").read_text()) and storage.verify(tmp_path / "whole")


def test_a_secret_under_its_own_key_in_json(tmp_path):
    storage.write_json(tmp_path / "a.json", {"password": "correct" + "horse", "nested": {"api_key": letters(20)}})
    text = (tmp_path / "a.json").read_text()
    assert "correcthorse" not in text and letters(20) not in text and json.loads(text)["password"]


def test_data_of_a_person_is_not_altered(everything, tmp_path):
    from etabli.data.dataset import Dataset

    rows = [{"id": "a", "messages": [{"role": "user", "content": everything}, {"role": "assistant", "content": "b"}]}]
    Dataset(rows).save(tmp_path / "data")
    assert Dataset.open(tmp_path / "data").rows[0]["messages"][0]["content"] == everything
    file = journal.Journal(tmp_path / "decisions.jsonl", lambda line: True)
    file.add({**journal.new_entry(), "why": everything, "messages": rows[0]["messages"]})
    again = json.loads((tmp_path / "decisions.jsonl").read_text())
    assert again["messages"] == rows[0]["messages"] and clean(again["why"])


def test_a_recipe_with_a_secret_is_refused_and_not_altered(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAIN_TOKEN", ODD["no digits"])
    for model in (ODD["no digits"], "https://anna:" + "s3cret-word@example.org/model"):
        with pytest.raises(BadRecipe, match="model: holds a password") as raised:
            Recipe(data="x", model=model).save(tmp_path / "recipe.yaml")
        assert model not in str(raised.value)
    assert not list(tmp_path.glob("*.yaml"))


def test_errors_and_events(everything, tmp_path):
    from etabli.runs.events import EventLog

    assert clean(str(EtabliError(everything)) + repr(EtabliError(everything)))
    error = EtabliError("There is no file \x1b[2J\x07.\nLook there.")
    assert str(error) == "There is no file \\u001b[2J\\u0007.\nLook there." and not OBEYED.search(repr(error))
    log = EventLog(tmp_path)
    log.write("warning", what=everything)
    log.close()
    assert clean((tmp_path / "events.jsonl").read_text())


def test_a_score_that_raises(everything):
    from etabli.evaluation import scoring
    from etabli.evaluation.scores.registry import load_scores

    def mine(answer, truth):
        raise RuntimeError(everything[: int(answer)])

    made = {"errors": {}, "values": {}}
    for cut in range(40, 300, 7):
        scoring.add_score(made, load_scores([mine])[0], {"tuned": lambda cut=cut: mine(str(cut), "")})
        said = made["errors"].pop("mine")["tuned"]
        assert clean(said) and said.startswith("RuntimeError")


def test_a_widget_sends_and_shows_none(everything, monkeypatch):
    from etabli_widgets import ChatCompare, RunMonitor

    sent = []
    chat = ChatCompare({"tuned": lambda prompt: iter([everything])})
    monkeypatch.setattr(type(chat.comm), "publish_msg", lambda comm, kind, **message: sent.append(message))
    chat.ask(everything)
    chat.send({"line": {"text": everything}})
    chat.error = everything
    assert len(sent) > 3
    for text in (repr(sent), json.dumps(chat.get_state(), default=str), *map(str, chat._bundle().values())):
        assert clean(text)
    assert chat.get_state()["_esm"] == str(chat._esm), "scripts stay"
    events = [
        {"kind": "end", "t": 1, "state": "failed", "why": everything},
        {"kind": "sample", "t": 1, "text": everything},
    ]
    monitor = RunMonitor(events=events)
    assert clean(monitor.html()) and clean(json.dumps(monitor.get_state(), default=str))


def run_command(words, capsys, debug=False):
    from etabli.app.cli import run_command

    code = run_command(words, debug)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def noisy():
    """A command that does to the terminal what libraries and strangers do."""
    import click

    from etabli.app.cli import root
    from etabli.app.cli.output import reporting

    state = {}

    @click.command("noisy")
    @reporting(lambda result: result["text"])
    def command():
        print(state["text"])
        sys.stderr.write(warnings.formatwarning(state["text"], UserWarning, "x.py", 1, state["text"]))
        print(state["text"].encode("utf-8", "replace").decode(), file=sys.stderr, end="", flush=True)
        sys.stderr.buffer.write(state["text"].encode("utf-8", "replace"))
        if state.get("raises"):
            raise RuntimeError(state["text"])
        return {"text": state["text"], "deep": {state["text"]: [state["text"]]}}

    root.etabli.add_command(command)
    yield state
    del root.etabli.commands["noisy"]


def test_a_command_shows_no_secret(everything, noisy, capsys):
    for words in (["noisy"], ["noisy", "--json"]):
        noisy["text"], noisy["raises"] = everything, False
        code, out, err = run_command(words, capsys)
        assert code == 0 and clean(out) and clean(err) and out and err
    assert json.loads(out)
    for debug in (False, True):
        noisy["raises"] = True
        code, out, err = run_command(["noisy"], capsys, debug)
        assert code == 2 and clean(out + err) and ("Traceback" in err) == debug
    code, out, err = run_command(["train", "--nothing", everything], capsys)
    assert code == 2 and clean(out + err)


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SHAPES, "value"])
def test_a_secret_that_is_split_over_flushes_reaches_no_log(name, monkeypatch):
    monkeypatch.setenv("PLAIN_TOKEN", ODD["blanks"])
    around, secret = ("it is {}", ODD["blanks"]) if name == "value" else SHAPES[name]
    text = f"before {around.format(secret)} after"
    for cut in range(1, len(text)):
        out = io.StringIO()
        stream = streams.GuardedStream(out)
        for piece in (text[:cut], text[cut:]):
            stream.write(piece)
            stream.flush()
        assert secret not in out.getvalue()
        stream.end()
        assert out.getvalue() == secrets.cover_secrets(text), "and nothing is lost"


def test_letter_by_letter_nothing_is_lost_or_swapped(everything):
    out = io.StringIO()
    stream = streams.GuardedStream(out)
    for sign in everything:
        stream.write(sign)
        stream.flush()
    stream.end()
    assert clean(out.getvalue()) and len(out.getvalue()) == len(everything)


def test_a_line_that_never_ends_takes_memory_and_time_in_proportion():
    out = io.StringIO()
    stream = streams.GuardedStream(out)
    for _ in range(2_000):
        stream.write("word " * 20)
        assert len(stream._line) < 20_000
    stream.end()
    assert out.getvalue() == "word " * 40_000


def test_the_last_word_comes_when_the_process_ends():
    import subprocess

    code = "from etabli.core import streams; streams.guard_standard_streams(); print('the last', end='', flush=True)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "the last"


def test_a_terminal_without_such_signs_gets_them_written_out():
    raw = io.BytesIO()
    stream = streams.GuardedStream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("é password=correct" + "horse\n")
    stream.flush()
    assert raw.getvalue().startswith(b"\\xe9 password=\\u2022")


# --- terminals --------------------------------------------------------------------------------------------------------

ESCAPES = {
    "colour": "\x1b[31m",
    "clear": "\x1b[2J",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://x\x1b\\",
    "bell": "\x07",
    "clipboard": "\x1b]52;c;bWFsaWNl\x07",
    "C1 CSI": "\x9b31m",
    "C1 OSC": "\x9d0;x\x9c",
    "return": "a\rb",
    "back": "\b" * 5,
    "bidi": "\u202egnp.exe",
    "isolate": "\u2066x\u2069",
    "mark": "\u200f",
    "zero": "\u200b",
    "delete": "\x7f",
    "nul": "\x00",
    "tab": "\x0b",
    "form": "\x0c",
    "separator": "\u2028",
    "tag": "\U000e0041",
    "half": "\ud800",
    "bom": "\ufeff",
    "soft": "\xad",
}
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)


@pytest.mark.parametrize("kind", ESCAPES)
def test_what_a_terminal_would_obey_is_shown(kind, noisy, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = f"before {ESCAPES[kind]} after"
    noisy["text"] = text
    for words in (
        ["noisy"],
        ["noisy", "--json"],
        ["train", text],
        ["--" + text],
        [text],
        ["evaluate", "x", "--limit", text],
    ):
        for debug in (False, True):
            _, out, err = run_command(words, capsys, debug)
            assert not OBEYED.search(out + err), words
            if words == ["noisy", "--json"]:
                assert json.loads(out)["text"] == text, "what is written out is what JSON means by it"
    assert terminal.escape_controls(text).startswith("before ") and terminal.escape_controls(text).endswith(" after")


def test_nothing_is_lost_of_readable_text():
    for text in ("naïve café\n\tΩ", "می‌خواهم", "नमस्ते", "line\r\nline"):
        assert terminal.escape_controls(text) == text.replace("\r\n", "\n")


def test_terminal_and_widgets_know_the_same_signs():
    from etabli_widgets.markup import visible

    for code in range(0x10000):
        if code != 0x0D and not 0xD800 <= code < 0xE000:
            assert visible(chr(code)) == terminal.escape_controls(chr(code)), hex(code)


class Terminal(io.StringIO):
    """A terminal that keeps what is on its lines."""

    def isatty(self):
        return True

    def lines(self):
        shown = []
        for line in self.getvalue().split("\n"):
            cells = ""
            for part in line.split("\r"):
                cells = part + cells[len(part) :]
            shown.append(cells.rstrip())
        return shown


def test_a_progress_bar_rewrites_itself_and_nothing_else():
    from tqdm import tqdm

    out = Terminal()
    stream = streams.GuardedStream(out, rewriting=True)
    print("an important line", file=stream)
    with tqdm(total=3, file=stream, mininterval=0, ncols=60) as bar:
        for _ in range(3):
            bar.update()
    print("3/3", end="", file=stream)
    stream.write("\roverwritten?\n")
    stream.end()
    shown = out.lines()
    assert shown[0] == "an important line" and "100%" in shown[1] and "3/3" in shown[1]
    assert shown[2] == "3/3\\u000doverwritten?"
    assert "0%" in out.getvalue(), "it did move"


def test_in_a_log_each_state_of_a_bar_is_a_line():
    out = io.StringIO()
    stream = streams.GuardedStream(out)
    for step in range(3):
        stream.write(f"\rstep {step}")
        stream.flush()
    stream.write("\n")
    assert out.getvalue().split("\n") == ["step 0", "step 1", "step 2", ""]


def test_prints_of_the_python_api_are_plain(everything, capsys):
    from etabli.core.progress import ProgressLine

    line = ProgressLine()
    line.show(f"{everything} \x1b[2J", urgent=True)
    line.close()
    terminal.say(everything + "\x1b[2J")
    out, err = capsys.readouterr()
    assert clean(out + err) and not OBEYED.search(out + err) and "\\u001b[2J" in err


def test_every_print_of_the_package_goes_one_way():
    """No module prints by itself but those whose output is guarded: commands, the child, and the functions for it."""
    allowed = {"app/cli/__init__.py", "app/cli/output.py", "core/terminal.py", "training/worker.py", "core/progress.py"}
    # a child's JSON for its parent; a page for the docs
    allowed |= {"memory/trace_cache.py", "data/catalogue.py"}
    package = ROOT / "workbench" / "etabli"
    for path in package.rglob("*.py"):
        if path.relative_to(package).as_posix() not in allowed:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(?<![\w.])print\(|click\.echo\(|std(?:out|err)\.write\(", text), path


def test_a_logger_that_kept_a_commands_stream_writes_to_the_present_one(capsys):
    with streams.guarded_streams():
        kept = sys.stderr
    print("\x1b[2J and password=correct" + "horse", file=kept)
    out, err = capsys.readouterr()
    assert err == "\\u001b[2J and password=" + "•" * 12 + "\n" and not out


def test_streams_are_put_back_whatever_happens():
    before = sys.stdout, sys.stderr
    with contextlib.suppress(ZeroDivisionError), streams.guarded_streams():
        assert sys.stdout is not before[0]
        raise ZeroDivisionError
    assert (sys.stdout, sys.stderr) == before
