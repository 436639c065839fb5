"""Find training rows that give the evaluation away: they hold a test question, or mean the same as one.

Two signals, both in the reason. Words: the same question as a test row after the same turns, or eight words in a row
that are in a test question too (arXiv 2005.14165 used 13; eight also find questions of one sentence). Meaning: the
test question with the closest embedding. It finds paraphrases, but also rows on the same topic, so that by default it
is shown and does not reject.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from etabli.core.contracts import Reason, Row
from etabli.core.wording import count_of
from etabli.curation.features import RowFeatures
from etabli.curation.filters.base import Filter, FilterInput
from etabli.curation.texts import last_question, split_words
from etabli.data.overlap import questions_before_answers

COMMON_SHARE = 0.05  # a run in this share of the test questions, and in five, is a common phrase and no leak
SIGNS_PER_WORD = 2  # in scripts where each sign counts as a word (Chinese, Japanese, Thai)

WordRun = tuple[str, ...]
QuestionKey = tuple[WordRun, ...]  # the words of each turn up to the question


class Contamination(Filter):
    """Rows that hold a test question, or whose question is close to one."""

    reversible: ClassVar[bool] = False

    filter: Literal["contamination"] = "contamination"
    words: int = Field(8, ge=3)
    likeness: float = Field(0.9, ge=0, le=1)
    by_likeness: bool = False  # does a close embedding alone reject?

    def find(self, features: RowFeatures, filter_input: FilterInput) -> dict[int, Reason]:
        """Return the rows that share words with a test question, or are close to one; each reason has both signals."""
        if not features.tests:
            return {}
        index = _TestQuestionIndex(features.tests, self.words)
        nearest_tests, cosines = features.nearest_tests
        reasons = {}
        for row in filter_input.order:
            test, overlap = index.find_overlap(features.rows[row], features.texts[row])
            cosine = float(cosines[row])
            if test is None and cosine < self.likeness:
                continue
            nearest_id = features.tests[int(nearest_tests[row])]["id"]
            why = f"{overlap} The closest test question is that of {nearest_id}, with a cosine of {cosine:.2f}."
            test_id = nearest_id if test is None else features.tests[test]["id"]
            reasons[row] = self.reason("contamination", why, round(cosine, 4), test_id)
            reasons[row]["rejects"] = self.rejects and (test is not None or self.by_likeness)
        return reasons


class _TestQuestionIndex:
    """The questions of test rows, and the runs of ``run_words`` words in them that are no common phrase."""

    def __init__(self, tests: Sequence[Row], run_words: int):
        self._run_words, self._tests = run_words, tests
        questions = {tuple(split_words(last_question(row))): index for index, row in reversed(list(enumerate(tests)))}
        self._run_lengths = {self._run_length(words) for words in questions}
        counts = Counter(run for words in questions for run in set(_word_runs(words, self._run_length(words))))
        limit = max(5, COMMON_SHARE * len(questions))
        self._test_by_run: dict[WordRun, int] = {}
        for words, index in questions.items():
            runs = _word_runs(words, self._run_length(words))
            self._test_by_run.update({run: index for run in runs if counts[run] < limit})
        self._test_by_question: dict[QuestionKey, int] = {}
        for index, row in enumerate(tests):
            for question in list(_question_keys(row))[-1:]:
                self._test_by_question.setdefault(question, index)

    def _run_length(self, words: Sequence[str]) -> int:
        sign_count = sum(len(word) == 1 and ord(word) > 0x0E00 for word in words)
        return self._run_words * (SIGNS_PER_WORD if 2 * sign_count > len(words) else 1)

    def find_overlap(self, row: Row, text: str) -> tuple[int | None, str]:
        """Return the index of the test row whose question or words a row holds, and a sentence about it."""
        for question in _question_keys(row):
            if question in self._test_by_question:
                test = self._test_by_question[question]
                return test, f"It asks the very question of test row {self._tests[test]['id']}."
        words = split_words(text)
        runs = [run for length in self._run_lengths for run in _word_runs(words, length) if run in self._test_by_run]
        if not runs:
            return None, "It shares no run of words with a test question."
        count, test = len(set(runs)), self._test_by_run[runs[0]]
        quantity = f"{count_of(count, 'run')} of {len(runs[0])} words"
        return test, f'It shares {quantity} ("{" ".join(runs[0])}") with test row {self._tests[test]["id"]}.'


def _word_runs(words: Sequence[str], length: int) -> list[WordRun]:
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]


def _question_keys(row: Row) -> Iterator[QuestionKey]:
    """Yield each question of a row, with the turns before it, as words; not those without a word."""
    for question in questions_before_answers(row):
        key = tuple(tuple(split_words(turn)) for turn in question)
        if any(key):
            yield key
