"""Export the adapter alone, or the base with the adapter merged in."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core import folders, machine, parsing, processes, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import BadInput
from etabli.core.progress import show_progress
from etabli.models.adapter_files import WEIGHTS, pickle_files
from etabli.models.adapters import BASE_FACTS, CONFIG, is_path, public_name
from etabli.models.generate import stop_ids
from etabli.models.loading import LoadedModel, check_adapter, load
from etabli.models.quiet import quiet
from etabli.models.sources import resolve
from etabli.runs import checkpoints
from etabli.runs.adapter_run import AdapterRun, open_adapter
from etabli.runs.run import Run

if TYPE_CHECKING:
    import torch

TRAINED, ORIGINAL = BASES = ("trained", "original")  # what an adapter is merged into
# A checkpoint can replace the final adapter; these files of a checkpoint are not exported.
CHECKPOINT_FILES = {MANIFEST, checkpoints.OPTIMIZER, checkpoints.RANDOM, checkpoints.STATE}
# What of a folder from elsewhere is its adapter: weights, configuration, tokenizer, card.
ADAPTER_FILES = {
    *(WEIGHTS, CONFIG, BASE_FACTS, "README.md", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "tokenizer.model"),
}


@show_progress("exporting the adapter")
def export_adapter(run: Run | str | Path, out: str | Path) -> list[str]:
    """Copy the run's adapter to the folder ``out``, and return the names of its files.

    Raises:
        WrongAdapter, Damaged, OutsideFolder: as ``check_adapter``; BadInput: there are pickles beside the weights.
    """
    run = open_adapter(run)
    source = run.adapter
    check_adapter(source, resolve(run.recipe.model), run.base_named)
    files = [path for path in folders.list_files(source) if path.parent == source and path.name not in CHECKPOINT_FILES]
    if isinstance(run, AdapterRun):  # trainers leave their own files beside an adapter, pickles too
        files = [path for path in files if path.name in ADAPTER_FILES or path.name.startswith(("LICENSE", "NOTICE"))]
    if pickles := pickle_files(files):
        raise BadInput(
            f"{pickles[0]} is a pickle, which can run code on the machine of whoever opens it: nothing was exported. "
            "Remove it, then export again."
        )
    with storage.write_folder(out) as folder:
        for path in files:
            folders.copy_file(source, path.name, folder / path.name)
        _name_base(folder, run)
    return list_names(out)


def _name_base(folder: Path, run: Run) -> None:
    """Write the base's name into PEFT's configuration, and beside it its hash.

    What is exported is meant for others, to whom a path of this machine says nothing: of a path its last part stays.
    The hash in ``base.json`` says which base it is.
    """
    content = parsing.read_json(folder / CONFIG, parsing.LARGEST_CONFIG, lenient=True)
    base = resolve(run.recipe.model)
    name = public_name(base)
    name = Path(name).name if is_path(name) else name
    storage.write_json(folder / BASE_FACTS, {"name": name, "hash": base.hash})
    storage.write_json(folder / CONFIG, {**content, "base_model_name_or_path": name})


@show_progress("merging the adapter into the base")
def merge(run: Run | str | Path, out: str | Path, base: str = TRAINED) -> list[str]:
    """Add the adapter to a base of 16 bits, write a model folder, and return the names of its files.

    Nothing is merged into 4-bit weights, which would partly round the adapter away (peft #2321).

    Args:
        run: a run, its folder, or an adapter's folder.
        out: the folder to write.
        base: ``trained``: the values that the base had in 4 bits while it was trained and judged, written out in 16
            bits; ``original``: the base's own weights, with which the adapter was not trained.

    Raises:
        WrongAdapter: the adapter is for another base; NoSpace: the disk is full; BadInput: ``base`` is neither, or the
        adapter changes the embeddings or the head while both are one matrix: merging would change the other too.
    """
    run = open_adapter(run)
    if base not in BASES:
        raise BadInput(f"There is no base {base!r} to merge into; choose from {', '.join(BASES)}.")
    processes.require_free_device("Merging can't begin")
    dtype = "float16" if machine.half_precision() else "bfloat16"  # 16 bits, whatever this machine computes in
    loaded_model = run.load(four_bit=False, device="cpu", dtype=dtype)
    _refuse_tied(loaded_model)
    if base == TRAINED:
        _take_trained_values(loaded_model, run)
    merged_model = loaded_model.model.merge_and_unload()
    # Whoever loads it stops where it was trained to stop: a base model's own configuration may not know that token.
    stops = stop_ids(merged_model, loaded_model.tokenizer)
    merged_model.generation_config.eos_token_id = stops if len(stops) > 1 else next(iter(stops), None)
    with storage.write_folder(
        out, {"base": loaded_model.name, "base_hash": loaded_model.source.hash, "base_values": base, "run": run.name}
    ) as folder:
        with quiet():
            merged_model.save_pretrained(folder, safe_serialization=True)
        loaded_model.tokenizer.save_pretrained(folder)
    return list_names(out)


def _take_trained_values(loaded_model: LoadedModel, run: Run) -> None:
    """Give every layer that was in 4 bits the values that it had then."""
    import bitsandbytes as bnb
    from bitsandbytes.functional import dequantize_4bit

    in_four_bits = load(run.recipe.model, device="cpu", dtype=run.dtype, keep_dequantized=False)
    layers = dict(loaded_model.model.get_base_model().named_modules())
    for name, layer in in_four_bits.model.named_modules():
        if isinstance(layer, bnb.nn.Linear4bit):
            target = cast("torch.nn.Linear", getattr(layers[name], "base_layer", layers[name]))
            target.weight.data.copy_(dequantize_4bit(layer.weight.data, layer.weight.quant_state))


def _refuse_tied(loaded_model: LoadedModel) -> None:
    base = loaded_model.model.get_base_model()
    is_tied = getattr(base.config.get_text_config(), "tie_word_embeddings", False)
    ends = base.get_input_embeddings(), base.get_output_embeddings()
    if is_tied and any(hasattr(end, "lora_A") for end in ends):
        raise BadInput(
            "This adapter changes the embeddings or the head, which are one matrix: merged, it would be another model. "
            "Export the adapter alone (--to adapter)."
        )


@show_progress("loading the merged model")
def load_merged(folder: str | Path) -> LoadedModel:
    """Check a merged model's files, and load it in 16 bits or in the machine's compute dtype."""
    storage.verify(folder)
    return load(str(folder), four_bit=False, device=machine.device())


def list_names(out: str | Path) -> list[str]:
    """Return the names of the files in a folder, sorted."""
    return sorted(path.name for path in Path(out).iterdir())
