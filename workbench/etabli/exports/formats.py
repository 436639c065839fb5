"""Export a run in one form after the other, and seal each: what ``etabli export`` and ``etabli seal`` do."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from etabli.core import storage
from etabli.core.contracts import SEAL, SEAL_FORMS, SEAL_MARGIN, SEAL_ROWS, SEALED_KL, Export, FormSeal, Seal
from etabli.core.errors import BadData, BadInput, EtabliError, MissingData, OutsideFolder, WrongAdapter
from etabli.core.terminal import say
from etabli.exports import gguf_file, merge, model_card, ollama, serving
from etabli.exports.forms import Form, TransformersForm
from etabli.exports.llama_cpp import open_ollama, require_llama_cpp, serve_gguf, single_gguf
from etabli.exports.reference import Reference, build_reference
from etabli.exports.seal import seal_form, seal_unwritten, size_of
from etabli.models import chat_templates
from etabli.models.adapters import adapter_hash
from etabli.models.loading import load, load_tokenizer
from etabli.models.sources import resolve
from etabli.rendering.render import Renderer, set_thinking
from etabli.runs.adapter_run import AdapterRun, open_adapter
from etabli.runs.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The variants of each kind of form, the default one first.
VARIANTS: dict[str, tuple[str, ...]] = {
    "adapter": ("",),
    "merged": merge.BASES,
    "gguf": (gguf_file.DEFAULT, *gguf_file.QUANTS, gguf_file.LORA),
    "ollama": (gguf_file.DEFAULT, *gguf_file.QUANTS),
    "vllm": ("",),
    "hub": ("adapter", "merged"),
}


class FormName(NamedTuple):
    """A form: its kind and its variant, as ``gguf`` and ``q8_0``."""

    kind: str
    variant: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.variant}" if self.kind in ("gguf", "ollama") else self.asked

    @property
    def asked(self) -> str:
        """The shortest text that names it."""
        return self.kind if self.variant == VARIANTS[self.kind][0] else f"{self.kind}:{self.variant}"


def parse_form(form: str) -> FormName:
    """Return a form's kind and variant.

    Raises:
        BadInput: there is no such form.
    """
    kind, _, variant = form.partition(":")
    variants = VARIANTS.get(kind, ())
    if variants and (not variant or variant in variants):
        return FormName(kind, variant or variants[0])
    if kind in ("gguf", "ollama"):
        raise BadInput(gguf_file.no_such_quant(variant))
    names = dict.fromkeys(FormName(kind, variant).asked for kind, some in VARIANTS.items() for variant in some)
    raise BadInput(f"There is no form {form!r}; choose from {', '.join(names)}.")


def export(run: Run | str | Path, form: str, out: str | Path, seal: bool = True) -> Export:
    """Write one form of a run into the folder ``out``, and compare it with what was judged.

    Args:
        run: a run, its folder, or a PEFT adapter's folder.
        form: ``adapter``; ``merged``, or ``merged:original`` (see ``merge.merge``); ``gguf:q4_k_m``, ``gguf:lora`` …;
            ``ollama:q8_0``: a GGUF and a Modelfile; ``vllm``: the merged model and the adapter, and how to serve them;
            ``hub``, ``hub:merged``: a folder with model card and notebook, ready to be pushed.
        out: the folder to write. It appears when all is done: after an error or an interrupt nothing has changed.
        seal: compare it; see ``seal``. A form that is found broken is written all the same.

    Raises:
        BadInput: there is no such form, or ``out`` holds files that établi did not write; else as ``seal``.
    """
    run, name = open_adapter(run), parse_form(form)
    require_possible(run, name, seal)
    found, notes = None, serving.list_lora_limits(run) if name.kind in ("adapter", "vllm") else []
    with storage.write_folder(out, _facts(run, name), replaces=merge.FORM) as folder:
        _write(run, name, folder)
        if seal:
            try:
                reference = build_reference(run)
            except (BadData, MissingData, OutsideFolder) as error:  # its rows are not here any more
                notes.append(f"It was not sealed: {error}")
            else:
                found = seal_folder(reference, run, name, folder)
        _write_card(run, name, folder, found)
    return {"files": merge.list_names(out), "seal": found, "notes": notes}


def _facts(run: Run, form: FormName) -> dict[str, object]:
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
        ollama.find_turn_texts(load_run_tokenizer(run))


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


def _write(run: Run, form: FormName, folder: Path) -> None:
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
    template = ollama.find_turn_texts(tokenizer).go_template()
    stops = [str(tokenizer.decode([end])) for end in gguf_file.write_gguf(run, file, quant)]
    parameters = {**ollama.GREEDY, "num_ctx": float(max(ollama.CONTEXT, run.recipe.max_length))}
    modelfile = ollama.Modelfile(file.name, template, stops, parameters)
    storage.write_text(folder / ollama.MODELFILE, ollama.write_modelfile(modelfile))


def _write_card(run: Run, form: FormName, folder: Path, found: FormSeal | None) -> None:
    """Write the model card of an adapter or of a folder for the Hub; the card of another trainer stays."""
    if form.kind in ("adapter", "hub") and not (folder / model_card.CARD).is_file():
        what = "merged" if "merged" in form else "adapter"
        model_card.write_files(run, folder, what, [found] if found else None, with_notebook=form.kind == "hub")


@contextlib.contextmanager
def open_form(run: Run, form: FormName, folder: Path, reference: Reference) -> Iterator[Form]:
    """Open an exported folder as the form that it is.

    Raises:
        WrongAdapter: an adapter that does not fit the run's base.
    """
    if "adapter" in form:
        loaded = load(run.recipe.model, adapter=folder, dtype=run.dtype, base_named=run.base_named)
        opened = TransformersForm(loaded.model, loaded.tokenizer)
        if (folder / "generation_config.json").is_file():
            opened.take_settings(folder)
        yield opened
    elif form.kind in ("merged", "hub"):
        yield TransformersForm.open(folder)
    elif form.kind == "vllm":
        yield TransformersForm.open(folder / serving.MERGED)
    elif form.kind == "ollama":
        with open_ollama(folder, reference.tokenizer, reference.context) as asked:
            yield asked
    else:
        with tempfile.TemporaryDirectory(prefix="etabli-base-") as scratch:
            model, lora = single_gguf(folder), None
            if form.variant == gguf_file.LORA:
                model, lora = Path(scratch) / "base.gguf", model
                gguf_file.write_base_gguf(run, model)
            with serve_gguf(model, reference.context, lora) as served:
                yield served


def seal_exported(run: Run | str | Path, form: str, folder: str | Path, margin: float = SEAL_MARGIN) -> FormSeal:
    """Compare a folder that ``export`` wrote, or anybody else, with what was judged; see ``seal``."""
    run = open_adapter(run)
    return seal_folder(build_reference(run), run, parse_form(form), Path(folder), margin)


def seal_folder(reference: Reference, run: Run, form: FormName, folder: Path, margin: float = SEAL_MARGIN) -> FormSeal:
    """Compare one form's folder with a reference, and add its size."""
    found = seal_form(reference, str(form), lambda: open_form(run, form, folder, reference), margin)
    return {**found, "bytes": size_of(folder)}


def seal(
    run: Run | str | Path,
    forms: Sequence[str] = SEAL_FORMS,
    limit: int = SEAL_ROWS,
    margin: float = SEAL_MARGIN,
    data: str | Path | None = None,
) -> Seal:
    """Export a run in each form into a temporary folder, and compare each with what was judged.

    What was found is also written into the run's folder, as ``seal.json``: the model card shows it.

    Args:
        run: a run, its folder, or a PEFT adapter's folder.
        forms: as for ``export``.
        limit: the greatest number of the run's test rows in each language.
        margin: the loss of score, as a share, that is still called the same.
        data: an evaluation set in place of the run's own test rows.

    Raises:
        BadInput: there is no such form; BadData: there are no test rows; else as ``export``.
    """
    run = open_adapter(run)
    names = list(dict.fromkeys(parse_form(form) for form in forms if form))
    if not names:
        raise BadInput("Name at least one form, as adapter,merged,gguf:q8_0.")
    for name in names:
        require_possible(run, name, seal=True)
    reference = build_reference(run, limit, data)
    found: Seal = {
        "run": run.name,
        "adapter": adapter_hash(run.adapter),
        "sealed_below": SEALED_KL,
        "test_rows": len(reference.test_set.tests),
        "margin": margin,
        "forms": [_write_and_seal(run, name, reference, margin) for name in names],
    }
    if not isinstance(run, AdapterRun):
        storage.write_json(run.folder / SEAL, found)
    return found


def _write_and_seal(run: Run, form: FormName, reference: Reference, margin: float) -> FormSeal:
    """Write a form into a temporary folder, and compare it."""
    with tempfile.TemporaryDirectory(prefix="etabli-seal-") as scratch:
        try:
            _write(run, form, Path(scratch))
        except (BadInput, WrongAdapter) as error:
            return seal_unwritten(reference, str(form), str(error), margin)
        return seal_folder(reference, run, form, Path(scratch), margin)
