"""Training rows that give the evaluation away: the very test rows in use, by their words and by their meaning.

Two signals, both shown. Words: eight in a row that a test question has too (arXiv 2005.14165 used 13; eight also find
questions of one sentence); a test question of fewer words counts when it is the whole question of a row. Meaning: the
closest test question by embedding, which finds paraphrases and also rows that are only about the same thing, so that
by default it shows and does not reject.
"""

from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from etabli.contracts import Reason
from etabli.curation.filters.base import Filter
from etabli.curation.texts import asked, words
from etabli.curation.views import View

COMMON = 0.05  # a run of words that so many of the test questions share, and at least five, is phrasing and no leak


class Contamination(Filter):
    """Rows that hold a test question, or whose question is close to one."""

    protects: ClassVar[bool] = False

    filter: Literal["contamination"] = "contamination"
    words: int = Field(8, ge=3)
    likeness: float = Field(0.9, ge=0, le=1)
    by_likeness: bool = False  # is a close embedding alone enough to reject?

    def find(self, view: View, order: Sequence[int], seed: int) -> dict[int, Reason]:
        """Rows with shared words, or with a close test question; each reason gives both numbers."""
        if not view.tests:
            return {}
        index = _Index([asked(row) for row in view.tests], self.words)
        closest, cosines = view.nearest_tests
        found = {}
        for row in order:
            shared, text, test = index.shared(view.said[row], view.asked[row])
            near = float(cosines[row])
            if not shared and near < self.likeness:
                continue
            test = test if shared else int(closest[row])
            runs = f"{shared} run{'s' * (shared > 1)}"
            held = f'shares {runs} of {self.words} words ("{text}")' if shared else "shares no run of words"
            like = view.tests[test]["id"]
            why = f"It {held} with test row {like}; the closest test question has a cosine of {near:.2f}."
            reason = self.reason("contamination", why, round(near, 4), like)
            found[row] = reason | {"rejects": self.rejects and (shared > 0 or self.by_likeness)}
        return found


class _Index:
    """Runs of words in test questions, and whole questions that are shorter."""

    def __init__(self, questions: Sequence[str], size: int):
        self._size = size
        self._runs: dict[tuple[str, ...], int] = {}
        self._short: dict[tuple[str, ...], int] = {}
        told = [words(question) for question in questions]
        seen = Counter(run for held in told for run in set(self._of(held)))
        common = max(5, COMMON * len(told))
        for at, held in enumerate(told):
            if 0 < len(held) < size:
                self._short.setdefault(tuple(held), at)
            for run in self._of(held):
                if seen[run] < common:
                    self._runs.setdefault(run, at)

    def _of(self, held: list[str]) -> list[tuple[str, ...]]:
        return [tuple(held[at : at + self._size]) for at in range(len(held) - self._size + 1)]

    def shared(self, text: str, question: str) -> tuple[int, str, int]:
        """How many runs a row shares with test questions, the first of them, and whose it is."""
        hits = list(dict.fromkeys(run for run in self._of(words(text)) if run in self._runs))
        if hits:
            first = hits[0]
            return len(hits), " ".join(first), self._runs[first]
        whole = tuple(words(question))
        if whole in self._short:
            return 1, " ".join(whole), self._short[whole]
        return 0, "", -1
