"""Does the bench find what is broken, and keep quiet where nothing is?

    python benchmarks/planted_changes.py train --out benchmarks/planted
    python benchmarks/planted_changes.py evaluate --out benchmarks/planted

``train`` makes, for each of five seeds, a good adapter on English home commands and three that went wrong: one on
shuffled answers, one on French rows alone, one on answers that are no JSON. What is there already is not made again.
``evaluate`` asks the bench whether each is worse than the good one: by its verdict, and by any score whose interval
leaves out zero, which is also what counts as an alarm below; a fourth change is the good adapter under a
template that never says it is the assistant's turn. Then twenty adapters that do nothing, each on rows of its own,
against their base. Writes ``benchmarks/results/planted_changes.json``.
"""

import argparse
import json
import random
from pathlib import Path

import etabli
from etabli.core import storage
from etabli.core.contracts import RECIPE, Results, Row
from etabli.evaluation.compare import merge_results
from etabli.models.loading import LoadedModel, load
from etabli.runs import checkpoints
from etabli.training import lora_and_optimizer

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
                data=str(data),
                max_steps=STEPS,
                seed=seed,
                threads=1,
                checkpoint_every=STEPS,
                eval_every=STEPS,
                sample_every=STEPS,
            )
            run = etabli.Run.ensure(recipe, out / f"run-{name}-{seed}")
            (run if run.state != "lost" else run.resume()).wait()


ROWS, NOTHING, NOTHING_ROWS = 48, 20, 12
SCORES = ["exact", "valid_json", "loss"]


def evaluate(out: Path) -> dict:
    """What the bench says of every planted change and of every adapter that does nothing."""
    found = [judged for seed in SEEDS for judged in _planted(out, seed)]
    quiet = [_nothing(out, seed) for seed in range(NOTHING)]
    return {
        "rows": ROWS,
        "planted": found,
        "of": len(found),
        "verdict_worse": sum(one["worse"] for one in found),
        "found_by_any_score": sum(one["found"] for one in found),
        "nothing": quiet,
        "alarms": sum(one["alarm"] for one in quiet),
        "quiet_of": len(quiet),
    }


def _planted(out: Path, seed: int) -> list[dict]:
    good = _tuned(out / f"run-good-{seed}", out / f"data-good-{seed}")
    judged = []
    for name in ("shuffled", "wrong_language", "lost_json"):
        judged.append(_judged(name, seed, good, _tuned(out / f"run-{name}-{seed}", out / f"data-good-{seed}")))
    broken = load(adapter=etabli.Run.attach(out / f"run-good-{seed}").adapter)
    template = broken.tokenizer.chat_template
    broken.tokenizer.chat_template = template.replace("{% if add_generation_prompt %}", "{% if false %}")
    assert broken.tokenizer.chat_template != template
    bad = _tuned(out / f"run-good-{seed}", out / f"data-good-{seed}", broken)
    return [*judged, _judged("broken_template", seed, good, bad)]


def _tuned(run: Path, data: Path, loaded: LoadedModel | None = None) -> Results:
    kept = run.with_name(f"{run.name}{'-broken' * bool(loaded)}.json")
    if not kept.is_file():
        said = etabli.evaluate(run, data, limit=ROWS, loaded=loaded, scores=SCORES, arms=["tuned"], save=False)
        storage.write_json(kept, said)
    return json.loads(kept.read_text())


def _judged(name: str, seed: int, good: Results, bad: Results) -> dict:
    both = merge_results(good, bad, ("good", name))
    gaps = {score["name"]: score["differences"][0] for score in both["scores"] if score["slice"] == "en"}
    verdict = both["verdict"]["en"]["verdict"]
    print(f"{name} {seed}: {verdict}", flush=True)
    bad = [score for score, gap in gaps.items() if (gap["low"] > 0 if score == "loss" else gap["high"] < 0)]
    return {
        "change": name,
        "seed": seed,
        "verdict": verdict,
        "worse": verdict == "worse",
        "found": bool(bad),
        "by": bad,
        "n": both["verdict"]["en"]["n"],
        "differences": {score: [gap["value"], gap["low"], gap["high"]] for score, gap in gaps.items()},
    }


def _nothing(out: Path, seed: int) -> dict:
    """A LoRA whose second matrix is zero, against its base: whatever is said to differ is a false alarm."""
    run = out / f"run-nothing-{seed}"
    if not run.is_dir():
        rows = [row for row in etabli.home_commands(n=40, test=NOTHING_ROWS, seed=seed) if row["lang"] == "en"]
        etabli.Dataset(rows).save(out / f"data-nothing-{seed}")
        recipe = etabli.Recipe(data=str(out / f"data-nothing-{seed}"), seed=seed)
        loaded = load()
        peft = lora_and_optimizer.add_lora(loaded, recipe)
        with storage.write_folder(run / "adapter") as folder:
            checkpoints.save_adapter(peft, loaded.source, folder)
        recipe.save(run / RECIPE)
    said = etabli.evaluate(run, scores=SCORES, arms=["base", "tuned"], save=False)
    gaps = [(score["name"], score["differences"][0]) for score in said["scores"] if score["differences"]]
    alarms = [name for name, gap in gaps if gap["low"] > 0 or gap["high"] < 0]
    print(f"nothing {seed}: {alarms}", flush=True)
    return {"seed": seed, "n": said["scores"][0]["n"], "alarm": bool(alarms), "alarms": alarms}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["train", "evaluate"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/planted"))
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/planted_changes.json"))
    chosen = parser.parse_args()
    if chosen.phase == "train":
        train(chosen.out.absolute())
    else:
        storage.write_json(chosen.results, evaluate(chosen.out.absolute()))


if __name__ == "__main__":
    main()
