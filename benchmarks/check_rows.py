"""How fast rows are checked, and in how much memory.

python benchmarks/check_rows.py --alpaca llamafactory-0.9.5/data/alpaca_en_demo.json [--gigabytes 2] [--out FILE]

Rows are resampled from the Alpaca sample in the sdist of llamafactory 0.9.5 (pip download --no-deps --no-binary :all:),
each with a number of its own in front, so that they are no copies. Each size is checked by `etabli data check --json`
in a process of its own; memory is the largest resident sum of that process and its workers, seen ten times a second.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

RESULT = Path(__file__).parent / "results" / "check_rows.json"


def written(rows: list[dict], path: Path, count: int | None = None, size: float = 0) -> int:
    """Write ``count`` resampled rows, or as many as make ``size`` bytes."""
    rng, number = random.Random(0), 0
    with path.open("w", encoding="utf-8") as out:
        while number < count if count else out.tell() < size:
            row = dict(rng.choice(rows))
            row["instruction"] = f"({number}) {row['instruction']}"
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            number += 1
    return number


def resident(process: psutil.Process) -> int:
    """Bytes resident in a process and its children; shared pages count each time."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            pass
    return total


def measured(path: Path, rows: int) -> dict:
    """One check in a process of its own."""
    command = [sys.executable, "-m", "etabli", "data", "check", str(path), "--model", "default", "--json"]
    began, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as out, subprocess.Popen(command, stdout=out) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(0.1)
        seconds = time.monotonic() - began
        size = path.stat().st_size
        out.seek(0)
        told = json.load(out) if size < 2**28 else {"rows": rows, "counts": "not read back"}
    assert told["rows"] == rows
    return {
        "rows": rows,
        "megabytes": round(size / 1e6),
        "seconds": round(seconds, 1),
        "rows_per_s": round(rows / seconds),
        "peak_megabytes": round(peak / 1e6),
        "counts": told["counts"],
    }


def main() -> None:
    """Measure, print and keep."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--alpaca", required=True)
    asked.add_argument("--gigabytes", type=float, default=0)
    asked.add_argument("--out", default=str(RESULT))
    given = asked.parse_args()
    rows, found = json.loads(Path(given.alpaca).read_text(encoding="utf-8")), []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        sizes = [(10_000, 0.0), (100_000, 0.0), *([(None, given.gigabytes * 1e9)] if given.gigabytes else [])]
        for count, size in sizes:
            found.append(measured(path, written(rows, path, count, size)))
            print(json.dumps(found[-1]), flush=True)
            kept = {"cores": os.cpu_count(), "measured": found}
            Path(given.out).write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
