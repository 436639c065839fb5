"""How fast is the engine, beside TRL and a plain Trainer on the same rows, and does it learn as much?

    pip install trl==1.16.0
    python benchmarks/engine.py [--alpaca alpaca_en_demo.json] [--rounds 3] [--out FILE]

Each arm trains the same model (the embedded one, NF4), adapter (rank 16 on every linear layer), rows, one
epoch, learning rate and about the same number of rows a step, in a process of its own; rounds are interleaved, and
a round is also the seed of adapter and order. Speed is
taken from the end of the first step to the end of the last, by the clock and by CPU time; memory is the peak of the
resident set while training. Only a machine that does nothing else counts. Three shapes of data:

    short   home commands, about 61 tokens
    alpaca  the Alpaca sample of the sdist of llamafactory 0.9.5, which pip downloads unless a file is given
    long    chats of five such turns each, about 600 tokens, of which the last answer is trained

Arms: ``ours``; ``trl`` (SFTTrainer as its quick start has it, which checkpoints every layer); ``trl-packed`` and
``trl-grouped`` (no checkpointing; packed, or batches of rows of like length): the faster is TRL's best;
``trainer`` (transformers' own loop, padded batches, all logits); ``plain`` and ``plain-dequantized`` (the best loop of
fifty lines: ``benchmarks/plain_loop.py``; the base in NF4, or as 16-bit weights).
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
ARMS = ("ours", "trl", "trl-packed", "trl-grouped", "trainer", "plain", "plain-dequantized")
# rows to train, rows a step, tokens of a pack, policy: tokens of a pack hold about as many rows as a padded step has
SHAPES = {"short": (96, 8, 512), "alpaca": (48, 4, 768), "long": (16, 2, 1536)}
HELD_OUT, LENGTH, RATE = 24, 1024, 1e-3


def main() -> None:
    """Run every arm on every shape, round after round; print and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpaca", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=3, metavar=("ARM", "SHAPE", "SEED"), help="train here, and print the figures")
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(*chosen.one[:2], int(chosen.one[2]), chosen.alpaca)))
        return
    chosen.alpaca = chosen.alpaca or fetched(Path(tempfile.mkdtemp()))
    runs = []
    for number in range(chosen.rounds):
        for shape in chosen.shapes:
            for arm in [*chosen.arms[number:], *chosen.arms[:number]]:  # none is always the first
                runs.append({"round": number, **_process(arm, shape, number, chosen.alpaca)})
                print(json.dumps(runs[-1]), flush=True)
    found = {"matmul_gflops": matmul_peak(), "threads": os.environ["OMP_NUM_THREADS"], **summary(runs), "runs": runs}
    print(json.dumps({key: value for key, value in found.items() if key != "runs"}, indent=1))
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n")


def fetched(folder: Path) -> Path:
    """The Alpaca sample, from the registry that pip is told to use."""
    wanted = ["--no-deps", "--no-binary", ":all:", "llamafactory==0.9.5", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        member = next(one for one in archive.getmembers() if one.name.endswith("data/alpaca_en_demo.json"))
        archive.extract(member, folder, filter="data")
    return folder / member.name


def _process(arm: str, shape: str, seed: int, alpaca: Path) -> dict:
    command = [sys.executable, __file__, "--alpaca", str(alpaca), "--one", arm, shape, str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arm} on {shape} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def summary(runs: list[dict]) -> dict:
    """Each arm's medians, and for every rival how many times faster ours is: [least, median, most] over rounds."""
    shapes: dict[str, dict] = {}
    for shape in dict.fromkeys(run["shape"] for run in runs):
        mine = [run for run in runs if run["shape"] == shape]
        arms = {arm: [run for run in mine if run["arm"] == arm] for arm in dict.fromkeys(run["arm"] for run in mine)}
        told = {
            arm: {key: statistics.median(run[key] for run in held) for key in FIGURES} for arm, held in arms.items()
        }
        ratios = {}
        for arm, held in arms.items():
            times = sorted(ours["rows_per_s"] / run["rows_per_s"] for ours, run in zip(arms.get("ours", []), held))
            ratios[arm] = [times[0], statistics.median(times), times[-1]] if times else None
        shapes[shape] = {"arms": told, "ours_is_times_as_fast_as": ratios}
    return {"shapes": shapes}


FIGURES = (
    "rows_per_s",
    "rows_per_cpu_s",
    "trained_tokens_per_s",
    "padded_over_real",
    "peak_bytes",
    "held_out_loss",
    "matmul_share",
)


# --- the same for every arm -----------------------------------------------------------------------------------------


def rows_of(shape: str, alpaca: Path) -> tuple[list[dict], list[dict]]:
    """Conversations to train on and to hold out."""
    import etabli

    count = SHAPES[shape][0]
    if shape == "short":
        commands = etabli.home_commands(n=count, test=HELD_OUT // 2, seed=0)
        rows = etabli.Dataset(commands)
        return rows.part("train")[:count], rows.part("test")[:HELD_OUT]
    told = json.loads(alpaca.read_text(encoding="utf-8"))
    turns = [(f"{one['instruction']}\n{one['input']}".strip(), one["output"]) for one in told if one["output"]]
    size = 1 if shape == "alpaca" else 5
    talks = [turns[at : at + size] for at in range(0, len(turns) - size, size)]
    fits = range(1800, 3300) if size > 1 else range(1600)  # characters: none is cut, and chats are long
    talks = [talk for talk in talks if sum(len(text) for turn in talk for text in turn) in fits][: count + HELD_OUT]
    made = [
        {
            "id": f"{shape}-{at}",
            "messages": [
                {"role": role, "content": text} for turn in talk for role, text in zip(("user", "assistant"), turn)
            ],
        }
        for at, talk in enumerate(talks)
    ]
    return made[:count], made[count:]


class Clock:
    """Ends of steps, by the clock and in CPU time."""

    def __init__(self):
        self.ends: list[tuple[float, float]] = []

    def tick(self) -> None:
        """A step has ended."""
        self.ends.append((time.monotonic(), time.process_time()))


def one(arm: str, shape: str, seed: int, alpaca: Path) -> dict:
    """Train one arm in this process."""
    import torch

    from etabli.models import loading

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    train, held = rows_of(shape, alpaca)
    loaded = loading.load("default", alongside=True, keep_dequantized=False)
    with contextlib.suppress(ImportError):  # so that memory is counted from the same in every arm
        import datasets  # noqa: F401
        import trl  # noqa: F401
    clock, counts = Clock(), {"padded": 0, "real": 0, "trained": 0, "rows": []}
    Path("/proc/self/clear_refs").write_text("5")
    model = {"ours": ours, "plain": plain, "plain-dequantized": plain}.get(arm, theirs)(
        arm, shape, seed, train, loaded, clock, counts
    )
    peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
    (wall, cpu), (first_wall, first_cpu) = clock.ends[-1], clock.ends[0]
    rows, share = sum(counts["rows"][1:]), sum(counts["rows"][1:]) / sum(counts["rows"])
    base = sum(p.numel() for p in _linears(loaded.model))
    # Forward and backward of frozen layers: 4 operations a weight and token; of the head, a weight and trained token.
    head = loaded.model.get_output_embeddings().weight.numel()
    gflops = 4 * (base * counts["real"] + head * counts["trained"]) * share / (cpu - first_cpu) / 1e9
    return {
        "arm": arm,
        "shape": shape,
        "rows_per_s": rows / (wall - first_wall),
        "rows_per_cpu_s": rows / (cpu - first_cpu),
        "trained_tokens_per_s": counts["trained"] * share / (wall - first_wall),
        "padded_over_real": counts["padded"] / counts["real"],
        "peak_bytes": peak,
        "steps": len(clock.ends),
        "held_out_loss": held_out(model, loaded, held),
        "matmul_share": gflops / matmul_peak(),
    }


def _linears(model):
    import torch

    for part in model.modules():
        if type(part).__name__ == "Linear4bit" and hasattr(part, "quant_state"):
            yield torch.empty(part.out_features, part.in_features, device="meta")


def held_out(model, loaded, rows: list[dict]) -> float:
    """Mean loss of the last answers' tokens, row by row, by the model's own forward pass."""
    import torch
    import torch.nn.functional as F

    from etabli.rendering.render import render

    total = count = 0
    model.eval()
    for row in rows:
        seen = render(row["messages"], loaded.tokenizer, "last")
        ids, labels = torch.tensor([seen.ids[:LENGTH]]), torch.tensor(seen.labels[1:LENGTH])
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        total += float(F.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
        count += int((labels != -100).sum())
    return total / count


def matmul_peak() -> float:
    """What the machine does at best, in GFLOP/s of CPU time: bfloat16 matrices of a layer's size."""
    import torch

    one, other = torch.randn(1024, 2048).bfloat16(), torch.randn(2048, 2048).bfloat16()
    times = []
    for _ in range(8):
        began = time.process_time()
        one @ other
        times.append(time.process_time() - began)
    return 2 * 1024 * 2048 * 2048 / min(times) / 1e9


# --- the arms -------------------------------------------------------------------------------------------------------


def ours(arm, shape, seed, train, loaded, clock, counts):
    """The engine, as the child runs it, without looking at the run in between."""
    import etabli
    from etabli.runs.events import EventLog
    from etabli.training import train_data
    from etabli.training.packing import collate
    from etabli.training.preflight import run_preflight
    from etabli.training.trainer import Training

    folder = Path(tempfile.mkdtemp())
    etabli.Dataset(train).save(folder / "data")
    recipe = etabli.Recipe(
        data=str(folder / "data"),
        train_on="last",
        epochs=1,
        learning_rate=RATE,
        warmup_steps=0,
        optimizer="adamw",
        max_length=min(LENGTH, SHAPES[shape][2]),
        tokens_per_batch=SHAPES[shape][2],
        seed=seed,
    )
    held = train_data.load_train_data(recipe, loaded.tokenizer)
    held.rows, held.held_out, held.sample_prompts = (
        [*held.rows, *held.held_out],
        [],
        [],
    )  # all are trained, as by the others
    training = Training(folder, recipe, loaded, held, EventLog(folder))
    run_preflight(training)
    for step in range(training.sampler.steps):
        packs = training.sampler.packs(step + 1)
        training.train_step()
        clock.tick()
        counts["rows"].append(sum(map(len, packs)))
        for pack in packs:
            counts["padded"] += collate(pack, 0, "cpu")["input_ids"].numel()
            counts["real"] += sum(len(row.ids) for row in pack)
            counts["trained"] += sum(row.trained_tokens for row in pack)
    return training.peft


def theirs(arm, shape, seed, train, loaded, clock, counts):
    """A trainer of transformers or of TRL, given prompts and completions."""
    import datasets
    import torch
    from peft import get_peft_model
    from transformers import TrainerCallback

    torch.manual_seed(seed)
    lora = _lora()
    _, batch, tokens = SHAPES[shape]
    shared = {
        "output_dir": tempfile.mkdtemp(),
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "lr_scheduler_type": "linear",
        "per_device_train_batch_size": batch,
        "use_cpu": loaded.device == "cpu",
        "bf16": loaded.dtype == torch.bfloat16,
        "fp16": loaded.dtype == torch.float16,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "seed": seed,
        "disable_tqdm": True,
    }

    class Ticks(TrainerCallback):
        def on_step_end(self, *args, **kwargs):
            clock.tick()

    if arm == "trainer":
        trainer = _plain_trainer(get_peft_model(loaded.model, lora), loaded, train, shared)
    else:
        import trl

        more = {"max_length": LENGTH}
        if arm != "trl":
            more["gradient_checkpointing"] = False
        if arm == "trl-grouped":
            more["train_sampling_strategy"] = "group_by_length"
        if arm == "trl-packed":
            more |= {"packing": True, "max_length": tokens, "per_device_train_batch_size": 1}
        pairs = [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in train]
        trainer = trl.SFTTrainer(
            model=loaded.model,
            args=trl.SFTConfig(**shared | more),
            train_dataset=datasets.Dataset.from_list(pairs),
            peft_config=lora,
            processing_class=loaded.tokenizer,
        )
    _count(trainer, counts)
    trainer.add_callback(Ticks())
    with contextlib.redirect_stdout(sys.stderr):
        trainer.train()
    return trainer.model


def _lora():
    """The adapter of every rival."""
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def plain(arm, shape, seed, train, loaded, clock, counts):
    """The plain loop of ``benchmarks/plain_loop.py``."""
    import plain_loop
    import torch
    from peft import get_peft_model

    torch.manual_seed(seed)
    if arm == "plain-dequantized":
        plain_loop.dequantize(loaded.model)
    lora = _lora()
    model = get_peft_model(loaded.model, lora, autocast_adapter_dtype=False).to(loaded.dtype)

    def on_step(batches):
        clock.tick()
        for ids, labels in batches:
            counts["rows"].append(len(ids))
            counts["padded"] += ids.numel()
            counts["real"] += int(((ids != 0) | (labels != -100)).sum())
            counts["trained"] += int((labels != -100).sum())

    plain_loop.train(model, _rendered(train, loaded), SHAPES[shape][1], RATE, seed, on_step)
    return model


def _rendered(train, loaded) -> list[tuple[list[int], list[int]]]:
    from etabli.rendering.render import render

    seen = [render(row["messages"], loaded.tokenizer, "last") for row in train]
    return [(one.ids[:LENGTH], one.labels[:LENGTH]) for one in seen]


def _plain_trainer(model, loaded, train, shared):
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    rows = [{"input_ids": ids, "labels": labels} for ids, labels in _rendered(train, loaded)]
    collator = DataCollatorForSeq2Seq(loaded.tokenizer)
    return Trainer(model=model, args=TrainingArguments(**shared), train_dataset=rows, data_collator=collator)


def _count(trainer, counts) -> None:
    """Count what goes through the model, step by step."""
    step = trainer.training_step

    def counted(model, inputs, *args, **kwargs):
        ids, labels, mask = inputs["input_ids"], inputs["labels"], inputs.get("attention_mask")
        real = int(mask.sum()) if mask is not None else ids.numel()
        starts = int((inputs["position_ids"] == 0).sum()) if mask is None else len(ids)
        for name, value in {"padded": ids.numel(), "real": real, "trained": int((labels != -100).sum())}.items():
            counts[name] += value
        counts["rows"].append(starts)
        return step(model, inputs, *args, **kwargs)

    trainer.training_step = counted


if __name__ == "__main__":
    main()
