"""The forecast against the tensors really alive on a CPU, in this project's engine, over a grid.

    python benchmarks/memory_grid.py [--out FILE]         # about 20 minutes on one core

Each point is a process of its own: it loads the embedded model in 4 bits, makes adapters and optimiser as a run does,
and goes through one step on rows of that length, while the bytes of tensor storage alive are counted phase by phase.
Beside it, not compared: the resident set, which is what the allocator makes of them; and torch's own account of what
it allocated during the step (``profiler``), which also sees what an operation holds inside itself.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
GRID = {"seq": (96, 512, 1024), "batch": (1, 3), "rank": (8, 64), "checkpointing": ("none", "10", "all")}
PHASES = ("forward", "backward", "optimizer", "evaluation")


def main() -> None:
    """Measure every point of the grid; print and write how far the forecast was off."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", type=json.loads, metavar="POINT", help="measure here, and print the bytes")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(alive(chosen.one)))
        return
    points = [compared(dict(zip(GRID, values))) for values in itertools.product(*GRID.values())]
    errors = [abs(point["error"][phase]) for point in points for phase in PHASES]
    said = {"points": points, "median": statistics.median(errors), "worst": max(errors), "compared": len(errors)}
    print(json.dumps({name: value for name, value in said.items() if name != "points"}, indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps(said, indent=1) + "\n")


def compared(point: dict) -> dict:
    """One point: measured in a process of its own, and forecast."""
    from etabli.memory import Setup, trace_cache
    from etabli.memory.config import load_config
    from etabli.memory.formula import break_down

    command = [sys.executable, __file__, "--one", json.dumps(point)]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    setup = Setup(**point, device="cpu", dtype=said["dtype"]).resolve_auto()
    told = break_down(trace_cache.load_formulas(load_config("default"), [setup]), setup)["phases"]
    off = {phase: told[phase] / said["alive"][phase] - 1 for phase in PHASES}
    made = point | said | {"forecast": {phase: told[phase] for phase in PHASES}, "error": off}
    print(json.dumps(made), flush=True)
    return made


def alive(point: dict) -> dict:
    """Bytes alive at the peak of each phase of a real step."""
    import psutil
    import torch

    from etabli.memory.trace import make_states
    from etabli.models import loading
    from etabli.training import lora_and_optimizer
    from etabli.training.tensor_counter import TensorCounter, count_model, total_bytes

    loaded = loading.load(keep_dequantized=False)
    recipe, pack = asked(point)
    peft = lora_and_optimizer.add_lora(loaded, recipe).train()
    optimizer = lora_and_optimizer.make_optimizer(peft, recipe)
    trained = [held for held in peft.parameters() if held.requires_grad]
    counted, found = TensorCounter(), {}
    loss = losses(peft, loaded, pack)
    count_model(peft, counted)
    before = counted.now

    def ends(phase: str) -> None:
        found[phase] = max(map(total_bytes, counted.take_moments()))

    with counted:
        make_states(optimizer, trained, counted)
        counted.take_moments()
        with loss() as value:
            ends("forward")
            value.backward()
        del value
        ends("backward")
        optimizer.step()
        ends("optimizer")
        optimizer.zero_grad(set_to_none=True)
        peft.eval()
        with torch.no_grad(), loss():
            ends("evaluation")
    peft.train()
    states = total_bytes(counted.parts) - before
    said = {"dtype": str(loaded.dtype).removeprefix("torch."), "alive": found, "before": before + states}
    said["by_torch"] = by_torch(loss)
    return said | {"resident": psutil.Process().memory_info().rss}


def asked(point: dict) -> tuple:
    """The recipe of a point, and its rows."""
    import torch

    from etabli.runs.recipe import Recipe
    from etabli.training.packing import TokenizedRow

    some = point["checkpointing"]
    recipe = Recipe(
        data="none",
        max_length=point["seq"],
        batch_size=point["batch"],
        lora={"rank": point["rank"]},
        gradient_checkpointing=int(some) if some.isdigit() else some,
    )
    ids = torch.randint(0, 40_000, (point["batch"], point["seq"])).tolist()
    return recipe, [TokenizedRow(str(at), row, row) for at, row in enumerate(ids)]


def losses(peft, loaded, pack):
    """A function that makes the loss of the rows, as training does."""
    import torch

    from etabli.training.packed_loss import PackedLoss

    lower = loaded.dtype != torch.float32
    objective = PackedLoss(peft, loaded, lambda: torch.autocast("cpu", loaded.dtype, enabled=lower))
    return lambda: objective.compute(pack)


def by_torch(loss) -> int:
    """Bytes that torch's allocator had handed out at the most, during a forward and a backward pass."""
    import tempfile

    import torch

    with torch.profiler.profile(profile_memory=True) as profile, loss() as value:
        value.backward()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        profile.export_chrome_trace(file.name)
        events = json.loads(Path(file.name).read_text())["traceEvents"]
    held = [event["args"]["Total Allocated"] for event in events if event.get("name") == "[memory]"]
    return max(held, default=0)


if __name__ == "__main__":
    main()
