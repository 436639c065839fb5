"""What reading a source gave: its rows, and with counts what was left out, not used or doubtful."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from etabli.core.contracts import Row
from etabli.core.wording import count_of
from etabli.data.catalogue import CODES
from etabli.data.notes import Note


@dataclass
class Outcome:
    """The rows that were read, and counts of rows by the code of a finding."""

    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    _reasons: dict[str, str] = field(default_factory=dict)  # of the first row with this code
    _reasons_left_out: dict[str, str] = field(default_factory=dict)
    _of_the_source: list[str] = field(default_factory=list)

    def add(self, row: Row | None, notes: Sequence[Note]) -> None:
        """Add a row that has no error, or None for one that is left out, with the notes about it."""
        if row is None:
            for note in notes[:1]:
                self.left_out[note.code] += 1
                if note.why:
                    self._reasons_left_out.setdefault(note.code, note.why)
            return
        self.rows.append(row)
        for note in notes:
            if _is_warning(note):
                self._reasons.setdefault(note.code, note.why or CODES[note.code].why)
        self.doubtful.update({note.code for note in notes if _is_warning(note)})

    def add_source_notes(self, notes: Sequence[Note]) -> None:
        """Add the notes about the source as a whole."""
        self._of_the_source += [note.why or CODES[note.code].why for note in notes if _is_warning(note)]

    @property
    def unused_columns(self) -> dict[str, int]:
        """The columns that no format reads, each with the number of rows that have a value in it."""
        return dict(Counter(name for row in self.rows for name in row.get("columns") or {}))

    def warnings(self) -> list[str]:
        """Return a sentence for each thing that a person should know before the rows are used."""
        left_out = [
            f"{count_of(count, 'row is', 'rows are')} left out ({code}): "
            f"{self._reasons_left_out.get(code, CODES[code].why)}"
            for code, count in self.left_out.items()
        ]
        doubtful = [
            f"{count_of(count, 'row')} ({code}): {self._reasons[code]}" for code, count in self.doubtful.items()
        ]
        return [*self._of_the_source, *left_out, *doubtful]


def _is_warning(note: Note) -> bool:
    return CODES[note.code].severity == "warning" or note.code == "split-file"
