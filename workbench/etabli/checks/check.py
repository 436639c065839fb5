"""``check``: check every row of a source before training, with the same memory for a file of any size."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from etabli.checks import cost, custom_rules, row, speed
from etabli.checks.report import Report
from etabli.checks.row import CheckedRows, Settings, check_records
from etabli.checks.row_texts import RowReader
from etabli.core import folders, storage
from etabli.core.contracts import Row
from etabli.core.errors import BadInput, Unreadable
from etabli.core.progress import show_progress
from etabli.core.secrets import cover_secrets
from etabli.data.notes import Note, escape_invisible
from etabli.data.reading import columns as column_names
from etabli.data.reading.formats import FORMATS, PLAIN_FORMATS
from etabli.data.reading.jsonfiles import Record
from etabli.data.reading.layout import Layout
from etabli.data.reading.source import Source, open_source, require_layout
from etabli.models import chat_templates, counting, embedded
from etabli.rendering.masks import POLICIES
from etabli.rendering.template_engine import NO_TEMPLATE

CHUNK_ROWS, CHUNK_BYTES = 256, 2**20
RuleSource = str | Path | Callable[[Row], object] | Iterable[Callable[[Row], object]] | None


@folders.add_allow_outside
def check(
    source: object,
    /,
    model: str | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    rules: RuleSource = None,
    max_length: int = 512,
    policy: str = "answers",
    workers: int = 1,
    *,
    progress: Callable[[int], None] | None = None,
    template: str | None = None,
    **about: str,
) -> Report:
    """Check rows: form, meaning, cost, safety, licence, and your own rules.

    Args:
        source, format, columns, about, allow_outside: as in ``etabli.read``.
        model: the model whose tokenizer counts; by default the embedded one, if it is on this machine already.
        rules: a file of ``@etabli.own_check`` and ``@etabli.own_filter`` functions, or such functions.
        max_length: tokens of a row that training would see; policy: which of them it would train.
        progress: is called with the number of rows that were checked, as they are.
        template: the chat template of a base model: alpaca, chatml, plain, or a Jinja file.
        workers: processes. More than one needs a script with a main guard; the command line uses one for each core.

    Returns:
        A report. A source that cannot be read gives a report with that one finding.
    """
    report = Report(str(source) if isinstance(source, str | Path) else type(source).__name__)
    try:
        opening = open_source(source, format, columns, about)
        try:
            settings = _make_settings(opening, model, rules, max_length, policy, template)
            report.reader = RowReader(source, format, columns, about, settings)
            with show_progress("checking rows") as task:
                _check_all(opening, settings, workers, report, progress or task.report)
        finally:  # more notes come while files are read
            for note in opening.notes:
                report.add_note(note, 1)
    except Unreadable as error:
        report.add_unreadable(error)
    return report


def _make_settings(
    opening: Source, model: str | None, rules: RuleSource, max_length: int, policy: str, template: str | None
) -> Settings:
    if not isinstance(max_length, int) or max_length < 1:
        raise BadInput(f"max_length is {max_length!r}; it is a number of tokens.")
    if policy not in POLICIES:
        raise BadInput(f"Unknown mask policy {policy!r}; there are {', '.join(POLICIES)}.")
    template = chat_templates.read_template(template) if template else None
    model = model or ("default" if embedded.is_cached() else None)
    is_file = isinstance(rules, str | Path) and Path(rules).is_file()
    # Without a preview no row can be read. Every layout will do then: all rows are reported as broken.
    layout = require_layout(opening) if opening.preview else Layout("text", "")
    return Settings(
        layout,
        opening.about,
        model,
        _find_tokenizer(model, layout, template) if model else None,
        max_length,
        policy,
        (str(rules), storage.sha256(str(rules))) if is_file else None,
        () if is_file else tuple(custom_rules.load_rules(rules)),
        template,
    )


def _find_tokenizer(model: str, layout: Layout, template: str | None) -> Path:
    """Return the folder of the model's tokenizer; it is found once here, and not in every process.

    Raises:
        BadInput: it has no chat template, or the given one does not suit it, so that no conversation could be counted.
    """
    folder = counting.tokenizer_folder(model)
    if template is not None:
        chat_templates.set_template(counting.CountingTokenizer(folder), template)
    elif layout.name not in PLAIN_FORMATS and not counting.read_chat_template(folder):
        raise BadInput(f"{model}: {NO_TEMPLATE}")
    return folder


def _check_all(
    opening: Source, settings: Settings, workers: int, report: Report, progress: Callable[[int], None] | None
) -> None:
    report.format = {
        "name": settings.layout.name if opening.preview else None,
        "reason": settings.layout.reason,
        "columns": dict(settings.layout.columns),
        "preview": [cover_secrets(escape_invisible(repr(item)[:400]))[:300] for item in opening.preview[:3]],
    }
    total = CheckedRows()
    for results in _check_chunks(_split_chunks(opening.records), settings, workers):
        total.add(results)
        report.store.add(results.findings)
        report.store.add_pairs(results.pairs)
        if progress:
            progress(total.rows)
    report.rows = total.rows
    _add_file_findings(total, settings, report, opening)


def _split_chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the records in lists of at most ``CHUNK_ROWS`` rows and about ``CHUNK_BYTES`` bytes."""
    chunk: list[Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += _estimate_bytes(record.value)
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _estimate_bytes(value: object) -> int:
    """Return about how many bytes the value of a record has."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict | list):
        return 50 + sum(map(_estimate_bytes, value.values() if isinstance(value, dict) else value))
    return 10


def _check_chunks(chunks: Iterator[list[Record]], settings: Settings, workers: int) -> Iterator[CheckedRows]:
    """Yield the results in the order of the file; only as many chunks are read as are being checked."""
    first_chunks = list(islice(chunks, 2 * workers))
    if workers < 2 or settings.rules or len(first_chunks) < 2 * workers:
        yield from (check_records(chunk, settings) for chunk in (*first_chunks, *chunks))
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _redirect_to_stderr) as pool:
        futures = deque(pool.submit(check_records, chunk, settings) for chunk in first_chunks)
        while futures:
            yield futures.popleft().result()
            futures.extend(pool.submit(check_records, chunk, settings) for chunk in islice(chunks, 1))


def _redirect_to_stderr() -> None:
    """Send the output of user rules in another process to stderr, so that stdout is only JSON."""
    os.dup2(2, 1)


def _add_file_findings(total: CheckedRows, settings: Settings, report: Report, opening: Source) -> None:
    """Add the findings about the file as a whole."""
    refusal_code = FORMATS[settings.layout.name].refused
    if refusal_code:
        why = column_names.refusal(refusal_code, opening.preview)
        report.add_note(Note(refusal_code, excerpt=next(iter(report.format["preview"]), ""), why=why), None, row=0)
    elif not total.conversations and total.rows:
        report.is_unreadable = True
    if total.unused_columns:
        names = ", ".join(escape_invisible(name) for name, _ in total.unused_columns.most_common(20))
        report.add_note(Note("extra-columns", excerpt=names[:200], why=f"Columns that are not used: {names}."), None)
    report.store.compare_rows()
    report.lineage = {name: dict(counts.most_common()) for name, counts in total.lineage.items()}
    for note in row.licence_notes(report.lineage) if total.conversations else []:
        report.add_note(note, None)
    report.languages = dict(total.languages.most_common())
    report.describe_checks(settings, total)
    if settings.model and total.conversations:
        measured_speed = speed.find_measured_speed(settings.model)
        report.cost = cost.summarise(total.cost, settings.model, settings.max_length, settings.policy, measured_speed)
