"""How fast are answers, against a plain ``model.generate`` loop? And how long does a comparison of 100 rows take?

    python benchmarks/answer_speed.py --run runs/first --out benchmarks/results/answer_speed.json

Three ways to the same greedy answers, interleaved in one process: ``generate`` row by row; ``generate`` on padded
batches in the order of the rows; and ``etabli.models.generate.answer``. Two shapes: plain questions, and the same after
a briefing with worked examples. Ratios are medians over rounds. Only an idle machine tells anything.
"""

import argparse
import statistics
import time
from pathlib import Path

import etabli
from etabli.core import storage
from etabli.data.questions import question
from etabli.evaluation import baselines, test_set
from etabli.models import generate
from etabli.rendering.render import render

MOST, BATCH = 48, 8


def one_by_one(loaded, talks) -> list[list[int]]:
    """A loop over rows."""
    return [ids for talk in talks for ids in batch(loaded, [talk])]


def batched(loaded, talks) -> list[list[int]]:
    """Batches of eight, in the order of the rows."""
    parts = [talks[at : at + BATCH] for at in range(0, len(talks), BATCH)]
    return [ids for part in parts for ids in batch(loaded, part)]


def batch(loaded, talks) -> list[list[int]]:
    """The tokenizer's own padding and ``generate`` as its documentation shows."""
    import torch

    prompts = [render(talk, loaded.tokenizer, prompt=True).ids for talk in talks]
    inputs = loaded.tokenizer.pad({"input_ids": prompts}, return_tensors="pt").to(loaded.device)
    with torch.inference_mode():
        out = loaded.model.generate(**inputs, max_new_tokens=MOST, do_sample=False)
    stops = generate.stop_ids(loaded.model, loaded.tokenizer)
    return [generate.until_stop(row, stops) for row in out[:, inputs["input_ids"].shape[1] :].tolist()]


def ours(loaded, talks) -> list[list[int]]:
    """Sorted, in large batches, the common beginning computed once."""
    return generate.answer(loaded.model, loaded.tokenizer, talks, MOST).ids


WAYS = {"one by one": one_by_one, "batched": batched, "etabli": ours}


def rounds(loaded, talks, count: int) -> dict:
    """Seconds of each way, interleaved, and how often the three agree."""
    seconds = {name: [] for name in WAYS}
    for _ in range(count):
        answers = {}
        for name, way in WAYS.items():
            began = time.monotonic()
            answers[name] = way(loaded, talks)
            seconds[name].append(time.monotonic() - began)
    same = sum(a == b for a, b in zip(answers["etabli"], answers["one by one"]))
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds[name], seconds["etabli"]))
        for name in ("one by one", "batched")
    }
    return {"rows": len(talks), "seconds": seconds, "times_faster_than": ratio, "same_as_one_by_one": same}


def main() -> None:
    """Time the ways, then a comparison of 100 rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/answer_speed.json"))
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    run = etabli.Run.attach(chosen.run)
    asked = test_set.build_test_set(run, limit=chosen.rows)
    tests = asked.tests[: chosen.rows]
    loaded = etabli.load(run.recipe.model, adapter=run.adapter)
    near = baselines.nearest_rows(tests, asked.train, baselines.SHOTS)
    shapes = {
        "plain": [question(row) for row in tests],
        "prompted": baselines.build_prompts(tests, asked.train, near),
    }
    found = {name: rounds(loaded, talks, chosen.rounds) for name, talks in shapes.items()}
    began = time.monotonic()
    results = etabli.evaluate(run, limit=50, loaded=loaded, arms=["base", "tuned"], save=False)
    found["compare"] = {"rows": len(results["rows"]), "seconds": time.monotonic() - began}
    storage.write_json(chosen.out, found)
    print(storage.to_json(found, indent=1))


if __name__ == "__main__":
    main()
