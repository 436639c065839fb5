"""How often does a 95 % interval hold the truth?

    python benchmarks/coverage.py --out benchmarks/results/coverage.json --datasets 10000

Data sets are drawn anew each time: their number of rows, how many rows a cluster has, how alike rows of a cluster are,
and the true values all vary. Every kind of interval that a result shows is here.
"""

import argparse
from pathlib import Path

import numpy as np

from etabli.core import storage
from etabli.evaluation import intervals


def layout(rng, how: str) -> np.ndarray:
    """Which cluster each row is in.

    ``rows`` of their own; ``even`` clusters; ``uneven`` ones; ``few`` even ones (8 to 15); ``one large`` among small.
    """
    groups = int(rng.integers(8, 16) if how == "few" else rng.integers(20, 80))
    if how == "rows":
        return np.arange(groups * 2)
    if how == "one large":
        return np.repeat(np.arange(groups), [groups, *[2] * (groups - 1)])
    sizes = 1 + rng.geometric(0.35, groups) if how == "uneven" else np.full(groups, int(rng.integers(2, 6)))
    return np.repeat(np.arange(groups), sizes)


def levels(rng, labels: np.ndarray, centre: float, alike: float) -> np.ndarray:
    """Each row's chance of a hit: a beta of mean ``centre`` a cluster, with correlation ``alike`` within clusters."""
    strength = 1 / alike - 1
    per_cluster = rng.beta(centre * strength, (1 - centre) * strength, labels.max() + 1)
    return per_cluster[labels]


def share(rng, labels):
    """A share of hits."""
    centre = rng.uniform(0.05, 0.95)
    hits = rng.random(len(labels)) < levels(rng, labels, centre, rng.uniform(0.05, 0.5))
    return intervals.share_interval(list(map(float, hits)), _names(labels)), centre


def share_difference(rng, labels):
    """A paired difference of two shares that both depend on the cluster."""
    one, other = rng.uniform(0.15, 0.85, 2)
    base = levels(rng, labels, 0.5, rng.uniform(0.05, 0.5))
    hits = {"a": rng.random(len(labels)) < base * one, "b": rng.random(len(labels)) < base * other}
    held = {arm: list(map(float, values)) for arm, values in hits.items()}
    return intervals.paired_difference("a", "b", held, _names(labels)), 0.5 * (one - other)


def mean(rng, labels):
    """A mean of skewed numbers, like a loss a row."""
    values = _skewed(rng, labels)
    return intervals.mean_interval(list(values), _names(labels)), np.exp(0.5 * 0.4**2 + 0.5 * 0.3**2)


def mean_difference(rng, labels):
    """A paired difference of two means of skewed numbers."""
    before, after, gain = _before_and_after(rng, labels)
    return intervals.paired_difference("a", "b", {"a": after, "b": before}, _names(labels), bounded=False), gain


def loss(rng, labels):
    """A loss a token: a ratio of two sums, rows of very different lengths."""
    tokens = rng.integers(5, 80, len(labels)).astype(float)
    values = _skewed(rng, labels)
    return intervals.mean_interval(list(values), _names(labels), list(tokens)), np.exp(0.5 * 0.4**2 + 0.5 * 0.3**2)


def loss_difference(rng, labels):
    """A paired difference of two losses a token."""
    tokens = rng.integers(5, 80, len(labels)).astype(float)
    before, after, gain = _before_and_after(rng, labels)
    held = {"a": after, "b": before}
    return intervals.paired_difference("a", "b", held, _names(labels), list(tokens), bounded=False), gain


def _before_and_after(rng, labels):
    gain = rng.uniform(-0.3, 0.3)
    before = _skewed(rng, labels)
    after = before + gain + rng.normal(0, 0.2, labels.max() + 1)[labels] + rng.normal(0, 0.3, len(labels))
    return list(before), list(after), gain


def part_mean(rng, labels):
    """A mean of numbers between 0 and 1, like ROUGE."""
    centre = rng.uniform(0.15, 0.85)
    level = levels(rng, labels, centre, rng.uniform(0.05, 0.4))
    values = rng.beta(level * 6 + 1e-3, (1 - level) * 6 + 1e-3)
    return intervals.mean_interval(list(values), _names(labels), bounded=True), centre


def _skewed(rng, labels):
    effect = rng.normal(0, 0.3, labels.max() + 1)[labels]
    return np.exp(effect + rng.normal(0, 0.4, len(labels)))


def _names(labels) -> list[str]:
    return [str(label) for label in labels]


LAYOUTS = ("rows", "even", "uneven", "few", "one large")
KINDS = {f.__name__: f for f in (share, share_difference, mean, part_mean, mean_difference, loss, loss_difference)}


def main() -> None:
    """Simulate every kind on every layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/coverage.json"))
    parser.add_argument("--datasets", type=int, default=10_000)
    chosen = parser.parse_args()
    found = {}
    for name, draw in KINDS.items():
        for how in LAYOUTS:
            rng = np.random.default_rng([*map(ord, name + how)])
            held = 0
            for _ in range(chosen.datasets):
                got, truth = draw(rng, layout(rng, how))
                held += got["low"] <= truth <= got["high"]
            found[f"{name}/{how}"] = held / chosen.datasets
            print(f"{name}/{how}: {held / chosen.datasets:.4f}", flush=True)
    storage.write_json(chosen.out, {"datasets": chosen.datasets, "coverage": found})


if __name__ == "__main__":
    main()
