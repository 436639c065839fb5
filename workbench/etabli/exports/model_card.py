"""A run's model card: README.md with the Hub's metadata, and a notebook that trains and judges again.

Everything in it is read from the run's own files, the base's and the rows'; what nobody measured is said to be missing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from etabli.core import parsing, storage
from etabli.core.contracts import ALL, RESULTS, SEAL, FormSeal, Results
from etabli.core.contracts import Seal as SealResult
from etabli.core.errors import EtabliError
from etabli.core.progress import show_progress
from etabli.core.wording import count_of, format_gib
from etabli.data.dataset import Dataset
from etabli.evaluation import rescore, table
from etabli.evaluation.verdict import format_interval, verdict_sentence
from etabli.exports.card_metadata import count_values, list_restrictions, make_metadata, plain
from etabli.exports.card_notebook import public_keys, write_notebook
from etabli.exports.merge import FORM, base_name, list_names
from etabli.models import adapters
from etabli.models.facts import NOT_STATED
from etabli.models.facts import facts as base_facts
from etabli.models.sources import resolve
from etabli.runs.adapter_run import AdapterRun, open_adapter
from etabli.runs.run import Run
from etabli.runs.run_data import open_rows_of_run

CARD, NOTEBOOK = "README.md", "card.ipynb"


@show_progress("writing the model card")
def card(run: Run | str | Path, out: str | Path | None = None) -> list[str]:
    """Write ``README.md`` and, for a run, ``card.ipynb``, and return the names of the files.

    Args:
        run: a run, its folder, or a PEFT adapter's folder, of whose training nothing is known.
        out: the folder to write; by default ``card`` in the run's folder.

    Raises:
        BadInput: ``out`` holds files that établi did not write.
    """
    run = open_adapter(run)
    folder = Path(out) if out is not None else run.folder / "card"
    with storage.write_folder(folder, {FORM: "card", "run": run.name}, replaces=FORM) as new:
        write_files(run, new)
    return list_names(folder)


def write_files(
    run: Run, folder: Path, what: str = "adapter", seals: Sequence[FormSeal] | None = None, with_notebook: bool = True
) -> None:
    """Write the card, and for a run the notebook, into a folder.

    Args:
        run: the run.
        folder: where.
        what: ``adapter`` or ``merged``: which of them lies there.
        seals: what was found of the form that lies there; by default what the run's last seal found.
        with_notebook: write the notebook too, if it is a run.
    """
    results, has_notebook = _read_results(run), with_notebook and not isinstance(run, AdapterRun)
    storage.write_text(folder / CARD, _write_card(run, results, what, seals, has_notebook))
    if has_notebook:
        write_notebook(run, results, folder / NOTEBOOK)


def _write_card(
    run: Run, results: Results | None, what: str, seals: Sequence[FormSeal] | None, has_notebook: bool
) -> str:
    rows = _open_rows(run)
    base = base_facts(run.recipe.model)
    parts = [
        f"---\n{yaml.safe_dump(make_metadata(run, rows, base, results, what), sort_keys=False, allow_unicode=True)}---",
        f"# {plain(run.name)}",
        f"{'A LoRA adapter' if what == 'adapter' else 'A model'}, tuned with QLoRA from "
        f"{plain(base_name(resolve(run.recipe.model)))}. This card is written from the files of its run.",
        _section("Verdict", _verdict_lines(results)),
        _section("What was not looked at", _gaps(results, rows)),
        _section("Data", _data_lines(run, rows)),
        _section("Licence and terms", _licence_lines(rows, base)),
        _section("How it was trained", _training_lines(run, has_notebook)),
        _section("Is what lies here what was judged?", _seal_lines(run, seals)),
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *lines])


def _read_results(run: Run) -> Results | None:
    return rescore.read_results(run) if (run.folder / RESULTS).is_file() else None


def _open_rows(run: Run) -> Dataset | None:
    """Return the rows it was trained on; None if they are not here any more, or are others."""
    known = run.frozen.get("data_hash")
    try:
        rows = open_rows_of_run(run.recipe.data, run.folder, known)
    except (EtabliError, OSError):
        return None
    return rows if run.recipe.data and rows.hash == known else None


# --- what the card says ----------------------------------------------------------------------------------------------


def _verdict_lines(results: Results | None) -> list[str]:
    if results is None:
        return ["**It was not judged.** Nothing here says that it is better than its base: `etabli evaluate RUN`."]
    first = sorted(results["verdict"].items(), key=lambda item: item[0] != ALL)
    lines = [f"- {plain(verdict_sentence(part, verdict))}" for part, verdict in first]
    lines += ["", "| score | rows | " + " | ".join(map(plain, results["arms"])) + " |"]
    lines.append("|---" * (2 + len(results["arms"])) + "|")
    for score in results["scores"]:
        cells = (plain(table.format_score(score, arm)) for arm in results["arms"])
        lines.append(f"| {plain(score['name'])} | {plain(score['slice'])}, {score['n']} | {' | '.join(cells)} |")
    differences = [
        f"- {plain(score['name'])}: {plain(gap['of'])} minus {plain(gap['minus'])}: "
        f"{format_interval(gap, score['unit'])}"
        for score in results["scores"]
        if score["slice"] == ALL
        for gap in score["differences"]
    ]
    return [*lines, "", "Differences, with 95 % intervals:", "", *differences]


def _gaps(results: Results | None, rows: Dataset | None) -> list[str]:
    if results is None:
        return ["- Everything: it was not judged."]
    languages = sorted({str(row["lang"]) for row in results["rows"] if row.get("lang")})
    longest = max((len(row["prompt"]) for row in results["rows"]), default=0)
    of = ", ".join(map(plain, languages)) or "not stated"
    lines = [
        f"- Other tasks than that of the {count_of(len(results['rows']), 'test row')}, other languages (theirs: {of}), "
        f"and questions of more than {longest:,} characters.",
        "- Whether it became worse at what its base could do, and whether it is safe: no row asks for that, unless the "
        "scores above say so.",
    ]
    if rows is None:
        lines.append("- Its training rows: they were not at hand when this card was written.")
    return [*lines, *(f"- {plain(warning)}" for warning in results["warnings"])]


def _data_lines(run: Run, rows: Dataset | None) -> list[str]:
    known = run.frozen.get("data_hash")
    if rows is None:
        return [f"The rows are not at hand{f'; their hash was `{known}`' if known else ''}."]
    lines = [f"{count_of(len(rows), 'row')}, hash `{rows.hash}`.", "", "| | |", "|---|---|"]
    for field in ("split", "lang", "source", "generator"):
        counts = sorted(count_values(rows, field).items(), key=lambda item: -item[1])
        text = ", ".join(f"{plain(value)} ({count:,})" for value, count in counts[:12])
        lines.append(f"| {field} | {text or NOT_STATED}{' …' if len(counts) > 12 else ''} |")
    return lines


def _licence_lines(rows: Dataset | None, base: Mapping[str, object]) -> list[str]:
    evidence = base["evidence"]
    assert isinstance(evidence, dict)
    lines = [f"- The base: {plain(base['licence'])} ({plain(evidence['licence'])})."]
    if rows is None:
        return [*lines, "- The rows: not at hand, so their licences and terms are unknown."]
    counts = count_values(rows, "licence")
    unknown = len(rows) - sum(counts.values())
    named = [f"{plain(name)} ({count:,})" for name, count in counts.items()]
    lines.append(f"- The rows: {', '.join([*named, *([f'without a licence ({unknown:,})'] if unknown else [])])}.")
    lines += [f"- **Restricts what is trained on it**: {text}." for text in list_restrictions(rows)]
    return lines


def _training_lines(run: Run, has_notebook: bool) -> list[str]:
    if isinstance(run, AdapterRun):
        return ["It was trained elsewhere: of its training nothing is known."]
    events = run.events()
    steps = [event for event in events if event["kind"] == "step"]
    start = next((event for event in events if event["kind"] == "start"), None)
    lines = []
    if start and steps:
        seconds = steps[-1]["t"] - start["t"]
        tokens = sum(int(step.get("tokens") or 0) for step in steps)
        peak = max((int(step.get("memory_bytes") or 0) for step in steps), default=0)
        device, dtype = plain(start.get("device")), plain(start.get("dtype"))
        lines.append(
            f"{count_of(len(steps), 'step')} on {device} in {dtype}: {seconds / 60:.1f} minutes from the first line to "
            f"the last step, {tokens:,} tokens read, {format_gib(peak)} of memory at most, as the steps say. What that "
            "cost in money or energy was not measured."
        )
    versions = [f"{plain(name)} {plain(version)}" for name, version in run.frozen.get("versions", {}).items()]
    keys = yaml.safe_dump(public_keys(run), sort_keys=False, allow_unicode=True)
    return [
        *lines,
        "",
        "```yaml",
        keys.replace("```", "'''").rstrip(),
        "```",
        "",
        f"Made with {', '.join(versions) or NOT_STATED}; "
        f"base hash `{run.frozen.get('model_hash', NOT_STATED)}`."
        + (f" `{NOTEBOOK}` trains and judges again." if has_notebook else ""),
    ]


def _seal_lines(run: Run, seals: Sequence[FormSeal] | None) -> list[str]:
    """Return a line a form: of ``seals``, or of the run's last seal if that was of this adapter."""
    file = run.folder / SEAL
    if seals is None and file.is_file():
        sealed: SealResult = parsing.read_json(file, parsing.LARGEST_CONFIG)
        seals = sealed["forms"] if sealed.get("adapter") == adapters.adapter_hash(run.adapter) else None
    if not seals:
        return ["It was not asked: `etabli seal RUN` compares each exported form with the model as it was judged."]
    return [f"- {plain(form['sentence'])}" for form in seals]
