"""k-reciprocal re-ranking: neighbours that choose each other count for more.

Shapes: Q probes, G gallery pictures, T = Q + G.
"""
import numpy as np

from reidlab.errors import ReidlabError


def reciprocal_similarity(probes: np.ndarray, gallery: np.ndarray, *, k1: int = 20, k2: int = 6,
                          weight: float = 0.3) -> np.ndarray:
    """Similarity after comparing neighbourhoods.

    Every picture is described by the pictures that it and they choose each other among their `k1`
    nearest; two pictures are alike when these descriptions overlap (Jaccard). The distance of the
    vectors themselves keeps `weight` of the say.

    Args:
        probes: (Q, D), gallery: (G, D), unit norm.
        k1: neighbours looked at; k2: neighbours a description is averaged over.
        weight: in [0, 1]; 1 leaves the ranking as it is.

    Returns:
        (Q, G), larger is more alike.

    Raises:
        ReidlabError: a weight outside [0, 1].

    Source: arXiv:1701.08398.
    """
    if not 0 <= weight <= 1:
        raise ReidlabError(f"the weight of the own distance must be in [0, 1]; got {weight}")
    everyone = np.concatenate([probes, gallery]).astype(np.float32)
    distance = np.maximum(2 - 2 * everyone @ everyone.T, 0)
    distance /= distance.max(axis=0, keepdims=True).clip(min=1e-12)
    distance = distance.T
    k1, count = min(k1, len(everyone) - 1), len(everyone)
    order = np.argsort(distance, axis=1, kind="stable")[:, :k1 + 1]
    half = order[:, :max(1, round(k1 / 2)) + 1]
    among, among_half = (_mutual(found, count) for found in (order, half))
    described = np.zeros((count, count), np.float32)
    for k in range(count):
        mine = np.flatnonzero(among[k])
        chosen = among[k].copy()
        for other in mine:  # a neighbour's own circle joins, where it is mostly mine already
            theirs = among_half[other]
            if (theirs & among[k]).sum() > 2 / 3 * theirs.sum():
                chosen |= theirs
        nearness = np.exp(-distance[k, chosen])
        described[k, chosen] = nearness / nearness.sum()
    if k2 > 1:
        described = np.stack([described[order[k, :k2]].mean(axis=0) for k in range(count)])
    queries = len(probes)
    overlap = np.empty((queries, count - queries), np.float32)
    for k in range(queries):
        overlap[k] = np.minimum(described[k], described[queries:]).sum(axis=1)
    jaccard = 1 - overlap / (2 - overlap)
    return -((1 - weight) * jaccard + weight * distance[:queries, queries:])


def _mutual(order: np.ndarray, count: int) -> np.ndarray:
    """(T, T) bool: both have each other among their nearest."""
    chosen = np.zeros((count, count), bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen & chosen.T
