"""Rows that are left out because a check finds something in them, as a person decides."""

from collections.abc import Collection

from etabli.checks.report import Report
from etabli.data.catalogue import CODES

ERRORS = "error"  # every finding of this severity


def require_codes(codes: Collection[str]) -> list[str]:
    """Return the codes of findings.

    Raises:
        ValueError: names those that no check has.
    """
    if unknown := sorted({*codes} - {ERRORS, *CODES}):
        raise ValueError(f"unknown findings {', '.join(unknown)}; choose {ERRORS} or from docs/checks.md")
    return [*codes]


def find_rows(report: Report, codes: Collection[str]) -> dict[int, str]:
    """Return the numbers of the rows that have such findings, each with the code of the first of them."""
    code_of_row: dict[int, str] = {}
    for finding in report.store.findings():
        if finding.row is not None and {finding.code, finding.severity} & {*codes}:
            code_of_row.setdefault(finding.row, finding.code)
    return code_of_row
