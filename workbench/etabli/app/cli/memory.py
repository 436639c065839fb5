"""``etabli memory``."""

from typing import Any, cast

import click

from etabli.app.cli.output import reporting
from etabli.core.contracts import GpuMemory, Measurement, MemoryForecast, MemoryRange
from etabli.core.progress import show_progress

GIB = 2**30


def _format_forecast(report: MemoryForecast) -> str:
    peak, measured_phases = report["peak"], report.get("measured") or {}
    tensors = f"{peak['allocated'] / GIB:.2f} of it tensors ({peak['phase']})"
    place = "resident" if report["setup"]["device"] == "cpu" else "on the card"
    lines = [f"{report['model']}: {peak['device'] / GIB:.2f} GiB {place}, {tensors}", "", "by phase:"]
    lines += [_format_phase(name, size, measured_phases.get(name)) for name, size in report["phases"].items()]
    lines += ["", f"at the peak ({peak['phase']}):"]
    lines += [f"  {name:<14} {size / GIB:7.2f} GiB" for name, size in report["components"].items() if size]
    if report["fits"] is not None:
        lines += ["", *_format_fit(report)]
    if spread := report.get("range"):
        lines += ["", *_format_range(spread, report.get("gpu"))]
    return "\n".join([*lines, "", report["basis"], *report["notes"]])


def _format_range(spread: MemoryRange, gpu: GpuMemory | None) -> list[str]:
    low, high = spread["low"] / GIB, spread["high"] / GIB
    span = f"may take {low:.2f} to {high:.2f} GiB" if low < high else f"takes {low:.2f} GiB"
    doubt = ", so it may or may not fit" if gpu and spread["low"] <= gpu["total"] < spread["high"] else ""
    return [f"a stock loop {span}{doubt}. Taken for granted:", *(f"  {text}" for text in spread["assumptions"])]


def _format_phase(name: str, size: int, measurement: Measurement | None) -> str:
    measured_bytes = measurement.get("allocated") if measurement else None
    line = f"  {name:<12} {size / GIB:7.2f} GiB"
    if not measured_bytes:
        return line
    return f"{line}   measured {measured_bytes / GIB:7.2f} ({measured_bytes / size - 1:+.1%})"


def _format_fit(report: MemoryForecast) -> list[str]:
    gpu, largest, cheapest = report["gpu"], report["largest"], report["cheapest"]
    lines = [f"{'fits' if report['fits'] else 'does NOT fit'} {gpu['name']} ({gpu['total'] / GIB:.1f} GiB)"]
    lines += [f"largest: seq {largest['seq']} at this batch, batch {largest['batch']} at this seq"]
    for item in report["advice"]:
        fits = "fits" if item["fits"] else "not enough alone"
        lines.append(f"  {item['change']}: saves {item['saves'] / GIB:.2f} GiB ({fits}); {item['cost']}")
    if cheapest:
        lines.append(f"cheapest: {', '.join(cheapest['changes'])}: {cheapest['device'] / GIB:.2f} GiB")
    elif not report["fits"]:
        lines.append("No change on this list makes it fit: choose a smaller model or a larger card.")
    return lines


@click.command()
@click.argument("model", default="default")
@click.option("--gpu", help="t4, l4, 3060, 4070, 3090, 4090, a100, a100-80, h100, 2xt4, a number of GiB, or here.")
@click.option("--seq", default=2048, show_default=True, type=click.IntRange(1), help="Tokens in a row.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1), help="Rows in a micro-batch.")
@click.option("--rank", default=16, show_default=True, type=click.IntRange(1), help="Rank of the LoRA adapters.")
@click.option("--checkpointing", default="none", show_default=True, help="none, all, or a number of layers.")
@click.option("--optimizer", default="auto", show_default=True, help="auto, adamw, adamw8bit or paged_adamw8bit.")
@click.option("--loss", default="auto", show_default=True, help="auto, full (all logits at once), inplace or chunked.")
@click.option(
    "--lora", default="all-linear", show_default=True, help="Layers with adapters: all-linear, or q_proj,v_proj,..."
)
@click.option("--engine", default="etabli", show_default=True, help="etabli, or trainer: stock transformers + PEFT.")
@click.option("--trained", default=1.0, show_default=True, help="Share of tokens that are trained, 0 to 1.")
@click.option(
    "--upcast/--no-upcast", default=None, help="With trainer: hold weights that are not in 4 bits in float32."
)
@reporting(_format_forecast, lambda forecast: int(forecast["fits"] is False))
def memory(model: str, gpu: str | None, **options: Any) -> MemoryForecast:
    """Forecast the memory of a run with MODEL. Exit code: 1 if it does not fit the card.

    MODEL may also be the folder of a run: then the report shows the measured memory beside the forecast.
    """
    from pathlib import Path

    with show_progress("loading libraries"):
        from etabli.core import contracts
        from etabli.memory import forecast, of_run

    if (Path(model) / contracts.RECIPE).is_file():
        return cast(MemoryForecast, of_run(model, gpu))
    known = {name: value for name, value in options.items() if value is not None}
    return cast(MemoryForecast, forecast(model, gpu, **known))
