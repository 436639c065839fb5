"""A stranger's folder is data: what it names is not run without a yes, and the yes is to bytes, for one user alone."""

import ast
import json
import os
import py_compile
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import etabli
import etabli_widgets
from etabli.app.cli import run_command
from etabli.checks import custom_rules
from etabli.core import processes, storage, trust
from etabli.core.contracts import EVENTS, RECIPE, RESULTS
from etabli.core.errors import BadInput, EtabliError, UntrustedCode
from etabli.curation.recipe import CurationRecipe
from etabli.curation.session import curate
from etabli.evaluation import lm_eval, rescore
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from etabli.training import batch_lens, worker

PACKAGE = Path(etabli.__file__).parent
RULES = "\nimport etabli\n@etabli.own_filter\ndef calm(row):\n    return True\n"
CALLBACKS = "\ndef on_step(event):\n    pass\n"
ENCODER = "\nimport numpy\ndef ones(texts):\n    return numpy.ones((len(texts), 3))\n"
SCORES = "\ndef polite(answer, truth):\n    return 'please' in answer\n"


def canary(marker, rest=""):
    """A Python file that adds its name to the marker whenever it is run."""
    return f"import pathlib\nwith pathlib.Path({str(marker)!r}).open('a') as file:\n    file.write('run ')\n{rest}"


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def stranger(runs, tmp_path, marker, no_owner, monkeypatch):
    """Somebody else's folder: a whole run with rules and callbacks, a curation recipe, an encoder, results, a task."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_trusted_here", set())
    home = tmp_path / "stranger"
    shutil.copytree(runs / "changed", home / "run")
    shutil.copytree(runs / "data", home / "data")
    for name, rest in (("rules", RULES), ("watch", CALLBACKS), ("enc", ENCODER), ("mine", SCORES), ("utils", SCORES)):
        (home / f"{name}.py").write_text(canary(marker, rest))
    model = Run.attach(runs / "changed").recipe.model
    Recipe(model=model, data="data", rules="rules.py", callbacks="watch.py", max_steps=1).save(home / "run" / RECIPE)
    (home / "run" / EVENTS).write_text('{"kind": "end", "state": "stopped", "why": "x", "t": 0}\n')
    filters = [{"filter": "own", "rules": "rules.py"}, {"filter": "semantic"}]
    CurationRecipe(data="data", filters=filters, encoder="enc.py:ones").save(home / "curate.yaml")
    (home / "task.yaml").write_text("task: x\ndataset_path: json\nprocess_docs: !function utils.polite\n")
    (home / "prompts.txt").write_text("Hello?\n")
    hidden_modules = (
        "yaml",
        "torch",
        "etabli",
        "json",
        "runpy",
        "pickle",
        "socket",
    )  # found first by a Python that looks beside it
    for name in hidden_modules:
        (home / f"{name}.py").write_text(canary(marker, "raise SystemExit(3)"))
    monkeypatch.chdir(home)
    return home


@pytest.fixture
def result_of_a_file(answered, stranger, marker):
    """Results whose score names a file of the folder, with the very hash that the file has."""
    saved = rescore.add_scores(answered, [str(stranger / "mine.py")])
    marker.unlink()
    saved["metrics"][-1]["spec"] = "mine.py:polite"
    assert saved["metrics"][-1]["hash"] == storage.sha256("mine.py")
    storage.write_json(stranger / "run" / RESULTS, saved)
    return saved


# Every command over the folder, as a person would type it there; how it ends is not asked, but for "refused".
REFUSED = [
    ["evaluate", "run", "--limit", "1", "--max-new-tokens", "2"],
    ["evaluate", "run", "--task", "task.yaml"],
    ["compare", "run", "other", "--limit", "1"],
    ["compare", "other", "run", "--limit", "1"],
    ["chat", "run", "Hello?", "--side", "prompted", "--side", "tuned"],
    ["arena", "run", "--prompts", "prompts.txt", "--arm", "lookup", "--arm", "tuned"],
    ["resume", "run"],
    ["train", "run/recipe.yaml", "--run", "new"],
    ["lr-range", "run/recipe.yaml", "--out", "new"],
    ["data", "prepare", "curate.yaml", "--out", "curated"],
    ["data", "rows", "curate.yaml"],
    ["data", "decide", "curate.yaml", "x", "keep"],
    ["data", "ablate", "curate.yaml", "--out", "ablated"],
    ["data", "ablate", "data", "--train", "run/recipe.yaml", "--out", "ablated", "--steps", "1"],
]
OTHERS = [
    ["evaluate", "run", "--from-log"],
    ["export", "run", "--out", "exported"],
    ["export", "run", "--to", "merged", "--out", "merged"],
    ["seal", "run", "--forms", "merged", "--limit", "1"],
    ["card", "run"],
    ["synth", "recipe.yaml", "--out", "made"],
    ["chat", "run"],
    ["chat", "run", "Hello?", "--max-new-tokens", "2"],
    ["arena", "run", "--look"],
    ["arena", "run", "--prompts", "prompts.txt", "--look"],
    ["votes", "pool", "run/votes.jsonl"],
    ["token-diff", "run", "--limit", "1"],
    ["film", "run"],
    ["memory", "run"],
    ["overlay", "run"],
    ["runs", "."],
    ["stop", "run"],
    ["data", "check", "data"],
    ["data", "check", "dataset_info.json#evil"],
    ["data", "read", "dataset_info.json#evil", "--out", "new"],
    ["data", "tokens", "dataset_info.json#evil"],
]


@pytest.fixture
def hostile(stranger, runs, answered, result_of_a_file):
    """The folder with everything that a command could look at."""
    shutil.copytree(runs / "other", stranger / "other")
    (stranger / "dataset_info.json").write_text(json.dumps({"evil": {"script_url": "mine.py"}}))
    return stranger


def test_no_command_runs_what_a_strangers_folder_names(hostile, marker, capsys):
    before = trust.read_record()
    for words in (*REFUSED, *OTHERS):
        code = run_command(words, False)
        out, err = capsys.readouterr()
        assert not marker.exists(), words
        if words in REFUSED:
            assert code == 2 and out == "", words
            assert "was not run" in err and shlex.join(["etabli", *words, "--trust-code"]) in err, (words, err)
        else:
            assert "was not run" not in err, (words, err)
    assert trust.read_record() == before == {}
    assert not [name for name in ("new", "curated", "ablated") if (hostile / name).exists()], "nothing half-written"


def test_every_command_is_in_this_test():
    """A new command has to be tried over the hostile folder too."""
    import click

    from etabli.app.cli.root import etabli as root

    def names(group, before=()):
        for name, command in group.commands.items():
            inside = isinstance(command, click.Group)
            yield from names(command, (*before, name)) if inside else [(*before, name)]

    tried = {tuple(words[:depth]) for words in (*REFUSED, *OTHERS) for depth in (1, 2)}
    assert {*names(root)} - tried == {("tour",), ("lab",), ("doctor",)}, "these three read no folder of a stranger"


def test_a_process_imports_nothing_from_the_working_folder(hostile, tmp_path, marker):
    """A command in a process of its own, which starts others: the folder holds a torch.py, a runpy.py, an etabli.py."""
    script = tmp_path / "bin" / "etabli"  # as pip makes it
    script.parent.mkdir()
    script.write_text("from etabli.app.cli import main\nif __name__ == '__main__':\n    main()\n")
    rows = "\n".join(json.dumps({"prompt": f"{at}?", "completion": "yes"}) for at in range(2000))
    (hostile / "rows.jsonl").write_text(rows)
    checked = [sys.executable, str(script), "data", "check", "rows.jsonl", "--workers", "2"]
    done = subprocess.run(checked, capture_output=True, text=True, cwd=hostile)
    assert not marker.exists() and "2,000 rows" in done.stdout, done
    trained = [sys.executable, "-m", "etabli.training.worker", str(hostile / "run")]
    done = subprocess.run(trained, capture_output=True, text=True, cwd=hostile, env=processes.child_environment())
    assert not marker.exists() and "was not run" in done.stderr, done.stderr
    assert "etabli resume" in Run.attach(hostile / "run").why


# --- the yes --------------------------------------------------------------------------------------------------------


def asked_for(words, capsys):
    code = run_command(words, False)
    return code, *capsys.readouterr()


def test_a_yes_is_shown_once_remembered_and_only_for_these_bytes(stranger, marker, capsys, tmp_path, monkeypatch):
    words = ["evaluate", "run", "--limit", "1", "--max-new-tokens", "2", "--json"]
    sha256 = storage.sha256("rules.py")
    code, out, err = asked_for(words, capsys)
    assert code == 2 and "rules.py" in err and sha256[:12] in err and not marker.exists()
    code, out, err = asked_for([*words, "--trust-code"], capsys)
    assert code == 0 and marker.exists() and json.loads(out)["rows"]
    assert f"rules.py (sha256 {sha256})" in err and "watch.py" not in err, "a yes to what is run here, no more"
    assert set(trust.read_record()) == {sha256}
    monkeypatch.setattr(trust, "_trusted_here", set())  # as another process
    code, out, err = asked_for(words, capsys)
    assert code == 0 and "rusted" not in err
    marker.unlink()
    (stranger / "rules.py").write_text((stranger / "rules.py").read_text() + "#")
    assert asked_for(words, capsys)[0] == 2 and not marker.exists(), "a changed byte asks again"
    (stranger / "rules.py").write_text((stranger / "rules.py").read_text()[:-1])
    assert asked_for(words, capsys)[0] == 0
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "another"))
    monkeypatch.setattr(trust, "_trusted_here", set())
    marker.unlink()
    assert asked_for(words, capsys)[0] == 2 and not marker.exists(), "another user asks again"


@pytest.fixture
def record(tmp_path, monkeypatch):
    """A record with one file in it, as another process sees it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_trusted_here", set())
    (tmp_path / "rules.py").write_text(RULES)
    code = trust.read_code(tmp_path / "rules.py", "rules")
    trust.remember([code])
    monkeypatch.setattr(trust, "_trusted_here", set())
    assert set(trust.read_record()) == {code.sha256}
    return trust.record_file()


def test_the_record_is_the_users_alone(record):
    assert record.stat().st_mode & 0o777 == 0o600 and record.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in record.parent.iterdir() if path.name.startswith(".trusted-code.json.")] in (
        [],
        [".trusted-code.json.lock"],
    )


def _open_to_all(record):
    record.chmod(0o666)


def _open_to_the_group(record):
    record.chmod(0o620)


def _in_an_open_folder(record):
    record.parent.chmod(0o777)


def _a_link(record):
    record.replace(record.with_name("elsewhere"))
    record.symlink_to(record.with_name("elsewhere"))


def _a_fifo(record):
    record.unlink()
    os.mkfifo(record, 0o600)


def _a_folder(record):
    record.unlink()
    record.mkdir(0o700)


def _somebody_elses(record):
    if os.geteuid():
        pytest.skip("only root can give a file away")
    os.chown(record, 12345, 12345)


def _nonsense(record):
    record.write_text("[" * 100_000)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
@pytest.mark.parametrize(
    "tamper",
    [_open_to_all, _open_to_the_group, _in_an_open_folder, _a_link, _a_fifo, _a_folder, _somebody_elses, _nonsense],
)
def test_a_record_that_others_could_have_written_says_nothing(record, tmp_path, tamper):
    tamper(record)
    assert trust.read_record() == {}
    with pytest.raises(UntrustedCode):
        custom_rules.load_rules(tmp_path / "rules.py")


def test_a_new_yes_does_not_take_over_what_others_wrote(record, tmp_path):
    record.write_text(json.dumps({"0" * 64: {}}))
    record.chmod(0o666)
    (tmp_path / "other.py").write_text(RULES + "#")
    trust.remember([trust.read_code(tmp_path / "other.py", "rules")])
    assert set(trust.read_record()) == {storage.sha256(tmp_path / "other.py")}
    assert record.stat().st_mode & 0o777 == 0o600


def test_where_nothing_can_be_kept_the_yes_holds_for_now(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trust, "_trusted_here", set())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))  # no folder can be made in a file
    (tmp_path / "rules.py").write_text(RULES)
    trust.require([trust.read_code(tmp_path / "rules.py", "rules")], trust_code=True)
    assert "can't be written" in capsys.readouterr().err
    assert [rule.name for rule in custom_rules.load_rules(tmp_path / "rules.py")] == ["calm"]


def test_yes_from_many_processes_at_once_loses_none(record, tmp_path):
    code = (
        "import sys; from etabli.core import trust\n"
        "for at in range(8):\n    trust.remember([trust.Code(__import__('pathlib').Path('x'), "
        "f'{sys.argv[1]} {at}'.encode(), 'rules')])\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, str(number)], cwd=tmp_path) for number in range(3)]
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    assert len(trust.read_record()) == 1 + 3 * 8


# --- the bytes that are hashed are the bytes that are run -------------------------------------------------------------


def test_what_was_read_is_what_is_run(tmp_path, marker):
    file = tmp_path / "rules.py"
    file.write_text(RULES)
    code = trust.read_code(file, "rules")
    file.write_text(canary(marker))  # after the hash, before the run
    assert [rule.name for rule in custom_rules.load_rules_file(code)] == ["calm"] and not marker.exists()


def test_no_cached_bytecode_is_run(tmp_path, marker):
    """An unchecked .pyc beside a harmless file is what Python's own import would run."""
    file = tmp_path / "rules.py"
    file.write_text(canary(marker, RULES))
    py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_text(RULES)
    assert custom_rules.load_rules_file(trust.read_code(file, "rules")) and not marker.exists()


def test_a_worker_refuses_a_file_that_changed_since_it_was_started(stranger, marker, monkeypatch):
    """What the parent said yes to is passed by its hash; the worker compares the bytes that it has read itself."""
    agreed = [storage.sha256("rules.py"), storage.sha256("watch.py")]
    (stranger / "watch.py").write_text((stranger / "watch.py").read_text() + "#")
    options = [f"--code={sha256}" for sha256 in agreed]
    command = [sys.executable, "-P", "-m", "etabli.training.worker", str(stranger / "run"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=stranger.parent, timeout=300)
    assert done.returncode == 2 and not marker.exists()
    assert "watch.py" in done.stderr and "rules.py" not in done.stderr


def test_rules_named_to_the_check_are_those_it_began_with(tmp_path):
    from etabli.checks import row

    (tmp_path / "rules.py").write_text(RULES)
    with pytest.raises(BadInput, match="was changed while the check went on"):
        row._load_rules_file(str(tmp_path / "rules.py"), "0" * 64)


# --- one's own ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mine(tiny, dataset, tmp_path, marker, monkeypatch):
    """A recipe of one's own with rules and callbacks."""
    monkeypatch.setenv("ETABLI_CACHE", str(tmp_path / "cache"))  # the child's, too: who owns the device stands there
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_trusted_here", set())
    (tmp_path / "rules.py").write_text(canary(marker, RULES))
    (tmp_path / "watch.py").write_text(CALLBACKS)
    keys = {"max_steps": 2, "eval_every": 9, "sample_every": 9, "checkpoint_every": 9, "threads": 1}
    own_files = {"rules": str(tmp_path / "rules.py"), "callbacks": str(tmp_path / "watch.py")}
    return Recipe(model=tiny, data=str(dataset), **keys, **own_files)


def test_who_trains_says_yes_and_evaluates_without_a_flag(mine, tmp_path, marker, monkeypatch):
    mine.save(tmp_path / "mine.yaml")
    run = Run.start(Recipe.load(tmp_path / "mine.yaml"), tmp_path / "runs" / "mine").wait(quiet=True)
    assert run.state == "completed" and marker.exists()
    monkeypatch.setattr(trust, "_trusted_here", set())  # as another process of the same user
    assert etabli.evaluate(run, limit=1, max_new_tokens=2, arms=["base", "tuned"], save=False)["rows"]
    with pytest.raises(BadInput, match="complete"):
        run.resume()
    copied = tmp_path / "copied"
    shutil.copytree(run.folder, copied)
    (tmp_path / "rules.py").write_text((tmp_path / "rules.py").read_text() + "#")
    marker.unlink()
    with pytest.raises(UntrustedCode, match=r"rules\.py"):
        etabli.evaluate(copied, limit=1, max_new_tokens=2, save=False)
    assert not marker.exists()


def test_a_recipe_in_a_run_folder_is_nobodys_own(mine, tmp_path, marker):
    """Named on the command line or handed on in Python, renamed beside it, or behind a link: it may be a stranger's."""
    folder = tmp_path / "shared" / "run"
    mine.save(folder / RECIPE)
    shutil.copy2(folder / RECIPE, folder / "other.yaml")
    (tmp_path / "link.yaml").symlink_to(folder / RECIPE)
    for recipe in (
        Recipe.load(folder / RECIPE),
        Recipe.load(folder / "other.yaml"),
        Recipe.load(tmp_path / "link.yaml"),
        Run.attach(folder).recipe,
    ):
        with pytest.raises(UntrustedCode):
            Run.start(recipe, tmp_path / "new")
    assert not marker.exists() and not (tmp_path / "new").exists()
    (folder / "rules.py").write_text(canary(marker, RULES))
    inside = Recipe(**{**mine.keys(), "rules": str(folder / "rules.py")})
    with pytest.raises(UntrustedCode):
        Run.start(inside, tmp_path / "new")


def test_a_look_at_a_batch_runs_no_rules_of_a_file(mine, tmp_path, marker):
    mine.save(tmp_path / "mine.yaml")
    with pytest.raises(UntrustedCode, match=r"etabli\.lens"):
        batch_lens.Batch(tmp_path / "mine.yaml", loss=False)
    assert not marker.exists()
    assert batch_lens.Batch(mine, loss=False).facts["rows"] and marker.exists(), "its maker named them in this program"
    assert batch_lens.Batch(tmp_path / "mine.yaml", loss=False).facts["rows"]


def test_a_worker_started_by_hand_asks_too(mine, tmp_path, marker, capsys, monkeypatch):
    mine.save(tmp_path / "run" / RECIPE)
    monkeypatch.setattr(worker.streams, "guard_standard_streams", lambda: None)
    assert worker.main(str(tmp_path / "run")) == 2 and not marker.exists()
    assert "etabli resume" in capsys.readouterr().err
    assert worker.main(str(tmp_path / "run"), trust_code=True) == 0 and marker.exists()


def test_curation_asks_for_what_a_file_names_and_not_for_what_is_named_here(stranger, marker):
    with pytest.raises(UntrustedCode, match=r"rules\.py.*enc\.py"):
        curate("curate.yaml")
    with pytest.raises(UntrustedCode):
        curate(CurationRecipe.load("curate.yaml").locate_files(stranger / "curate.yaml"))
    assert not marker.exists()
    assert curate("curate.yaml", trust_code=True).result.kept_rows and marker.exists()


def test_what_is_named_in_this_call_is_run_at_once(stranger, marker):
    assert curate("data", {"filters": [{"filter": "own", "rules": "rules.py"}]}).result.kept_rows and marker.exists()


def test_recipes_are_equal_if_their_keys_are_wherever_they_were_read(tmp_path):
    Recipe(data="x").save(tmp_path / "r.yaml")
    read = Recipe.load(tmp_path / "r.yaml")
    assert read == Recipe(data="x") != Recipe(data="y") and hash(read) == hash(Recipe(data="x"))
    assert read.file == tmp_path / "r.yaml" and Recipe(data="x").file is None
    assert read.model_copy(update={"seed": 3}).file == read.file


# --- scores of a log ------------------------------------------------------------------------------------------------


def test_results_name_no_file_that_is_run(result_of_a_file, stranger, marker, capsys):
    """The hash in the results is the file's: that proves nothing."""
    made, told = rescore.rescore_results(rescore.read_results("run"))
    assert not marker.exists() and "polite" not in told["rescored"]
    assert "not scored again" in told["kept"]["polite"] and told["same"]
    assert [row["values"]["polite"] for row in made["rows"]] == [
        row["values"]["polite"] for row in result_of_a_file["rows"]
    ]
    code, out, _ = asked_for(["evaluate", "run", "--from-log"], capsys)
    assert code == 0 and not marker.exists() and "polite keeps its values: not scored again" in out


def test_a_score_that_is_named_now_is_made_again(result_of_a_file, stranger, marker, capsys):
    code, out, _ = asked_for(["evaluate", "run", "--from-log", "--score", "mine.py", "--json"], capsys)
    told = json.loads(out)["again"]
    assert code == 0 and marker.exists() and "polite" in told["rescored"] and told["same"]
    (stranger / "mine.py").write_text(SCORES + "#")
    code, out, _ = asked_for(["evaluate", "run", "--from-log", "--score", "mine.py:polite", "--json"], capsys)
    assert "changed since" in json.loads(out)["again"]["kept"]["polite"]


FILES = ["mine.py:polite", "./mine.py", "mine.py", "json_schema:mine.py", ["mine.py"], {"mine.py": 1}, None, "MINE.PY"]


def test_no_spec_of_a_result_opens_a_file(answered, stranger, marker, monkeypatch):
    forged = json.loads(storage.to_json(answered))
    name, opened = forged["metrics"][0]["name"], []
    monkeypatch.setattr(trust, "read_code", lambda *given: opened.append(given))
    real = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path, *a, **k: opened.append(path) or real(path, *a, **k))
    for spec in FILES:
        forged["metrics"][0]["spec"] = spec
        assert name in rescore.rescore_results(forged)[1]["kept"], spec
        assert not opened and not marker.exists(), spec


# --- what other packages would run ------------------------------------------------------------------------------------


def test_a_task_names_files_that_need_the_yes(stranger, marker):
    (stranger / "outer.yaml").write_text("include: task.yaml\ntask: y\ndataset_path: json\n")
    for task in ("task.yaml", "outer.yaml"):
        with pytest.raises(UntrustedCode, match=r"utils\.py"):
            lm_eval.evaluate_task("run", task)
    (stranger / "os.yaml").write_text("task: x\ndataset_path: json\nprocess_docs: !function os.system\n")
    with pytest.raises(BadInput, match=r"names the function 'os\.system'"):
        lm_eval.evaluate_task("run", "os.yaml")
    assert not marker.exists()


def test_an_adapter_can_not_ask_for_an_import(runs, tmp_path, no_owner):
    shutil.copytree(runs / "changed", tmp_path / "run")
    file = tmp_path / "run" / "adapter" / "adapter_config.json"
    keys = json.loads(file.read_text()) | {"megatron_config": {"a": 1}, "megatron_core": "payload"}
    file.write_text(json.dumps(keys))
    (tmp_path / "run" / "adapter" / "MANIFEST.json").unlink()
    for words in (
        ["export", "--out", "out"],
        ["export", "--to", "merged", "--out", "out"],
        ["evaluate", "--limit", "1"],
    ):
        assert run_command([words[0], str(tmp_path / "run"), *words[1:]], False) == 2
    with pytest.raises(EtabliError, match="import 'payload'"):
        etabli.load(Run.attach(tmp_path / "run").recipe.model, adapter=file.parent)
    with pytest.raises(BadInput, match="can't be set in a recipe"):
        Recipe(data="x", lora={"megatron_core": "payload"})


def test_a_model_can_not_bring_code(tiny, tmp_path, marker, monkeypatch):
    """Neither is its code run, nor is anybody asked whether it may be."""
    from etabli.models import loading

    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    (folder / "payload.py").write_text(canary(marker, "class C: pass\n"))
    for name in ("config.json", "tokenizer_config.json"):
        keys = json.loads((folder / name).read_text())
        auto = {"AutoConfig": "payload.C", "AutoModelForCausalLM": "payload.C", "AutoTokenizer": ["payload.C", None]}
        (folder / name).write_text(json.dumps(keys | {"auto_map": auto}))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked"))
    assert loading.load(str(folder), four_bit=False, device="cpu").model
    assert not marker.exists()


# --- the kind -------------------------------------------------------------------------------------------------------

# What runs a file, or may; each with the one place that is allowed to, and why.
ALLOWED = {
    ("core/trust.py", "exec"): "the one place",
    ("core/trust.py", "compile"): "the one place",
    ("evaluation/scores/libraries.py", "importlib.import_module"): "a module of an installed package, by its own name",
    ("__init__.py", "importlib.import_module"): "this package's own modules",
    ("memory/__init__.py", "importlib.import_module"): "this package's own modules",
    ("training/oom.py", "ctypes.CDLL"): "the C library that is loaded already",
    ("exports/quantise_gguf.py", "ctypes.CDLL"): "the library of xllamacpp, which is imported already",
    ("data/reading/hub.py", "trust_remote_code in a mapping"): "False, to a version of datasets that still asks",
    ("data/reading/axolotl.py", "trust_remote_code in a mapping"): "a key that is refused unless it is False",
}
RUNS_CODE = {
    "exec",
    "eval",
    "compile",
    "execfile",
    "__import__",
    "runpy.run_path",
    "runpy.run_module",
    "importlib.import_module",
    "torch.load",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "joblib.load",
    "marshal.loads",
    "shelve.open",
    "pandas.read_pickle",
    "pd.read_pickle",
    "dill.load",
    "dill.loads",
    "cloudpickle.load",
    "cloudpickle.loads",
    "yaml.load",
    "yaml.full_load",
    "yaml.unsafe_load",
    "yaml.load_all",
    "os.system",
    "os.popen",
    "pty.spawn",
    "code.interact",
    "ctypes.CDLL",
    "imp.load_source",
}
MODULES = {"runpy", "pickle", "dill", "cloudpickle", "marshal", "shelve", "imp", "pty", "code", "codeop", "zipimport"}

RUNNERS = {"exec_module", "load_module", "read_pickle", "spec_from_file_location", "module_from_spec"}
KEEPS_OUT = {"shell": False, "trust_remote_code": False, "allow_pickle": False, "weights_only": True}


def dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def imports(node):
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
    if isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.split(".")[0] in MODULES or name == "importlib.import_module")


def keywords(node):
    """A keyword that lets code in, unless its value is written out and keeps it out."""
    said = node.value if isinstance(node, ast.keyword) and node.arg in KEEPS_OUT else None
    if said and not (isinstance(said, ast.Constant) and said.value is KEEPS_OUT[node.arg]):
        yield node.arg
    if isinstance(node, ast.Constant) and node.value in {*KEEPS_OUT} - {"shell"}:  # IPython's shell is asked for, too
        yield f"{node.value} in a mapping"


def calls(node):
    if isinstance(node, ast.Attribute) and node.attr in RUNNERS:
        yield node.attr
    if isinstance(node, ast.Call):
        called = dotted(node.func)
        if called in RUNS_CODE:
            yield called
        auto = called.startswith("Auto") and called.endswith((".from_pretrained", ".from_config"))
        if auto and "trust_remote_code" not in {word.arg for word in node.keywords}:
            yield f"{called} without trust_remote_code=False"


def code_runners(text):
    """What in a module runs code that is not its own; by name, as ``ALLOWED`` has it."""
    return [what for node in ast.walk(ast.parse(text)) for look in (imports, keywords, calls) for what in look(node)]


def test_code_is_run_in_one_place_alone():
    found = set()
    for package in (PACKAGE, Path(etabli_widgets.__file__).parent):
        for path in package.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            found |= {(path.relative_to(package).as_posix(), what) for what in code_runners(text)}
    assert found == {*ALLOWED}


@pytest.mark.parametrize(
    "text",
    [
        "exec(x)",
        "import pickle",
        "from pickle import loads",
        "import runpy as r",
        "torch.load(f)",
        "yaml.load(f, L)",
        "spec.loader.exec_module(m)",
        "f(shell=True)",
        "f(shell=x)",
        "g(trust_remote_code=True)",
        "load(allow_pickle=1)",
        "AutoModel.from_pretrained(f)",
        "importlib.import_module(n)",
        "from importlib import import_module",
        "torch.load(f, weights_only=False)",
        "os.system(c)",
        "pd.read_pickle(f)",
        "eval(x)",
        "compile(x, y, z)",
    ],
)
def test_the_search_finds_each_kind(text):
    assert code_runners(text)


def test_every_process_is_started_apart_from_the_working_folder():
    """``python -m`` looks into the working folder first, which may be a stranger's."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = dotted(node.func) if isinstance(node, ast.Call) else ""
            if called not in ("subprocess.Popen", "subprocess.run", "subprocess.call", "subprocess.check_output"):
                continue
            text = ast.unparse(node)
            own_python = "sys.executable" in text or "command" in text or "_launcher" in text
            apart = "child_environment" in text or "PYTHONSAFEPATH" in text or "sys.executable, '-P'" in text
            assert not own_python or apart, (path, text)
