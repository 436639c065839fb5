"""Which rows are like which: by their words (MinHash) and by their meaning (embeddings), once for every threshold."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from etabli.curation.texts import words

SHINGLE = 3  # words
PERMUTATIONS = 128
LEXICAL_FLOOR, SEMANTIC_FLOOR = 0.5, 0.7  # less alike than this is not looked at
MOST = 10  # rows that are remembered for each, the most alike
CANDIDATES = 50  # rows sharing a bucket that are compared exactly
CROWD = 30  # rows sharing a bucket from which on a row like them is not put into the index
BLOCK = 512  # rows compared with all others at once

Copies = dict[int, tuple[int, float]]  # row -> (the row that stands for it, how alike they are)


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

    def among(self, rows: set[int]) -> "Pairs":
        """The pairs of which both rows are among these."""
        chosen = [one in rows and other in rows for one, other in zip(self.first.tolist(), self.second.tolist())]
        return Pairs(self.first[chosen], self.second[chosen], self.likeness[chosen]) if len(self) else self

    def above(self, threshold: float) -> int:
        """How many pairs are at least so alike."""
        return int(np.searchsorted(-self.likeness, -np.float32(threshold), side="right"))

    def border(self, threshold: float, count: int) -> list[tuple[int, int, float]]:
        """The pairs closest to a threshold on both sides, most alike first."""
        middle = self.above(threshold)
        around = range(max(0, middle - count), min(len(self), middle + count))
        return [(int(self.first[at]), int(self.second[at]), float(self.likeness[at])) for at in around]


@dataclass(frozen=True)
class Signed:
    """Texts as sets of hashed shingles, and their MinHash signatures, as objects and uint32 (texts, permutations)."""

    shingles: list[np.ndarray]
    hashed: list[Any]
    signatures: np.ndarray

    def replaced(self, rows: list[int], made: "Signed") -> "Signed":
        """The same with some texts' anew."""
        shingles, hashed, signatures = list(self.shingles), list(self.hashed), self.signatures.copy()
        for at, held, signature in zip(rows, made.shingles, made.hashed):
            shingles[at], hashed[at] = held, signature
        signatures[rows] = made.signatures
        return Signed(shingles, hashed, signatures)

    def likeness(self, one: int, other: int) -> float:
        """Jaccard of two texts' shingles, exactly."""
        mine, theirs = self.shingles[one], self.shingles[other]
        shared = len(np.intersect1d(mine, theirs, assume_unique=True))
        return shared / (len(mine) + len(theirs) - shared) if shared else 0.0

    def closest(self, row: int, candidates: list[int]) -> list[tuple[int, float]]:
        """The candidates most like a row, at most ``MOST``; of many the likeliest are compared, by their signatures."""
        chosen = np.array(sorted(candidates), dtype=np.int64)
        if len(chosen) > CANDIDATES:
            agree = (self.signatures[chosen] == self.signatures[row]).sum(axis=1)
            chosen = chosen[np.argsort(-agree, kind="stable")[:CANDIDATES]]
        scored = [(int(other), self.likeness(row, int(other))) for other in chosen]
        return sorted(scored, key=lambda item: -item[1])[:MOST]


def sign(texts: Sequence[str]) -> Signed:
    """Shingles of three words, and MinHash signatures of them (Broder 1997; datasketch, 128 permutations)."""
    from datasketch import MinHash

    shingled = [_shingles(text) for text in texts]
    hashed = MinHash.bulk([held.tolist() for held in shingled], num_perm=PERMUTATIONS, hashfunc=_itself)
    signed = np.array([one.hashvalues for one in hashed], dtype=np.uint32).reshape(-1, PERMUTATIONS)
    return Signed(shingled, hashed, signed)


def _itself(value: int) -> int:
    return value


def _shingles(text: str) -> np.ndarray:
    """Hashes of all runs of three words, sorted; of a shorter text, of the whole."""
    held = words(text)
    runs = (" ".join(held[at : at + SHINGLE]) for at in range(max(1, len(held) - SHINGLE + 1)))
    return np.unique(np.array([zlib.crc32(run.encode()) for run in runs if run], dtype=np.uint32))


def _index(threshold: float):
    """An index of signatures in which texts so much alike share a bucket, at 0.5 in 87 of 100 cases, from 0.6 in 98."""
    from datasketch import MinHashLSH

    rows = 6 if threshold >= 0.8 else 5 if threshold >= 0.7 else 4
    return MinHashLSH(num_perm=PERMUTATIONS, params=(PERMUTATIONS // rows, rows))


def lexical(signed: Signed, floor: float = LEXICAL_FLOOR) -> Pairs:
    """Pairs of texts that are at least ``floor`` alike: to look at, not to decide by.

    Each row keeps its ten most alike among those before it. Where ``CROWD`` rows like it are in the index, it is
    looked for and not put in: a thousand copies are a thousand pairs, and not half a million.
    """
    index = _index(floor)
    found: dict[tuple[int, int], float] = {}
    for row, shingles in enumerate(signed.shingles):
        if not len(shingles):  # no word: alike in nothing that could be told
            continue
        signature = signed.hashed[row]
        candidates = index.query(signature)
        near = [(other, likeness) for other, likeness in signed.closest(row, candidates) if likeness >= floor]
        found.update({(other, row): likeness for other, likeness in near})
        if len(near) < MOST or len(candidates) < CROWD:
            index.insert(row, signature)
    return Pairs.of(found)


def lexical_copies(signed: Signed, threshold: float, order: Sequence[int]) -> Copies:
    """Rows at least so much like one before them in ``order`` that stays: {row: (it, how alike)}.

    No chains: a row is never put away for being like one that is put away too, and of two that stay none is found that
    is so much like the other. Only what stays is in the index, so copies cost no more than other rows.
    """
    index = _index(threshold)
    found: Copies = {}
    for row in order:
        if not len(signed.shingles[row]):
            continue
        signature = signed.hashed[row]
        best = next(iter(signed.closest(row, index.query(signature))), None)
        if best and best[1] >= threshold:
            found[row] = best
        else:
            index.insert(row, signature)
    return found


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


def semantic_copies(vectors: np.ndarray, threshold: float, order: Sequence[int]) -> Copies:
    """As ``lexical_copies``, by the cosine of embeddings, each row against all that stay."""
    kept = np.zeros((len(order), vectors.shape[1]), dtype=np.float32)
    names: list[int] = []
    found: Copies = {}
    for start in range(0, len(order), BLOCK):
        block = list(order[start : start + BLOCK])
        before = len(names)
        known = vectors[block] @ kept[:before].T
        among = vectors[block] @ vectors[block].T
        stayed: list[int] = []  # places in the block
        for place, row in enumerate(block):
            line = np.concatenate([known[place], among[place, stayed]])
            best = int(line.argmax()) if len(line) else -1
            if best >= 0 and line[best] >= threshold:
                found[row] = (names[best], min(1.0, float(line[best])))
                continue
            kept[len(names)] = vectors[row]
            names.append(row)
            stayed.append(place)
    return found


def nearest(vectors: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each vector the closest known one: (its index, the cosine). Both arrays have rows of length 1."""
    at, likeness = np.zeros(len(vectors), dtype=np.int64), np.zeros(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK):
        cosines = vectors[start : start + BLOCK] @ known.T
        at[start : start + BLOCK] = best = cosines.argmax(axis=1)
        likeness[start : start + BLOCK] = cosines[np.arange(len(best)), best]
    return at, likeness
