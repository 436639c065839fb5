"""Does the bench find what is broken, and keep quiet where nothing is?

    python benchmarks/planted_changes.py train --out benchmarks/planted
    python benchmarks/planted_changes.py evaluate --out benchmarks/planted

``train`` makes, for each of five seeds, a good adapter on English home commands and three that went wrong: one on
shuffled answers, one on French rows alone, one on answers that are no JSON. What is there already is not made again.
"""

import argparse
import json
import random
from pathlib import Path

import etabli
from etabli.contracts import Row

SEEDS = range(5)
TRAIN, TEST, STEPS = 400, 60, 40


def good(rows: list[Row], seed: int) -> list[Row]:
    """English rows as they are."""
    return [row for row in rows if row["lang"] == "en"]


def shuffled(rows: list[Row], seed: int) -> list[Row]:
    """English rows, each with the answer of another."""
    mine = good(rows, seed)
    answers = [row["messages"][-1] for row in mine]
    random.Random(seed).shuffle(answers)
    return [{**row, "messages": [*row["messages"][:-1], answer]} for row, answer in zip(mine, answers)]


def wrong_language(rows: list[Row], seed: int) -> list[Row]:
    """French rows alone."""
    return [row for row in rows if row["lang"] == "fr"]


def lost_json(rows: list[Row], seed: int) -> list[Row]:
    """English rows whose answers say the same in words."""
    return [{**row, "messages": [*row["messages"][:-1], _in_words(row["messages"][-1])]} for row in good(rows, seed)]


def _in_words(answer: dict) -> dict:
    said = json.loads(answer["content"])
    slots = "".join(f", {name} {value}" for name, value in said["slots"].items())
    return {**answer, "content": f"{said['intent']}{slots}"}


PLANTED = {"good": good, "shuffled": shuffled, "wrong_language": wrong_language, "lost_json": lost_json}


def train(out: Path) -> None:
    """Train what is not there yet."""
    for seed in SEEDS:
        rows = etabli.home_commands(n=TRAIN, test=TEST, seed=seed)
        for name, plant in PLANTED.items():
            data = out / f"data-{name}-{seed}"
            if not data.is_dir():
                made = plant([row for row in rows if row["split"] == "train"], seed)
                tests = [row for row in rows if row["split"] == "test" and row["lang"] == "en"]
                etabli.Dataset(made + tests).save(data)
            recipe = etabli.Recipe(
                data=str(data), max_steps=STEPS, seed=seed, threads=1, checkpoint_every=STEPS, eval_every=STEPS,
                sample_every=STEPS,
            )  # fmt: skip
            run = etabli.Run.ensure(recipe, out / f"run-{name}-{seed}")
            (run if run.state != "lost" else run.resume()).wait()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["train"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/planted"))
    chosen = parser.parse_args()
    train(chosen.out.absolute())


if __name__ == "__main__":
    main()
