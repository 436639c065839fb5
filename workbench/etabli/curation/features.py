"""What filters look at: the rows, what was computed of them once, and the rows they must not hold."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from etabli.core.contracts import Row
from etabli.curation import embedding, pairs
from etabli.curation.pairs import Pairs, Signed
from etabli.curation.texts import answer, asked, said

Say = Callable[[str], None]


class View:
    """Rows to be filtered and what is costly to know of them, each computed when it is first asked for.

    Args:
        rows: the rows; tests: those of the evaluation.
        encoder: who makes the embeddings; workers: processes for the checks; say: told what takes long.
        previous: the view before some rows were rewritten: of the others what it knows is taken over.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        tests: Sequence[Row] = (),
        encoder: str = embedding.DEFAULT,
        workers: int = 1,
        say: Say | None = None,
        previous: "View | None" = None,
    ):
        self.rows, self.tests, self.encoder, self.workers = list(rows), list(tests), encoder, workers
        self._say = say or (lambda text: None)
        same = previous is not None and len(previous) == len(self.rows)
        self._known = _taken_over(previous, self.rows) if same else {}

    def __len__(self) -> int:
        return len(self.rows)

    def _anew(self, name: str) -> tuple[Any, list[int]]:
        """What an earlier view knew under a name, and which rows have changed since; None, and all rows."""
        known, changed = self._known.get(name, (None, range(len(self))))
        return known, sorted(changed)

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
        known, rows = self._anew("vectors")
        self._say(f"embedding {len(rows)} rows with {self.encoder}")
        made = embedding.vectors([self.said[at] for at in rows], self.encoder)
        if known is None:
            return made
        known = known.copy()
        known[rows] = made
        return known

    @cached_property
    def signed(self) -> Signed:
        """What each row says as shingles and their signatures."""
        known, rows = self._anew("signed")
        self._say(f"looking for near copies of {len(rows)} rows among {len(self)}")
        made = pairs.sign([self.said[at] for at in rows])
        return made if known is None else known.replaced(rows, made)

    @cached_property
    def lexical(self) -> Pairs:
        """Rows that share words, to be looked at."""
        return pairs.lexical(self.signed)

    @cached_property
    def semantic(self) -> Pairs:
        """Rows that mean about the same, to be looked at."""
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
        from etabli.checks.row import told_language

        self._say(f"telling the languages of {len(self)} rows")
        return [told_language(row) for row in self.rows]

    @cached_property
    def findings(self) -> dict[int, list[Any]]:
        """What ``etabli data check`` finds wrong with each row."""
        from etabli.checks.check import check

        known, rows = self._anew("findings")
        self._say(f"checking {len(rows)} rows")
        asked = [{"messages": self.rows[at]["messages"], "lang": self.rows[at].get("lang")} for at in rows]
        found = {at: held for at, held in (known or {}).items() if at not in set(rows)}
        for finding in check(asked, workers=self.workers).store.findings() if rows else ():
            if finding.row is not None:
                found.setdefault(rows[finding.row], []).append(finding)
        return found


COSTLY = ("vectors", "signed", "findings")


def _taken_over(previous: View, rows: Sequence[Row]) -> dict[str, tuple[Any, set[int]]]:
    """What a view knows that was costly, and of which rows it no longer holds."""
    changed = {at for at, (old, new) in enumerate(zip(previous.rows, rows)) if old != new}
    held = {name: (value, before | changed) for name, (value, before) in previous._known.items()}
    return held | {name: (vars(previous)[name], changed) for name in COSTLY if name in vars(previous)}
