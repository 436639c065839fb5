"""Which rows are like which: by their words (MinHash) and by their meaning (embeddings), once for every threshold."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from etabli.curation.texts import words

SHINGLE = 3  # words
PERMUTATIONS = 128
LEXICAL_FLOOR, SEMANTIC_FLOOR = 0.5, 0.7  # less alike than this is not looked at
MOST = 10  # rows that are remembered for each, the most alike: ten thousand near copies are not fifty million pairs
CANDIDATES = 50  # rows sharing a bucket that are compared exactly
BLOCK = 512  # rows compared with all others at once


@dataclass(frozen=True)
class Pairs:
    """Rows that are alike: ``first`` < ``second`` (int64), ``likeness`` (float32, 0 to 1); most alike first."""

    first: np.ndarray
    second: np.ndarray
    likeness: np.ndarray

    @classmethod
    def of(cls, found: dict[tuple[int, int], float]) -> "Pairs":
        """From {(row, other row): likeness}."""
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        both = np.array([pair for pair, _ in ordered], dtype=np.int64).reshape(-1, 2)
        return cls(both[:, 0], both[:, 1], np.array([value for _, value in ordered], dtype=np.float32))

    def __len__(self) -> int:
        return len(self.first)

    def above(self, threshold: float) -> int:
        """How many pairs are at least so alike."""
        return int(np.searchsorted(-self.likeness, -np.float32(threshold), side="right"))

    def border(self, threshold: float, count: int) -> list[tuple[int, int, float]]:
        """The pairs closest to a threshold on both sides, most alike first."""
        middle = self.above(threshold)
        around = range(max(0, middle - count), min(len(self), middle + count))
        return [(int(self.first[at]), int(self.second[at]), float(self.likeness[at])) for at in around]

    def represented(self, threshold: float, order: Sequence[int]) -> dict[int, tuple[int, float]]:
        """Rows that a row before them in ``order`` stands for, which itself stays: {row: (it, how alike)}.

        No chains: a row is never put away for being like one that is put away too.
        """
        near: dict[int, list[tuple[int, float]]] = {}
        for at in range(self.above(threshold)):
            one, other, likeness = int(self.first[at]), int(self.second[at]), float(self.likeness[at])
            near.setdefault(one, []).append((other, likeness))
            near.setdefault(other, []).append((one, likeness))
        kept: set[int] = set()
        found: dict[int, tuple[int, float]] = {}
        for row in order:
            best = next(((other, likeness) for other, likeness in near.get(row, ()) if other in kept), None)
            if best is None:
                kept.add(row)
            else:
                found[row] = best
        return found


def lexical(texts: Sequence[str], floor: float = LEXICAL_FLOOR) -> Pairs:
    """Pairs whose sets of three-word shingles overlap by ``floor`` or more (Jaccard, exact).

    MinHash finds candidates (Broder 1997; datasketch, 128 permutations), which are then compared exactly: what is
    reported is true, and what is missed is missed by the hashing. Each row keeps its ten most alike among those
    before it.
    """
    from datasketch import MinHash, MinHashLSH

    shingled = [_shingles(text) for text in texts]
    signed = np.zeros((len(texts), PERMUTATIONS), dtype=np.uint32)
    index = MinHashLSH(threshold=floor, num_perm=PERMUTATIONS)
    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(texts), 4096):
        part = range(start, min(start + 4096, len(texts)))
        made = MinHash.bulk([shingled[at].tolist() for at in part], num_perm=PERMUTATIONS, hashfunc=_itself)
        for at, signature in zip(part, made):
            if not len(shingled[at]):  # no word: alike in nothing that could be told
                continue
            signed[at] = signature.hashvalues
            candidates = _likeliest(at, np.array(sorted(index.query(signature)), dtype=np.int64), signed)
            found.update(_closest(at, candidates, shingled, floor))
            index.insert(at, signature)
    return Pairs.of(found)


def _itself(value: int) -> int:
    return value


def _shingles(text: str) -> np.ndarray:
    """Hashes of all runs of three words, sorted; of a shorter text, of the whole."""
    held = words(text)
    runs = (" ".join(held[at : at + SHINGLE]) for at in range(max(1, len(held) - SHINGLE + 1)))
    return np.unique(np.array([zlib.crc32(run.encode()) for run in runs if run], dtype=np.uint32))


def _likeliest(row: int, candidates: np.ndarray, signed: np.ndarray) -> list[int]:
    """Of many rows that share a bucket those whose signatures agree most: what MinHash takes for the likeness."""
    if len(candidates) > CANDIDATES:
        agree = (signed[candidates] == signed[row]).sum(axis=1)
        candidates = candidates[np.argsort(-agree, kind="stable")[:CANDIDATES]]
    return candidates.tolist()


def _closest(
    row: int, candidates: list[int], shingled: list[np.ndarray], floor: float
) -> list[tuple[tuple[int, int], float]]:
    """A row's most alike among candidates, compared exactly."""
    mine = shingled[row]
    scored = []
    for other in candidates:
        theirs = shingled[other]
        shared = len(np.intersect1d(mine, theirs, assume_unique=True))
        likeness = shared / (len(mine) + len(theirs) - shared)
        if likeness >= floor:
            scored.append(((other, row), likeness))
    return sorted(scored, key=lambda item: -item[1])[:MOST]


def semantic(vectors: np.ndarray, floor: float = SEMANTIC_FLOOR) -> Pairs:
    """Pairs whose embeddings have a cosine of ``floor`` or more; each row keeps its ten most alike before it.

    Args:
        vectors: float32 (rows, dimensions), each of length 1, or 0 where a text has no word.
    """
    found: dict[tuple[int, int], float] = {}
    for start in range(0, len(vectors), BLOCK):
        stop = min(start + BLOCK, len(vectors))
        cosines = vectors[start:stop] @ vectors[:stop].T
        for row in range(start, stop):
            line = cosines[row - start, :row]
            for other in _top(line, floor):
                found[int(other), row] = min(1.0, float(line[other]))
    return Pairs.of(found)


def _top(line: np.ndarray, floor: float) -> np.ndarray:
    near = np.flatnonzero(line >= floor)
    return near if len(near) <= MOST else near[np.argpartition(-line[near], MOST)[:MOST]]


def nearest(vectors: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each vector the closest known one: (its index, the cosine). Both arrays have rows of length 1."""
    at, likeness = np.zeros(len(vectors), dtype=np.int64), np.zeros(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ known.T
        at[start : start + BLOCK] = best = cosines.argmax(axis=1)
        likeness[start : start + BLOCK] = cosines[np.arange(len(best)), best]
    return at, likeness
