"""Forecast the memory of a run: trace a few layers, extrapolate to all, add the device's overhead, give advice."""

from dataclasses import replace
from typing import Any, NotRequired, cast

from etabli.memory import advice, calibration, trace_cache
from etabli.memory.advice import AdviceItem, ChangeList, DeviceSize
from etabli.memory.calibration import Calibration
from etabli.memory.config import Setup, build_setup
from etabli.memory.device_overhead import CONTEXT, LIBRARIES, LOGITS_SPILL, SPILL, Breakdown, break_down, setup_on
from etabli.memory.gpus import Device, find_device
from etabli.memory.model_configs import load_config
from etabli.memory.scaling import Formulas, MemoryFormula
from etabli.models.loading import layer_width


class Forecast(Breakdown):
    """A ``Breakdown``, and whether it fits; ``gpu`` and ``largest`` are there if a device is named."""

    model: str
    setup: dict[str, Any]
    basis: str  # how the numbers were made, as text
    fits: bool | None  # None if no device is named
    advice: list[AdviceItem]
    cheapest: ChangeList | None
    gpu: NotRequired[DeviceSize]
    largest: NotRequired[dict[str, int]]


def forecast(
    model: str = "default", gpu: str | Device | None = None, setup: Setup | None = None, **keys: Any
) -> Forecast:
    """Return the peak memory of a run before it starts. This needs no weights.

    Args:
        model: ``default``, a folder, a ``config.json``, or a Hub model.
        gpu: a GPU by name, a number of GB, or ``here``: the result says whether the run fits, and what would help.
        setup: sequence length, batch, rank and the rest; or each of them as a key: ``seq=1024, rank=8``.

    Returns:
        Bytes: ``peak`` (``allocated``: tensors; ``device``: what nvidia-smi shows, on a CPU the resident set),
        ``phases`` (``merge`` on the host), ``components`` of the peak; and, if a device is named, ``fits``,
        ``advice``, ``cheapest`` and ``largest``.

    Raises:
        UnknownModel: there is no configuration.
        BadInput: a GPU or key is unknown, or the architecture can't be built.
    """
    setup = build_setup(setup, **keys)
    device = gpu if gpu is None or isinstance(gpu, Device) else find_device(gpu, layer_width(load_config(model)))
    setup = setup_on(setup, device) if device else setup.resolve_auto()
    formulas, factor = load_formulas(model, setup, device)
    breakdown = break_down(formulas, setup, factor)
    result = {
        **breakdown,
        "model": model,
        "setup": setup.to_dict(),
        "basis": _describe_basis(formulas[setup.loss], setup, breakdown["recalibrated"]),
        "fits": None,
        "advice": [],
        "cheapest": None,
    }
    fit = {**advice.advise(formulas, setup, device, factor)} if device else {}
    return cast(Forecast, result | fit)


def load_formulas(model: str, setup: Setup, device: Device | None) -> tuple[Formulas, Calibration]:
    """Return the formulas for a setup and for the loss that the advice tries, and this machine's calibration."""
    config = load_config(model)
    needs_chunked = device is not None and setup.loss != "chunked"
    setups = [setup, replace(setup, loss="chunked")] if needs_chunked else [setup]
    formulas = trace_cache.load_formulas(config, setups)
    return formulas, calibration.load_factor(calibration.machine_key(config, setup), device)


def _describe_basis(formula: MemoryFormula, setup: Setup, factor: Calibration | None) -> str:
    """How the numbers were made, in one line."""
    if setup.device == "cpu":
        line = f"resident: allocated + {LIBRARIES / 1e9:.1f} GB of libraries"
    else:
        line = f"on the GPU: allocated x {SPILL} + {CONTEXT / 2**30:.1f} GiB"
        if setup.loss != "chunked":
            line += f" + {LOGITS_SPILL} x float32 logits"
    if factor:
        line += f", times {factor['factor']:.3f} as measured in {factor['runs']} runs here"
    first, second = formula.few
    return f"traced on {first} and {second} of {formula.layers} layers with the libraries installed here; {line}"
