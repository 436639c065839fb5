"""From bytes of tensors to bytes on a device: phases, the peak and what it is made of."""

from dataclasses import replace
from typing import Any

from etabli.allocations import Parts, total
from etabli.memory.cards import NEW, Card
from etabli.memory.closed_form import Forms
from etabli.memory.setup import Setup

# Beyond what tensors hold, a card needs the CUDA context and what the allocator can't reuse. Fitted on the calibration
# half of published pairs of max_memory_allocated and nvidia-smi (tests/published_memory.json), tested on the others.
CONTEXT = 2**29
SPILL = 1.08
LOGITS_SPILL = 1.79  # times the bytes of float32 logits that exist whole: blocks so large leave holes
LIBRARIES = 700 * 10**6  # on a CPU: Python and the libraries themselves, as this process has them resident
HOST = ("merge",)  # phases that take the host's memory, not the card's
_NAMES = (
    "quantised",
    "experts",
    "unquantised",
    "adapters",
    "gradients",
    "states",
    "activations",
    "logits",
    "workspace",
)


def on(setup: Setup, place: Card) -> Setup:
    """The setup as it would be there, with nothing left to ``auto``."""
    shares = place.device == "cpu" or place.capability >= NEW
    return replace(setup, device=place.device, dtype=place.dtype, shares_keys=shares).settled()


def reckoned(forms: Forms, setup: Setup, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """``peak``, ``phases``, ``parts`` and ``device`` of each phase, ``components`` at the peak, ``notes`` …

    Args:
        known: ``factor``, what the device shows beside what is forecast, as measured in so many ``runs``.
    """
    found = forms[setup.loss].phases(setup)
    phase = max((name for name in found if name not in HOST), key=lambda name: total(found[name]))
    device = _on_device(found[phase], setup, forms, known)
    return {
        "peak": {"allocated": total(found[phase]), "device": device, "phase": phase},
        "phases": {name: total(parts) for name, parts in found.items()},
        "parts": {name: _named(parts) for name, parts in found.items()},
        "device": {name: _on_device(parts, setup, forms, known) for name, parts in found.items() if name not in HOST},
        "components": _components(found[phase], setup, device),
        "recalibrated": known if known and known["runs"] else None,
        "notes": _notes(found["load"], setup),
    }


def on_device(forms: Forms, setup: Setup, known: dict[str, Any] | None = None) -> int:
    """Bytes that nvidia-smi (on a CPU: the resident set) would show at the peak."""
    phases = forms[setup.loss].phases(setup)
    largest = max((parts for name, parts in phases.items() if name not in HOST), key=total)
    return _on_device(largest, setup, forms, known)


def _on_device(parts: Parts, setup: Setup, forms: Forms, known: dict[str, Any] | None) -> int:
    factor = known["factor"] if known else 1.0
    if setup.device == "cpu":
        return round((total(parts) + LIBRARIES) * factor)
    # Logits that exist whole leave holes, also for phases in which they are gone.
    whole = 4 * forms[setup.loss].vocabulary * setup.tokens if setup.loss != "chunked" else 0
    return round((total(parts) * SPILL + CONTEXT + LOGITS_SPILL * whole) * factor)


def _components(parts: Parts, setup: Setup, device: int) -> dict[str, int]:
    """At the peak; they sum up to what the device shows."""
    named = _named(parts)
    context = LIBRARIES if setup.device == "cpu" else CONTEXT
    return named | {"context": context, "fragmentation": device - total(parts) - context}


def _named(parts: Parts) -> dict[str, int]:
    """By the names that people see: what is narrow, or a copy, of an adapter's is one of the activations."""
    named = {name: parts.get(name, 0) for name in _NAMES}
    named["activations"] += sum(size for name, size in parts.items() if name not in named)
    return named


def _notes(loaded: Parts, setup: Setup) -> list[str]:
    notes = ["merge takes the host's memory, not the card's."]
    if loaded.get("experts"):
        notes.append(
            f"Experts: {loaded['experts'] / 2**30:.1f} GiB of fused expert weights stay in 16 bits, since bitsandbytes "
            "quantises linear layers alone."
        )
    if setup.optimizer == "paged_adamw8bit":
        notes.append(
            "The optimiser's states are paged: they count here as on the card, and can leave it when it is full."
        )
    return notes
