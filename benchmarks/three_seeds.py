"""Does tuning beat its best rival, over seeds? Each seed draws its own sentences, held-out templates and adapter.

    python benchmarks/three_seeds.py --out benchmarks/three_seeds --seeds 0 1 2 --test 200

A seed that has its results already is not run again. Writes ``summary.json`` and prints it.
"""

import argparse
import json
from pathlib import Path

import etabli
from etabli.core import storage
from etabli.evaluation.aggregate import summarise


def main() -> None:
    """Run the seeds that are missing, then sum up all that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/three_seeds"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--test", type=int, default=200, help="test rows a language")
    parser.add_argument("--steps", type=int, default=120)
    chosen = parser.parse_args()
    for seed in chosen.seeds:
        if not (chosen.out / f"seed-{seed}.json").is_file():
            one_seed(seed, chosen)
    files = [chosen.out / f"seed-{seed}.json" for seed in chosen.seeds]
    summary = sum_up({path.stem: json.loads(path.read_text()) for path in files})
    storage.write_json(chosen.out / "summary.json", summary)
    print(json.dumps(summary, indent=1))


def one_seed(seed: int, chosen: argparse.Namespace) -> None:
    """Data, run and results of one seed."""
    data = chosen.out / f"data-{seed}"
    etabli.Dataset(etabli.home_commands(n=600, test=chosen.test, seed=seed)).save(data)
    recipe = etabli.Recipe(data=str(data), max_steps=chosen.steps, seed=seed)
    run = etabli.Run.ensure(recipe, chosen.out / f"run-{seed}").wait()
    results = etabli.evaluate(run)
    peak = max(event["memory_bytes"] for event in run.events() if event["kind"] == "step")
    speed = run.frame("step").tokens_per_s.median()
    storage.write_json(
        chosen.out / f"seed-{seed}.json", {**results, "peak_bytes": peak, "median_tokens_per_s": float(speed)}
    )


def sum_up(found: dict[str, dict]) -> dict:
    """Every seed's scores, and all rows together, clustered by template."""
    rows = [{**row, "id": f"{name}/{row['id']}"} for name, results in found.items() for row in results["rows"]]
    together = summarise({**next(iter(found.values())), "rows": rows})
    best = {part: one["difference"] for part, one in together["verdict"].items()}
    return {
        "seeds": {name: _short(results) for name, results in found.items()},
        "pooled": together["scores"],
        "tuned_minus_best_rival": best,
        "peak_bytes": max(results["peak_bytes"] for results in found.values()),
        "median_tokens_per_s": [results["median_tokens_per_s"] for results in found.values()],
    }


def _short(results: dict) -> dict:
    exact = [score for score in results["scores"] if score["name"] == "exact"]
    return {score["slice"]: {arm: round(e["value"], 3) for arm, e in score["arms"].items()} for score in exact}


if __name__ == "__main__":
    main()
