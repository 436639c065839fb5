"""What the widget ``CheckReport`` shows of a report, as plain data; and the rows that a click opens."""

from typing import TypedDict

from etabli.checks.describe import code_reason, describe_finding, has_usual_reason, list_sections, place, summarise
from etabli.checks.results import CheckResults
from etabli.checks.row_texts import RowText
from etabli.core.contracts import CheckInfo, Finding
from etabli.core.errors import EtabliError

EXAMPLES = 12  # rows of a code in the static HTML, which is part of the saved notebook
MOST_NUMBERS = 10_000  # row numbers that the widget can copy


class Example(TypedDict):
    """Where a finding is, and what it says."""

    place: str
    text: str


class Group(TypedDict):
    """The findings of one code."""

    code: str
    severity: str
    count: int
    why: str
    fix: str
    examples: list[Example]


class OpenedRow(TypedDict):
    """A finding with the texts of its row; ``parts`` is empty if the finding is about no row."""

    place: str
    why: str  # empty if it is what its code says
    parts: list[RowText]


class OpenedGroup(TypedDict):
    """The rows behind the findings of one code."""

    code: str
    rows: list[OpenedRow]
    found: int  # findings of this code; ``rows`` has the first of them
    numbers: list[int]
    leave_out: str  # a line of Python that leaves these rows out; empty if the findings are about no row
    note: str  # why the rows can't be shown; else empty


class CheckView(TypedDict):
    """A report as its widget shows it."""

    name: str
    summary: str
    next: str
    groups: list[Group]
    looked_at: list[str]
    sections: list[tuple[str, list[str]]]
    preview: list[str]


def check_view(report: CheckResults) -> CheckView:
    """Return what the widget shows of a report."""
    return {
        "name": report.name,
        "summary": summarise(report),
        "next": _next_action(report),
        "groups": [_group(report, code, count) for code, count in report.counts.items()],
        "looked_at": [_describe_check(item) for item in report.checks],
        "sections": list(list_sections(report).items()),
        "preview": list(report.format["preview"]),
    }


def pick_rows(report: CheckResults, code: str, most: int) -> OpenedGroup:
    """Return the first ``most`` findings of a code, each with the texts of its row."""
    findings = list(report.store.findings(code, most))
    numbers = report.row_numbers(code)
    texts, note = _read_texts(report, findings)
    rows = [_opened_row(finding, parts) for finding, parts in zip(findings, texts)]
    return {
        "code": code,
        "rows": rows,
        "found": report.counts.get(code, 0),
        "numbers": numbers[:MOST_NUMBERS],
        "leave_out": f'etabli.read(…, without=report.row_numbers("{code}"))' if numbers else "",
        "note": note,
    }


def _read_texts(report: CheckResults, findings: list[Finding]) -> tuple[list[list[RowText]], str]:
    """Return the texts of each finding's row, and why there are none."""
    try:
        return report.reader.read(findings) if report.reader else [[] for _ in findings], ""
    except (EtabliError, OSError) as error:
        return [[] for _ in findings], f"The rows can't be read again, so only excerpts are shown: {error}"


def _opened_row(finding: Finding, parts: list[RowText]) -> OpenedRow:
    field = f" · {finding.field}" if finding.field else ""
    without_field = finding._replace(field="")  # it stands before the reason already
    why = describe_finding(without_field) if not parts else "" if has_usual_reason(finding) else finding.why
    return {"place": place(finding) + field, "why": why, "parts": parts}


def _next_action(report: CheckResults) -> str:
    severities = {report.severity(code) for code in report.counts}
    if report.is_unreadable:
        return "Next: the file can't be read as it stands. The finding below says what mends it."
    if "error" in severities:
        return (
            "Next: open the errors. A file with errors is not read until they are mended, or their rows left out: "
            'leave_out=["error"] in etabli.Project.open, --leave-out error at the command line.'
        )
    if "warning" in severities:
        return "Next: open the warnings and read some of the rows. You decide whether they are trained."
    return "No errors and no warnings. Next: read a few rows all the same: what is listed as not run is unknown."


def _describe_check(check: CheckInfo) -> str:
    languages = check["languages"] if isinstance(check["languages"], str) else ", ".join(check["languages"])
    model = "no model: not run" if check["by"] is None else check["by"]
    return f"{check['name']}: {model}; languages: {languages}"


def _group(report: CheckResults, code: str, count: int) -> Group:
    findings = list(report.store.findings(code, EXAMPLES))
    return {
        "code": code,
        "severity": findings[0].severity,
        "count": count,
        "why": code_reason(findings[0]),
        "fix": findings[0].fix,
        "examples": [{"place": place(finding), "text": describe_finding(finding)} for finding in findings],
    }
