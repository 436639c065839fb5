"""Is a new question like an old one? By ROUGE-L, the longest common subsequence of words, as in Self-Instruct."""

from dataclasses import dataclass, field

from etabli.curation.texts import split_words


def rouge_l(first: list[str], second: list[str]) -> float:
    """Return the F score of ROUGE-L (Lin 2004, aclanthology.org/W04-1013) of two lists of words."""
    from rapidfuzz.distance import LCSseq

    if not first or not second:
        return 0.0
    return 2 * LCSseq.similarity(first, second) / (len(first) + len(second))


@dataclass
class Pool:
    """Questions that a new one must not be like."""

    threshold: float
    _ids: list[str] = field(default_factory=list)
    _words: list[list[str]] = field(default_factory=list)

    def add(self, row_id: str, text: str) -> None:
        """Add a question."""
        self._ids.append(row_id)
        self._words.append(split_words(text))

    def nearest(self, text: str) -> tuple[str, float] | None:
        """Return the id and the similarity of the most similar question, if it reaches the threshold."""
        own = split_words(text)
        best: tuple[str, float] | None = None
        for row_id, other in zip(self._ids, self._words):
            longest = max(len(own), len(other))
            if longest and 2 * min(len(own), len(other)) < self.threshold * (len(own) + len(other)):
                continue  # even if the shorter one stood whole in the longer one
            if (value := rouge_l(own, other)) >= self.threshold and (best is None or value > best[1]):
                best = row_id, value
        return best
