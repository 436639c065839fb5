"""What happens to a run when what is around it goes: a hang-up, a killed rank, a full disk; and what is said."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etabli.core.contracts import EVENTS, RECIPE, Continuity
from etabli.core.errors import EtabliError
from etabli.runs import checkpoints, continuity, events
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from in_process import dies_after, in_process


def recipe(tiny, dataset, **keys):
    given = {"max_steps": 8, "eval_every": 100, "sample_every": 100, "checkpoint_every": 2, "threads": 1, **keys}
    return Recipe(model=tiny, data=str(dataset), **given)


def slowly(folder, after, seconds=0.4):
    file = folder / "slow.py"
    file.write_text(f"import time\ndef on_step(event):\n    time.sleep({seconds} if event['step'] > {after} else 0)\n")
    return str(file)


def until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def at_step(run, step):
    return events.last_of_kind(run.events(), "step").get("step", 0) >= step


def pid(run):
    return json.loads((run.folder / "process.json").read_text())["pid"]


# --- the same run? --------------------------------------------------------------------------------------------------


def step(at, loss, **more):
    return {"kind": "step", "step": at, "loss": loss, "grad_norm": 1.0, "lr": 0.1, "trained_tokens": 5, **more}


def resume(at):
    return {"kind": "resume", "step": at}


@pytest.mark.parametrize(
    ("written", "due", "again", "first", "words"),
    [
        ([step(1, 2.0), resume(1), step(2, 1.0)], 0, 0, None, "nothing to compare"),
        ([step(1, 2.0), step(2, 1.5), resume(1)], 1, 0, None, "none was done again"),
        (
            [step(1, 2.0), step(2, 1.5), step(3, 1.2), resume(1), step(2, 1.5)],
            2,
            1,
            None,
            "1 step of 2 after it done again",
        ),
        ([step(1, 2.0), step(2, 1.5), resume(1), step(2, 1.5)], 1, 1, None, "the same to the last bit"),
        ([step(1, 2.0), step(2, 1.5), resume(1), step(2, 1.5000001)], 1, 1, 2, "NOT the same run: step 2"),
        ([step(1, 2.0), step(2, 1.5), resume(1), step(2, 1.5, lr=0.2)], 1, 1, 2, "NOT the same run"),
    ],
)
def test_steps_done_twice_tell(written, due, again, first, words):
    (made,) = continuity.compare_repeated_steps(written)
    assert set(made) == set(Continuity.__annotations__)
    assert (made["due"], made["again"], made["first_difference"]) == (due, again, first)
    assert words in continuity.describe(made)


@given(
    st.lists(
        st.tuples(st.sampled_from(["step", "resume"]), st.integers(0, 6), st.sampled_from([1.0, 2.0])), max_size=25
    )
)
def test_any_story_is_told(story):
    written = [step(at, loss) if kind == "step" else resume(at) for kind, at, loss in story]
    made = continuity.compare_repeated_steps(written)
    assert len(made) == sum(kind == "resume" for kind, *_ in story)
    assert all(one["first_difference"] is None or one["first_difference"] > one["step"] for one in made)
    assert all(continuity.describe(one) for one in made)


@pytest.mark.parametrize("odd", [{"step": None}, {"step": "x"}, {"loss": "nan"}, {"loss": None}])
def test_a_damaged_line_is_no_proof(odd):
    written = [step(1, 2.0), {**step(2, 1.5), **odd}, resume(1), {**step(2, 1.5), **odd}, step(3, 1.0)]
    assert len(continuity.compare_repeated_steps(written)) == 1


def test_killed_and_resumed_shows_that_it_is_the_same_run(tiny, dataset, tmp_path, cache):
    run = Run.start(recipe(tiny, dataset, checkpoint_every=3, callbacks=dies_after(5, tmp_path)), tmp_path / "run")
    until(lambda: run.state == "lost")
    monitor = run.show()
    assert monitor.state == "lost" and monitor.resumable
    monitor.received({"type": "resume"})
    until(lambda: monitor.state == "completed")
    (proof,) = Run.attach(run.folder).progress()["continuity"]
    assert proof["step"] == 3 and proof["again"] == proof["due"] >= 2 and proof["first_difference"] is None
    assert "the same to the last bit" in " ".join(monitor.notes) and "the same to the last bit" in monitor.html()


def test_a_run_that_ended_is_offered_for_resume_and_an_error_is_shown(copied, monkeypatch):
    from etabli.core import processes
    from etabli.core.errors import DeviceBusy

    monitor = copied.show()
    assert monitor.resumable

    def busy(what):
        raise DeviceBusy("another run owns it")

    monkeypatch.setattr(processes, "require_free_device", busy)
    monitor.received({"type": "resume"})
    assert "another run owns it" in monitor.error and monitor.state == "stopped"


# --- what goes around it --------------------------------------------------------------------------------------------


def test_a_hang_up_and_the_end_of_who_started_it_do_not_reach_it(tiny, dataset, tmp_path, cache):
    """A terminal that is closed: its session leader dies, and its children are told SIGHUP."""
    recipe(tiny, dataset, callbacks=slowly(tmp_path, 2, 0.2)).save(tmp_path / "r.yaml")
    start = (
        "import os, signal, sys\nfrom etabli.runs.recipe import Recipe\nfrom etabli.runs.run import Run\n"
        f"Run.start(Recipe.load({str(tmp_path / 'r.yaml')!r}), {str(tmp_path / 'run')!r})\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # nohup, where the tests run under it, has it ignored
        "os.killpg(os.getpgid(0), signal.SIGHUP)\n"
    )
    parent = subprocess.run([sys.executable, "-c", start], start_new_session=True)
    assert parent.returncode == -signal.SIGHUP
    run = Run.attach(tmp_path / "run")
    until(lambda: at_step(run, 1))
    os.kill(pid(run), signal.SIGHUP)
    run.wait(quiet=True)
    assert run.state == "completed" and not events.of_kind(run.events(), "resume")


@pytest.mark.nightly
def test_a_killed_rank_ends_the_run_and_it_resumes(tiny, dataset, tmp_path, cache):
    import psutil

    keys = {"devices": 2, "gradient_accumulation_steps": 2, "max_steps": 6}
    whole = Run.start(recipe(tiny, dataset, **keys), tmp_path / "whole").wait(quiet=True)
    run = Run.start(recipe(tiny, dataset, callbacks=slowly(tmp_path, 3), **keys), tmp_path / "run")
    until(lambda: at_step(run, 4))
    lead = pid(run)
    others = [
        process
        for process in psutil.process_iter(["pid", "cmdline"])
        if str(run.folder) in (process.info["cmdline"] or []) and process.pid != lead and _rank(process) == "1"
    ]
    assert len(others) == 1
    others[0].kill()
    until(lambda: run.state in ("failed", "lost", "stopped"))
    assert run.state in ("failed", "stopped") and "process" in run.why, run.why
    assert checkpoints.find_newest_valid(run.folder).name >= "step-000002"
    until(lambda: not psutil.pid_exists(lead))
    run.resume().wait(quiet=True)
    losses = [[event["loss"] for event in events.of_kind(one.events(), "step")] for one in (whole, run)]
    assert run.state == "completed" and losses[0] == pytest.approx(losses[1], rel=1e-5)


def _rank(process):
    import psutil

    try:
        return process.environ().get("RANK")
    except psutil.Error:
        return None


def test_a_disk_that_fills_up_during_a_run(tiny, dataset, tmp_path, cache, small_disk):
    """Checkpoints fill it; the run says so, keeps its newest whole checkpoint, and goes on where there is room."""
    keep = small_disk / "run"
    run = Run.start(recipe(tiny, dataset, max_steps=12, callbacks=slowly(tmp_path, 2, 0.3)), keep)
    until(lambda: at_step(run, 3) or run.state == "failed")
    (small_disk / "filler").write_bytes(b"x" * max(0, _free(small_disk) - 100_000))
    with pytest.raises(EtabliError, match="disk is full"):
        run.wait(quiet=True)
    whole = checkpoints.find_newest_valid(keep)
    assert whole is not None and not list((keep / "checkpoints").glob("damaged-*"))
    (small_disk / "filler").unlink()
    with in_process():
        again = Run.attach(keep).resume()
    assert again.state == "completed" and all(one["first_difference"] is None for one in again.continuity())
    assert (keep / RECIPE).is_file()


def _free(place):
    held = os.statvfs(place)
    return held.f_bavail * held.f_frsize


def test_a_full_backup_is_a_warning(tiny, dataset, tmp_path, training_here, small_disk):
    (small_disk / "filler").write_bytes(b"x" * max(0, _free(small_disk) - 50_000))
    run = Run.start(recipe(tiny, dataset, backup=str(small_disk)), tmp_path / "run").wait(quiet=True)
    said = [event["what"] for event in events.of_kind(run.events(), "warning")]
    assert run.state == "completed" and any("backup" in what for what in said), said


def test_a_backup_takes_along_what_a_mapping_file_names(tiny, tmp_path, cache):
    import shutil

    home = tmp_path / "home" / "rows"
    home.mkdir(parents=True)
    lines = [{"instruction": f"Say {at}", "input": "", "output": "ok"} for at in range(12)]
    (home / "mine.json").write_text(json.dumps(lines))
    entries = {"mine": {"file_name": "rows/mine.json"}, "other": {"file_name": "rows/none.json"}}
    (home.parent / "dataset_info.json").write_text(json.dumps(entries))
    data = f"{home.parent / 'dataset_info.json'}#mine"
    there = tmp_path / "drive" / "run"
    callbacks = dies_after(5, tmp_path, once_there_is=there / "checkpoints" / "step-000002" / "MANIFEST.json")
    keys = {"backup": str(tmp_path / "drive"), "callbacks": callbacks}
    run = Run.start(recipe(tiny, data, **keys), tmp_path / "run")
    until(lambda: run.state == "lost")
    for gone in (run.folder, home.parent):
        shutil.rmtree(gone)
    with in_process():
        assert Run.attach(there).resume().state == "completed"


@pytest.mark.nightly
def test_two_machines_by_a_rendezvous(tiny, dataset, tmp_path, cache):
    """Two torchruns that meet at an address, as on two machines: the losses of one process that does both parts."""
    import socket

    keys = {"max_steps": 4, "gradient_accumulation_steps": 2}
    with in_process():
        one = Run.start(recipe(tiny, dataset, **keys), tmp_path / "one")
    recipe(tiny, dataset, **keys).save(tmp_path / "two" / RECIPE)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nnodes",
        "2",
        "--nproc-per-node",
        "1",
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"127.0.0.1:{port}",
        "--local-addr",
        "127.0.0.1",
        "-m",
        "etabli.training.worker",
        str(tmp_path / "two"),
    ]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [child.wait(180) for child in both] == [0, 0]
    two = Run.attach(tmp_path / "two")
    assert two.state == "completed" and events.last_of_kind(two.events(), "start")["processes"] == 2
    losses = [[event["loss"] for event in events.of_kind(run.events(), "step")] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


# --- what stands in a folder is not always what was written there --------------------------------------------------


@pytest.fixture(scope="module")
def stopped(tiny, dataset, tmp_path_factory, training_in_process):
    """A run that was stopped, with two checkpoints; tests work on copies."""
    home = tmp_path_factory.mktemp("stopped")
    (home / "stops.py").write_text("def on_step(event):\n    return 'enough' if event['step'] == 5 else None\n")
    with training_in_process(home):
        run = Run.start(recipe(tiny, dataset, callbacks=str(home / "stops.py"), max_steps=50), home / "run")
    assert run.state == "stopped"
    return run.folder


@pytest.fixture
def copied(stopped, tmp_path, training_here):
    import shutil

    shutil.copytree(stopped, tmp_path / "run")
    return Run.attach(tmp_path / "run")


def newest(run):
    return checkpoints.list_checkpoints(run.folder)[0]


def test_a_manifest_that_names_nothing_or_another_step_is_damage(copied):
    older = checkpoints.list_checkpoints(copied.folder)[1]
    manifest = newest(copied) / "MANIFEST.json"
    said = json.loads(manifest.read_text())
    for odd in ({"files": {}}, {**said, "files": {}}, {**said, "step": 1}):
        manifest.write_text(json.dumps(odd))
        before = newest(copied)
        assert checkpoints.find_newest_valid(copied.folder, lambda text: None) == older
        (copied.folder / "checkpoints" / f"damaged-{before.name}").rename(before)


def test_a_million_steps_are_more_than_999950(tmp_path):
    for name in ("step-999950", "step-1000000", "step-000004.bak2", "step-"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert [folder.name for folder in checkpoints.list_checkpoints(tmp_path)] == ["step-1000000", "step-999950"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held: held.pop("frozen"), "lost its section 'frozen'"),
        (lambda held: held["frozen"].update(processes=2), "processes was 2, is 1"),
    ],
)
def test_a_recipe_that_was_changed_is_refused(copied, change, said):
    import yaml

    held = yaml.safe_load((copied.folder / RECIPE).read_text())
    change(held)
    (copied.folder / RECIPE).write_text(yaml.safe_dump(held))
    with pytest.raises(EtabliError, match=said):
        copied.resume().wait(quiet=True)


ODD = [
    {"kind": "step", "step": None},
    {"kind": "step", "step": [1]},
    {"kind": "step", "loss": "x", "step": 3},
    {"kind": "resume", "step": "x"},
    {"kind": "end"},
    {"kind": "end", "state": 3},
    {"kind": 3},
    {"t": "x", "kind": "step"},
    {},
]


@pytest.mark.parametrize("process", [None, "[]", "null", '"abc"', "{"])
def test_odd_lines_do_not_keep_a_run_from_being_looked_at(copied, process):
    with (copied.folder / EVENTS).open("a") as file:
        file.writelines(json.dumps({"t": 1.0, **odd}) + "\n" for odd in ODD)
    if process is not None:
        (copied.folder / "process.json").write_text(process)
    run = Run.attach(copied.folder)
    assert run.progress()["step"] >= 3 and run.show().step >= 3 and run.notes() is not None


def test_a_backup_is_no_copy_into_itself(copied, tmp_path):
    from etabli.runs import backup

    said = []
    (tmp_path / "same").symlink_to(copied.folder.parent)
    assert backup.make_backup(copied.folder, Recipe(data="x", backup=str(tmp_path / "same")), said.append) is None
    assert "no second copy" in said[0]
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.jsonl").write_text("{}")
    held = backup.make_backup(copied.folder, Recipe(data=str(data), backup=str(data / "backup")), said.append)
    held.close()
    assert "lies within it" in " ".join(said) and not list((data / "backup").rglob("rows.jsonl"))


def test_a_backup_copies_a_log_that_was_torn_within_a_sign(copied, tmp_path):
    from etabli.runs import backup

    with (copied.folder / EVENTS).open("ab") as file:
        file.write(b'{"kind": "warning", "what": "\xc3\n')
    said = []
    held = backup.make_backup(copied.folder, Recipe(data="home-commands", backup=str(tmp_path / "drive")), said.append)
    held.offer(newest(copied))
    held.close()
    assert said == [] and (tmp_path / "drive" / "run" / EVENTS).read_bytes() == (copied.folder / EVENTS).read_bytes()


def test_a_backup_that_was_resumed_is_left_alone(copied, tmp_path):
    from etabli.runs import backup

    said = []
    place = tmp_path / "drive" / "run"
    place.mkdir(parents=True)
    (place / "process.json").write_text("{}")
    held = backup.make_backup(copied.folder, Recipe(data="home-commands", backup=str(tmp_path / "drive")), said.append)
    held.offer(newest(copied))
    held.close()
    assert "is a run of its own now" in " ".join(said) and len(list(place.rglob("*"))) == 1


def test_what_is_in_the_place_of_the_adapter_is_told_before_training(copied):
    (copied.folder / "adapter").mkdir()
    (copied.folder / "adapter" / "mine.txt").write_text("keep me")
    with pytest.raises(EtabliError, match="was not written by a run"):
        copied.resume().wait(quiet=True)


def test_a_process_that_is_not_gone_yet_is_waited_for(copied):
    from etabli.core import locks
    from etabli.core.errors import RunLocked

    with locks.lock_file(copied.folder / "lock", "a backup that is still copying"), pytest.raises(RunLocked):
        copied.resume()
    assert copied.state == "stopped", "nothing was started"


def test_looking_for_secrets_takes_time_in_proportion():
    from etabli.core import secrets

    for part in ("x:/y:", "password=a", "://a:bbb", "sk-a", "hf_a"):
        began = time.monotonic()
        secrets.cover_secrets(part * 20_000)
        assert time.monotonic() - began < 5, part
