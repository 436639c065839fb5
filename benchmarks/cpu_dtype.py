"""How fast does training go in bfloat16 and in float32 on this CPU? Two processes take a step each in turns.

    python benchmarks/cpu_dtype.py [--rounds 5] [--threads 1] [--model default]

Prints one JSON object: tokens a second of each dtype (medians), their ratio, what was timed and what is chosen.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from etabli.core import cpu_dtype, machine
from etabli.data.dataset import Dataset
from etabli.data.samples import home_commands
from etabli.models import loading
from etabli.runs.recipe import Recipe
from etabli.training import train_data, trainer


class Unwritten:
    """A log that keeps nothing."""

    def write(self, kind: str, **fields: Any) -> None:
        """Write nothing."""


def training(folder: Path, data: Path, model: str, dtype: str) -> trainer.Training:
    """Return a training whose first step is done: that one compiles."""
    recipe = Recipe(model=model, data=str(data), max_steps=1000, dtype=dtype, max_length=256)
    loaded = loading.load(model, alongside=True, dtype=dtype, keep_dequantized=False)
    made = trainer.Training(folder, recipe, loaded, train_data.load_train_data(recipe, loaded.tokenizer), Unwritten())
    made.train_step()
    return made


def tokens_per_second(made: trainer.Training) -> float:
    """Take one step; return the tokens that went through in a second."""
    before, began = made.tokens, time.perf_counter()
    made.train_step()
    return (made.tokens - before) / (time.perf_counter() - began)


def work(place: Path, given: argparse.Namespace) -> None:
    """Be one of the two processes: a step, and its speed, for each line that comes."""
    import torch

    torch.set_num_threads(given.threads)
    made = training(place / given.work, place / "data", given.model, given.work)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(tokens_per_second(made), flush=True)


def measured(place: Path, given: argparse.Namespace) -> dict[str, float]:
    """Return the median speed of each dtype; the steps take turns, so that both meet the same load."""
    command = [sys.executable, __file__, "--threads", str(given.threads), "--model", given.model, "--place", str(place)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = {name: subprocess.Popen([*command, "--work", name], **pipes) for name in cpu_dtype.DTYPES}
    speeds: dict[str, list[float]] = {name: [] for name in children}
    for child in children.values():
        child.stdout.readline()
    for _ in range(given.rounds):
        for name, child in children.items():
            print("step", file=child.stdin, flush=True)
            speeds[name].append(float(child.stdout.readline()))
    for child in children.values():
        child.communicate()
    return {name: statistics.median(values) for name, values in speeds.items()}


def timed(threads: int) -> dict[str, dict[str, float]]:
    """Return what the choice is made by, in milliseconds."""
    times = {size: cpu_dtype.time_products(shape, threads) for size, shape in cpu_dtype.SHAPES.items()}
    return {size: {name: round(one * 1e3, 1) for name, one in held.items()} for size, held in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--model", default="default")
    parser.add_argument("--work", choices=cpu_dtype.DTYPES, help="for the processes that this one starts")
    parser.add_argument("--place", help="for the processes that this one starts")
    given = parser.parse_args()
    if given.work:
        return work(Path(given.place), given)
    with tempfile.TemporaryDirectory() as place:
        Dataset(home_commands(n=60, test=12, seed=0)).save(Path(place) / "data")
        medians = measured(Path(place), given)
    result = {"processor": machine.processor(), "threads": given.threads, "model": given.model}
    result |= {"tokens_per_s": {name: round(value, 1) for name, value in medians.items()}}
    result |= {"bfloat16_over_float32": round(medians["bfloat16"] / medians["float32"], 2)}
    chosen = machine.compute_dtype(threads_used=given.threads)
    print(json.dumps(result | {"timed_ms": timed(given.threads), "chosen": str(chosen).removeprefix("torch.")}))


if __name__ == "__main__":
    main()
