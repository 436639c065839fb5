"""How far do token differences depend on reading an answer in pieces? On a 4-bit model that computes in bfloat16.

    python benchmarks/token_moves.py RUN --out benchmarks/results/token_moves.json

Answers of the base to open questions, up to 256 tokens long, through a run's base and adapter: in pieces, as
``etabli token-diff`` reads them, and in one pass. Rounding differs; this says by how much.
"""

import argparse
from pathlib import Path

from etabli.core import storage
from etabli.models import generate, token_divergence
from etabli.models.loading import load
from etabli.rendering.render import render
from etabli.runs.run import Run

ASKED = [
    "Write a long story about a harbour.",
    "Explain how bread is made, step by step.",
    "List many facts about bees.",
]
LONGEST = 256


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    run = Run.attach(given.run)
    loaded = load(run.recipe.model, adapter=run.adapter)
    sides = token_divergence.Sides(loaded.model, loaded.as_base, lambda: loaded.as_base(False))
    talks = [[{"role": "user", "content": text}] for text in ASKED]
    with loaded.as_base():
        answers = generate.answer(loaded.model, loaded.tokenizer, talks, LONGEST).ids
    within, beyond = [], []
    piece = token_divergence.CHUNK
    for talk, ids in zip(talks, answers):
        prompt = render(talk, loaded.tokenizer, prompt=True).ids
        parts = token_divergence.log_probability_changes(
            token_divergence.compare_tokens(sides, loaded.tokenizer, prompt, ids)
        )
        token_divergence.CHUNK = len(ids) + 1
        whole = token_divergence.log_probability_changes(
            token_divergence.compare_tokens(sides, loaded.tokenizer, prompt, ids)
        )
        token_divergence.CHUNK = piece
        apart = [abs(one - other) for one, other in zip(parts, whole)]
        within, beyond = within + apart[:piece], beyond + apart[piece:]
    made = {
        "model": loaded.name,
        "dtype": str(loaded.dtype),
        "piece": piece,
        "tokens": [len(ids) for ids in answers],
        "off_within_first_piece": max(within),
        "off_beyond": max(beyond, default=None),
        "off_beyond_mean": sum(beyond) / max(1, len(beyond)),
    }
    storage.write_json(given.out, made)
    print(storage.to_json(made, indent=1))


if __name__ == "__main__":
    main()
