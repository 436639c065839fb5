"""Write a form of a model into a folder, once all is checked that can be checked before."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etabli.core import storage
from etabli.core.contracts import FormSeal
from etabli.core.errors import EtabliError
from etabli.core.terminal import say
from etabli.exports import gguf_file, merge, model_card, modelfile, serving
from etabli.exports.form_names import FormName, parse_form
from etabli.exports.llama_cpp import require_llama_cpp
from etabli.exports.ollama_template import find_turn_texts
from etabli.models import chat_templates
from etabli.models.loading import load_tokenizer
from etabli.models.sources import resolve
from etabli.rendering.render import Renderer, set_thinking
from etabli.runs.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def describe(run: Run, form: FormName) -> dict[str, object]:
    """Return what the folder's manifest says of where it comes from."""
    source = resolve(run.recipe.model)
    return {"form": str(form), "run": run.name, "base": merge.base_name(source), "base_hash": source.hash}


def require_possible(run: Run, form: FormName, seal: bool) -> None:
    """Check what can be checked before anything is written.

    Raises:
        BadInput: llama.cpp does not know the architecture, Ollama can't be told the chat template, or the adapter can't
            stand alone; MissingExtra: what it needs is not installed.
    """
    if form.kind in ("gguf", "ollama"):
        gguf_file.require_convertible(run, form.variant)
        if seal:
            require_llama_cpp()
    if form.kind == "ollama":
        find_turn_texts(load_run_tokenizer(run))


def load_run_tokenizer(run: Run) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a run with its chat template, without the model."""
    tokenizer = load_tokenizer(resolve(run.recipe.model))
    chat_templates.use_stored_template(tokenizer, run.adapter)
    set_thinking(tokenizer, run.frozen.get("thinks", False))
    return tokenizer


def choose_possible(run: Run, forms: Sequence[str]) -> list[str]:
    """Return those of some forms that can be written and asked here; of the others it is said why not."""
    chosen = []
    for form in forms:
        try:
            require_possible(run, parse_form(form), seal=True)
            chosen.append(form)
        except EtabliError as error:
            say(f"{form} is left out: {error}")
    return chosen


def write_form(run: Run, form: FormName, folder: Path) -> None:
    """Write a form's files into an empty folder."""
    if "adapter" in form:
        merge.write_adapter(run, folder)
        tokenizer = load_run_tokenizer(run)
        tokenizer.save_pretrained(folder)
        _write_ends(run, tokenizer, folder)
    elif form.kind == "merged" or form == ("hub", "merged"):
        merge.write_merged(run, folder, merge.TRAINED if form.kind == "hub" else form.variant)
    elif form.kind == "gguf":
        gguf_file.write_gguf(run, folder / gguf_file.file_name(run, form.variant), form.variant)
    elif form.kind == "ollama":
        _write_ollama(run, folder, form.variant)
    else:
        serving.write_vllm(run, folder)


def _write_ends(run: Run, tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Write a generation config beside an adapter that was trained to end its turns with a token its base does not."""
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(resolve(run.recipe.model).folder)
    except OSError:  # a base without one ends with its tokenizer's token
        config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    own = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    ends = Renderer(tokenizer).end_ids
    if not ends <= set(own):
        config.eos_token_id = sorted({*ends, *(token for token in own if token is not None)})
        config.save_pretrained(folder)


def _write_ollama(run: Run, folder: Path, quant: str) -> None:
    """Write a GGUF and its Modelfile."""
    tokenizer, file = load_run_tokenizer(run), folder / gguf_file.file_name(run, quant)
    template = find_turn_texts(tokenizer).go_template()
    stops = [str(tokenizer.decode([end])) for end in gguf_file.write_gguf(run, file, quant)]
    parameters = {**modelfile.GREEDY, "num_ctx": float(max(modelfile.CONTEXT, run.recipe.max_length))}
    content = modelfile.Modelfile(file.name, template, stops, parameters)
    storage.write_text(folder / modelfile.MODELFILE, modelfile.write_modelfile(content))


def write_card(run: Run, form: FormName, folder: Path, found: FormSeal | None) -> None:
    """Write the model card of an adapter or of a folder for the Hub; the card of another trainer stays."""
    if form.kind in ("adapter", "hub") and not (folder / model_card.CARD).is_file():
        what = "merged" if "merged" in form else "adapter"
        model_card.write_files(run, folder, what, [found] if found else None, with_notebook=form.kind == "hub")
