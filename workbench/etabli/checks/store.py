"""Keep findings and row hashes on disk, so that a file of any size is checked in the same memory (SQLite)."""

import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from etabli.core.contracts import SEVERITIES, Finding
from etabli.data.catalogue import CODES


class QuestionAnswer(NamedTuple):
    """A row's question and answer as hashes (16 bytes each), and the beginning of the question."""

    question: bytes
    answer: bytes
    row: int
    line: int | None
    head: str


_TABLES = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; PRAGMA temp_store = FILE;
CREATE TABLE findings (severity TEXT, code TEXT, row INT, line INT, field TEXT, excerpt TEXT, why TEXT, fix TEXT);
CREATE TABLE pairs (question BLOB, answer BLOB, row INT, line INT, head TEXT);
"""
_REPEATED_QUESTIONS = """
SELECT question, answer, row, line, head, MIN(row) OVER (PARTITION BY question) FROM pairs
WHERE question IN (SELECT question FROM pairs GROUP BY question HAVING COUNT(*) > 1) ORDER BY question, answer, row
"""
StoredPair = tuple[bytes, bytes, int, int | None, str, int]  # a QuestionAnswer, and the first row with its question


class Store:
    """A temporary database; it is deleted with its report."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="etabli-check-")
        self._database = sqlite3.connect(Path(self._folder.name) / "findings.sqlite", check_same_thread=False)
        self._database.executescript(_TABLES)
        weakref.finalize(self, _close, self._database, self._folder)

    def add(self, findings: Iterable[Finding]) -> None:
        """Add findings."""
        self._database.executemany("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", findings)

    def add_pairs(self, pairs: Iterable[QuestionAnswer]) -> None:
        """Add the questions and answers of rows."""
        self._database.executemany("INSERT INTO pairs VALUES (?, ?, ?, ?, ?)", pairs)

    def compare_rows(self) -> None:
        """Add findings for duplicate rows, and for questions with several answers."""
        groups = groupby(self._database.execute(_REPEATED_QUESTIONS), key=lambda pair: pair[:2])
        self.add(finding for _, group in groups for finding in _compare_group(group))
        self._database.execute("CREATE INDEX by_code ON findings (code)")

    def counts(self) -> dict[str, int]:
        """Return the number of findings of each code, worst first."""
        query = "SELECT severity, code, COUNT(*) FROM findings GROUP BY severity, code"
        counts: list[tuple[str, str, int]] = self._database.execute(query).fetchall()
        counts.sort(key=lambda item: (SEVERITIES.index(item[0]), -item[2], item[1]))
        return {code: count for _, code, count in counts}

    def findings(self, code: str | None = None, limit: int = -1) -> Iterator[Finding]:
        """Yield findings in the order of the file: all, or those of one code."""
        where = "WHERE code = ?" if code else ""
        query = f"SELECT * FROM findings {where} ORDER BY row IS NOT NULL, row, rowid LIMIT {int(limit)}"  # nosec B608
        # This is a generator, so that the database stays open while it is read.
        yield from map(Finding._make, self._database.execute(query, [code] if code else []))

    def row_numbers(self, code: str) -> list[int]:
        """Return the numbers of the rows with this code, each once, in the order of the file."""
        query = "SELECT DISTINCT row FROM findings WHERE code = ? AND row IS NOT NULL ORDER BY row"
        return [number for (number,) in self._database.execute(query, [code])]

    def rows_with(self, severity: str) -> int:
        """Return how many rows have a finding of this severity."""
        query = "SELECT COUNT(DISTINCT row) FROM findings WHERE severity = ?"
        count: int = self._database.execute(query, [severity]).fetchone()[0]
        return count


def _close(database: sqlite3.Connection, folder: "tempfile.TemporaryDirectory[str]") -> None:
    database.close()
    folder.cleanup()


def _compare_group(group: Iterator[StoredPair]) -> Iterator[Finding]:
    """Yield the findings of rows with the same question and answer; the first may differ from an earlier answer."""
    first_row = None
    for *columns, first_row_of_question in group:
        pair = QuestionAnswer._make(columns)
        if first_row is not None:
            why = f"The same question and answer as row {first_row}: it counts twice."
            yield _finding("duplicate-row", pair, why)
            continue
        first_row = pair.row
        if pair.row != first_row_of_question:
            why = f"Row {first_row_of_question} has another answer to the same question."
            yield _finding("conflicting-answers", pair, why)


def _finding(code: str, pair: QuestionAnswer, why: str) -> Finding:
    return Finding(CODES[code].severity, code, pair.row, pair.line, "messages", pair.head, why, CODES[code].fix)
