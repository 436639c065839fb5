"""Export a run, and seal what was written: what ``etabli export`` and ``etabli seal`` do."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from etabli.core import storage
from etabli.core.contracts import SEAL, SEAL_FORMS, SEAL_MARGIN, SEAL_ROWS, SEALED_KL, Export, FormSeal, Seal
from etabli.core.errors import BadData, BadInput, MissingData, OutsideFolder, WrongAdapter
from etabli.exports import gguf_file, merge, serving
from etabli.exports.form_names import FormName, parse_form
from etabli.exports.forms import Form, TransformersForm
from etabli.exports.llama_cpp import open_ollama, serve_gguf, single_gguf
from etabli.exports.reference import Reference, build_reference
from etabli.exports.seal import seal_form, seal_unwritten, size_of
from etabli.exports.writing import describe, require_possible, write_card, write_form
from etabli.models.adapters import adapter_hash
from etabli.models.loading import load
from etabli.runs.adapter_run import AdapterRun, open_adapter
from etabli.runs.run import Run


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
    with storage.write_folder(out, describe(run, name), replaces=merge.FORM) as folder:
        write_form(run, name, folder)
        if seal:
            try:
                reference = build_reference(run)
            except (BadData, MissingData, OutsideFolder) as error:  # its rows are not here any more
                notes.append(f"It was not sealed: {error}")
            else:
                found = seal_folder(reference, run, name, folder)
        write_card(run, name, folder, found)
    return {"files": merge.list_names(out), "seal": found, "notes": notes}


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
            write_form(run, form, Path(scratch))
        except (BadInput, WrongAdapter) as error:
            return seal_unwritten(reference, str(form), str(error), margin)
        return seal_folder(reference, run, form, Path(scratch), margin)
