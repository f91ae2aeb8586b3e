"""Pictures of which vectors are known, asked by a vector: the same here, on disk and in Milvus."""
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from reidlab.errors import ReidlabError
from reidlab.gallery.rows import ALL, Only, Row
from reidlab.gallery.vectors import VectorIndex


class Vectors(Protocol):
    """What a gallery asks of whatever holds its vectors."""

    def __len__(self) -> int: ...

    def search(self, query: np.ndarray, k: int, only: Only = ALL
               ) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and scores of the `k` nearest, best first."""

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, D) float32 by numbers."""


class LocalVectors:
    """An index of this machine, and what its pictures are chosen by.

    Args:
        index: of N vectors.
        rows: N, in the same order.
    """

    def __init__(self, index: VectorIndex, rows: Sequence[Row]):
        self._index, self._rows = index, rows

    def __len__(self):
        return len(self._index)

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        return (np.array([row.camera for row in self._rows], np.int64),
                np.array([row.time for row in self._rows], np.int64))

    def search(self, query: np.ndarray, k: int, only: Only = ALL
               ) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and scores of the `k` nearest that may be found, best first."""
        return self._index.search(query, k, None if only == ALL else only.mask(*self._known))

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, D) float32 by numbers."""
        return self._index.vectors(numbers)


class Found(NamedTuple):
    """One hit.

    Attributes:
        number: of the picture in the gallery; row: what is known of it.
        score: inner product with the query; vector: (D,).
    """

    number: int
    row: Row
    score: float
    vector: np.ndarray


class Gallery:
    """N pictures and their vectors.

    Args:
        rows: what is known of each picture.
        vectors: where they are.
    """

    def __init__(self, rows: Sequence[Row], vectors: Vectors):
        self.rows, self.vectors = rows, vectors

    def __len__(self):
        return len(self.rows)

    def search(self, query: np.ndarray, k: int, only: Only = ALL) -> list[Found]:
        """The `k` pictures nearest to a (D,) vector, best first; fewer where `only` leaves fewer.

        Raises:
            ReidlabError: `k` is below 1 or above the number of pictures.
        """
        if not len(self):
            raise ReidlabError("the gallery has no picture that could be read; look at what index "
                               "says of them")
        if not 1 <= k <= len(self):
            raise ReidlabError(f"k is {k}; the gallery has {len(self)} pictures: ask for 1 to "
                               f"{len(self)}")
        numbers, scores = self.vectors.search(np.asarray(query, np.float32), k, only)
        return [Found(int(number), self.rows[number], float(score), vector)
                for number, score, vector in zip(numbers, scores, self.vectors.vectors(numbers),
                                                 strict=True)]
