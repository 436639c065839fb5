"""From the bytes of tensors to the bytes that a device shows: phases, the peak, and what the peak consists of."""

from dataclasses import replace
from typing import TypedDict

from etabli.memory.calibration import Calibration
from etabli.memory.config import Setup
from etabli.memory.gpus import NEW, Device
from etabli.memory.scaling import Formulas, MemoryFormula, largest_phase
from etabli.training.tensor_counter import Parts, total_bytes

# A GPU needs more than its tensors: the CUDA context (an assumption), and what the allocator can't use again. SPILL and
# LOGITS_SPILL are fitted on nine of the published pairs of max_memory_allocated and nvidia-smi, and tested on the
# others (tests/published_memory.json).
CONTEXT = 2**29
SPILL = 1.08
LOGITS_SPILL = 1.79  # times the bytes of all logits in float32: such large blocks leave holes
LIBRARIES = 700 * 10**6  # on a CPU: the resident bytes of Python and the libraries
HOST_PHASES = ("merge",)  # phases that take the memory of the host, not of the GPU
_COMPONENTS = (
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


class Peak(TypedDict):
    """The largest phase: bytes of tensors, and bytes that the device shows."""

    allocated: int
    device: int
    phase: str


class Breakdown(TypedDict):
    """A setup's memory in bytes."""

    peak: Peak
    phases: dict[str, int]  # bytes of tensors
    parts: dict[str, dict[str, int]]  # phase -> part -> bytes of tensors
    device: dict[str, int]  # phase -> bytes that the device shows
    components: dict[str, int]  # of the peak; their sum is what the device shows
    recalibrated: Calibration | None
    notes: list[str]


def setup_on(setup: Setup, device: Device) -> Setup:
    """Return the setup with the type, dtype and attention kernel of a device, and without ``auto``."""
    shares_keys = device.type == "cpu" or device.capability >= NEW
    return replace(setup, device=device.type, dtype=device.dtype, shares_keys=shares_keys).resolve_auto()


def break_down(formulas: Formulas, setup: Setup, calibration: Calibration | None = None) -> Breakdown:
    """Return the peak of each phase and what it consists of.

    Args:
        calibration: what earlier runs measured against their forecasts; it scales what the device shows.
    """
    formula = formulas[setup.loss]
    phases = formula.phases(setup)
    peak_phase = largest_phase(phases, HOST_PHASES)
    device_bytes = {
        name: bytes_on_device(formula, setup, name, parts, calibration)
        for name, parts in phases.items()
        if name not in HOST_PHASES
    }
    peak_bytes = device_bytes[peak_phase]
    return {
        "peak": {"allocated": total_bytes(phases[peak_phase]), "device": peak_bytes, "phase": peak_phase},
        "phases": {name: total_bytes(parts) for name, parts in phases.items()},
        "parts": {name: _group_parts(parts) for name, parts in phases.items()},
        "device": device_bytes,
        "components": _components(phases[peak_phase], setup, peak_bytes),
        "recalibrated": calibration if calibration and calibration["runs"] else None,
        "notes": _notes(phases["load"], setup),
    }


def peak_on_device(formulas: Formulas, setup: Setup, calibration: Calibration | None = None) -> int:
    """Return the bytes that nvidia-smi (on a CPU: the resident set) shows at the peak."""
    phases = formulas[setup.loss].phases(setup)
    peak_phase = largest_phase(phases, HOST_PHASES)
    return bytes_on_device(formulas[setup.loss], setup, peak_phase, phases[peak_phase], calibration)


def bytes_on_device(
    formula: MemoryFormula, setup: Setup, phase: str, parts: Parts, calibration: Calibration | None = None
) -> int:
    """Return the bytes that the device shows in a phase with these tensors."""
    factor = calibration["factor"] if calibration else 1.0
    tensors = total_bytes(parts)
    if setup.device == "cpu":
        return max(tensors, round((tensors + LIBRARIES) * factor))
    # Holes that the logits leave stay in later phases too.
    has_holes = setup.loss != "chunked" and phase != "load"
    holes = LOGITS_SPILL * 4 * formula.vocabulary * formula.logits(setup) if has_holes else 0
    return max(tensors, round((tensors * SPILL + CONTEXT + holes) * factor))


def _components(parts: Parts, setup: Setup, device_bytes: int) -> dict[str, int]:
    """What the peak consists of; the sum is ``device_bytes``."""
    beyond_tensors = device_bytes - total_bytes(parts)
    context = min(LIBRARIES if setup.device == "cpu" else CONTEXT, beyond_tensors)
    return _group_parts(parts) | {"context": context, "fragmentation": beyond_tensors - context}


def _group_parts(parts: Parts) -> dict[str, int]:
    """Bytes by the names that people see: all tensors of a layer's computation are activations."""
    groups = {name: parts.get(name, 0) for name in _COMPONENTS}
    groups["activations"] += sum(size for name, size in parts.items() if name not in groups)
    return groups


def _notes(load_parts: Parts, setup: Setup) -> list[str]:
    notes = ["merge takes the memory of the host, not of the GPU."] if setup.device == "cuda" else []
    if load_parts.get("experts"):
        notes.append(
            f"Experts: {load_parts['experts'] / 2**30:.1f} GiB of fused expert weights stay in 16 bits, because "
            "bitsandbytes quantises only linear layers."
        )
    if setup.engine == "trainer" and not setup.shares_keys:
        notes.append(
            "The forecast assumes a fused attention kernel. Without one, a GPU holds all attention scores."
            " It then takes more."
        )
    if setup.optimizer == "paged_adamw8bit":
        notes.append(
            "The optimiser's states are paged: they count here as on the GPU, and can leave it when it is full."
        )
    return notes
