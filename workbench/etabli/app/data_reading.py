"""``etabli data read``: write the rows of a source as a Dataset, with test rows set aside."""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from etabli.app import leaving_out
from etabli.checks.check import check
from etabli.core import machine
from etabli.core.contracts import DatasetReading
from etabli.core.errors import BadInput, BadRows
from etabli.core.wording import count_of
from etabli.curation.groups import with_copy_groups
from etabli.data.dataset import Dataset
from etabli.data.reading.source import read_with_notes
from etabli.data.splits import TEST


def write_dataset(
    source: str,
    out: str,
    format: str | None,
    columns: Mapping[str, str],
    lineage: Mapping[str, str],
    test: float | None,
    leave_out: Collection[str],
) -> DatasetReading:
    """Write the rows of a source as a Dataset, and return what was written, left out, not used or doubtful.

    Args:
        source, format, columns, lineage: as in ``etabli.read``.
        test: share of the rows to set aside as test rows; groups of near-copies stay together.
        leave_out: codes of findings, or ``error``: rows that have them are left out.

    Raises:
        BadInput: the source would be replaced, a code is unknown, or test rows are set aside already.
        BadData: as ``etabli.read``.
    """
    if Path(source).resolve() == Path(out).resolve():
        raise BadInput(f"{out} is the source itself, and would be replaced: choose another folder with --out.")
    code_of_row = _find_left_out(source, format, columns, lineage, leave_out)
    try:
        outcome = read_with_notes(source, format, columns, lineage, code_of_row)
    except BadRows as error:
        hint = f" To leave such rows out: the same command with --leave-out {leaving_out.ERRORS}."
        raise BadRows(f"{error}{'' if leaving_out.ERRORS in leave_out else hint}") from None
    left_out = dict(Counter(code_of_row.values()) + outcome.left_out)
    recipe = {"file": source, "format": format, "columns": dict(columns), "left_out": left_out}
    dataset = Dataset(outcome.rows, recipe)
    if test is not None:
        dataset = _set_test_rows_aside(dataset, source, test)
    dataset.save(out)
    return {
        "folder": out,
        "rows": len(dataset),
        "test": len(dataset.part(TEST)),
        "left_out": left_out,
        "unused_columns": outcome.unused_columns,
        "warnings": outcome.warnings(),
        "hash": dataset.hash,
    }


def _find_left_out(
    source: str,
    format: str | None,
    columns: Mapping[str, str],
    lineage: Mapping[str, str],
    leave_out: Collection[str],
) -> dict[int, str]:
    """Return the numbers of the rows to leave out, each with the code of the finding."""
    try:
        codes = leaving_out.require_codes(leave_out)
    except ValueError as error:
        raise BadInput(f"--leave-out: {error}.") from None
    if not codes:
        return {}
    report = check(source, format=format, columns=columns, workers=machine.cores(), **lineage)
    return leaving_out.find_rows(report, codes)


def _set_test_rows_aside(dataset: Dataset, source: str, share: float) -> Dataset:
    if count := len(dataset.part(TEST)):
        raise BadInput(
            f"{source} has {count_of(count, 'test row')} already, which etabli evaluate uses: leave --test out."
        )
    rows = with_copy_groups(dataset.rows)
    return Dataset(rows, dataset.recipe).with_test(share, most=len(rows))
