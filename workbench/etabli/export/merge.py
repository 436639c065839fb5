"""Save the adapter, or the base with the adapter merged in."""

from pathlib import Path

from etabli.core import folders, machine, processes, storage
from etabli.core.errors import BadInput
from etabli.models.adapter_files import pickles
from etabli.models.loading import Loaded, check_adapter, load
from etabli.models.sources import resolve
from etabli.runs import checkpoints
from etabli.runs.run import Run

# A checkpoint can stand in for the final adapter; what else it holds stays behind.
NOT_THE_ADAPTERS = {storage.MANIFEST, checkpoints.OPTIMIZER, checkpoints.RANDOM, checkpoints.STATE}


def export_adapter(run: Run | str | Path, out: str | Path) -> list[str]:
    """Copy the run's adapter, whole, to a folder; returns the file names.

    Raises:
        WrongAdapter, Damaged, OutsideFolder: as ``check_adapter``; BadInput: pickles lie beside the weights.
    """
    run = Run.attach(run)
    source = run.adapter
    check_adapter(source, resolve(run.recipe.model))
    files = [path for path in folders.files_of(source) if path.parent == source and path.name not in NOT_THE_ADAPTERS]
    if pickled := pickles(files):
        raise BadInput(
            f"{pickled[0]} is a pickle, which can run code on the machine of whoever opens it: nothing was exported. "
            "Remove it, then export again."
        )
    with storage.whole(out) as folder:
        for path in files:
            folders.copy_file(source, path.name, folder / path.name)
    return _names(out)


def merge(run: Run | str | Path, out: str | Path) -> list[str]:
    """Add the adapter to the 16-bit base and write an ordinary model folder; returns the file names.

    The sum is made on the base's own weights, not on their 4-bit form: merging into 4-bit weights rounds the adapter
    away in part (peft #2321). The merged model therefore answers nearly, not exactly, as the adapter did on 4 bits.

    Raises:
        WrongAdapter: the adapter is for another base; NoSpace: the disk is full; BadInput: it adapts one of
        embeddings and head, which are one matrix here, so that merging would change the other too.
    """
    run = Run.attach(run)
    processes.refuse_if_owned("Merging can't begin")
    dtype = "float16" if machine.half_precision() else "bfloat16"  # 16 bits, whatever this machine computes in
    loaded = load(run.recipe.model, four_bit=False, adapter=run.adapter, device="cpu", dtype=dtype)
    _refuse_tied(loaded)
    merged = loaded.model.merge_and_unload()
    with storage.whole(out, {"base": loaded.name, "base_hash": loaded.source.hash, "run": run.name}) as folder:
        merged.save_pretrained(folder, safe_serialization=True)
        loaded.tokenizer.save_pretrained(folder)
    return _names(out)


def _refuse_tied(loaded: Loaded) -> None:
    base = loaded.model.get_base_model()
    tied = getattr(base.config.get_text_config(), "tie_word_embeddings", False)
    ends = base.get_input_embeddings(), base.get_output_embeddings()
    if tied and any(hasattr(end, "lora_A") for end in ends):
        raise BadInput(
            "This adapter changes the embeddings or the head, which are one matrix: merged, it would be another model. "
            "Export the adapter alone (--to adapter)."
        )


def load_merged(folder: str | Path) -> Loaded:
    """Load a merged model as it was written, in the compute dtype."""
    storage.verify(folder)
    return load(str(folder), four_bit=False, device=machine.device())


def _names(out: str | Path) -> list[str]:
    return sorted(path.name for path in Path(out).iterdir())
