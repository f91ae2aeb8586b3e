"""How fast galleries of a size are searched here, whole and in shards: `reidlab bench --gallery N`.

Vectors are made: people on a sphere, ten pictures each around every person. Real embeddings have
such clusters, which an approximate search lives on; vectors without any have none to find.
"""
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from reidlab.errors import ReidlabError
from reidlab.gallery.vectors import VectorIndex
from reidlab.tables import grid

PICTURES = 10    # of a person
SPREAD = 0.7     # of a person's pictures, in the size of the person's own vector
LEAST, MOST = 1000, 50_000_000
NEAREST = 10
ASKED = 20       # queries that are timed


def measure(count: int, width: int = 512, shards: int = 10, seed: int = 0) -> dict[str, Any]:
    """Exact, approximate and sharded search over `count` made vectors.

    Args:
        count: N.
        width: D; 512 is identity and clothing of 256 each.
        shards: parts that are searched one by one, as machines would side by side, and merged.
        seed: of the vectors.

    Returns:
        ``rows``, each ``what``, ``build_s``, ``query_ms`` (median), ``recall`` (of the exact ten
        nearest); ``bytes`` of the vectors; ``longest_shard_ms``, what a query over machines waits
        for.

    Raises:
        ReidlabError: a size that is too small or too large.
    """
    if not LEAST <= count <= MOST:
        raise ReidlabError(f"--gallery must be from {LEAST} to {MOST}; got {count}")
    vectors = made(count, width, seed)
    asked = [vectors[k].astype(np.float32) for k in range(0, count, max(1, count // ASKED))][:ASKED]

    def build(numbers: np.ndarray, exactly: bool = True) -> VectorIndex:
        return VectorIndex.build(lambda some: vectors[numbers[some]].astype(np.float32),
                                 len(numbers), width, len(numbers) if exactly else 0)

    everything = np.arange(count)
    truth: list[np.ndarray] = []
    rows = []
    for what, exactly in (("exact", True), ("approximate", False)):
        index, built = _timed(partial(build, everything, exactly))
        truth = truth or [index.search(query, NEAREST)[0] for query in asked]
        rows.append(_row(what, built, partial(_nearest, index), asked, truth))
        del index  # or two of them would be held
    parts = [everything[k::shards] for k in range(shards)]
    indexes, built = _timed(lambda: [build(part) for part in parts])
    waited: list[float] = []

    def over_shards(query: np.ndarray) -> np.ndarray:
        found = [_timed(partial(index.search, query, NEAREST)) for index in indexes]
        waited.append(max(seconds for _, seconds in found))
        return merged([hit for hit, _ in found], parts)

    rows.append(_row(f"{shards} shards, one after the other", built, over_shards, asked, truth))
    return {"count": count, "width": width, "bytes": 2 * count * width, "rows": rows,
            "longest_shard_ms": 1e3 * statistics.median(waited)}


def made(count: int, width: int, seed: int) -> np.ndarray:
    """(N, D) float16 unit vectors, `PICTURES` around each person, drawn block by block."""
    out = np.empty((count, width), np.float16)
    for start in range(0, count, 10_000):
        rng = np.random.default_rng([seed, start])
        size = min(10_000, count - start)
        people = rng.standard_normal((-(-size // PICTURES), width), np.float32)
        rows = np.repeat(people, PICTURES, axis=0)[:size]
        rows += SPREAD * rng.standard_normal((size, width), np.float32)
        out[start:start + size] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return out


def merged(found: list[tuple[np.ndarray, np.ndarray]], parts: list[np.ndarray]) -> np.ndarray:
    """The nearest of all shards from the nearest of each, by their numbers in the whole."""
    numbers = np.concatenate([part[hit] for (hit, _), part in zip(found, parts, strict=True)])
    scores = np.concatenate([score for _, score in found])
    return numbers[np.lexsort((numbers, -scores))][:NEAREST]


def _nearest(index: VectorIndex, query: np.ndarray) -> np.ndarray:
    return index.search(query, NEAREST)[0]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return call(), time.perf_counter() - began


def _row(what: str, built: float, search: Callable, asked: list, truth: list) -> dict[str, Any]:
    search(asked[0])
    found, times = zip(*(_timed(partial(search, query)) for query in asked), strict=True)
    recall = np.mean([len(set(a) & set(b)) / NEAREST for a, b in zip(found, truth, strict=True)])
    return {"what": what, "build_s": built, "query_ms": 1e3 * statistics.median(times),
            "recall": float(recall)}


def markdown(found: dict[str, Any]) -> str:
    """One row a way to search."""
    rows = [[row["what"], f"{row['build_s']:.1f}", f"{row['query_ms']:.1f}",
             f"{100 * row['recall']:.1f}"] for row in found["rows"]]
    return (f"{found['count']:,} vectors of width {found['width']}, "
            f"{found['bytes'] / 1e9:.2f} GB\n\n"
            + grid(["search", "build (s)", "query (ms)", "of the ten nearest (%)"], rows)
            + f"\n\nThe longest shard takes {found['longest_shard_ms']:.1f} ms.")
