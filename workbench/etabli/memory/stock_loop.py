"""What of a stock loop a forecast can't know, and how much memory it may take instead: ``--engine trainer``.

The loops of transformers, TRL and other trainers differ in a few things that move the peak by gigabytes. Each is named
with its own figure: the forecast with this one thing otherwise. The range spans all that lower it together, and all
that raise it together.
"""

from collections.abc import Collection
from dataclasses import replace

from etabli.core.contracts import MemoryRange, PeakMemory
from etabli.core.wording import format_gib
from etabli.memory import trace_cache
from etabli.memory.config import ModelConfig, Setup
from etabli.memory.devices import Calibration
from etabli.memory.formula import CONTEXT, SPILL, Formulas, break_down

HALF_LOGIT = 2  # bytes of a logit in 16 bits
SMALL = 2**24  # bytes that are not worth a sentence


def forecast_range(
    config: ModelConfig, setup: Setup, formulas: Formulas, known: Collection[str], calibration: Calibration | None
) -> MemoryRange:
    """Return the least and the most that a stock loop on a GPU may take, in bytes, and why.

    Args:
        config: the model's ``config.json``.
        setup: without ``auto``, for the engine ``trainer`` on a GPU.
        formulas: of the setup.
        known: the settings that the person named; what is known has no range.
        calibration: as for ``break_down``.
    """
    here = break_down(formulas, setup, calibration)["peak"]
    peaks, assumptions = [here], []
    if "upcast" not in known:
        other_setup = replace(setup, upcast=not setup.upcast)
        other = break_down(trace_cache.load_formulas(config, [other_setup]), other_setup, calibration)["peak"]
        peaks.append(other)
        assumptions.append(_about_upcast(setup.upcast, other["device"]))
    factor = calibration["factor"] if calibration else 1.0
    low, high = (end(peak["device"] for peak in peaks) for end in (min, max))
    if setup.loss != "chunked":
        low = min(_without_holes(peak, factor) for peak in peaks)
        assumptions.append(
            "All logits exist at once, and leave holes in the allocator's memory as on the cards that the forecast was "
            f"fitted on; none, as PYTORCH_ALLOC_CONF=expandable_segments:True aims at: "
            f"{format_gib(_without_holes(here, factor), 2)}."
        )
    copies = round(HALF_LOGIT * formulas[setup.loss].vocabulary * setup.tokens * factor)
    if setup.loss == "full" and copies > SMALL:
        high += copies
        assumptions.append(f"The logits exist in float32 alone; transformers up to 4.48: {format_gib(copies, 2)} more.")
    if setup.shares_keys:  # on older cards a note says so
        assumptions.append("Attention is a fused kernel, as SDPA's; an eager one also writes down every score.")
    return {"low": low, "high": high, "assumptions": assumptions}


def _without_holes(peak: PeakMemory, factor: float) -> int:
    """Return what the device shows if the logits leave no holes."""
    return max(peak["allocated"], round((peak["allocated"] * SPILL + CONTEXT) * factor))


def _about_upcast(is_upcast: bool, other_bytes: int) -> str:
    """Say what the forecast takes for what is not in 4 bits, and what the other way would take."""
    if is_upcast:
        held, other = "in float32 (prepare_model_for_kbit_training)", "in 16 bits (--no-upcast)"
    else:
        held, other = "in 16 bits", "in float32 (prepare_model_for_kbit_training)"
    return f"Embeddings, norms and head are held {held}; {other}: {format_gib(other_bytes, 2)}."
