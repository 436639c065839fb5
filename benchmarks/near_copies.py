"""Near copies among many rows: time, memory, growth, and how many of those that were planted are found.

    python benchmarks/near_copies.py --data llamafactory-0.9.5/data [--rows 100000] [--out FILE]

Rows are made of two to six sentences drawn from the Alpaca and C4 samples in the sdist of llamafactory 0.9.5 (pip
download --no-deps --no-binary :all: llamafactory==0.9.5); one in ten is a copy of an earlier one in which one word in
25 is another. The second shape is a crowd: 200 templates with three words changed in each row. Each size is measured in
a process of its own.
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
THRESHOLD = 0.8


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


def crowd(folder: Path, count: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Texts of 200 kinds that share most of their words: a template of sentences in which three words are others."""
    rng, known = random.Random(1), sentences(folder)
    bases = [" ".join(rng.sample(known, 4)).split() for _ in range(200)]
    texts = []
    for _ in range(count):
        held = list(rng.choice(bases))
        for _ in range(3):
            held[rng.randrange(len(held))] = f"slot{rng.randrange(50)}"
        texts.append(" ".join(held))
    return texts, []


SHAPES = {"a tenth copies": rows, "200 templates": crowd}


def measure(folder: Path, count: int, shape: str) -> dict:
    """One size of one shape, in this process."""
    from etabli.curation import pairs

    texts, planted = SHAPES[shape](folder, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    signed = pairs.compute_signatures(texts)
    gone = pairs.find_lexical_duplicates(signed, THRESHOLD, range(count))
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    true = [(one, other) for one, other in planted if signed.similarity(one, other) >= THRESHOLD]
    return {
        "shape": shape,
        "rows": count,
        "characters": sum(map(len, texts)),
        "seconds": round(seconds, 1),
        "megabytes_more": round((peak - before) / 1024),
        "put_away": len(gone),
        "planted_copies": len(true),
        "both_left": sum(one not in gone and other not in gone for one, other in true),
    }


def main() -> None:
    """Measure growing sizes and write them down."""
    given = argparse.ArgumentParser()
    given.add_argument("--data", type=Path, required=True)
    given.add_argument("--rows", type=int, default=100_000)
    given.add_argument("--one", action="store_true")
    given.add_argument("--shape", choices=list(SHAPES))
    given.add_argument("--out", type=Path)
    asked = given.parse_args()
    if asked.one:
        print(json.dumps(measure(asked.data, asked.rows, asked.shape)))
        return
    measured = []
    for shape, count in [(shape, asked.rows // part) for shape in SHAPES for part in (10, 2, 1)]:
        command = [sys.executable, __file__, "--data", str(asked.data), "--rows", str(count), "--shape", shape, "--one"]
        measured.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(measured[-1], flush=True)
    result = {
        "command": "python benchmarks/near_copies.py",
        "threshold": THRESHOLD,
        "cores": os.cpu_count(),
        "measured": measured,
    }
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
