"""Findings as sentences: the same at the terminal and in a notebook."""

from etabli.checks.results import CheckResults
from etabli.core.contracts import Finding, NotRun, TrainingCost
from etabli.core.wording import count_of
from etabli.data.catalogue import CODES


def place(finding: Finding) -> str:
    """Return where a finding is: the file, or row and line."""
    location = "the file" if finding.row is None else f"row {finding.row}"
    return location + (f", line {finding.line}" if finding.line else "")


def has_usual_reason(finding: Finding) -> bool:
    """Return whether a finding's reason is the one that stands in the catalogue for its code."""
    return finding.code in CODES and finding.why == CODES[finding.code].why


def code_reason(finding: Finding) -> str:
    """Return the reason of a finding's code; of a person's own check, which is in no catalogue, the finding's own."""
    return CODES[finding.code].why if finding.code in CODES else finding.why


def describe_finding(finding: Finding) -> str:
    """Return field, reason and excerpt; the reason only if it is not the usual one of its code."""
    parts = [finding.field, "" if has_usual_reason(finding) else finding.why, finding.excerpt]
    return " · ".join(part for part in parts if part) or finding.why


def list_code_lines(report: CheckResults, name: str, count: int, limit: int) -> list[str]:
    """Return a code with its reason, what to do, and its first rows; all rows if the limit is -1."""
    first = next(report.store.findings(name, 1))
    lines = [
        f"\n{report.severity(name).upper():<8} {name}  × {count}",
        f"         {code_reason(first)}",
        f"         → {first.fix}",
        *(
            f"           {place(finding)}: {describe_finding(finding)}"
            for finding in report.store.findings(name, limit)
        ),
    ]
    return [*lines, f"           … and {count - limit} more: --code {name}"] if 0 < limit < count else lines


def summarise(report: CheckResults) -> str:
    """Return how many rows there are, how many have errors, and how the file was read."""
    error_rows = report.store.rows_with("error")
    summary = count_of(report.rows, "row") + (f", {error_rows} with errors" if error_rows else "")
    name = report.format["name"]
    return summary + (f", read as {name} ({report.format['reason']})" if name else "")


def list_sections(report: CheckResults) -> dict[str, list[str]]:
    """Return the sections about the file as a whole: title -> lines."""
    sections = {"Cost": _cost_lines(report.cost)} if report.cost else {}
    if report.lineage:
        sections["Where the rows come from"] = [
            f"{name}: " + ", ".join(f"{value} ({count_of(count, 'row')})" for value, count in list(counts.items())[:3])
            for name, counts in report.lineage.items()
        ]
    if report.not_run:
        sections["Not run"] = [
            f"{item['check']} ({_count_rows(item)}): {item['why']} → {item['fix']}" for item in report.not_run
        ]
    return sections


def _count_rows(check: NotRun) -> str:
    return "all rows" if check["rows"] is None else count_of(check["rows"], "row")


def _cost_lines(cost: TrainingCost) -> list[str]:
    per_row = cost["tokens_per_row"]
    sizes = f"median {per_row['median']}, p99 {per_row['p99']}, most {per_row['max']} a row"
    steps = f"about {count_of(cost['steps'], 'step')} of {count_of(cost['max_length'], 'token')}"
    lines = [
        f"{count_of(cost['tokens'], 'token')} by the tokenizer of {cost['model']}: {sizes}",
        f"{count_of(cost['truncated_rows'], 'row is', 'rows are')} cut at max_length {cost['max_length']}, by "
        f"{count_of(cost['truncated_tokens'], 'token')}; "
        f"{count_of(cost['trained_tokens'], 'token is', 'tokens are')} trained",
        f"{count_of(cost['epochs'], 'epoch')} would be chosen: {steps} ({cost['epochs_rule']})",
    ]
    if "seconds" in cost:
        return [*lines, f"about {count_of(round(cost['seconds'] / 60), 'minute')} here, by {cost['seconds_from']}"]
    return [*lines, "how long that takes is not known: runs/ has no run of this model to estimate it from"]
