"""The rows that filters look at, with what is computed from them once: texts, embeddings, signatures, findings."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from etabli.core.contracts import Finding, Row
from etabli.core.progress import show_progress
from etabli.core.wording import count_of
from etabli.curation import embedding, pairs
from etabli.curation.embedding import Vectors
from etabli.curation.pairs import Indices, Pairs, Signatures
from etabli.curation.texts import last_answer, last_question, row_text

ProgressCallback = Callable[[str], None]
Findings = dict[int, list[Finding]]
Value = TypeVar("Value")


class Reusable(Generic[Value]):
    """A value of an earlier ``RowFeatures``, and the rows for which it is out of date."""

    def __init__(self, value: Value, stale_rows: set[int]):
        self.value, self.stale_rows = value, stale_rows


class RowFeatures:
    """Rows and their costly features; each feature is computed when it is first read.

    Args:
        rows: the rows; tests: the evaluation rows.
        encoder: makes the embeddings; workers: processes for the checks; say: gets a message before each long step.
        previous: the features before some rows were rewritten; they are reused for the rows that are unchanged.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        tests: Sequence[Row] = (),
        encoder: str = embedding.DEFAULT,
        workers: int = 1,
        say: ProgressCallback | None = None,
        previous: "RowFeatures | None" = None,
    ):
        self.rows, self.tests, self.encoder, self.workers = list(rows), list(tests), encoder, workers
        self._say = say or (lambda message: None)
        self._sample: tuple[Indices, Vectors] | None = None  # rows that were embedded alone
        self._old_vectors: Reusable[Vectors] | None = None
        self._old_signatures: Reusable[Signatures] | None = None
        self._old_findings: Reusable[Findings] | None = None
        if previous is not None and len(previous) == len(self.rows):
            changes = {index for index, (old, new) in enumerate(zip(previous.rows, self.rows)) if old != new}
            self._old_vectors = _reuse(vars(previous).get("vectors"), previous._old_vectors, changes)
            self._old_signatures = _reuse(vars(previous).get("signatures"), previous._old_signatures, changes)
            self._old_findings = _reuse(vars(previous).get("findings"), previous._old_findings, changes)

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """Say what a long step does, and show its progress."""
        self._say(what)
        with show_progress(what):
            yield

    def __len__(self) -> int:
        return len(self.rows)

    def _rows_to_compute(self, old: Reusable[Value] | None) -> list[int]:
        return list(range(len(self))) if old is None else sorted(old.stale_rows)

    @cached_property
    def texts(self) -> list[str]:
        """The whole text of each row, without its system text."""
        return [row_text(row) for row in self.rows]

    @cached_property
    def questions(self) -> list[str]:
        """Each row's last question."""
        return [last_question(row) for row in self.rows]

    @cached_property
    def answers(self) -> list[str]:
        """Each row's last answer."""
        return [last_answer(row) for row in self.rows]

    @cached_property
    def vectors(self) -> Vectors:
        """Embeddings of the rows' texts: float32 (rows, dimensions)."""
        rows = self._rows_to_compute(self._old_vectors)
        with self._step(f"embedding {count_of(len(rows), 'row')} with {self.encoder}"):
            new_vectors = embedding.embed_texts([self.texts[index] for index in rows], self.encoder)
            if self._old_vectors is None:
                return new_vectors
            vectors = self._old_vectors.value.copy()
            vectors[rows] = new_vectors
            return vectors

    def vectors_of(self, rows: Indices) -> Vectors:
        """Return the embeddings of some rows; if those of all are not known yet, only these are computed, once."""
        if "vectors" in vars(self) or self._old_vectors is not None or len(rows) == len(self):
            return self.vectors[rows]
        if self._sample is None or not np.array_equal(self._sample[0], rows):
            self._say(f"embedding {count_of(len(rows), 'row')} with {self.encoder}")
            self._sample = rows, embedding.embed_texts([self.texts[index] for index in rows], self.encoder)
        return self._sample[1]

    @cached_property
    def signatures(self) -> Signatures:
        """Shingles and MinHash signatures of the rows' texts."""
        rows = self._rows_to_compute(self._old_signatures)
        with self._step(f"looking for near copies of {count_of(len(rows), 'row')} among {len(self)}"):
            new_signatures = pairs.compute_signatures([self.texts[index] for index in rows])
            return self._old_signatures.value.replace(rows, new_signatures) if self._old_signatures else new_signatures

    @cached_property
    def lexical_pairs(self) -> Pairs:
        """Pairs of rows that share words, for people to read."""
        return pairs.find_lexical_pairs(self.signatures)

    @cached_property
    def semantic_pairs(self) -> Pairs:
        """Pairs of rows with a similar meaning, for people to read."""
        vectors = self.vectors
        with self._step(f"comparing {count_of(len(self), 'row')} by meaning"):
            return pairs.find_semantic_pairs(vectors)

    @cached_property
    def nearest_tests(self) -> tuple[Indices, NDArray[np.float32]]:
        """For each row the test row with the closest question: index and cosine."""
        with self._step(
            f"comparing {count_of(len(self), 'question')} with {count_of(len(self.tests), 'test question')}"
        ):
            test_vectors = embedding.embed_texts([last_question(row) for row in self.tests], self.encoder)
            return pairs.find_nearest(embedding.embed_texts(self.questions, self.encoder), test_vectors)

    @cached_property
    def languages(self) -> list[str | None]:
        """Each row's language: as the row states it, or as detected with little doubt; else None."""
        from etabli.checks.row import detect_row_language

        with self._step(f"telling the languages of {count_of(len(self), 'row')}"):
            return [detect_row_language(row) for row in self.rows]

    @cached_property
    def findings(self) -> Findings:
        """What ``etabli data check`` finds wrong with each row."""
        from etabli.checks.check import check

        rows = self._rows_to_compute(self._old_findings)
        with self._step(f"checking {count_of(len(rows), 'row')}"):
            checked_rows = [
                {"messages": self.rows[index]["messages"], "lang": self.rows[index].get("lang")} for index in rows
            ]
            old_findings = self._old_findings.value if self._old_findings else {}
            findings = {index: row_findings for index, row_findings in old_findings.items() if index not in set(rows)}
            for finding in check(checked_rows, workers=self.workers).store.findings() if rows else ():
                if finding.row is not None:
                    findings.setdefault(rows[finding.row], []).append(finding)
            return findings


def _reuse(current: Value | None, old: Reusable[Value] | None, changes: set[int]) -> Reusable[Value] | None:
    """Return the newest value of a feature that was computed before; ``changes``: rows rewritten since ``current``."""
    if current is not None:
        return Reusable(current, changes)
    return Reusable(old.value, old.stale_rows | changes) if old else None
