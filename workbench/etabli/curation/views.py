"""What filters look at: the rows, what was computed of them once, and the rows they must not hold."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from etabli.contracts import Row
from etabli.curation import embedding, pairs
from etabli.curation.pairs import Pairs
from etabli.curation.texts import answer, asked, said

Say = Callable[[str], None]


class View:
    """Rows to be filtered and what is costly to know of them, each computed when it is first asked for.

    Args:
        rows: the rows; tests: those of the evaluation.
        encoder: who makes the embeddings; workers: processes for the checks; say: told what takes long.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        tests: Sequence[Row] = (),
        encoder: str = embedding.DEFAULT,
        workers: int = 1,
        say: Say | None = None,
    ):
        self.rows, self.tests, self.encoder, self.workers = list(rows), list(tests), encoder, workers
        self._say = say or (lambda text: None)
        self._findings: dict[tuple[str, ...], dict[int, Any]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def said(self) -> list[str]:
        """All that each row says, but for its system text."""
        return [said(row) for row in self.rows]

    @cached_property
    def asked(self) -> list[str]:
        """Each row's last question."""
        return [asked(row) for row in self.rows]

    @cached_property
    def answers(self) -> list[str]:
        """Each row's last answer."""
        return [answer(row) for row in self.rows]

    @cached_property
    def vectors(self) -> np.ndarray:
        """Embeddings of what rows say: float32 (rows, dimensions)."""
        self._say(f"embedding {len(self)} rows with {self.encoder}")
        return embedding.vectors(self.said, self.encoder)

    @cached_property
    def lexical(self) -> Pairs:
        """Rows that share words."""
        self._say(f"looking for near copies among {len(self)} rows")
        return pairs.lexical(self.said)

    @cached_property
    def semantic(self) -> Pairs:
        """Rows that mean about the same."""
        vectors = self.vectors
        self._say(f"comparing {len(self)} rows by meaning")
        return pairs.semantic(vectors)

    @cached_property
    def nearest_tests(self) -> tuple[np.ndarray, np.ndarray]:
        """For each row the test row whose question is closest to its own: index and cosine."""
        self._say(f"comparing {len(self)} questions with {len(self.tests)} test questions")
        known = embedding.vectors([asked(row) for row in self.tests], self.encoder)
        return pairs.nearest(embedding.vectors(self.asked, self.encoder), known)

    @cached_property
    def languages(self) -> list[str | None]:
        """Each row's language: told by the row, or where its texts leave little doubt; else None."""
        from etabli.data.checks.row import told_language

        self._say(f"telling the languages of {len(self)} rows")
        return [told_language(row) for row in self.rows]

    @cached_property
    def findings(self) -> dict[int, list[Any]]:
        """What ``etabli data check`` finds wrong with each row."""
        from etabli.data.checks.check import check

        self._say(f"checking {len(self)} rows")
        report = check(
            [{"messages": row["messages"], "lang": row.get("lang")} for row in self.rows], workers=self.workers
        )
        found: dict[int, list[Any]] = {}
        for finding in report.store.findings():
            if finding.row is not None:
                found.setdefault(finding.row, []).append(finding)
        return found
