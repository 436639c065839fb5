"""``Report``: the results of a check as JSON, CSV, text and a widget in a notebook."""

import contextlib
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from etabli.checks.describe import list_code_lines, list_sections, summarise
from etabli.checks.results import CheckResults
from etabli.checks.view import check_view, pick_rows
from etabli.core import storage
from etabli.core.contracts import VERSION, Finding
from etabli.core.errors import BadInput, NoSpace

if TYPE_CHECKING:
    from etabli_widgets import CheckReport

# Excel and LibreOffice run a cell that begins with one of these as a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Cell = TypeVar("Cell")


class Report(CheckResults):
    """The findings of one source. ``code`` is the exit code: 0 clean; 1 an error or a warning; 2 unreadable data."""

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
                lines += list_code_lines(self, name, count, -1 if code else 3)
        if code and code not in counts:
            lines.append(f"no finding {code}")
        for title, section_lines in list_sections(self).items():
            lines += ["", f"{title}:", *(f"  {line}" for line in section_lines)]
        return "\n".join(lines)

    def show(self) -> "CheckReport":
        """Return the widget that a notebook shows: a click on a finding opens its rows."""
        from etabli_widgets import CheckReport

        return CheckReport(check_view(self), lambda code, most: pick_rows(self, code, most))

    def _ipython_display_(self) -> None:
        self.show()._ipython_display_()

    def _repr_html_(self) -> str:
        """Return the widget's static HTML; a click on a code opens its first rows."""
        return str(self.show()._twin_bundle()["text/html"])

    def __repr__(self) -> str:
        return self.text()


def disarm_formula(cell: Cell) -> Cell | str:
    """Return the cell, with an apostrophe before it if a spreadsheet would run it as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell
