"""Checkpoints that are whole or absent: adapter, optimiser, scheduler and random state, all safetensors and JSON."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, cast

from etabli.core import parsing, storage
from etabli.core.contracts import CHECKPOINTS
from etabli.core.errors import Damaged, NotFinite
from etabli.core.terminal import say
from etabli.models.adapter_files import WEIGHTS, require_finite
from etabli.models.adapters import BASE_FACTS
from etabli.models.sources import Source

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from torch.optim import Optimizer
    from transformers import PreTrainedTokenizerBase

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"
STATE = "state.json"
KEEP = 2  # checkpoints of a run
STEP = "step-"


_Tree: TypeAlias = dict[str | int, Any]  # trees within


class TrainingState(TypedDict, total=False):
    """``state.json`` of a checkpoint: what is neither weights nor random state."""

    step: int
    tokens: int
    rates: dict[str, Any]  # of the learning-rate scheduler
    pieces: int  # parts of a pack that go through the model one after the other
    thrifty: bool  # layers are checkpointed because memory ran out
    scaler: dict[str, Any] | None  # of the gradient scaler
    optimizer: dict[str, object]  # the optimiser's numbers, by parameter/name/…


def save_adapter(
    model: "PeftModel", source: Source, folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None
) -> None:
    """Write the adapter of a PEFT model (safetensors), and which base it belongs to.

    Args:
        tokenizer: written beside it, with its chat template; for an adapter that was trained with another template than
            its base's own.

    Raises:
        NotFinite: a weight is NaN or infinite; nothing is written.
    """
    trainable = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    bad = [name for name, weight in trainable if not weight.isfinite().all()]
    if bad:
        raise NotFinite(
            f"{len(bad)} of the adapter's matrices are not finite ({bad[0]}, …). Nothing was saved; the last "
            "checkpoint is good. Try a lower learning_rate."
        )
    # The embeddings are never resized here; with "auto" PEFT would ask the Hub for the base's size of vocabulary.
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's is a form to fill in
    storage.write_json(folder / BASE_FACTS, {"name": source.name, "hash": source.hash})


def save(
    run: Path,
    step: int,
    model: "PeftModel",
    source: Source,
    optimizer: "Optimizer",
    state: TrainingState,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
) -> Path:
    """Write ``checkpoints/step-NNNNNN``, whole, then delete all but the newest ``KEEP``; returns its folder."""
    from safetensors.torch import save_file

    checkpoint = run / CHECKPOINTS / f"{STEP}{step:06d}"
    tensors, numbers = _flatten(optimizer.state_dict()["state"])
    with storage.write_folder(checkpoint, {"step": step}) as folder:
        save_adapter(model, source, folder, tokenizer)
        save_file(tensors, folder / OPTIMIZER)
        save_file(_random_state(), folder / RANDOM)
        storage.write_json(folder / STATE, {**state, "step": step, "optimizer": numbers})
    leftovers = (run / CHECKPOINTS).glob(f".{STEP}*")  # of a process that was killed: this one owns the run
    for old in [*list_checkpoints(run)[KEEP:], *leftovers]:
        shutil.rmtree(old, ignore_errors=True)
    return checkpoint


def list_checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, newest first. Half-written ones have another name."""
    folders = [folder for folder in (run / CHECKPOINTS).glob(f"{STEP}*") if folder.name[len(STEP) :].isdecimal()]
    return sorted(folders, key=_step, reverse=True)


def _step(folder: Path) -> int:
    return int(folder.name[len(STEP) :])


def find_newest_valid(run: Path, warn: Callable[[str], object] | None = None) -> Path | None:
    """Return the newest checkpoint that agrees with its manifest.

    Args:
        warn: the run's own process gives it: each damaged checkpoint is then renamed, and ``warn`` says so. Without it
            nothing in the folder changes; stderr says which ones are passed over.
    """
    for folder in list_checkpoints(run):
        try:
            _require_all_files(folder, storage.verify(folder))
            require_finite(folder / WEIGHTS)
            return folder
        except Damaged as error:
            if warn is None:
                say(f"Checkpoint {folder.name} is passed over: {error}")
            else:
                _set_aside(folder, error, warn)
    return None


def _set_aside(folder: Path, error: Damaged, warn: Callable[[str], object]) -> None:
    aside = folder.with_name(f"damaged-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    folder.replace(aside)
    warn(f"Checkpoint set aside as {aside.name}: {error}")


def _require_all_files(folder: Path, manifest: Mapping[str, object]) -> None:
    """Require that the manifest names every file, and this step: an altered one may agree with itself."""
    missing = sorted({OPTIMIZER, RANDOM, STATE, WEIGHTS} - set(cast(Mapping[str, object], manifest["files"])))
    if missing or manifest.get("step") != _step(folder):
        raise Damaged(
            f"{folder}: its manifest is of step {manifest.get('step')} and lacks {', '.join(missing) or 'nothing'}."
        )


def restore(folder: Path, model: "PeftModel", optimizer: "Optimizer") -> TrainingState:
    """Load adapter, optimiser and random state from a verified checkpoint; returns its ``state.json``."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    state: TrainingState = parsing.read_json(folder / STATE)
    set_peft_model_state_dict(model, load_file(folder / WEIGHTS))
    groups = optimizer.state_dict()["param_groups"]
    parameters = _unflatten({**load_file(folder / OPTIMIZER), **state["optimizer"]})
    optimizer.load_state_dict({"state": parameters, "param_groups": groups})
    _set_random_state(load_file(folder / RANDOM))
    return state


def _flatten(state: Mapping[object, object]) -> tuple[dict[str, "Tensor"], dict[str, object]]:
    """Return an optimiser's state as tensors and numbers, keyed ``parameter/name/…``; no pickle, which can run code.

    Tensors are cloned, because 8-bit optimisers share a quantisation map between parameters, which safetensors refuses.
    """
    import torch

    tensors, numbers = {}, {}
    for path, value in _leaves(state):
        if torch.is_tensor(value):
            tensors[path] = value.detach().cpu().contiguous().clone()
        else:
            numbers[path] = value
    return tensors, numbers


def _leaves(tree: Mapping[object, object], path: str = "") -> Iterator[tuple[str, object]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{path}{name}/")
        else:
            yield f"{path}{name}", value


def _unflatten(leaves: Mapping[str, object]) -> _Tree:
    state: _Tree = {}
    for path, value in leaves.items():
        parameter, *names, last = path.split("/")
        branch = state.setdefault(int(parameter), {})
        for name in names:
            branch = branch.setdefault(name, {})
        branch[last] = value
    return state


def _random_state() -> dict[str, "Tensor"]:
    import torch

    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_state(states: Mapping[str, "Tensor"]) -> None:
    import torch

    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
