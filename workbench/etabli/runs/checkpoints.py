"""Checkpoints that are whole or absent: adapter, optimiser, schedule and random state, all safetensors and JSON."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etabli.core import parsing, storage
from etabli.core.contracts import CHECKPOINTS
from etabli.core.errors import Damaged, NotFinite
from etabli.models.adapter_files import WEIGHTS, require_finite
from etabli.models.loading import BASE_FACTS
from etabli.models.sources import Source

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"
STATE = "state.json"
KEEP = 2
STEP = "step-"


def save_adapter(model: Any, source: Source, folder: Path) -> None:
    """Write the adapter (safetensors) and which base it belongs to.

    Raises:
        NotFinite: a weight is NaN or infinite; nothing is written.
    """
    bad = [name for name, held in model.named_parameters() if held.requires_grad and not held.isfinite().all()]
    if bad:
        raise NotFinite(
            f"{len(bad)} of the adapter's matrices are not finite ({bad[0]}, …). Nothing was saved; the last "
            "checkpoint is good. Try a lower learning_rate."
        )
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's is a form to fill in
    storage.write_json(folder / BASE_FACTS, {"name": source.name, "hash": source.hash})


def save(run: Path, step: int, model: Any, source: Source, optimizer: Any, state: dict[str, Any]) -> Path:
    """Write ``checkpoints/step-NNNNNN``, whole, then delete all but the newest ``KEEP``."""
    from safetensors.torch import save_file

    place = run / CHECKPOINTS / f"{STEP}{step:06d}"
    tensors, numbers = _flat(optimizer.state_dict())
    with storage.whole(place, {"step": step}) as folder:
        save_adapter(model, source, folder)
        save_file(tensors, folder / OPTIMIZER)
        save_file(_random_state(), folder / RANDOM)
        storage.write_json(folder / STATE, {**state, "step": step, "optimizer": numbers})
    leftovers = (run / CHECKPOINTS).glob(f".{STEP}*")  # of a process that was killed: this one owns the run
    for old in [*found(run)[KEEP:], *leftovers]:
        shutil.rmtree(old, ignore_errors=True)
    return place


def found(run: Path) -> list[Path]:
    """Checkpoint folders of a run, newest first. Half-written ones have another name."""
    named = [folder for folder in (run / CHECKPOINTS).glob(f"{STEP}*") if folder.name[len(STEP) :].isdecimal()]
    return sorted(named, key=_step, reverse=True)


def _step(folder: Path) -> int:
    return int(folder.name[len(STEP) :])


def newest_whole(run: Path, say: Any = print) -> Path | None:
    """The newest checkpoint that its manifest confirms; a bad one is set aside, with one line that says so."""
    for folder in found(run):
        try:
            _require_all(folder, storage.verify(folder))
            require_finite(folder / WEIGHTS)
            return folder
        except Damaged as error:
            aside = folder.with_name(f"damaged-{folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            folder.replace(aside)
            say(f"Checkpoint set aside as {aside.name}: {error}")
    return None


def _require_all(folder: Path, said: dict[str, Any]) -> None:
    """A manifest that names everything, of this very step: an altered one may be in order with itself."""
    missing = sorted({OPTIMIZER, RANDOM, STATE, WEIGHTS} - set(said["files"]))
    if missing or said.get("step") != _step(folder):
        raise Damaged(
            f"{folder}: its manifest is of step {said.get('step')} and lacks {', '.join(missing) or 'nothing'}."
        )


def restore(folder: Path, model: Any, optimizer: Any) -> dict[str, Any]:
    """Load adapter, optimiser and random state from a verified checkpoint; returns its ``state.json``."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    state = parsing.read_json(folder / STATE)
    set_peft_model_state_dict(model, load_file(folder / WEIGHTS))
    optimizer.load_state_dict(_unflat(optimizer.state_dict(), load_file(folder / OPTIMIZER), state["optimizer"]))
    _set_random_state(load_file(folder / RANDOM))
    return state


def _flat(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An optimiser's state as tensors and numbers, keyed ``parameter/name/…``; no pickle, which can run code.

    Cloned, because 8-bit optimisers share a quantisation map between parameters, which safetensors refuses.
    """
    import torch

    tensors, numbers = {}, {}
    for path, value in _leaves(state["state"]):
        if torch.is_tensor(value):
            tensors[path] = value.detach().cpu().contiguous().clone()
        else:
            numbers[path] = value
    return tensors, numbers


def _leaves(tree: dict[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}/")
        else:
            yield f"{path}{name}", value


def _unflat(empty: dict[str, Any], tensors: dict[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    state: dict[Any, Any] = {}
    for path, value in (tensors | numbers).items():
        parameter, *names = path.split("/")
        place = state.setdefault(int(parameter), {})
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = value
    return {"state": state, "param_groups": empty["param_groups"]}


def _random_state() -> dict[str, Any]:
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_state(states: dict[str, Any]) -> None:
    import torch

    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
