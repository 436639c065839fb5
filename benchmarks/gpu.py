"""Everything that needs a card, in one call of under ten minutes: what is right, how fast, how much memory.

    bash benchmarks/gpu.sh                     # installs what is missing, then:
    python benchmarks/gpu.py [--sizes 1b 8b] [--out gpu.json]

Nothing is downloaded: the models are the embedded one and Llama configurations with random weights, which are written
to a temporary folder (2 and 16 GB). Each part runs in a process of its own; what fails is written down with its error
and the next part begins. The parts:

    machine     doctor, versions, ``nvidia-smi``, products in each dtype in TFLOP/s
    dtypes      the embedded model in float16 and bfloat16 with the paged optimiser; and its answers, row by row and not
    resume      killed, resumed: does the log go on, are the losses those of a run that was not killed?
    SIZE ARM    one epoch of 256 short rows in NF4: ours (beside the ledger's forecast), TRL packed and grouped by
                length, the plain loop

Without a card it runs on the CPU with ``--sizes tiny``, to see that it runs.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine

# hidden size, intermediate size, layers, heads, key heads, vocabulary: of Llama 3.2 1B and Llama 3.1 8B
SIZES = {
    "tiny": (64, 128, 2, 4, 2, 49152),
    "1b": (2048, 8192, 16, 32, 8, 128256),
    "8b": (4096, 14336, 32, 32, 8, 128256),
}
ARMS = ("ours", "trl-packed", "trl-grouped", "plain")
ROWS, ROWS_A_STEP, TOKENS_A_PACK = 256, 32, 2048
SECONDS = 240 if shutil.which("nvidia-smi") else 1200  # for one part


def main() -> None:
    """Run every part in a process of its own; write what came out after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1b", "8b"], choices=SIZES)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--part", nargs="+", help="run this part here, and print its figures")
    chosen = parser.parse_args()
    if chosen.part:
        print(json.dumps(PARTS[chosen.part[0]](*chosen.part[1:])))
        return
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        parts = [["machine"], ["dtypes"], ["resume"]]
        for size in chosen.sizes:
            parts += [["write", size, folder], *(["arm", size, arm, folder] for arm in chosen.arms)]
        for part in parts:
            name = " ".join(word for word in part if word != folder)
            results[name] = _process(part)
            print(json.dumps({name: results[name]}), flush=True)
            chosen.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def _process(part: list[str]) -> dict[str, Any]:
    start_time = time.monotonic()
    command = [sys.executable, __file__, "--part", *part]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        try:
            environment = os.environ | {"TMPDIR": scratch}
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment)
        except subprocess.TimeoutExpired:
            _stop_runs(Path(scratch))
            return {"error": f"not done after {SECONDS} s"}
    seconds = {"seconds": round(time.monotonic() - start_time, 1)}
    if done.returncode:
        return {"error": done.stderr.strip()[-2000:], **seconds}
    return {**json.loads(done.stdout.strip().splitlines()[-1]), **seconds}


def _stop_runs(folder: Path) -> None:
    """Stop what a part has started: a run outlives its parent, and would hold the card for the parts after it."""
    import etabli

    for file in folder.rglob("process.json"):
        etabli.Run.attach(file.parent).stop()


def machine_part() -> dict[str, Any]:
    """Return what the machine is, and what it can do at best."""
    import torch

    from etabli.app.doctor import doctor
    from etabli.core import machine

    device = machine.device()
    side, products = 4096 if device == "cuda" else 512, {}
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        seconds = [_seconds(lambda left=left, right=right: left @ right) for _ in range(5)]
        products[str(dtype).removeprefix("torch.")] = round(2 * side**3 / min(seconds) / 1e12, 2)
    checks = [{"name": one["name"], "ok": one["ok"], "detail": one["detail"]} for one in doctor()]
    facts = {"processor": machine.processor(), "versions": machine.versions(), "nvidia_smi": _nvidia_smi()}
    return {**facts, "tflops": products, "doctor": checks, "dtype": str(machine.compute_dtype())}


def _seconds(task: Callable[[], object]) -> float:
    import torch

    start_time = time.monotonic()
    task()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic() - start_time


def _nvidia_smi() -> str:
    if not shutil.which("nvidia-smi"):
        return "not there"
    fields = "name,driver_version,memory.total,memory.used"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _run(folder: Path, **keys: object) -> Any:
    """Train the embedded model for a few steps on the home commands; returns the run."""
    import etabli

    etabli.Dataset(etabli.home_commands(n=200, test=24)).save(folder / "data")
    recipe = etabli.Recipe(data=str(folder / "data"), **{"max_steps": 12, "checkpoint_every": 4, **keys})
    return etabli.Run.start(recipe, folder / "run")


def dtypes_part() -> dict[str, Any]:
    """Return what the embedded model learns in each dtype, and whether its answers are the same in batches."""
    import answer_speed
    import torch

    import etabli
    from etabli.core import machine
    from etabli.data.questions import question

    results: dict[str, Any] = {}
    for name in ("float16", "bfloat16", "float32"):
        if refusal := machine.dtype_refusal(name):
            results[name] = {"refused": refusal}
            continue
        run = _run(Path(tempfile.mkdtemp()), dtype=name, optimizer="paged_adamw8bit").wait(quiet=True)
        losses = run.frame("step").loss.tolist()
        warnings = [event["what"] for event in run.events() if event["kind"] == "warning"]
        results[name] = {"state": run.state, "first": losses[0], "last": losses[-1], "warnings": warnings}
    loaded = etabli.load(adapter=run.adapter)
    questions = [question(row) for row in etabli.home_commands(n=48, test=1)[:24]]
    with torch.inference_mode():
        results["answers"] = answer_speed.rounds(loaded, questions, 1)
    return results


def resume_part() -> dict[str, Any]:
    """Return how the losses of a run that was killed and resumed differ from those of one that was not."""
    keys = {"max_steps": 30, "eval_every": 30, "sample_every": 30}
    whole = _run(Path(tempfile.mkdtemp()), **keys).wait(quiet=True)
    killed = _run(Path(tempfile.mkdtemp()), **keys)
    while killed.progress()["step"] < 10 and killed.state not in ("failed", "lost", "completed"):
        time.sleep(0.05)
    os.kill(json.loads((killed.folder / "process.json").read_text())["pid"], signal.SIGKILL)
    while killed.state != "lost":
        time.sleep(0.2)
    killed.resume().wait(quiet=True)
    losses = [run.frame("step").loss.tolist() for run in (whole, killed)]
    difference = max(abs(a - b) for a, b in zip(*losses, strict=True))
    return {"states": [whole.state, killed.state], "steps": len(losses[0]), "largest_difference_of_loss": difference}


def write_part(size: str, folder: str) -> dict[str, Any]:
    """Write a Llama of that size with random weights, layer by layer, and the embedded model's tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, LlamaConfig

    from etabli.core import machine
    from etabli.models import sources

    target, device = Path(folder) / size, machine.device()
    target.mkdir(exist_ok=True)
    hidden, inner, layers, heads, key_heads, vocabulary = SIZES[size]
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
        tie_word_embeddings=size != "8b",
        dtype="bfloat16",
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(target)
    with torch.device("meta"):
        shapes = {name: weight.shape for name, weight in AutoModelForCausalLM.from_config(config).named_parameters()}
    torch.manual_seed(0)
    files: dict[str, str] = {}
    shards: dict[str, dict[str, Any]] = {}
    for name in shapes:
        shards.setdefault(name.split(".")[2] if ".layers." in name else "rest", {})[name] = None
    for shard, names in shards.items():
        weights = {
            name: torch.ones(shapes[name], dtype=torch.bfloat16)
            if len(shapes[name]) == 1
            else (torch.randn(shapes[name], device=device) * 0.02).bfloat16().cpu()
            for name in names
        }
        save_file(weights, target / f"model-{shard}.safetensors", metadata={"format": "pt"})
        files |= dict.fromkeys(names, f"model-{shard}.safetensors")
    (target / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    for file in sources.resolve().folder.glob("*"):
        if "token" in file.name or file.name in ("vocab.json", "merges.txt", "chat_template.jinja"):
            shutil.copy(file, target)
    return {"parameters": sum(shape.numel() for shape in shapes.values())}


def arm_part(size: str, arm: str, folder: str) -> dict[str, Any]:
    """Train one epoch of short rows; returns its speed and memory, for ours beside the ledger's forecast."""
    engine.SHAPES["short"] = (ROWS, ROWS_A_STEP, TOKENS_A_PACK)
    rows, _ = engine.rows_of("short", Path())
    model = Path(folder) / size
    return _ours(model, rows) if arm == "ours" else _rival(arm, model, rows)


def _ours(model: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    import etabli
    from etabli.memory import ledger_view

    folder = Path(tempfile.mkdtemp())
    etabli.Dataset(rows).save(folder / "data")
    recipe = etabli.Recipe(
        model=str(model),
        data=str(folder / "data"),
        train_on="last",
        epochs=1,
        max_length=1024,
        tokens_per_batch=TOKENS_A_PACK,
        eval_every=10**6,
        sample_every=10**6,
        checkpoint_every=10**6,
    )
    run = etabli.Run.start(recipe, folder / "run").wait(quiet=True)
    if run.state != "completed":
        raise SystemExit(run.progress().get("why") or run.state)
    steps, comparison = run.frame("step"), ledger_view.of_run(run)
    kept = [event["allocated"] for event in run.events() if event.get("phase") == "dequantized"]
    return {
        "tokens_per_s": float(steps.tokens_per_s[1:].median()),
        "peak_bytes": int(steps.memory_bytes.max()),
        "kept_dequantized_bytes": kept[-1] if kept else 0,
        "measured": comparison["measured"],
        "forecast_is_off_by": comparison["residual"],
        "retries": [event["what"] for event in run.events() if event["kind"] == "retry"],
    }


def _rival(arm: str, model: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    import torch

    from etabli.core import machine
    from etabli.models import loading

    loaded = loading.load(str(model), alongside=True, keep_dequantized=False)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    clock, counts = engine.Clock(), {"padded": 0, "real": 0, "trained": 0, "rows": []}
    train = engine.plain if arm == "plain" else engine.theirs
    train(arm, "short", 0, rows, loaded, clock, counts)
    seconds = statistics.median(end - start for (start, _), (end, _) in zip(clock.ends, clock.ends[1:]))
    return {
        "tokens_per_s": counts["real"] / len(clock.ends) / seconds,
        "peak_bytes": machine.memory_bytes(),
        "nvidia_smi": _nvidia_smi(),
    }


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "machine": machine_part,
    "dtypes": dtypes_part,
    "resume": resume_part,
    "write": write_part,
    "arm": arm_part,
}

if __name__ == "__main__":
    main()
