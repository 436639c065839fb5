"""``etabli memory``."""

import click

from etabli.app.cli.output import reporting

GIB = 2**30


def _human(told: dict) -> str:
    peak, measured = told["peak"], told.get("measured") or {}
    tensors = f"{peak['allocated'] / GIB:.2f} of it tensors ({peak['phase']})"
    place = "resident" if told["setup"]["device"] == "cpu" else "on the card"
    lines = [f"{told['model']}: {peak['device'] / GIB:.2f} GiB {place}, {tensors}", "", "by phase:"]
    lines += [_phase(name, size, measured.get(name)) for name, size in told["phases"].items()]
    lines += ["", f"at the peak ({peak['phase']}):"]
    lines += [f"  {name:<14} {size / GIB:7.2f} GiB" for name, size in told["components"].items() if size]
    if told["fits"] is not None:
        lines += ["", *_fitting(told)]
    return "\n".join([*lines, "", told["basis"], *told["notes"]])


def _phase(name: str, size: int, measured: dict | None) -> str:
    took = (measured or {}).get("allocated")
    return f"  {name:<12} {size / GIB:7.2f} GiB" + (
        f"   measured {took / GIB:7.2f} ({took / size - 1:+.1%})" if took else ""
    )


def _fitting(told: dict) -> list[str]:
    gpu, largest, cheapest = told["gpu"], told["largest"], told["cheapest"]
    lines = [f"{'fits' if told['fits'] else 'does NOT fit'} {gpu['name']} ({gpu['total'] / GIB:.1f} GiB)"]
    lines += [f"largest: seq {largest['seq']} at this batch, batch {largest['batch']} at this seq"]
    for item in told["advice"]:
        fits = "fits" if item["fits"] else "not enough alone"
        lines.append(f"  {item['change']}: saves {item['saves'] / GIB:.2f} GiB ({fits}); {item['cost']}")
    if cheapest:
        lines.append(f"cheapest: {', '.join(cheapest['changes'])}: {cheapest['device'] / GIB:.2f} GiB")
    elif not told["fits"]:
        lines.append("Nothing listed makes it fit: take a smaller model, or a larger card.")
    return lines


@click.command()
@click.argument("model", default="default")
@click.option("--gpu", help="t4, l4, 3060, 4070, 3090, 4090, a100, a100-80, h100, 2xt4, a number of GB, or here.")
@click.option("--seq", default=2048, show_default=True, type=click.IntRange(1), help="Tokens a row.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1), help="Rows at once.")
@click.option("--rank", default=16, show_default=True, type=click.IntRange(1), help="Of the adapters.")
@click.option("--checkpointing", default="none", show_default=True, help="none, all, or a number of layers.")
@click.option("--optimizer", default="auto", show_default=True, help="auto, adamw, adamw8bit or paged_adamw8bit.")
@click.option("--loss", default="auto", show_default=True, help="auto, full (logits exist whole), inplace or chunked.")
@click.option("--lora", default="all-linear", show_default=True, help="all-linear, or q_proj,v_proj,...")
@click.option("--engine", default="etabli", show_default=True, help="etabli, or trainer: stock transformers + PEFT.")
@click.option("--trained", default=1.0, show_default=True, help="Share of tokens that are trained.")
@click.option("--upcast/--no-upcast", default=True, help="trainer: what is not in 4 bits in float32.")
@reporting(_human, lambda told: int(told["fits"] is False))
def memory(model: str, gpu: str | None, **keys) -> dict:
    """Forecast what a run of MODEL takes; ends 1 if it does not fit the card.

    MODEL may be the folder of a run: then what it measured stands beside what would have been forecast.
    """
    from pathlib import Path

    from etabli.core import contracts
    from etabli.memory import forecast, of_run

    if (Path(model) / contracts.RECIPE).is_file():
        return of_run(model, gpu)
    return forecast(model, gpu, **keys)
