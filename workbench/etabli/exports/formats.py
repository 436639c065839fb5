"""Export a run in one form after the other, and seal each: what ``etabli export`` and ``etabli seal`` do."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from etabli.core import storage
from etabli.core.contracts import SEAL, SEAL_MARGIN, SEAL_ROWS, Export, FormSeal, Seal
from etabli.core.errors import BadInput, EtabliError
from etabli.core.terminal import say
from etabli.exports import gguf_file, hub, merge, ollama, serving
from etabli.exports.forms import Form, TransformersForm
from etabli.exports.llama_cpp import open_ollama, require_llama_cpp, serve_gguf, single_gguf
from etabli.exports.reference import Reference, build_reference
from etabli.exports.seal import seal_form, size_of
from etabli.models import generate
from etabli.models.loading import load
from etabli.runs.adapter_run import AdapterRun, open_adapter
from etabli.runs.run import Run

DEFAULT_FORMS = ("adapter", "merged", "gguf:q8_0")
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
            ``hub``, ``hub:merged``: a folder with a model card, ready to be pushed.
        out: the folder to write.
        seal: compare it; see ``seal``.

    Raises:
        BadInput: there is no such form; else as the form's own function.
    """
    run, name = open_adapter(run), parse_form(form)
    require_possible(run, name, seal)
    _write(run, name, Path(out))
    found = seal_exported(run, form, out) if seal else None
    notes = serving.list_lora_limits(run) if name.kind in ("adapter", "vllm") else []
    return {"files": merge.list_names(out), "seal": found, "notes": notes}


def require_possible(run: Run, form: FormName, seal: bool) -> None:
    """Check all that can be checked before anything is written.

    Raises:
        BadInput: llama.cpp does not know the architecture; MissingExtra: what it needs is not installed.
    """
    if form.kind in ("gguf", "ollama"):
        gguf_file.require_convertible(run, form.variant)
        if seal:
            require_llama_cpp()


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


def _write(run: Run, form: FormName, out: Path) -> None:
    if form.kind == "adapter":
        merge.export_adapter(run, out)
    elif form.kind == "merged":
        merge.merge(run, out, form.variant)
    elif form.kind == "gguf":
        gguf_file.export_gguf(run, out, form.variant)
    elif form.kind == "ollama":
        _write_ollama(run, out, form.variant)
    elif form.kind == "vllm":
        serving.export_vllm(run, out)
    else:
        hub.export_folder(run, out, form.variant)


def _write_ollama(run: Run, out: Path, quant: str) -> None:
    """Write a GGUF and its Modelfile.

    Raises:
        BadInput: the chat template can't be written for Ollama.
    """
    loaded = run.load(device="cpu")
    texts = ollama.find_turn_texts(loaded.tokenizer)
    stops = [
        str(loaded.tokenizer.decode([token])) for token in sorted(generate.stop_ids(loaded.model, loaded.tokenizer))
    ]
    del loaded
    context = max(ollama.CONTEXT, run.recipe.max_length)
    with storage.write_folder(out, {"form": "ollama", "quant": quant, "run": run.name}) as folder:
        gguf_file.write_gguf(run, folder / f"{run.name}-{quant}.gguf", quant)
        modelfile = ollama.write_modelfile(f"{run.name}-{quant}.gguf", texts, stops, context)
        storage.write_text(folder / ollama.MODELFILE, modelfile)


@contextlib.contextmanager
def open_form(run: Run, form: FormName, folder: Path, reference: Reference) -> Iterator[Form]:
    """Open an exported folder as the form that it is.

    Raises:
        WrongAdapter: an adapter that does not fit the run's base.
    """
    if form.kind == "adapter" or form == ("hub", "adapter"):
        loaded = load(run.recipe.model, adapter=folder, dtype=run.dtype, base_named=run.base_named)
        yield TransformersForm(loaded.model, loaded.tokenizer)
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
    forms: Sequence[str] = DEFAULT_FORMS,
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
    seals = []
    with tempfile.TemporaryDirectory(prefix="etabli-seal-") as scratch:
        for name in names:
            folder = Path(scratch) / str(name).replace(":", "-")
            _write(run, name, folder)
            seals.append(seal_folder(reference, run, name, folder, margin))
    found: Seal = {"run": run.name, "test_rows": len(reference.test_set.tests), "margin": margin, "forms": seals}
    if not isinstance(run, AdapterRun):
        storage.write_json(run.folder / SEAL, found)
    return found
