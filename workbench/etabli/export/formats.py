"""Export a run in one form after the other, and seal each: what ``etabli export`` and ``etabli seal`` do."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from etabli.core.contracts import FormSeal, Seal
from etabli.core.errors import BadInput
from etabli.core.wording import count_of
from etabli.export import gguf_file, merge
from etabli.export.forms import Form, TransformersForm, require_llama_cpp, serve_gguf
from etabli.export.seal import MARGIN, ROWS, Reference, build_reference, seal_form, size_of
from etabli.models.loading import load
from etabli.runs.adapter_run import open_adapter
from etabli.runs.run import Run

DEFAULT_FORMS = ("adapter", "merged", "gguf:q8_0")


def export(run: Run | str | Path, form: str, out: str | Path) -> list[str]:
    """Write one form of a run into the folder ``out``, and return the names of its files.

    Args:
        run: a run, its folder, or a PEFT adapter's folder.
        form: ``adapter``; ``merged``, or ``merged:original`` (see ``merge.merge``); ``gguf:f16``, ``gguf:q8_0`` ….
        out: the folder to write.

    Raises:
        BadInput: there is no such form; else as the form's own function.
    """
    run = open_adapter(run)
    kind, variant = require_possible(run, form)
    if kind == "adapter":
        return merge.export_adapter(run, out)
    return merge.merge(run, out, variant) if kind == "merged" else gguf_file.export_gguf(run, out, variant)


def require_possible(run: Run, form: str) -> tuple[str, str]:
    """Return a form's kind and variant, once all is checked that can be checked before it is written.

    Raises:
        BadInput: there is no such form; MissingExtra: what it needs is not installed.
    """
    kind, _, variant = form.partition(":")
    variant = variant or {"merged": merge.TRAINED, "gguf": "q8_0"}.get(kind, "")
    if kind == "gguf":
        gguf_file.require_convertible(run, variant)
    elif (kind, variant) not in (("adapter", ""), *(("merged", base) for base in merge.BASES)):
        quants = ", ".join(f"gguf:{quant}" for quant in gguf_file.QUANTS)
        raise BadInput(f"There is no form {form!r}; choose from adapter, merged, merged:original, {quants}.")
    return kind, variant


@contextlib.contextmanager
def open_form(run: Run, form: str, folder: Path, context: int) -> Iterator[Form]:
    """Open an exported folder as the form that it is, with room for ``context`` tokens.

    Raises:
        WrongAdapter: an adapter that does not fit the run's base.
    """
    if form == "adapter":
        loaded = load(run.recipe.model, adapter=folder, dtype=run.dtype)
        yield TransformersForm(loaded.model, loaded.tokenizer)
    elif form.startswith("merged"):
        yield TransformersForm.open(folder)
    else:
        files = sorted(folder.glob("*.gguf"))
        if len(files) != 1:
            raise BadInput(f"{folder} holds {count_of(len(files), 'GGUF file')}; one is needed.")
        with serve_gguf(files[0], context) as served:
            yield served


def seal_exported(run: Run | str | Path, form: str, folder: str | Path, margin: float = MARGIN) -> FormSeal:
    """Compare a folder that ``export`` wrote, or anybody else, with what was judged; see ``seal``."""
    run = open_adapter(run)
    kind, variant = require_possible(run, form)
    form = f"gguf:{variant}" if kind == "gguf" else form
    return _seal_folder(build_reference(run), run, form, Path(folder), margin)


def _seal_folder(reference: Reference, run: Run, form: str, folder: Path, margin: float) -> FormSeal:
    found = seal_form(reference, form, lambda: open_form(run, form, folder, reference.context), margin)
    return {**found, "bytes": size_of(folder)}


def seal(
    run: Run | str | Path,
    forms: Sequence[str] = DEFAULT_FORMS,
    limit: int = ROWS,
    margin: float = MARGIN,
    data: str | Path | None = None,
) -> Seal:
    """Export a run in each form into a temporary folder, and compare each with what was judged.

    Args:
        run: a run, its folder, or a PEFT adapter's folder.
        forms: as for ``export``.
        limit: the greatest number of the run's test rows in each language.
        margin: the loss of score, as a share, that is still called the same.
        data: an evaluation set in place of the run's own test rows.

    Raises:
        BadInput: there is no such form; BadData: there are no test rows; else as ``export``.
    """
    run, forms = open_adapter(run), list(dict.fromkeys(form for form in forms if form))
    if not forms:
        raise BadInput("Name at least one form, as adapter,merged,gguf:q8_0.")
    for form in forms:
        require_possible(run, form)
    if any(form.startswith("gguf") for form in forms):
        require_llama_cpp()
    reference = build_reference(run, limit, data)
    seals = []
    with tempfile.TemporaryDirectory(prefix="etabli-seal-") as scratch:
        for form in forms:
            folder = Path(scratch) / form.replace(":", "-")
            export(run, form, folder)
            seals.append(_seal_folder(reference, run, form, folder, margin))
    return {"run": run.name, "test_rows": len(reference.test_set.tests), "margin": margin, "forms": seals}
