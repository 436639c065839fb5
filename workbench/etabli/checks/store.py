"""Findings and row hashes on disk: a file of any size is checked in the same memory. SQLite sorts and groups them."""

import sqlite3
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from etabli.core.contracts import SEVERITIES, Finding
from etabli.data.catalogue import CODES


class Pair(NamedTuple):
    """A row's question and answer as hashes (16 bytes each), and how the question begins."""

    asked: bytes
    answered: bytes
    row: int
    line: int | None
    head: str


_TABLES = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000; PRAGMA temp_store = FILE;
CREATE TABLE findings (severity TEXT, code TEXT, row INT, line INT, field TEXT, excerpt TEXT, why TEXT, fix TEXT);
CREATE TABLE pairs (asked BLOB, answered BLOB, row INT, line INT, head TEXT);
"""
_AGAIN = """
SELECT asked, answered, row, line, head, MIN(row) OVER (PARTITION BY asked) FROM pairs
WHERE asked IN (SELECT asked FROM pairs GROUP BY asked HAVING COUNT(*) > 1) ORDER BY asked, answered, row
"""


class Store:
    """A temporary database that goes when its report does."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="etabli-check-")
        self._base = sqlite3.connect(Path(self._folder.name) / "findings.sqlite", check_same_thread=False)
        self._base.executescript(_TABLES)
        weakref.finalize(self, _close, self._base, self._folder)

    def add(self, findings: Iterable[Finding]) -> None:
        """Keep findings."""
        self._base.executemany("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?)", findings)

    def add_pairs(self, pairs: Iterable[Pair]) -> None:
        """Keep what rows ask and answer."""
        self._base.executemany("INSERT INTO pairs VALUES (?, ?, ?, ?, ?)", pairs)

    def compare_rows(self) -> None:
        """Find rows that stand twice, and questions with several answers."""
        same = groupby(self._base.execute(_AGAIN), key=lambda found: found[:2])
        self.add(finding for _, group in same for finding in _again(group))
        self._base.execute("CREATE INDEX by_code ON findings (code)")

    def counts(self) -> dict[str, int]:
        """Findings by code, worst first."""
        rows = self._base.execute("SELECT severity, code, COUNT(*) FROM findings GROUP BY severity, code").fetchall()
        rows.sort(key=lambda row: (SEVERITIES.index(row[0]), -row[2], row[1]))
        return {code: count for _, code, count in rows}

    def findings(self, code: str | None = None, limit: int = -1) -> Iterator[Finding]:
        """Findings in the order of the file; of one code, if it is named."""
        where = "WHERE code = ?" if code else ""
        # Only constants and a whole number go into the text of the query.
        query = f"SELECT * FROM findings {where} ORDER BY row IS NOT NULL, row, rowid LIMIT {int(limit)}"  # nosec B608
        # A generator, so that whoever reads it keeps the database from being closed.
        yield from map(Finding._make, self._base.execute(query, [code] if code else []))

    def rows_with(self, severity: str) -> int:
        """How many rows have a finding of that severity."""
        query = "SELECT COUNT(DISTINCT row) FROM findings WHERE severity = ?"
        return self._base.execute(query, [severity]).fetchone()[0]


def _close(base: sqlite3.Connection, folder: tempfile.TemporaryDirectory) -> None:
    base.close()
    folder.cleanup()


def _again(group: Iterator[tuple]) -> Iterator[Finding]:
    """Rows with one question and one answer: the first may answer an earlier row's question otherwise."""
    earliest = None
    for *found, first_asked in group:
        pair = Pair._make(found)
        if earliest is not None:
            why = f"The same question and answer as row {earliest}: it counts twice."
            yield _finding("duplicate-row", pair, why)
            continue
        earliest = pair.row
        if pair.row != first_asked:
            yield _finding("conflicting-answers", pair, f"Row {first_asked} answers the same question otherwise.")


def _finding(code: str, pair: Pair, why: str) -> Finding:
    return Finding(CODES[code].severity, code, pair.row, pair.line, "messages", pair.head, why, CODES[code].fix)
