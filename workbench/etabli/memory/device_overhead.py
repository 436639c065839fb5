"""From bytes of tensors to bytes on a device: phases, the peak and what it is made of."""

from dataclasses import replace
from typing import Any

from etabli.memory.config import Setup
from etabli.memory.gpus import NEW, Card
from etabli.memory.scaling import ClosedForm, Forms, largest
from etabli.training.tensor_counter import Parts, total

# Beyond what tensors hold, a card needs the CUDA context (assumed) and what the allocator can't reuse: SPILL and
# LOGITS_SPILL are fitted on nine of the published pairs of max_memory_allocated and nvidia-smi, and judged on the
# others (tests/published_memory.json).
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
    form = forms[setup.loss]
    found = form.phases(setup)
    phase = largest(found, HOST)
    shown = {name: on_device(form, setup, name, parts, known) for name, parts in found.items() if name not in HOST}
    return {
        "peak": {"allocated": total(found[phase]), "device": shown[phase], "phase": phase},
        "phases": {name: total(parts) for name, parts in found.items()},
        "parts": {name: _named(parts) for name, parts in found.items()},
        "device": shown,
        "components": _components(found[phase], setup, shown[phase]),
        "recalibrated": known if known and known["runs"] else None,
        "notes": _notes(found["load"], setup),
    }


def peak_on_device(forms: Forms, setup: Setup, known: dict[str, Any] | None = None) -> int:
    """Bytes that nvidia-smi (on a CPU: the resident set) would show at the peak."""
    found = forms[setup.loss].phases(setup)
    phase = largest(found, HOST)
    return on_device(forms[setup.loss], setup, phase, found[phase], known)


def on_device(form: ClosedForm, setup: Setup, phase: str, parts: Parts, known: dict[str, Any] | None = None) -> int:
    """Bytes that the device would show in a phase in which such tensors are alive."""
    factor = known["factor"] if known else 1.0
    if setup.device == "cpu":
        return max(total(parts), round((total(parts) + LIBRARIES) * factor))
    # Logits that exist whole leave holes, also for phases in which they are gone.
    holes = LOGITS_SPILL * 4 * form.vocabulary * form.logits(setup) if setup.loss != "chunked" else 0
    return max(total(parts), round((total(parts) * SPILL + CONTEXT + holes * (phase != "load")) * factor))


def _components(parts: Parts, setup: Setup, device: int) -> dict[str, int]:
    """At the peak; they sum up to what the device shows."""
    named = _named(parts)
    context = min(LIBRARIES if setup.device == "cpu" else CONTEXT, device - total(parts))
    return named | {"context": context, "fragmentation": device - total(parts) - context}


def _named(parts: Parts) -> dict[str, int]:
    """By the names that people see: what is narrow, or a copy, of an adapter's is one of the activations."""
    named = {name: parts.get(name, 0) for name in _NAMES}
    named["activations"] += sum(size for name, size in parts.items() if name not in named)
    return named


def _notes(loaded: Parts, setup: Setup) -> list[str]:
    notes = ["merge takes the host's memory, not the card's."] if setup.device == "cuda" else []
    if loaded.get("experts"):
        notes.append(
            f"Experts: {loaded['experts'] / 2**30:.1f} GiB of fused expert weights stay in 16 bits, since bitsandbytes "
            "quantises linear layers alone."
        )
    if setup.engine == "trainer" and not setup.shares_keys:
        notes.append(
            "A fused attention kernel is assumed; where this card has none, all scores exist, and it takes more."
        )
    if setup.optimizer == "paged_adamw8bit":
        notes.append(
            "The optimiser's states are paged: they count here as on the card, and can leave it when it is full."
        )
    return notes
