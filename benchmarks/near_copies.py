"""Near copies among many rows: time, memory, growth, and how many of those that were planted are found.

    python benchmarks/near_copies.py --data llamafactory-0.9.5/data [--rows 100000] [--out FILE]

Rows are made of two to six sentences drawn from the Alpaca and C4 samples in the sdist of llamafactory 0.9.5 (pip
download --no-deps --no-binary :all: llamafactory==0.9.5); one in ten is a copy of an earlier one in which one word in
25 is another. Each size is measured in a process of its own.
"""

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def sentences(folder: Path) -> list[str]:
    """Sentences of 20 to 300 characters."""
    texts = [
        " ".join([row["instruction"], row["input"], row["output"]])
        for row in json.loads((folder / "alpaca_en_demo.json").read_text())
    ]
    texts += [json.loads(line)["text"] for line in (folder / "c4_demo.jsonl").read_text().splitlines()]
    return [one for text in texts for one in re.split(r"(?<=[.!?])\s+", text) if 20 < len(one) < 300]


def rows(folder: Path, count: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Texts, and which are copies of which."""
    rng, known = random.Random(0), sentences(folder)
    texts: list[str] = []
    planted = []
    for at in range(count):
        if at and rng.random() < 0.1:
            of = rng.randrange(at)
            held = texts[of].split()
            for _ in range(max(1, len(held) // 25)):
                held[rng.randrange(len(held))] = "zebra"
            planted.append((of, at))
            texts.append(" ".join(held))
        else:
            texts.append(" ".join(rng.sample(known, rng.randint(2, 6))))
    return texts, planted


def measure(folder: Path, count: int) -> dict:
    """One size, in this process."""
    from etabli.curation import pairs

    texts, planted = rows(folder, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    found = pairs.lexical(texts)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gone = found.represented(0.8, range(count))
    alike = set(zip(found.first.tolist(), found.second.tolist()))
    true = [pair for pair in planted if _jaccard(texts[pair[0]], texts[pair[1]]) >= 0.8]
    return {
        "rows": count, "characters": sum(map(len, texts)), "seconds": round(seconds, 1),
        "megabytes_more": round((peak - before) / 1024), "pairs": len(found), "put_away_at_0.8": len(gone),
        "planted_0.8_alike": len(true), "found": sum(pair in alike for pair in true),
    }  # fmt: skip


def _jaccard(one: str, other: str) -> float:
    from etabli.curation.pairs import _shingles

    mine, theirs = set(_shingles(one).tolist()), set(_shingles(other).tolist())
    return len(mine & theirs) / len(mine | theirs)


def main() -> None:
    """Measure growing sizes and write them down."""
    given = argparse.ArgumentParser()
    given.add_argument("--data", type=Path, required=True)
    given.add_argument("--rows", type=int, default=100_000)
    given.add_argument("--one", action="store_true")
    given.add_argument("--out", type=Path)
    asked = given.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.data, asked.rows)))
        return
    measured = []
    for count in (asked.rows // 10, asked.rows // 2, asked.rows):
        command = [sys.executable, __file__, "--data", str(asked.data), "--rows", str(count), "--one"]
        measured.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(measured[-1], flush=True)
    result = {"command": "python benchmarks/near_copies.py", "cores": os.cpu_count(), "measured": measured}
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
