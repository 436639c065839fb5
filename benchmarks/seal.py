"""What does the seal find, what does each form cost, and what memory does a merge take?

    python benchmarks/seal.py --run runs/first --out benchmarks/results/seal.json

Three parts. ``forms``: the run's seal over each form, with size, divergence and seconds. ``faults``: the planted faults
of ``tests/planted_exports.py`` in two families of small random models, beside their healthy twin and three strengths
of quantisation. ``memory``: the anonymous memory of a process while it merges, above what it had before; the size of
the merged weights beside it. Only an idle machine tells anything about seconds.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import etabli
from etabli.core import storage
from etabli.exports import form_names, formats, merge
from etabli.exports.reference import build_reference
from etabli.models.sources import resolve

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

AIM = ["adapter", "merged", "gguf:f16", "gguf:q8_0", "gguf:q4_k_m"]
MORE = ["merged:original", "gguf:lora", "ollama:q8_0", "vllm", "hub"]
FAMILIES = ["llama", "qwen3"]
KEPT = ("form", "verdict", "cause", "answers_same", "conversations", "kl", "largest_change", "bytes", "seconds")


def seal_forms(run: str) -> dict:
    """The aim's five forms with the seconds of all, export included; then the others."""
    start = time.monotonic()
    found = etabli.seal(run, AIM)["forms"]
    seconds = time.monotonic() - start
    found += etabli.seal(run, MORE)["forms"]
    return {"seconds_of_the_first_five": round(seconds), "forms": [{key: form[key] for key in KEPT} for form in found]}


def find_faults(family: str, place: Path) -> dict:
    """Each planted fault, the healthy twins, and the quantised forms of one family."""
    from planted_exports import FAULTS
    from random_adapter import sure_run

    run = sure_run(family, place, resolve("default").folder)
    reference = build_reference(run, limit=3)

    def judge(form: str, folder: Path) -> dict:
        found = formats.seal_folder(reference, run, form_names.parse_form(form), folder)
        return {key: found[key] for key in KEPT}

    healthy = {}
    for form in (*AIM[:4], "gguf:q4_k_m"):
        folder = place / form.replace(":", "-")
        formats.export(run, form, folder, seal=False)
        healthy[form] = judge(form, folder)
    found = {}
    for plant, cause in FAULTS.items():
        folder = place / plant.__name__
        shutil.copytree(place / "merged", folder)
        plant(folder, run)
        found[plant.__name__] = {"expected": cause, "found": judge("merged", folder)["cause"]}
    return {"healthy": healthy, "faults": found}


def _anonymous_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def _merge(run: str, base: str, results: "multiprocessing.Queue") -> None:
    import bitsandbytes  # noqa: F401  what is imported is no part of the merge
    import peft  # noqa: F401
    import transformers  # noqa: F401

    peak, before, is_over = 0, _anonymous_bytes(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_over.wait(0.002):
            peak = max(peak, _anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with tempfile.TemporaryDirectory() as out:
        merge.merge(run, Path(out) / "merged", base)
        is_over.set()
        watcher.join()
        weights = sum(path.stat().st_size for path in (Path(out) / "merged").glob("*.safetensors"))
    results.put({"weights": weights, "peak_above_start": peak - before})


def measure_memory(run: str) -> dict:
    """The peak of each kind of merge, each in a process of its own."""
    found = {}
    for base in merge.BASES:
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        process = context.Process(target=_merge, args=(run, base, results))
        process.start()
        found[base] = results.get()
        process.join()
    return found


def main() -> None:
    """Run the parts, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    result = {"memory": measure_memory(arguments.run), **seal_forms(arguments.run), "faults": {}}
    for family in FAMILIES:
        with tempfile.TemporaryDirectory() as place:
            result["faults"][family] = find_faults(family, Path(place))
    storage.write_json(arguments.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
