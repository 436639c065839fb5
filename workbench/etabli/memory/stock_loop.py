"""What of a stock loop a forecast can't know, and how much memory it may take instead: ``--engine trainer``.

The loops of transformers, TRL and other trainers differ in a few things that move the peak by gigabytes. Each is named
with its own figure, and the range spans them: all that lower it together, all that raise it together.
"""

from collections.abc import Collection
from dataclasses import replace

from etabli.core.contracts import MemoryRange
from etabli.core.wording import format_gib
from etabli.memory import trace_cache
from etabli.memory.config import ModelConfig, Setup
from etabli.memory.devices import Calibration
from etabli.memory.formula import CONTEXT, SPILL, Formulas, break_down

HALF_LOGIT = 2  # bytes of a logit in 16 bits


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
    low, high, assumptions = here, here["device"], []
    if "upcast" not in known:
        other_setup = replace(setup, upcast=not setup.upcast)
        other = break_down(trace_cache.load_formulas(config, [other_setup]), other_setup, calibration)["peak"]
        low, high = min(low, other, key=lambda peak: peak["device"]), max(high, other["device"])
        assumptions.append(_about_upcast(setup.upcast, other["device"]))
    least = low["device"]
    if setup.loss != "chunked":
        least = min(least, round(low["allocated"] * SPILL + CONTEXT))
        assumptions.append(
            "All logits exist at once, and leave holes in the allocator's memory as on the cards that the forecast was "
            f"fitted on; with PYTORCH_ALLOC_CONF=expandable_segments:True down to {format_gib(least)}."
        )
    if setup.loss == "full":
        copies = HALF_LOGIT * formulas[setup.loss].vocabulary * setup.tokens
        high += copies
        assumptions.append(f"The logits exist in float32 alone; transformers up to 4.48: {format_gib(copies)} more.")
    assumptions.append("Attention is a fused kernel, as SDPA's; an eager one also writes down every score.")
    return {"low": least, "high": high, "assumptions": assumptions}


def _about_upcast(is_upcast: bool, other_bytes: int) -> str:
    """Say what the forecast takes for what is not in 4 bits, and what the other way would take."""
    if is_upcast:
        held, other = "in float32 (prepare_model_for_kbit_training)", "in 16 bits (--no-upcast)"
    else:
        held, other = "in 16 bits", "in float32 (prepare_model_for_kbit_training)"
    return f"Embeddings, norms and head are held {held}; {other}: {format_gib(other_bytes)}."
