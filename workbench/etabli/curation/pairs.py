"""Find similar rows: by their words (MinHash) and by their meaning (embeddings)."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etabli.curation.embedding import Vectors
from etabli.curation.texts import split_words

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

SHINGLE_WORDS = 3
PERMUTATIONS = 128
LEXICAL_FLOOR, SEMANTIC_FLOOR = 0.5, 0.7  # pairs that are less similar are not kept
MAX_NEIGHBOURS = 10  # pairs kept for each row: the most similar
MAX_CANDIDATES = 50  # rows of a bucket that are compared exactly
CROWD = 30  # rows of a bucket from which on a similar row is not put into the index
BLOCK_ROWS = 512  # rows compared with all others at once

Duplicates = dict[int, tuple[int, float]]  # row -> (the row that stays in its place, their similarity)
Indices = NDArray[np.int64]
Shingles = NDArray[np.uint32]  # sorted hashes, each once


@dataclass(frozen=True)
class Pairs:
    """Pairs of similar rows: ``first`` < ``second`` (int64), ``similarity`` (float32, 0 to 1); most similar first."""

    first: Indices
    second: Indices
    similarity: NDArray[np.float32]

    @classmethod
    def from_similarities(cls, similarities: dict[tuple[int, int], float]) -> "Pairs":
        """Build from {(row, other row): similarity}."""
        items = sorted(similarities.items(), key=lambda item: (-item[1], item[0]))
        rows = np.array([pair for pair, _ in items], dtype=np.int64).reshape(-1, 2)
        return cls(rows[:, 0], rows[:, 1], np.array([similarity for _, similarity in items], dtype=np.float32))

    def __len__(self) -> int:
        return len(self.first)

    def restrict_to(self, rows: set[int]) -> "Pairs":
        """Return the pairs of which both rows are in ``rows``."""
        row_list = list(rows)
        mask = np.isin(self.first, row_list) & np.isin(self.second, row_list)
        return Pairs(self.first[mask], self.second[mask], self.similarity[mask])

    def count_above(self, threshold: float) -> int:
        """Count the pairs with this similarity or more."""
        return int(np.searchsorted(-self.similarity, -np.float32(threshold), side="right"))

    def closest_to(self, threshold: float, count: int) -> list[tuple[int, int, float]]:
        """Return the ``count`` pairs closest to a threshold on each side: (first, second, similarity)."""
        middle = self.count_above(threshold)
        part = slice(max(0, middle - count), middle + count)
        return list(zip(self.first[part].tolist(), self.second[part].tolist(), self.similarity[part].tolist()))


@dataclass(frozen=True)
class Signatures:
    """Texts as sets of shingle hashes, with MinHash signatures: as objects, and as uint32 (texts, permutations)."""

    shingles: list[Shingles]
    minhashes: list["MinHash"]
    values: NDArray[np.uint32]

    def replace(self, rows: list[int], new: "Signatures") -> "Signatures":
        """Return a copy in which ``rows`` have the entries of ``new``, in that order."""
        shingles, minhashes, values = list(self.shingles), list(self.minhashes), self.values.copy()
        for row, row_shingles, minhash in zip(rows, new.shingles, new.minhashes):
            shingles[row], minhashes[row] = row_shingles, minhash
        values[rows] = new.values
        return Signatures(shingles, minhashes, values)

    def similarity(self, row: int, other_row: int) -> float:
        """Return the exact Jaccard similarity of the shingles of two texts."""
        row_shingles, other_shingles = self.shingles[row], self.shingles[other_row]
        shared_count = len(np.intersect1d(row_shingles, other_shingles, assume_unique=True))
        return shared_count / (len(row_shingles) + len(other_shingles) - shared_count) if shared_count else 0.0

    def most_similar(self, row: int, candidates: list[int]) -> list[tuple[int, float]]:
        """Return the ``MAX_NEIGHBOURS`` candidates most similar to a row, with their similarity.

        Of many candidates only those with the most similar signatures are compared exactly.
        """
        compared_rows = np.array(sorted(candidates), dtype=np.int64)
        if len(compared_rows) > MAX_CANDIDATES:
            agreement = (self.values[compared_rows] == self.values[row]).sum(axis=1)
            compared_rows = compared_rows[np.argsort(-agreement, kind="stable")[:MAX_CANDIDATES]]
        similarities = [(other_row, self.similarity(row, other_row)) for other_row in compared_rows.tolist()]
        return sorted(similarities, key=lambda item: -item[1])[:MAX_NEIGHBOURS]


def compute_signatures(texts: Sequence[str]) -> Signatures:
    """Return shingles of three words and their MinHash signatures (Broder 1997; datasketch, 128 permutations)."""
    from datasketch import MinHash

    shingles = [_shingles(text) for text in texts]
    hashes = [row_shingles.tolist() for row_shingles in shingles]
    minhashes = MinHash.bulk(hashes, num_perm=PERMUTATIONS, hashfunc=lambda shingle: shingle)  # hashed already
    values = np.array([minhash.hashvalues for minhash in minhashes], dtype=np.uint32).reshape(-1, PERMUTATIONS)
    return Signatures(shingles, minhashes, values)


def _shingles(text: str) -> Shingles:
    """Return the hashes of all runs of three words, sorted; for a shorter text, the hash of the whole."""
    words = split_words(text)
    runs = (" ".join(words[start : start + SHINGLE_WORDS]) for start in range(max(1, len(words) - SHINGLE_WORDS + 1)))
    return np.unique(np.array([zlib.crc32(run.encode()) for run in runs if run], dtype=np.uint32))


def _new_index(threshold: float) -> "MinHashLSH":
    """Return an index in which texts of this similarity share a bucket: at 0.5 in 87 % of cases, from 0.6 in 98 %."""
    from datasketch import MinHashLSH

    band_rows = 6 if threshold >= 0.8 else 5 if threshold >= 0.7 else 4
    return MinHashLSH(num_perm=PERMUTATIONS, params=(PERMUTATIONS // band_rows, band_rows))


def find_lexical_pairs(signatures: Signatures, floor: float = LEXICAL_FLOOR) -> Pairs:
    """Return pairs of texts with a similarity of ``floor`` or more; for people to read, not to decide by.

    Each row keeps its ten most similar rows among those before it. When ``CROWD`` similar rows are in the index, the
    row is looked up but not added: so a thousand copies give thousands of pairs, and not half a million.
    """
    index = _new_index(floor)
    similarities: dict[tuple[int, int], float] = {}
    for row, shingles in enumerate(signatures.shingles):
        if not len(shingles):  # a text without words is similar to nothing
            continue
        candidates = index.query(signatures.minhashes[row])
        neighbours = [item for item in signatures.most_similar(row, candidates) if item[1] >= floor]
        similarities.update({(other_row, row): similarity for other_row, similarity in neighbours})
        if len(neighbours) < MAX_NEIGHBOURS or len(candidates) < CROWD:
            index.insert(row, signatures.minhashes[row])
    return Pairs.from_similarities(similarities)


def find_lexical_duplicates(signatures: Signatures, threshold: float, order: Sequence[int]) -> Duplicates:
    """Return rows whose similarity to an earlier row in ``order`` that stays is ``threshold`` or more.

    There are no chains: a row is only a duplicate of a row that stays, and no two rows that stay are found to be so
    similar. Only rows that stay are in the index, so that duplicates cost no more than other rows.
    """
    index = _new_index(threshold)
    duplicates: Duplicates = {}
    for row in order:
        if not len(signatures.shingles[row]):
            continue
        minhash = signatures.minhashes[row]
        neighbours = signatures.most_similar(row, index.query(minhash))
        if neighbours and neighbours[0][1] >= threshold:
            duplicates[row] = neighbours[0]
        else:
            index.insert(row, minhash)
    return duplicates


def find_semantic_pairs(vectors: Vectors, floor: float = SEMANTIC_FLOOR) -> Pairs:
    """Return pairs with a cosine of ``floor`` or more; each row keeps its ten most similar rows before it.

    Args:
        vectors: float32 (rows, dimensions), each of length 1, or 0 where a text has no word.
    """
    similarities: dict[tuple[int, int], float] = {}
    for start in range(0, len(vectors), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(vectors))
        block_cosines = vectors[start:stop] @ vectors[:stop].T
        for row in range(start, stop):
            cosines = block_cosines[row - start, :row]
            neighbours = np.flatnonzero(cosines >= floor)
            if len(neighbours) > MAX_NEIGHBOURS:
                neighbours = neighbours[np.argpartition(-cosines[neighbours], MAX_NEIGHBOURS)[:MAX_NEIGHBOURS]]
            similarities.update(
                {(other_row, row): min(1.0, float(cosines[other_row])) for other_row in neighbours.tolist()}
            )
    return Pairs.from_similarities(similarities)


def find_semantic_duplicates(vectors: Vectors, threshold: float, order: Sequence[int]) -> Duplicates:
    """Like ``find_lexical_duplicates``, by the cosine of embeddings; each row is compared with all that stay."""
    stayed_vectors = np.zeros((len(order), vectors.shape[1]), dtype=np.float32)
    stayed_rows: list[int] = []
    duplicates: Duplicates = {}
    for start in range(0, len(order), BLOCK_ROWS):
        block = list(order[start : start + BLOCK_ROWS])
        earlier_cosines = vectors[block] @ stayed_vectors[: len(stayed_rows)].T
        block_cosines = vectors[block] @ vectors[block].T
        stayed_places: list[int] = []  # in the block
        for place, row in enumerate(block):
            cosines = np.concatenate([earlier_cosines[place], block_cosines[place, stayed_places]])
            best = int(cosines.argmax()) if len(cosines) else -1
            if best >= 0 and cosines[best] >= threshold:
                duplicates[row] = (stayed_rows[best], min(1.0, float(cosines[best])))
                continue
            stayed_vectors[len(stayed_rows)] = vectors[row]
            stayed_rows.append(row)
            stayed_places.append(place)
    return duplicates


def find_nearest(vectors: Vectors, references: Vectors) -> tuple[Indices, NDArray[np.float32]]:
    """Return for each vector the index of the closest reference and its cosine. All rows have length 1."""
    indices, best_cosines = np.zeros(len(vectors), dtype=np.int64), np.zeros(len(vectors), dtype=np.float32)
    for start in range(0, len(vectors), BLOCK_ROWS):
        cosines = vectors[start : start + BLOCK_ROWS] @ references.T
        nearest = cosines.argmax(axis=1)
        indices[start : start + BLOCK_ROWS] = nearest
        best_cosines[start : start + BLOCK_ROWS] = cosines[np.arange(len(nearest)), nearest]
    return indices, best_cosines
