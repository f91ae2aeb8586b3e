"""Vectors kept in one file, and the nearest of them: exact up to a million, approximate above.

Shapes: N vectors, D width, Q queries.
"""
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from reidlab.errors import ReidlabError
from reidlab.files import write_whole

MOST_EXACT = 1_000_000  # vectors that are all looked at for each query
BLOCK = 8192            # vectors in memory beside the index while it is built
ENOUGH = 0.95           # recall at which an approximate search looks at no more lists
SAMPLED = 100           # queries that measure it

Take = Callable[[np.ndarray], np.ndarray]  # numbers (n,) → their vectors (n, D) float32


class VectorIndex:
    """N vectors that are compared by inner product.

    Up to `MOST_EXACT` each query meets all of them. Above, vectors lie in lists around centres, and
    a query looks into the lists nearest to it (inverted file; Jégou et al., TPAMI 2011).

    Args:
        index: of FAISS.

    Attributes:
        recall: share of the exact ten nearest that a search finds, over sampled vectors; 1.0 where
            the search is exact.
    """

    def __init__(self, index: faiss.Index, recall: float = 1.0):
        self._index, self.recall = index, recall

    def __len__(self):
        return self._index.ntotal

    @property
    def width(self) -> int:
        """D."""
        return self._index.d

    @property
    def exact(self) -> bool:
        """Whether a search meets all vectors."""
        return not isinstance(self._index, faiss.IndexIVF)

    @classmethod
    def of(cls, vectors: np.ndarray) -> "VectorIndex":
        """An exact index of (N, D) float32 in memory, not rounded."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(np.ascontiguousarray(vectors, np.float32))
        return cls(index)

    @classmethod
    def build(cls, take: Take, count: int, width: int, most_exact: int = MOST_EXACT
              ) -> "VectorIndex":
        """An index of `count` vectors in half precision; `take` gives any of them.

        The memory it needs is the index, two bytes a number, and one block of vectors.
        """
        half = faiss.ScalarQuantizer.QT_fp16
        index: faiss.Index
        if count <= most_exact:
            index = faiss.IndexScalarQuantizer(width, half, faiss.METRIC_INNER_PRODUCT)
        else:
            lists = int(4 * count ** 0.5)
            index = faiss.IndexIVFScalarQuantizer(
                faiss.IndexFlatIP(width), width, lists, half, faiss.METRIC_INNER_PRODUCT, False)
            index.cp.niter = 10
            index.train(take(np.unique(np.linspace(0, count - 1, min(count, 40 * lists))
                                       .astype(np.int64))))
        for start in range(0, count, BLOCK):
            index.add(take(np.arange(start, min(count, start + BLOCK))))
        if count <= most_exact:
            return cls(index)
        index.make_direct_map()
        queries = take(np.unique(np.linspace(0, count - 1, SAMPLED).astype(np.int64)))
        return cls(index, _look_far_enough(index, queries))

    def write(self, file: Path) -> None:
        """The index as one file, whole or not at all.

        Raises:
            ReidlabError: no room.
        """
        write_whole(file, lambda out: faiss.write_index(
            self._index, faiss.PyCallbackIOWriter(out.write)))

    @classmethod
    def read(cls, file: Path, recall: float = 1.0) -> "VectorIndex":
        """An index whose vectors stay in the file until they are looked at.

        Raises:
            ReidlabError: no such file, or a damaged one.
        """
        try:
            index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, MemoryError) as fault:
            raise ReidlabError(f"{file} is missing or damaged; delete the gallery and index the "
                               "pictures again") from fault
        return cls(index, recall)

    def search(self, query: np.ndarray, k: int, allowed: np.ndarray | None = None
               ) -> tuple[np.ndarray, np.ndarray]:
        """The `k` nearest of all, or of the allowed ones.

        Args:
            query: (D,) float32.
            k: how many.
            allowed: (N,) bool; None allows all.

        Returns:
            numbers and scores, best first, equal scores in the order of numbers; fewer than `k`
            where fewer are allowed.
        """
        scores, numbers = self._index.search(query[None].astype(np.float32), k,
                                             params=self._parameters(allowed))
        found = numbers[0] >= 0
        numbers, scores = numbers[0][found], scores[0][found]
        order = np.lexsort((numbers, -scores))
        return numbers[order], scores[order]

    def _parameters(self, allowed: np.ndarray | None):
        if allowed is None:
            return None
        bits = np.packbits(allowed, bitorder="little")
        chosen = faiss.IDSelectorBitmap(len(allowed), faiss.swig_ptr(bits))
        if self.exact:
            found = faiss.SearchParameters(sel=chosen)
        else:
            lists = int(self._index.nprobe / max(allowed.mean(), 1e-9)) + 1  # the rarer, the more
            found = faiss.SearchParametersIVF(sel=chosen, nprobe=min(lists, self._index.nlist))
        found.kept = (bits, chosen)  # FAISS keeps addresses alone
        return found

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, D) float32 of vectors by their numbers, as they are kept."""
        if not len(numbers):
            return np.empty((0, self.width), np.float32)
        return self._index.reconstruct_batch(np.asarray(numbers, np.int64))


def _look_far_enough(index: faiss.IndexIVF, queries: np.ndarray, k: int = 10) -> float:
    """Double the lists that a search looks into until it finds enough; the recall it then has."""
    everywhere = faiss.SearchParametersIVF(nprobe=index.nlist)
    _, exact = index.search(queries, k, params=everywhere)
    index.nprobe = 1
    while True:
        _, found = index.search(queries, k)
        recall = float(np.mean([len(set(a) & set(b)) / k
                                for a, b in zip(found, exact, strict=True)]))
        if recall >= ENOUGH or index.nprobe >= index.nlist:
            return recall
        index.nprobe = min(2 * index.nprobe, index.nlist)
