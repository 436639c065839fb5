"""What a check found: counted, grouped, exported; the same as JSON, as text and as a page in a notebook."""

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from etabli.checks import language, safety
from etabli.checks.row import UNTOLD
from etabli.checks.rules import PACKS
from etabli.checks.store import Store
from etabli.core import storage
from etabli.core.contracts import VERSION, Finding
from etabli.core.errors import BadInput, NoSpace, Unreadable
from etabli.core.pages import render
from etabli.data.catalogue import CODES
from etabli.data.notes import Note, escaped

SHOWN = 40  # rows of a code in a notebook
# A cell that begins so is run as a formula by Excel and LibreOffice (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


class Report:
    """Findings of one source. ``code``: 0 clean, 1 an error or a warning, 2 not to be read as data."""

    def __init__(self, name: str):
        self.name, self.rows, self.store = name, 0, Store()
        self.format: dict[str, Any] = {"name": None, "reason": "", "columns": {}, "preview": []}
        self.cost: dict[str, Any] | None = None
        self.lineage: dict[str, dict[str, int]] = {}
        self.languages: dict[str, int] = {}
        self.not_run: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.nothing_read = False

    def add_note(self, note: Note, line: int | None, row: int | None = None) -> None:
        """A finding about the file as a whole, or about the row that stands for it."""
        code = CODES[note.code]
        self.store.add(
            [Finding(code.severity, note.code, row, line, note.field, note.excerpt, note.why or code.why, code.fix)]
        )

    def unreadable(self, error: Unreadable) -> None:
        """Not one row can be read."""
        self.nothing_read = True
        self.add_note(Note(error.code, why=escaped(str(error))), error.line)

    @property
    def counts(self) -> dict[str, int]:
        """Findings by code, worst first."""
        return self.store.counts()

    @property
    def code(self) -> int:
        """The exit code."""
        severe = any(self.severity(code) != "info" for code in self.counts)
        return 2 if self.nothing_read else int(severe)

    def severity(self, code: str) -> str:
        """How bad a code is, as it was found here."""
        return CODES[code].severity if code in CODES else next(self.store.findings(code, 1)).severity

    def findings(self, code: str | None = None) -> Iterator[dict[str, Any]]:
        """Every finding as ``contracts.Finding``, in the order of the file; of one code, if it is named."""
        return (finding._asdict() for finding in self.store.findings(code))

    @property
    def frame(self):
        """Every finding, as a pandas frame."""
        return self.of(None)

    def of(self, code: str | None):
        """The findings of one code, as a pandas frame."""
        import pandas as pd

        columns = list(Finding._fields)
        frame = pd.DataFrame(self.store.findings(code), columns=columns)
        return frame.astype({"row": "Int64", "line": "Int64"})

    def describe_checks(self, settings: Any, total: Any) -> None:
        """Which checks ran, by what, on which languages; and which did not."""
        toxic = safety.toxic_languages()
        self.checks = [
            {"name": "form", "by": "own rules", "languages": "all", "own": False},
            {"name": "meaning", "by": f"own rule packs, {language.NAME}", "languages": sorted(PACKS), "own": False},
            {"name": "safety", "by": "python-stdnum, phonenumbers, own patterns", "languages": "all", "own": False},
            {"name": "toxicity", "by": f"word lists of {safety.LISTS}", "languages": list(toxic), "own": False},
            {"name": "cost", "by": settings.model, "languages": "all", "own": False},
            *({"name": rule.name, "by": "your own", "languages": "all", "own": True} for rule in settings.own()),
        ]
        if total.read:
            self._missing(toxic, total, settings)

    def _missing(self, toxic: tuple[str, ...], total: Any, settings: Any) -> None:
        if total.without_rules:
            said = ", ".join(f"{lang} ({n} rows)" for lang, n in total.without_rules.most_common(12))
            self._not_run(
                "refusal, ai-disclaimer, unseen-media, truncated-answer", f"There are no rules for {said}.",
                total.without_rules.total(), "Write them as a check of your own: @etabli.own_check, --rules FILE.",
            )  # fmt: skip
        if not toxic:
            self._not_run("toxicity", "Its word lists are not installed.", total.read, "pip install 'etabli[safety]'")
        elif none := {lang: n for lang, n in total.languages.items() if lang not in toxic}:
            said = ", ".join(f"{lang} ({n})" for lang, n in list(none.items())[:12])
            self._not_run(
                "toxicity",
                f"No word list for rows in: {said}.",
                sum(none.values()),
                "Say the language in a column lang.",
            )
        self._not_run(
            "names of people", "No check knows them without a language model of its own.", total.read, "Read a sample."
        )
        foreign = {lang: n for lang, n in total.languages.items() if lang not in (*safety.REGIONS, UNTOLD)}
        if foreign:
            why = "Numbers without +country are looked for in rows told to be English (US, GB) or French (FR) only."
            self._not_run("pii-phone", why, sum(foreign.values()), "Say the language in a column lang.")
        if settings.model is None:
            self._not_run(
                "cost",
                "No model is named, and the embedded one is not on this machine yet.",
                total.read,
                "--model default",
            )

    def _not_run(self, check: str, why: str, rows: int, fix: str) -> None:
        self.not_run.append({"check": check, "why": why, "rows": rows, "fix": fix})

    # --- out of here --------------------------------------------------------------------------------------------------

    def json_pieces(self, code: str | None = None) -> Iterator[str]:
        """``contracts.CheckReport`` as JSON, piece by piece: findings of a large file are never in memory at once."""
        head = {"version": VERSION, "file": self.name, "format": self.format, "rows": self.rows, "counts": self.counts}
        tail = {
            "not_run": self.not_run, "checks": self.checks, "cost": self.cost, "lineage": self.lineage,
            "languages": self.languages,
        }  # fmt: skip
        yield storage.to_json(head)[:-1] + ', "findings": ['
        for number, finding in enumerate(self.findings(code)):
            yield (",\n" if number else "\n") + json.dumps(finding, ensure_ascii=False)
        yield "],\n" + storage.to_json(tail)[1:]

    def to_csv(self, path: str | Path) -> int:
        """Write every finding as CSV; cells that a spreadsheet would run as formulas begin with an apostrophe.

        Raises:
            NoSpace: the disk is full; BadInput: it can't be written for another reason. No new file stays behind.
        """
        is_new = not Path(path).exists()
        try:
            with storage.disk_errors(Path(path)):
                return self._write_csv(path)
        except (OSError, NoSpace) as error:
            if is_new:
                with contextlib.suppress(OSError):
                    Path(path).unlink()
            if isinstance(error, NoSpace):
                raise
            raise BadInput(f"{path} can't be written: {(error.strerror or str(error)).lower()}.") from None

    def _write_csv(self, path: str | Path) -> int:
        with Path(path).open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out, quoting=csv.QUOTE_ALL)  # else a semicolon begins a cell in some countries
            writer.writerow(Finding._fields)
            return sum(writer.writerow(map(harmless, finding)) > 0 for finding in self.store.findings())

    def text(self, code: str | None = None) -> str:
        """For a terminal: codes worst first, or every row of one code."""
        return as_text(self, code)

    def _repr_html_(self) -> str:
        return as_page(self)

    def __repr__(self) -> str:
        return self.text()


def harmless(cell: Any) -> Any:
    """A cell that no spreadsheet runs."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def as_text(report: Report, code: str | None = None) -> str:
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


def _rows(report: Report) -> str:
    wrong = report.store.rows_with("error")
    return f"{report.rows} rows" + (f", {wrong} with errors" if wrong else "")


def _format(report: Report) -> str:
    name = report.format["name"]
    return f", read as {name} ({report.format['reason']})" if name else ""


def _sections(report: Report) -> dict[str, list[str]]:
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


def as_page(report: Report) -> str:
    """For a notebook: static HTML, nothing to load; a click on a code opens its rows."""
    return render(
        "check.html.j2",
        name=report.name,
        summary=_rows(report) + _format(report),
        preview=report.format["preview"],
        codes=[_code(report, name, count) for name, count in report.counts.items()],
        sections=_sections(report),
    )


def _code(report: Report, name: str, count: int) -> dict[str, Any]:
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
