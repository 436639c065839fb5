"""A report for a person: codes worst first, one click (or ``--code``) to the rows."""

from typing import TYPE_CHECKING, Any

from etabli.core.pages import render
from etabli.data.catalogue import CODES

if TYPE_CHECKING:
    from etabli.checks.report import Report

SHOWN = 40


def text(report: "Report", code: str | None = None) -> str:
    """For a terminal."""
    lines = [f"{report.name}: {_rows(report)}{_format(report)}"]
    counts = report.counts
    for name, count in counts.items():
        if code not in (None, name):
            continue
        lines.append(f"\n{report.severity(name).upper():<8} {name}  × {count}")
        first = next(report.store.findings(name, 1))
        lines += [f"         {CODES[name].why if name in CODES else first.why}", f"         → {first.fix}"]
        shown = -1 if code else 3
        lines += [f"           {place(item)}: {_said(item)}" for item in report.store.findings(name, shown)]
        if not code and count > 3:
            lines.append(f"           … and {count - 3} more: --code {name}")
    if code and code not in counts:
        lines.append(f"no finding {code}")
    for title, said in _sections(report).items():
        lines += ["", f"{title}:", *(f"  {line}" for line in said)]
    return "\n".join(lines)


def place(item) -> str:
    """Where a finding is."""
    said = "the file" if item.row is None else f"row {item.row}"
    return said + (f", line {item.line}" if item.line else "")


def _said(item) -> str:
    same = item.code in CODES and item.why == CODES[item.code].why
    parts = [item.field, "" if same else item.why, item.excerpt]
    return " · ".join(part for part in parts if part) or item.why


def _rows(report: "Report") -> str:
    wrong = report.store.rows_with("error")
    return f"{report.rows} rows" + (f", {wrong} with errors" if wrong else "")


def _format(report: "Report") -> str:
    name = report.format["name"]
    return f", read as {name} ({report.format['reason']})" if name else ""


def _sections(report: "Report") -> dict[str, list[str]]:
    """What is said of the file as a whole: title -> lines."""
    said = {"Cost": _cost(report.cost)} if report.cost else {}
    if report.lineage:
        said["Where the rows come from"] = [_origin(name, counts) for name, counts in report.lineage.items()]
    if report.not_run:
        said["Not run"] = [
            f"{item['check']} ({item['rows']} rows): {item['why']} → {item['fix']}" for item in report.not_run
        ]
    return said


def _origin(name: str, counts: dict[str, int]) -> str:
    return f"{name}: " + ", ".join(f"{value} ({count} rows)" for value, count in list(counts.items())[:3])


def _cost(cost: dict) -> list[str]:
    each = cost["tokens_per_row"]
    sizes = f"median {each['median']}, p99 {each['p99']}, most {each['max']} a row"
    steps = f"about {cost['steps']:,} steps of {cost['max_length']} tokens"
    lines = [
        f"{cost['tokens']:,} tokens by the tokenizer of {cost['model']}: {sizes}",
        f"{cost['truncated_rows']} rows are cut at max_length {cost['max_length']} and lose "
        f"{cost['truncated_tokens']:,} tokens; {cost['trained_tokens']:,} tokens are trained",
        f"{cost['epochs']} epochs would be chosen: {steps} ({cost['epochs_rule']})",
    ]
    if "seconds" in cost:
        lines.append(f"about {cost['seconds'] / 60:,.0f} minutes here, by {cost['seconds_from']}")
    else:
        lines.append("how long that takes is not known: no run of this model in runs/ to go by")
    return lines


def page(report: "Report") -> str:
    """For a notebook: static HTML, nothing to load; a click on a code opens its rows."""
    return render(
        "check.html.j2",
        name=report.name,
        summary=_rows(report) + _format(report),
        preview=report.format["preview"],
        codes=[_code(report, name, count) for name, count in report.counts.items()],
        sections=_sections(report),
    )


def _code(report: "Report", name: str, count: int) -> dict[str, Any]:
    items = list(report.store.findings(name, SHOWN))
    return {
        "name": name,
        "count": count,
        "more": count - SHOWN,
        "severity": items[0].severity,
        "why": CODES[name].why if name in CODES else items[0].why,
        "fix": items[0].fix,
        "rows": [{"place": place(item), "text": _said(item)} for item in items],
    }
