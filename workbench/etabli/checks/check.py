"""Look at every row of a source before a second of GPU is spent, in the same memory whatever its size."""

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from etabli.checks import cost, custom_rules, row, speed
from etabli.checks.report import Report
from etabli.checks.row import Seen, Settings, check_records
from etabli.core import folders, storage
from etabli.core.errors import BadInput, Unreadable
from etabli.core.secrets import hidden
from etabli.data.notes import Note, escaped
from etabli.data.reading.formats import FORMATS, PLAIN_FORMATS
from etabli.data.reading.jsonfiles import Record
from etabli.data.reading.layout import Layout
from etabli.data.reading.source import Source, layout_of, open_source
from etabli.models import counting, embedded
from etabli.rendering.render import POLICIES

CHUNK_ROWS, CHUNK_BYTES = 256, 2**20


@folders.takes_allow_outside
def check(
    source: Any,
    /,
    model: str | None = None,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    rules: Any = None,
    max_length: int = 512,
    policy: str = "answers",
    workers: int = 1,
    **about: str,
) -> Report:
    """Find all that is wrong with rows: form, meaning, cost, safety, licence, and what your own rules say.

    Args:
        source, format, columns, about, allow_outside: as in ``etabli.read``.
        model: whose tokenizer counts; by default the embedded one's, if it is on this machine already.
        rules: a file of ``@etabli.own_check`` and ``@etabli.own_filter`` functions, or such functions.
        max_length: tokens of a row that training would see; policy: which of them it would train.
        workers: processes. More than one needs a script with a main guard; the command line uses one a core.

    Returns:
        A report; also of a source that can't be read at all, which is its one finding.
    """
    report = Report(_name(source))
    try:
        opening = open_source(source, format, columns, about)
        for note in opening.notes:
            report.add_note(note, 1)
        settings = _settings(opening, model, rules, max_length, policy)
        _run(opening, settings, workers, report)
    except Unreadable as error:
        report.unreadable(error)
    return report


def _name(source: Any) -> str:
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def _settings(opening: Source, model: str | None, rules: Any, max_length: int, policy: str) -> Settings:
    chosen = model or ("default" if embedded.ready() else None)
    if not isinstance(max_length, int) or max_length < 1:
        raise BadInput(f"max_length is {max_length!r}; it is a number of tokens.")
    if policy not in POLICIES:
        raise BadInput(f"Unknown mask policy {policy!r}; there are {', '.join(POLICIES)}.")
    from_file = (str(rules), storage.sha256(rules)) if isinstance(rules, str | Path) and Path(rules).is_file() else None
    # With no row to tell it by, any layout will do: there is nothing but broken rows to name.
    layout = layout_of(opening) if opening.preview else Layout("text", "")
    return Settings(
        layout, opening.about, chosen, _tokenizer(chosen, layout) if chosen else None, max_length, policy, from_file,
        () if from_file else tuple(custom_rules.rules(rules)),
    )  # fmt: skip


def _tokenizer(model: str, layout: Layout) -> Path:
    """Where its tokenizer is; found once, here, and not by every process.

    Raises:
        BadInput: it has no chat template, which would make every row fail.
    """
    folder = counting.located(model)
    if layout.name not in PLAIN_FORMATS and not counting.template(folder):
        raise BadInput(f"The tokenizer of {model} has no chat template: take the instruct version of the model.")
    return folder


def _run(opening: Source, settings: Settings, workers: int, report: Report) -> None:
    report.format = {
        "name": settings.layout.name if opening.preview else None,
        "reason": settings.layout.reason,
        "columns": dict(settings.layout.columns),
        "preview": [hidden(escaped(repr(item)[:400]))[:300] for item in opening.preview[:3]],
    }
    total = Seen()
    for seen in _checked(_chunks(opening.records), settings, workers):
        _merge(total, seen, report)
    report.rows = total.rows
    _conclude(total, settings, report)


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.value) if isinstance(record.value, bytes) else _size(record.value)
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _size(value: Any) -> int:
    """About how many bytes a parsed row has."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict | list):
        return 50 + sum(map(_size, value.values() if isinstance(value, dict) else value))
    return 10


def _checked(chunks: Iterator[list[Record]], settings: Settings, workers: int) -> Iterator[Seen]:
    """Chunks checked in the order of the file; no more are read than are being worked on."""
    first = list(islice(chunks, 2 * workers))
    if workers < 2 or settings.rules or len(first) < 2 * workers:
        yield from (check_records(chunk, settings) for chunk in (*first, *chunks))
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _to_stderr) as pool:
        waiting = deque(pool.submit(check_records, chunk, settings) for chunk in first)
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(check_records, chunk, settings) for chunk in islice(chunks, 1))


def _to_stderr() -> None:
    """What somebody's own rules print in another process must not get between the lines of JSON."""
    os.dup2(2, 1)


def _merge(total: Seen, seen: Seen, report: Report) -> None:
    total.rows += seen.rows
    total.read += seen.read
    total.cost.add(seen.cost)
    total.languages.update(seen.languages)
    total.without_rules.update(seen.without_rules)
    for name, count in seen.unused.items():
        row.few(total.unused, name, count)
    for name, counts in seen.lineage.items():
        for value, count in counts.items():
            row.few(total.lineage.setdefault(name, Counter()), value, count)
    report.store.add(seen.findings)
    report.store.add_pairs(seen.pairs)


def _conclude(total: Seen, settings: Settings, report: Report) -> None:
    """What can be said only of the whole."""
    refused = FORMATS[settings.layout.name].refused
    if refused:
        report.add_note(
            Note(refused, excerpt=report.format["preview"][0] if report.format["preview"] else ""), None, row=0
        )
    elif not total.read and total.rows:
        report.nothing_read = True
    if total.unused:
        names = ", ".join(escaped(name) for name, _ in total.unused.most_common(20))
        report.add_note(Note("extra-columns", excerpt=names[:200], why=f"Columns that are not used: {names}."), None)
    report.store.compare_rows()
    report.lineage = {name: dict(counts.most_common()) for name, counts in total.lineage.items()}
    for note in row.restrictions(report.lineage) if total.read else []:
        report.add_note(note, None)
    report.languages = dict(total.languages.most_common())
    report.describe_checks(settings, total)
    if settings.model and total.read:
        report.cost = cost.summary(
            total.cost, settings.model, settings.max_length, settings.policy, speed.measured(settings.model)
        )
