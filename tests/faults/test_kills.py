"""SIGKILL at random moments of real runs: each goes on, loses nothing that was saved, ends with the same weights."""

import json
import os
import random
import signal
import time

import pytest

from etabli.runs import checkpoints, events
from etabli.runs.recipe import Recipe
from etabli.runs.run import Run
from in_process import in_process

KILLS = int(os.environ.get("ETABLI_KILLS", "200" if os.environ.get("ETABLI_FAULTS") else "2"))
STEPS, LONGEST = 24, 12.0  # seconds that a process lives: most of them begin to train after six


@pytest.fixture
def recipe(tiny, tmp_path, cache):
    from etabli.data.dataset import Dataset
    from etabli.data.samples import home_commands

    Dataset(home_commands(n=40, test=4, seed=0)).save(tmp_path / "data")
    slow = tmp_path / "slow.py"
    slow.write_text("import time\ndef on_step(event):\n    time.sleep(0.15)\n")
    return Recipe(
        model=tiny,
        data=str(tmp_path / "data"),
        max_steps=STEPS,
        checkpoint_every=1,
        eval_every=5,
        sample_every=10,
        threads=1,
        lora={"dropout": 0.1},
        callbacks=str(slow),
    )


def weights(run):
    from safetensors.torch import load_file

    return load_file(run.folder / "adapter" / "adapter_model.safetensors")


def kill(run, after):
    """Let the run's process live for so long; True if it was still there to be killed."""
    end = time.monotonic() + after
    while time.monotonic() < end and run.state != "completed":
        time.sleep(0.05)
    if run.state == "completed":
        return False
    os.kill(json.loads((run.folder / "process.json").read_text())["pid"], signal.SIGKILL)
    while run.state not in ("lost", "completed"):
        time.sleep(0.02)
    return True


@pytest.mark.slow
def test_killed_at_random(recipe, tmp_path, counted):
    import torch

    with in_process():
        wanted = weights(Run.start(recipe, tmp_path / "run-whole"))
    rng, kills, runs, run = random.Random(0), 0, 0, None
    while kills < KILLS or run.state != "completed":
        if run is None or run.state == "completed":
            runs += 1
            run = Run.start(recipe, tmp_path / f"run-{runs}")
        if kills >= KILLS:
            run.wait(quiet=True)
        elif kill(run, rng.uniform(0, LONGEST)):
            kills += 1
            saved = events.last_of_kind(run.events(), "checkpoint").get("step", 0)
            whole = checkpoints.find_newest_valid(run.folder)
            assert (int(whole.name[-6:]) if whole else 0) >= saved, "what was said to be saved is there"
            run.resume()
        if run.state == "completed":
            assert all(torch.equal(one, other) for one, other in zip(wanted.values(), weights(run).values()))
            assert events.last_of_kind(run.events(), "step")["step"] == STEPS
    counted["killed_at_random"] += kills
    counted["runs_killed_and_completed_bit_identical"] += runs
