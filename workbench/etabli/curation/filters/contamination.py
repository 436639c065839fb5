"""Training rows that give the evaluation away: the very test rows in use, by their words and by their meaning.

Two signals, both shown. Words: the very question of a test row, with the same turns before it; or eight words in a row
that a test question has too (arXiv 2005.14165 used 13; eight also find questions of one sentence). Meaning: the closest
test question by embedding, which finds paraphrases and also rows that are only about the same thing, so that by default
it shows and does not reject.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from etabli.core.contracts import Reason, Row
from etabli.curation.features import View
from etabli.curation.filters.base import Asked, Filter
from etabli.curation.texts import asked as asked_text
from etabli.curation.texts import words
from etabli.data.overlap import questions

COMMON = 0.05  # a run of words that so many different test questions share, and at least five, is phrasing and no leak
SIGNS = 2  # where a word is one character (Chinese, Japanese, Thai) so many make a word


class Contamination(Filter):
    """Rows that hold a test question, or whose question is close to one."""

    protects: ClassVar[bool] = False

    filter: Literal["contamination"] = "contamination"
    words: int = Field(8, ge=3)
    likeness: float = Field(0.9, ge=0, le=1)
    by_likeness: bool = False  # is a close embedding alone enough to reject?

    def find(self, view: View, asked: Asked) -> dict[int, Reason]:
        """Rows with a test question or its words, or close to one; each reason says both."""
        if not view.tests:
            return {}
        index = _Index(view.tests, self.words)
        closest, cosines = view.nearest_tests
        found = {}
        for row in asked.order:
            test, held = index.shared(view.rows[row], view.said[row])
            near = float(cosines[row])
            if test is None and near < self.likeness:
                continue
            other = view.tests[int(closest[row])]["id"]
            why = f"{held} The closest test question is that of {other}, with a cosine of {near:.2f}."
            like = other if test is None else view.tests[test]["id"]
            reason = self.reason("contamination", why, round(near, 4), like)
            found[row] = reason | {"rejects": self.rejects and (test is not None or self.by_likeness)}
        return found


class _Index:
    """The questions of test rows, and runs of words in them."""

    def __init__(self, tests: Sequence[Row], size: int):
        self._size, self._tests = size, tests
        self._whole: dict[tuple[str, ...], int] = {}
        self._runs: dict[tuple[str, ...], int] = {}
        told = {tuple(words(asked_text(row))): at for at, row in reversed(list(enumerate(tests)))}
        self._sizes = {self._size_of(held) for held in told}
        seen = Counter(run for held in told for run in set(_runs(held, self._size_of(held))))
        common = max(5, COMMON * len(told))
        for at, row in enumerate(tests):
            for question in list(_asked(row))[-1:]:
                self._whole.setdefault(question, at)
        for held, at in told.items():
            self._runs.update({run: at for run in _runs(held, self._size_of(held)) if seen[run] < common})

    def _size_of(self, held: Sequence[str]) -> int:
        signs = sum(len(word) == 1 and ord(word) > 0x0E00 for word in held)
        return self._size * (SIGNS if 2 * signs > len(held) else 1)

    def shared(self, row: Row, text: str) -> tuple[int | None, str]:
        """Whose question a row asks or has words of, and what is shared."""
        same = next((self._whole[question] for question in _asked(row) if question in self._whole), None)
        if same is not None:
            return same, f"It asks the very question of test row {self._tests[same]['id']}."
        held = words(text)
        hits = list(dict.fromkeys(run for size in self._sizes for run in _runs(held, size) if run in self._runs))
        if not hits:
            return None, "It shares no run of words with a test question."
        test, count = self._runs[hits[0]], f"{len(hits)} run{'s' * (len(hits) > 1)} of {len(hits[0])} words"
        return test, f'It shares {count} ("{" ".join(hits[0])}") with test row {self._tests[test]["id"]}.'


def _runs(held: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(held[at : at + size]) for at in range(len(held) - size + 1)]


def _asked(row: Row) -> Iterator[tuple[tuple[str, ...], ...]]:
    """Each question of a row, with the turns before it, as words; one without a word asks nothing."""
    for question in questions(row):
        held = tuple(tuple(words(turn)) for turn in question)
        if any(held):
            yield held
