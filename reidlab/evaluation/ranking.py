"""Similarities and ids in, R@k, mAP and mINP out. Shapes: Q queries, G gallery items."""
import dataclasses
from dataclasses import dataclass

import numpy as np

from reidlab.errors import ReidlabError

BLOCK = 1 << 23  # similarities looked at together; bounds memory


@dataclass(frozen=True)
class RankReport:
    """Retrieval scores in [0, 1], means over the counted queries.

    Attributes:
        r1, r5, r10: share of queries with a match among the first 1, 5, 10.
        map: mean over queries of the mean precision at its matches.
        minp: mean over queries of matches / rank of the last match.
        queries: counted queries; skipped: queries without any match in the gallery.
        gallery: G.
    """

    r1: float
    r5: float
    r10: float
    map: float
    minp: float
    queries: int
    skipped: int
    gallery: int

    def to_dict(self) -> dict:
        """Plain data for JSON."""
        return dataclasses.asdict(self)


def rank(similarity, query_ids, gallery_ids, ignore=None) -> RankReport:
    """Score a similarity matrix against identities.

    Ties: a non-match that ties with a match counts as ranked before it. So the score depends on
    the similarities alone, never on the order of the gallery, and an all-equal matrix scores
    what the worst ordering would.

    Counting how many scores reach each match is exact and needs no sorting of the gallery.

    Args:
        similarity: (Q, G) floats, larger is more alike.
        query_ids: (Q,) integers; gallery_ids: (G,) integers.
        ignore: (Q, G) bool, gallery items that are removed for a query.

    Returns:
        The report; all ones for a perfect ranking.

    Raises:
        ReidlabError: NaN, shapes that do not fit, or no query with a match.
    """
    similarity = np.asarray(similarity)
    query_ids, gallery_ids = np.asarray(query_ids), np.asarray(gallery_ids)
    if similarity.shape != (len(query_ids), len(gallery_ids)) or (
            ignore is not None and np.shape(ignore) != similarity.shape):
        raise ReidlabError(
            f"need similarity (Q, G), query_ids (Q,), gallery_ids (G,), ignore (Q, G); got "
            f"{similarity.shape}, {query_ids.shape}, {gallery_ids.shape}, "
            f"{None if ignore is None else np.shape(ignore)}")
    if np.isnan(similarity).any():
        where = np.argwhere(np.isnan(similarity))[0].tolist()
        raise ReidlabError(f"similarity holds NaN, first at {where}; a score of it means nothing")
    rows = max(1, BLOCK // max(1, len(gallery_ids)))
    parts = [_block(similarity[k:k + rows], query_ids[k:k + rows], gallery_ids,
                    None if ignore is None else np.asarray(ignore)[k:k + rows])
             for k in range(0, len(query_ids), rows)]
    first, precision, inverse = (np.concatenate(p) for p in zip(*parts, strict=True))
    if not len(first):
        raise ReidlabError("no query has a match in the gallery; nothing can be scored")
    return RankReport(*(float((first <= k).mean()) for k in (1, 5, 10)), float(precision.mean()),
                      float(inverse.mean()), len(first), len(query_ids) - len(first),
                      len(gallery_ids))


def _block(scores: np.ndarray, query_ids: np.ndarray, gallery_ids: np.ndarray, ignore):
    """Rank of the first match, average precision and inverse penalty of each counted query."""
    match = query_ids[:, None] == gallery_ids[None, :]
    if ignore is not None:
        match &= ~ignore
        scores = np.where(ignore, -np.inf, scores)
    query, item = np.nonzero(match)
    reached = scores[query, item]
    order = np.lexsort((-reached, query))
    query, reached = query[order], reached[order]            # by query, best match first
    count = np.bincount(query, minlength=len(scores))
    place = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + 1
    at_least = np.empty(len(query), np.int64)                # gallery items that reach this score
    step = max(1, BLOCK // max(1, scores.shape[1]))
    for k in range(0, len(query), step):
        at_least[k:k + step] = (
            scores[query[k:k + step]] >= reached[k:k + step, None]).sum(axis=1)
    if len(query):                                           # last of a run of equal matches
        ends = np.append((query[1:] != query[:-1]) | (reached[1:] != reached[:-1]), True)
        run_end = np.flatnonzero(ends)[np.cumsum(ends) - ends]
        wrong = at_least - place[run_end]                    # non-matches ranked before
    else:
        wrong = at_least
    ranks = place + wrong
    counted = np.flatnonzero(count)
    start = (np.cumsum(count) - count)[counted]
    precision = np.add.reduceat(place / ranks, start) / count[counted] if len(start) else place
    return ranks[start], precision, count[counted] / ranks[start + count[counted] - 1]


def with_random_ties(similarity, query_ids, gallery_ids, ignore=None, draws: int = 5) -> dict:
    """Expected scores when ties are broken at random: the mean of some seeded draws.

    Args:
        similarity: (Q, G) of integers, so that noise below one only breaks ties.
    """
    rng = np.random.default_rng(0)
    reports = [rank(similarity + 0.5 * rng.random(similarity.shape), query_ids, gallery_ids,
                    ignore).to_dict() for _ in range(draws)]
    return {name: float(np.mean([r[name] for r in reports]))
            for name in ("r1", "r5", "r10", "map", "minp")}
