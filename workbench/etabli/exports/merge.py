"""Export the adapter alone, or the base with the adapter merged in."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from etabli.core import folders, machine, parsing, processes, storage
from etabli.core.contracts import MANIFEST
from etabli.core.errors import BadInput
from etabli.core.progress import show_progress
from etabli.core.wording import first_line
from etabli.models.adapter_files import WEIGHTS, pickle_files
from etabli.models.adapters import BASE_FACTS, CONFIG, is_path, public_name, read_config
from etabli.models.generate import stop_ids
from etabli.models.loading import LoadedModel, add_adapter, check_adapter, load
from etabli.models.quiet import quiet
from etabli.models.sources import Source, resolve
from etabli.runs import checkpoints
from etabli.runs.adapter_run import AdapterRun, open_adapter
from etabli.runs.run import Run

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

TRAINED, ORIGINAL = BASES = ("trained", "original")  # what an adapter is merged into
FORM = "form"  # the key of a manifest that says that a folder is an export
NOT_PLAIN = (
    "This adapter has more than LoRA's matrices ({what}), which a GGUF of an adapter can't hold: export it merged "
    "(--to gguf without --lora)."
)
SENTENCEPIECE = "tokenizer.model"
SHARD = "4GB"  # of a merged model's files: a download that fails begins again with one of them
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
    with storage.write_folder(out, {FORM: "adapter"}, replaces=FORM) as folder:
        write_adapter(open_adapter(run), folder)
    return list_names(out)


def write_adapter(run: Run, folder: Path) -> None:
    """Copy the adapter's files into a folder; see ``export_adapter``."""
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
    for path in files:
        folders.copy_file(source, path.name, folder / path.name)
    _name_base(folder, run)


def base_name(source: Source) -> str:
    """Return a base's name for others: its Hub id, or the last part of a place on this machine."""
    name = public_name(source)
    return Path(name).name if is_path(name) else name


def _name_base(folder: Path, run: Run) -> None:
    """Write the base's name into PEFT's configuration, and beside it its hash.

    The hash in ``base.json`` says which base it is.
    """
    content = parsing.read_json(folder / CONFIG, parsing.LARGEST_CONFIG, lenient=True)
    base = resolve(run.recipe.model)
    name = base_name(base)
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
    source = resolve(run.recipe.model)
    facts = {FORM: "merged", "base": base_name(source), "base_hash": source.hash, "base_values": base, "run": run.name}
    with storage.write_folder(out, facts, replaces=FORM) as folder:
        write_merged(run, folder, base)
    return list_names(out)


def write_merged(run: Run, folder: Path, base: str) -> list[int]:
    """Write the merged model's files into a folder, and return the tokens that end a turn; see ``merge``."""
    if base not in BASES:
        raise BadInput(f"There is no base {base!r} to merge into; choose from {', '.join(BASES)}.")
    processes.require_free_device("Merging can't begin")
    loaded_model = _load_in_16_bits(run, base)
    _refuse_tied(loaded_model)
    try:
        merged_model = loaded_model.model.merge_and_unload()
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise BadInput(
            f"PEFT can't merge this adapter ({first_line(error).rstrip('.')}): export it alone (--to adapter)."
        ) from None
    # Whoever loads it stops where it was trained to stop: a base's own configuration may not know that token.
    stops = stop_ids(merged_model, loaded_model.tokenizer)
    merged_model.generation_config.eos_token_id = stops if len(stops) > 1 else next(iter(stops), None)
    with quiet():
        merged_model.save_pretrained(folder, max_shard_size=SHARD)
    loaded_model.tokenizer.save_pretrained(folder)
    if (loaded_model.source.folder / SENTENCEPIECE).is_file():  # llama.cpp's converter reads some families from it
        folders.copy_file(loaded_model.source.folder, SENTENCEPIECE, folder / SENTENCEPIECE)
    return stops


def _load_in_16_bits(run: Run, base: str) -> LoadedModel:
    """Load the base in 16 bits, with the adapter on it.

    Values of 4 bits are written out one layer after the other: both forms of the whole base are never in memory.
    """
    import torch

    dtype = torch.float16 if machine.half_precision() else torch.bfloat16  # whatever this machine computes in
    if base == ORIGINAL:
        return run.load(four_bit=False, device="cpu", dtype=str(dtype).removeprefix("torch."))
    check_adapter(run.adapter, resolve(run.recipe.model), run.base_named)
    loaded = load(run.recipe.model, device="cpu", dtype=run.dtype, keep_dequantized=False)
    with quiet():
        _dequantise(cast("PreTrainedModel", loaded.model), dtype)
        loaded.dtype = dtype
        return add_adapter(loaded, read_config(run.adapter))


def require_plain_lora(run: Run) -> None:
    """Refuse an adapter that holds more than LoRA's two matrices of each layer.

    Raises:
        BadInput: as said.
    """
    values = read_config(run.adapter).values
    names = ("use_dora", "lora_bias", "modules_to_save", "trainable_token_indices")
    more = [name for name in names if values.get(name)]
    if more:
        raise BadInput(NOT_PLAIN.format(what=", ".join(more)))


def save_updates(run: Run, file: Path) -> None:
    """Write what the adapter adds: for each matrix NAME of the base ``NAME.lora_a`` and ``NAME.lora_b`` (scaled).

    Raises:
        BadInput: the adapter holds more than LoRA's two matrices of each layer.
    """
    import torch
    from peft.tuners.lora import LoraLayer
    from safetensors.torch import save_file

    require_plain_lora(run)
    loaded = _load_in_16_bits(run, ORIGINAL)
    layers = {n: layer for n, layer in loaded.model.get_base_model().named_modules() if isinstance(layer, LoraLayer)}
    if any(len(layer.lora_A) == 0 for layer in layers.values()):
        raise BadInput(NOT_PLAIN.format(what="updates of the embeddings"))
    updates: dict[str, torch.Tensor] = {}
    for name, layer in layers.items():
        updates[f"{name}.lora_a"] = layer.lora_A["default"].weight.data.float().contiguous()
        updates[f"{name}.lora_b"] = (
            layer.lora_B["default"].weight.data.float() * layer.scaling["default"]
        ).contiguous()
    save_file(updates, file)


def _dequantise(model: "PreTrainedModel", dtype: "torch.dtype") -> None:
    """Write out values of 4 bits. GPT-2's layers hold their weights the other way round, and get that back."""
    import torch
    from transformers.pytorch_utils import Conv1D

    turned = [name for name, layer in model.named_modules() if getattr(layer, "source_cls", None) is Conv1D]
    model.dequantize(dtype=dtype).to(dtype)
    for name in turned:
        linear = cast("torch.nn.Linear", model.get_submodule(name))
        with torch.device("meta"):
            layer = Conv1D(linear.out_features, linear.in_features)
        layer.weight, layer.bias = torch.nn.Parameter(linear.weight.data.T.contiguous()), linear.bias
        model.set_submodule(name, layer)


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
