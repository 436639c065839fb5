"""What a run will take: traced on a few layers, carried on to all, put on a card, and what would make it fit."""

from dataclasses import replace
from typing import Any

from etabli.core.errors import BadInput
from etabli.memory import advice, calibration, trace_cache
from etabli.memory.config import Setup
from etabli.memory.device_overhead import CONTEXT, LIBRARIES, LOGITS_SPILL, SPILL, on, reckoned
from etabli.memory.gpus import Card, card
from etabli.memory.model_configs import config
from etabli.memory.scaling import ClosedForm, Forms
from etabli.models.loading import width


def forecast(
    model: str = "default", gpu: str | Card | None = None, setup: Setup | None = None, **keys: Any
) -> dict[str, Any]:
    """Peak memory of a run before it starts. No weights are needed.

    Args:
        model: ``default``, a folder, a ``config.json``, or a Hub model.
        gpu: a card, a number of GB, or ``here``: then it says whether that is enough, and what would help.
        setup: sequence, batch, rank and the rest; or each as a key: ``seq=1024, rank=8``.

    Returns:
        Bytes: ``peak`` (``allocated``: tensors; ``device``: as nvidia-smi would show, on a CPU the resident set),
        ``phases`` (``merge``: of the host), ``components`` at the peak; ``fits``, ``advice``, ``cheapest`` and
        ``largest`` if a card is named.

    Raises:
        UnknownModel: no configuration; BadInput: an unknown card or key, or an architecture that can't be built.
    """
    setup = made(setup, **keys)
    place = gpu if gpu is None or isinstance(gpu, Card) else card(gpu, width(config(model)))
    setup = on(setup, place) if place else setup.settled()
    forms, known = prepared(model, setup, place)
    told = reckoned(forms, setup, known)
    told |= {"model": model, "setup": setup.keys(), "basis": _basis(forms[setup.loss], setup, told)}
    told |= {"fits": None, "advice": [], "cheapest": None}
    return told | (advice.fitting(forms, setup, place, known) if place else {})


def prepared(model: str, setup: Setup, place: Card | None) -> tuple[Forms, dict[str, Any]]:
    """The formulae for a settled setup and for what would be advised there, and what runs on this machine add."""
    chunked = [replace(setup, loss="chunked")] if place and setup.loss != "chunked" else []
    facts = config(model)
    forms = trace_cache.closed_forms(facts, [setup, *chunked])
    return forms, calibration.known(calibration.machine(facts, setup), place)


def made(setup: Setup | None = None, **keys: Any) -> Setup:
    """A setup by its keys; ``checkpointing`` may be a number, ``lora`` a list.

    Raises:
        BadInput: there is no such key, or a setup and keys are given.
    """
    if setup and keys:
        raise BadInput("Give a setup or its keys, not both.")
    if setup:
        return setup
    if unknown := set(keys) - set(Setup.__dataclass_fields__):
        raise BadInput(f"Unknown {', '.join(sorted(unknown))}; a setup has {', '.join(Setup.__dataclass_fields__)}.")
    if "checkpointing" in keys:
        keys["checkpointing"] = str(keys["checkpointing"])
    if isinstance(keys.get("lora"), list | tuple):
        keys["lora"] = ",".join(keys["lora"])
    return Setup(**keys)


def _basis(form: ClosedForm, setup: Setup, told: dict[str, Any]) -> str:
    one, more = form.few
    line = (
        f"resident: allocated + {LIBRARIES / 1e9:.1f} GB of libraries" if setup.device == "cpu"
        else f"the card's line: allocated x {SPILL} + {CONTEXT / 2**30:.1f} GiB"
    )  # fmt: skip
    if setup.device == "cuda" and setup.loss != "chunked":
        line += f" + {LOGITS_SPILL} x float32 logits"
    if told["recalibrated"]:
        line += f", times {told['recalibrated']['factor']:.3f} as measured in {told['recalibrated']['runs']} runs here"
    return f"traced on {one} and {more} of {form.layers} layers with the libraries installed here; {line}"
