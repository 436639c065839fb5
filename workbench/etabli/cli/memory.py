"""``etabli memory``."""

import click

from etabli.cli.output import reporting

GIB = 2**30


def _human(told: dict) -> str:
    peak = told["peak"]
    tensors = f"{peak['allocated'] / GIB:.2f} of it tensors ({peak['phase']})"
    lines = [f"{told['model']}: {peak['device'] / GIB:.2f} GiB on the card, {tensors}"]
    lines += ["", "by phase:", *(f"  {name:<12} {size / GIB:7.2f} GiB" for name, size in told["phases"].items())]
    lines += ["", f"at the peak ({peak['phase']}):"]
    lines += [f"  {name:<14} {size / GIB:7.2f} GiB" for name, size in told["components"].items()]
    if told["fits"] is not None:
        gpu, largest = told["gpu"], told["largest"]
        lines += ["", f"{'fits' if told['fits'] else 'does NOT fit'} {gpu['name']} ({gpu['total'] / GIB:.1f} GiB)"]
        lines += [f"largest: seq {largest['seq']} at this batch, batch {largest['batch']} at this seq"]
    for item in told["advice"]:
        fits = "fits" if item["fits"] else "not enough alone"
        lines.append(f"  {item['change']}: saves {item['saves'] / GIB:.2f} GiB ({fits}); {item['cost']}")
    return "\n".join([*lines, "", told["basis"], *told["notes"]])


@click.command()
@click.argument("model", default="default")
@click.option("--gpu", help="t4, l4, 3060, 4070, 3090, 4090, a100, a100-80, 2xt4, a number of GB, or here.")
@click.option("--seq", default=2048, show_default=True, type=click.IntRange(1), help="Tokens a row.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1), help="Rows at once.")
@click.option("--rank", default=16, show_default=True, type=click.IntRange(1), help="Of the adapters.")
@click.option("--checkpointing", default="none", show_default=True, help="none, all, or a number of layers.")
@click.option("--optimizer", default="adamw", show_default=True, help="adamw or adamw8bit.")
@click.option("--loss", default="full", show_default=True, help="full: logits exist whole; chunked: never.")
@click.option("--lora", default="all-linear", show_default=True, help="all-linear, or q_proj,v_proj,...")
@click.option("--engine", default="etabli", show_default=True, help="etabli, or trainer: stock transformers + PEFT.")
@click.option("--trained", default=1.0, show_default=True, help="Share of tokens that are trained.")
@reporting(_human, lambda told: int(told["fits"] is False))
def memory(model: str, gpu: str | None, **keys) -> dict:
    """Forecast what a run of MODEL takes; ends 1 if it does not fit the card."""
    from etabli.memory.forecast import forecast
    from etabli.memory.setup import Setup

    return forecast(model, Setup(**keys), gpu)
