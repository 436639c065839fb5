"""A report for a person: codes worst first, one click (or ``--code``) to the rows."""

from html import escape
from typing import TYPE_CHECKING

from etabli.data.catalogue import CODES

if TYPE_CHECKING:
    from etabli.data.checks.report import Report

SHOWN = 40
_COLOURS = {"error": "#b3261e", "warning": "#8a5a00", "info": "#4a6572"}
_STYLE = (
    "<style>.etabli-check{font-family:inherit;max-width:70em}.etabli-check summary{cursor:pointer;padding:.25em 0}"
    ".etabli-check table{border-collapse:collapse;margin:.3em 0 .8em 1.2em!important;font-size:.92em}"
    ".etabli-check ul{margin:.2em 0 .8em 1.2em;padding-left:1em}"
    ".etabli-check td,.etabli-check th{text-align:left!important;vertical-align:top;padding:.15em .8em .15em 0;"
    "white-space:pre-wrap;overflow-wrap:anywhere}.etabli-check .tag{color:#fff;border-radius:.8em;padding:.05em .6em;"
    "margin-right:.5em;font-size:.85em}.etabli-check .n{font-variant-numeric:tabular-nums;font-weight:600}"
    ".etabli-check .dim{opacity:.75}</style>"
)


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
    body = [
        _STYLE,
        '<div class="etabli-check">',
        f"<p><b>{escape(report.name)}</b>: {escape(_rows(report) + _format(report))}</p>",
    ]
    if report.format["preview"]:
        shown = "".join(f"<tr><td>{escape(item)}</td></tr>" for item in report.format["preview"])
        body.append(
            f"<details><summary>first rows, as they stand in the file</summary><table>{shown}</table></details>"
        )
    body += [_code(report, name, count) for name, count in report.counts.items()] or ["<p>Nothing found.</p>"]
    for title, said in _sections(report).items():
        items = "".join(f"<li>{escape(line)}</li>" for line in said)
        body.append(f'<details open class="dim"><summary>{title}</summary><ul>{items}</ul></details>')
    return "\n".join([*body, "</div>"])


def _code(report: "Report", name: str, count: int) -> str:
    items = list(report.store.findings(name, SHOWN))
    severity = items[0].severity
    rows = "".join(f"<tr><td>{escape(place(item))}</td><td>{escape(_said(item))}</td></tr>" for item in items)
    more = f'<p class="dim">… and {count - SHOWN} more: <code>report.of({name!r})</code></p>' if count > SHOWN else ""
    why = CODES[name].why if name in CODES else items[0].why
    return (
        f'<details><summary><span class="tag" style="background:{_COLOURS[severity]}">{severity}</span>'
        f'<span class="n">{count}</span> <code>{escape(name)}</code> <span class="dim">{escape(why)}</span></summary>'
        f"<p style='margin:.2em 0 0 1.2em'>→ {escape(items[0].fix)}</p><table>{rows}</table>{more}</details>"
    )
