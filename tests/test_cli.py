"""Commands: exit codes, one JSON object on stdout, no traceback whatever is given."""

import json
import os
import shlex
import subprocess
import sys

import pytest

from etabli.app.cli import run_command


def run(capsys, *words):
    code = run_command(list(words), False)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


BAD = [
    (["train", "none.yaml"], "no such file"),
    (["train", "three.yaml"], "3 mistakes"),
    (["resume", "nowhere"], "holds no run"),
    (["stop", "nowhere"], "holds no run"),
    (["evaluate", "nowhere"], "holds no run"),
    (["evaluate", "nowhere", "--from-log"], "There are no results"),
    (["compare", "nowhere", "elsewhere"], "holds no run"),
    (["export", "nowhere", "--out", "x"], "holds no run"),
    (["data", "tokens", "none.jsonl"], "no file"),
    (["data", "tokens", "empty.jsonl"], "0 rows"),
    (["data", "tokens", "one.jsonl", "--row", "7"], "has 1 row,"),
    (["data", "tokens", "one.jsonl", "--policy", "some"], "answers, last, all"),
    (["data", "tokens", "one.jsonl", "--model", "no/model"], "can't be reached"),
    (["nonsense"], "No such command"),
    (["tour", "--steps", "0"], "--steps"),
    (["tour", "--out", "full"], "not empty"),
]


@pytest.fixture
def here(tmp_path, monkeypatch, no_owner):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three.yaml").write_text("seed: -1\nmodle: x\nlearning_rate: much\ndata: x\n")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "one.jsonl").write_text('{"prompt": "a <|im_end|>", "completion": "b"}\n')
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    return tmp_path


@pytest.mark.parametrize("words, said", BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_message_and_exit_2(here, capsys, words, said):
    before = sorted(here.rglob("*"))
    code, out, err = run(capsys, *words)
    assert code == 2 and said in err and out == ""
    assert sorted(here.rglob("*")) == before, "nothing half-written"


def test_tokens_as_json(here, capsys, tokenizer):
    code, out, _ = run(capsys, "data", "tokens", "one.jsonl", "--json")
    found = json.loads(out)
    assert code == 0 and len({len(found[key]) for key in ("ids", "text", "role", "trained")}) == 1
    trained = [i for i, flag in zip(found["ids"], found["trained"]) if flag]
    assert tokenizer.decode(trained) == "b<|im_end|>"
    assert not any(flag for flag, role in zip(found["trained"], found["role"]) if role == "user")


def test_the_doctor_examines_this_machine(here, capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)["checks"]}
    assert code == 0 and checks["four_bit"]["ok"], checks
    assert {"name", "ok", "detail", "fix"} == set(checks["device"])


@pytest.mark.parametrize(
    "card, runs",
    [((6, 0), False), ((7, 0), False), ((7, 5), True), ((8, 6), True), ((8, 9), True), ((9, 0), True), ((12, 1), True)],
)
def test_which_cards_a_torch_holds_code_for(card, runs):
    """The architectures of torch's CUDA 13 wheel: a P100 is too old, and a 4090 (8.9) runs what was built for 8.6."""
    from etabli.app.doctor.compute import runs_on

    assert runs_on(card, ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]) is runs
    assert runs_on((12, 1), ["sm_75", "compute_75"]) and not runs_on((8, 0), ["sm_90a"])


def test_the_doctor_names_who_holds_the_memory(monkeypatch):
    """A real process that holds 300 MB."""
    from etabli.app.doctor import place

    code = "held = bytearray(300_000_000); print('held', flush=True); input()"
    hog = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        hog.stdout.readline()
        assert hog.pid in [number for number, _, _ in place.largest_processes(limit=50)]
        monkeypatch.setattr(place, "ENOUGH_MEMORY", 1e15)
        ok, said, fix = place.memory()
        assert not ok and "GiB free" in said and fix.startswith("kill ")
    finally:
        hog.communicate("\n")


def test_the_doctor_tells_threads_that_spin_and_numbers_that_overflow(monkeypatch):
    from etabli.app.doctor import compute

    monkeypatch.setattr(compute, "SLOW", 0.0)
    assert compute.threads()[0] is False and "OMP_WAIT_POLICY" in compute.threads()[2]
    monkeypatch.setattr(compute, "HALF", 1.0)
    assert compute.overflow()[0] is not compute.machine.half_precision()
    monkeypatch.setattr(compute.machine, "half_precision", lambda: True)
    ok, said, fix = compute.overflow()
    assert not ok and "does NOT hold" in said and fix


@pytest.mark.parametrize(
    "where, device, well", [("colab", "cuda", True), ("colab", "cpu", False), ("kaggle", "cpu", False)]
)
def test_hosted_services_say_what_to_switch_on(where, device, well, monkeypatch):
    from etabli.app.doctor import place

    monkeypatch.setattr(place.machine, "detect_platform", lambda: where)
    monkeypatch.setattr(place.machine, "device", lambda: device)
    ok, said, fix = place.service()
    assert ok is well and where in said.casefold() and "GPU" in fix


def test_the_doctor_finds_a_broken_4_bit_layer(here, capsys, monkeypatch):
    from etabli.app import doctor

    monkeypatch.setattr(doctor.compute, "_relative_error", lambda value, reference: 0.9)
    code, out, _ = run(capsys, "doctor", "--json")
    broken = next(check for check in json.loads(out)["checks"] if check["name"] == "four_bit")
    assert code == 1 and not broken["ok"] and broken["fix"]


def test_no_runs(here, capsys):
    assert run(capsys, "runs", "--json")[:2] == (0, '{\n "runs": []\n}\n')


def test_interrupted_is_130(monkeypatch, capsys):
    from etabli.app.cli import root

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(root.etabli, "main", interrupted)
    assert run(capsys, "doctor")[0] == 130


def test_help_lists_every_command():
    done = subprocess.run([sys.executable, "-m", "etabli", "--help"], capture_output=True, text=True)
    for name in ("tour", "lab", "doctor", "data", "train", "resume", "stop", "runs", "evaluate", "compare", "export"):
        assert f"  {name} " in done.stdout


def test_evaluate_from_the_command_line(runs, here, capsys):
    words = [
        "evaluate",
        str(runs / "changed"),
        "--limit",
        "2",
        "--max-new-tokens",
        "4",
        "--score",
        "valid_json",
        "--score",
        "loss",
    ]
    code, out, _ = run(
        capsys, *words, "--by", "length", "--arm", "base", "--arm", "tuned", "--html", "card.html", "--json"
    )
    found = json.loads(out)
    assert code == 0 and {"scores", "verdict", "rows"} <= set(found)
    assert all(score["n"] and {"value", "low", "high"} <= set(score["arms"]["tuned"]) for score in found["scores"])
    assert "<script" not in (here / "card.html").read_text()
    code, out, _ = run(capsys, "evaluate", str(runs / "changed"), "--from-log")
    assert code == 0 and "follow from the saved rows, to the last bit" in out and "loss keeps its values" in out
    code, out, _ = run(capsys, "evaluate", str(runs / "changed"), "--from-log", "--score", "number", "--json")
    assert code == 0 and json.loads(out)["rows"][0]["values"]["number"]
    for words, said in (
        (["--from-log", "--limit", "1"], "--limit has no effect with --from-log"),
        (["--task", "x.yaml", "--by", "lang"], "--by has no effect with --task"),
    ):
        code, out, err = run(capsys, "evaluate", str(runs / "changed"), *words)
        assert code == 2 and said in err
    log = runs / "changed" / "results.json"
    log.write_text(log.read_text().replace('"nothing"', '"n"').replace('"value": 0.0', '"value": 0.5', 1))
    code, out, _ = run(capsys, "evaluate", str(runs / "changed"), "--from-log", "--json")
    assert code == 1 and json.loads(out)["again"]["same"] is False


def test_compare_from_the_command_line(runs, here, capsys):
    words = ["compare", str(runs / "changed"), str(runs / "other"), "--limit", "2", "--max-new-tokens", "4"]
    code, out, _ = run(capsys, *words)
    assert code == 0 and out.startswith("What differs in the recipes:\n  seed: 0 → 1\n")
    code, out, _ = run(capsys, *words, "--json")
    found = json.loads(out)
    assert code == 0 and found["recipes"] == {"seed": [0, 1]} and found["subject"] == "other"


def test_a_task_that_is_none(runs, here, capsys):
    (here / "task.yaml").write_text("task: x\ndataset_path: json\n")
    for words, said in ((["nowhere.yaml"], "There is no task"), (["task.yaml"], "lm-eval can't run task.yaml")):
        code, out, err = run(capsys, "evaluate", str(runs / "changed"), "--task", *words)
        assert code == 2 and said in err and out == ""


def test_nothing_but_json_on_stdout_whatever_a_score_prints(runs, here):
    """Also from a process that the score starts. And where no row could be scored, the exit code says so."""
    (here / "loud.py").write_text(
        "import os\ndef loud(answer, truth):\n    os.system('echo loud')\n    print('loud')\n    1 / 0\n"
    )
    words = ["evaluate", str(runs / "changed"), "--score", "loud.py", "--limit", "1", "--max-new-tokens", "2", "--json"]
    done = subprocess.run([sys.executable, "-m", "etabli", *words], capture_output=True, text=True, cwd=here)
    found = json.loads(done.stdout)
    assert done.returncode == 1 and "loud" in done.stderr
    assert found["verdict"]["all"]["n"] == 0 and "no row of loud could be scored" in found["verdict"]["all"]["why"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root is refused")
@pytest.mark.parametrize("arguments", [[], ["my notes", "--port=9000"]])
def test_lab_as_root_names_the_command_that_does_it(tmp_path, arguments):
    command = [sys.executable, "-m", "etabli", "lab", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "does not run as root" in done.stderr and not list(tmp_path.iterdir())
    wanted = shlex.join(["etabli", "lab", *(arguments or ["etabli-notebooks"]), "--allow-root"])
    assert wanted in done.stderr


@pytest.mark.parametrize("arguments, folder", [(["--version"], "etabli-notebooks"), (["mine", "--version"], "mine")])
def test_lab_hands_its_flags_to_jupyterlab(tmp_path, arguments, folder):
    """As root it takes --allow-root, and a port that is free: both are JupyterLab's own flags."""
    command = [sys.executable, "-m", "etabli", "lab", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip()[0].isdigit(), done.stderr
    assert (tmp_path / folder / "00_machine.ipynb").is_file() and len(list(tmp_path.iterdir())) == 1
