"""``Report``: the findings of a check, counted and grouped; as JSON, CSV, text and a page in a notebook."""

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from etabli.checks import language, safety
from etabli.checks.row import UNKNOWN_LANGUAGE, CheckedRows, Settings
from etabli.checks.rules import PACKS
from etabli.checks.store import Store
from etabli.core import storage
from etabli.core.contracts import VERSION, CheckInfo, FileFormat, Finding, NotRun, TrainingCost
from etabli.core.errors import BadInput, NoSpace, Unreadable
from etabli.data.catalogue import CODES
from etabli.data.notes import Note, escape_invisible

if TYPE_CHECKING:
    import pandas as pd

    from etabli.checks.row_texts import RowReader
    from etabli_widgets import CheckReport

# Excel and LibreOffice run a cell that begins with one of these as a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_OWN_RULES_FIX = "Write a check of your own: @etabli.own_check, --rules FILE."

Cell = TypeVar("Cell")


class Report:
    """Findings of one source. ``code`` is the exit code: 0 clean; 1 an error or a warning; 2 the data is unreadable."""

    def __init__(self, name: str):
        self.name, self.rows, self.store = name, 0, Store()
        self.format: FileFormat = {"name": None, "reason": "", "columns": {}, "preview": []}
        self.cost: TrainingCost | None = None
        self.lineage: dict[str, dict[str, int]] = {}
        self.languages: dict[str, int] = {}
        self.not_run: list[NotRun] = []
        self.checks: list[CheckInfo] = []
        self.is_unreadable = False
        self.reader: RowReader | None = None  # reads rows again; None if the source could not be opened

    def add_note(self, note: Note, line: int | None, row: int | None = None) -> None:
        """Add a finding about the file as a whole, or about a row that stands for it."""
        code = CODES[note.code]
        why = note.why or code.why
        self.store.add([Finding(code.severity, note.code, row, line, note.field, note.excerpt, why, code.fix)])

    def add_unreadable(self, error: Unreadable) -> None:
        """Add the finding that no row can be read."""
        self.is_unreadable = True
        self.add_note(Note(error.code, why=escape_invisible(str(error))), error.line)

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each code, worst first."""
        return self.store.counts()

    @property
    def code(self) -> int:
        """The exit code."""
        if self.is_unreadable:
            return 2
        return int(any(self.severity(code) != "info" for code in self.counts))

    def severity(self, code: str) -> str:
        """Return the severity of a code; for a user's own check, that of its first finding."""
        return CODES[code].severity if code in CODES else next(self.store.findings(code, 1)).severity

    def findings(self, code: str | None = None) -> Iterator[dict[str, object]]:
        """Yield findings as dicts with the fields of ``Finding``, in the order of the file: all, or those of a code."""
        return (finding._asdict() for finding in self.store.findings(code))

    @property
    def frame(self) -> "pd.DataFrame":
        """Every finding, as a pandas frame."""
        return self.of(None)

    def of(self, code: str | None) -> "pd.DataFrame":
        """Return the findings of one code, as a pandas frame."""
        import pandas as pd

        frame = pd.DataFrame(self.store.findings(code), columns=list(Finding._fields))
        return frame.astype({"row": "Int64", "line": "Int64"})

    def describe_checks(self, settings: Settings, total: CheckedRows) -> None:
        """Record which checks ran, and which did not."""
        checks: list[tuple[str, str | None, str | list[str]]] = [
            ("form", "own rules", "all"),
            ("meaning", f"own rule packs, {language.NAME}", sorted(PACKS)),
            ("safety", "python-stdnum, phonenumbers, own patterns", "all"),
            ("cost", settings.model, "all"),
        ]
        self.checks = [
            {"name": name, "by": tool, "languages": languages, "own": False} for name, tool, languages in checks
        ]
        self.checks += [
            {"name": rule.name, "by": "your own", "languages": "all", "own": True} for rule in settings.own_rules()
        ]
        if total.conversations:
            self.not_run += _checks_not_run(settings, total)

    # --- output -------------------------------------------------------------------------------------------------------

    def json_pieces(self, code: str | None = None) -> Iterator[str]:
        """Yield ``contracts.CheckReport`` as JSON in pieces: the findings of a large file are never all in memory."""
        head = {"version": VERSION, "file": self.name, "format": self.format, "rows": self.rows, "counts": self.counts}
        tail = {
            "not_run": self.not_run,
            "checks": self.checks,
            "cost": self.cost,
            "lineage": self.lineage,
            "languages": self.languages,
        }
        yield storage.to_json(head)[:-1] + ', "findings": ['
        for number, finding in enumerate(self.findings(code)):
            yield (",\n" if number else "\n") + json.dumps(finding, ensure_ascii=False)
        yield "],\n" + storage.to_json(tail)[1:]

    def to_csv(self, path: str | Path) -> int:
        """Write every finding as CSV; a cell that a spreadsheet would run begins with an apostrophe. Returns the count.

        Raises:
            NoSpace: the disk is full; BadInput: another reason. A new file is deleted again.
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
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)  # else a semicolon begins a cell in some countries
            writer.writerow(Finding._fields)
            return sum(writer.writerow(map(disarm_formula, finding)) > 0 for finding in self.store.findings())

    def text(self, code: str | None = None) -> str:
        """Return the report for a terminal: each code with three rows, worst first; or every row of one code."""
        lines = [f"{self.name}: {summarise(self)}"]
        counts = self.counts
        for name, count in counts.items():
            if code in (None, name):
                lines += _code_lines(self, name, count, -1 if code else 3)
        if code and code not in counts:
            lines.append(f"no finding {code}")
        for title, section_lines in list_sections(self).items():
            lines += ["", f"{title}:", *(f"  {line}" for line in section_lines)]
        return "\n".join(lines)

    # --- in a notebook ------------------------------------------------------------------------------------------------

    def row_numbers(self, code: str) -> list[int]:
        """Return the numbers of the rows with a finding of this code, counted from 0, each once.

        >>> etabli.read("mails.csv", without=report.row_numbers("empty-answer"))  # doctest: +SKIP
        """
        return self.store.row_numbers(code)

    def show(self) -> "CheckReport":
        """Return the widget that a notebook shows: a click on a finding opens its rows."""
        from etabli.checks.view import check_view, pick_rows
        from etabli_widgets import CheckReport

        return CheckReport(check_view(self), lambda code, most: pick_rows(self, code, most))

    def _ipython_display_(self) -> None:
        self.show()._ipython_display_()

    def _repr_html_(self) -> str:
        """Return the widget's static HTML; a click on a code opens its first rows."""
        return str(self.show()._twin_bundle()["text/html"])

    def __repr__(self) -> str:
        return self.text()


def _checks_not_run(settings: Settings, total: CheckedRows) -> Iterator[NotRun]:
    """Yield the checks that did not look at all rows, with the reason and what to do."""
    if total.languages_without_rules:
        most_common = total.languages_without_rules.most_common(12)
        names = ", ".join(f"{lang} ({count} rows)" for lang, count in most_common)
        yield {
            "check": "refusal, ai-disclaimer, unseen-media, truncated-answer",
            "why": f"There are no rules for {names}.",
            "rows": total.languages_without_rules.total(),
            "fix": _OWN_RULES_FIX,
        }
    if total.thoughts:
        yield {
            "check": "duplicate-row, conflicting-answers, repetition, wrong-language, refusal, truncated-answer",
            "why": "They read what follows a thought; checks of form, characters, safety and cost read thoughts too.",
            "rows": total.thoughts,
            "fix": f"Read a sample. {_OWN_RULES_FIX}",
        }
    yield {
        "check": "toxicity",
        "why": "A list of words cannot tell an insult from a quotation: its ten hits on real data were ten wrong ones.",
        "rows": total.conversations,
        "fix": f"Read a sample. {_OWN_RULES_FIX}",
    }
    yield {
        "check": "names of people",
        "why": "No check knows them without a language model of its own.",
        "rows": total.conversations,
        "fix": "Read a sample.",
    }
    foreign_count = sum(
        count for lang, count in total.languages.items() if lang not in (*safety.REGIONS, UNKNOWN_LANGUAGE)
    )
    if foreign_count:
        yield {
            "check": "pii-phone",
            "why": "Numbers without +country are looked for only in English (US, GB) and French (FR) rows.",
            "rows": foreign_count,
            "fix": "State the language in a column lang.",
        }
    if settings.model is None:
        yield {
            "check": "cost",
            "why": "No model is named, and the embedded one is not on this machine yet.",
            "rows": total.conversations,
            "fix": "--model default",
        }


def disarm_formula(cell: Cell) -> Cell | str:
    """Return the cell, with an apostrophe before it if a spreadsheet would run it as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def place(finding: Finding) -> str:
    """Return where a finding is: the file, or row and line."""
    location = "the file" if finding.row is None else f"row {finding.row}"
    return location + (f", line {finding.line}" if finding.line else "")


def describe_finding(finding: Finding) -> str:
    """Return field, reason and excerpt; the reason only if it is not the usual one of its code."""
    is_usual = finding.code in CODES and finding.why == CODES[finding.code].why
    parts = [finding.field, "" if is_usual else finding.why, finding.excerpt]
    return " · ".join(part for part in parts if part) or finding.why


def _code_lines(report: Report, name: str, count: int, limit: int) -> list[str]:
    first = next(report.store.findings(name, 1))
    lines = [
        f"\n{report.severity(name).upper():<8} {name}  × {count}",
        f"         {CODES[name].why if name in CODES else first.why}",
        f"         → {first.fix}",
        *(
            f"           {place(finding)}: {describe_finding(finding)}"
            for finding in report.store.findings(name, limit)
        ),
    ]
    return [*lines, f"           … and {count - limit} more: --code {name}"] if 0 < limit < count else lines


def summarise(report: Report) -> str:
    error_rows = report.store.rows_with("error")
    summary = f"{report.rows} rows" + (f", {error_rows} with errors" if error_rows else "")
    name = report.format["name"]
    return summary + (f", read as {name} ({report.format['reason']})" if name else "")


def list_sections(report: Report) -> dict[str, list[str]]:
    """Return the sections about the file as a whole: title -> lines."""
    sections = {"Cost": _cost_lines(report.cost)} if report.cost else {}
    if report.lineage:
        sections["Where the rows come from"] = [
            f"{name}: " + ", ".join(f"{value} ({count} rows)" for value, count in list(counts.items())[:3])
            for name, counts in report.lineage.items()
        ]
    if report.not_run:
        sections["Not run"] = [
            f"{item['check']} ({item['rows']} rows): {item['why']} → {item['fix']}" for item in report.not_run
        ]
    return sections


def _cost_lines(cost: TrainingCost) -> list[str]:
    per_row = cost["tokens_per_row"]
    sizes = f"median {per_row['median']}, p99 {per_row['p99']}, most {per_row['max']} a row"
    steps = f"about {cost['steps']:,} steps of {cost['max_length']} tokens"
    lines = [
        f"{cost['tokens']:,} tokens by the tokenizer of {cost['model']}: {sizes}",
        f"{cost['truncated_rows']} rows are cut at max_length {cost['max_length']} and lose "
        f"{cost['truncated_tokens']:,} tokens; {cost['trained_tokens']:,} tokens are trained",
        f"{cost['epochs']} epochs would be chosen: {steps} ({cost['epochs_rule']})",
    ]
    if "seconds" in cost:
        return [*lines, f"about {cost['seconds'] / 60:,.0f} minutes here, by {cost['seconds_from']}"]
    return [*lines, "how long that takes is not known: runs/ has no run of this model to estimate it from"]
