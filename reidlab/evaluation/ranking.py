"""Similarities and ids in, R@k, mAP and mINP out. Shapes: Q queries, G gallery items."""
import dataclasses
from dataclasses import dataclass

import numpy as np

from reidlab.errors import ReidlabError

BLOCK = 1 << 23  # similarities looked at together; bounds memory
SCORES = ("r1", "r5", "r10", "r20", "map", "minp")


@dataclass(frozen=True)
class RetrievalMetrics:
    """Retrieval scores in [0, 1], means over the counted queries.

    Attributes:
        r1, r5, r10, r20: share of queries with a match among the first 1, 5, 10, 20.
        map: mean over queries of the mean precision at its matches.
        minp: mean over queries of matches / rank of the last match.
        queries: counted queries; skipped: queries without any match in the gallery.
        gallery: G.

    Raises:
        ReidlabError: a score outside [0, 1], which no ranking can have.
    """

    r1: float
    r5: float
    r10: float
    r20: float
    map: float
    minp: float
    queries: int
    skipped: int
    gallery: int

    def __post_init__(self):
        for name in SCORES:
            if not 0 <= getattr(self, name) <= 1:
                raise ReidlabError(f"{name} is {getattr(self, name):.6g}, outside of [0, 1]: a "
                                   "fault of the scoring; report it with the similarities")

    def to_dict(self) -> dict:
        """Plain data for JSON."""
        return dataclasses.asdict(self)


def retrieval_metrics(similarity, query_ids, gallery_ids, ignore=None) -> RetrievalMetrics:
    """Score a similarity matrix against identities.

    Ties: a non-match that ties with a match counts as ranked before it. So the score depends on
    the similarities alone, never on the order of the gallery, and an all-equal matrix scores
    what the worst ordering would.

    Counting how many scores reach each match is exact and needs no sorting of the gallery. Scores
    are compared as they come, never negated or converted, so that unsigned and large integers keep
    their order.

    Args:
        similarity: (Q, G) finite numbers of any kind, larger is more alike.
        query_ids: (Q,) integers; gallery_ids: (G,) integers.
        ignore: (Q, G) bool or 0 and 1, gallery items that are removed for a query.

    Returns:
        The report; all ones for a perfect ranking.

    Raises:
        ReidlabError: NaN or infinite scores, shapes that do not fit, another mask, or no query
            with a match.
    """
    similarity, query_ids, gallery_ids, shown = _checked(similarity, query_ids, gallery_ids, ignore)
    rows = max(1, BLOCK // max(1, len(gallery_ids)))
    parts = [_block(similarity[k:k + rows], query_ids[k:k + rows], gallery_ids,
                    None if shown is None else shown[k:k + rows])
             for k in range(0, len(query_ids), rows)]
    if not sum(len(part[0]) for part in parts):
        raise nothing_to_score()
    first, precision, inverse = (np.concatenate(p) for p in zip(*parts, strict=True))
    r1, r5, r10, r20 = (float((first <= k).mean()) for k in (1, 5, 10, 20))
    return RetrievalMetrics(
        r1,
        r5,
        r10,
        r20,
        float(precision.mean()),
        float(inverse.mean()),
        len(first),
        len(query_ids) - len(first),
        len(gallery_ids),
    )


def shown_items(query_ids, gallery_ids, ignore) -> np.ndarray | None:
    """(Q, G) bool, the items that a query is ranked against; None where nothing is ignored.

    Raises:
        ReidlabError: a mask of another shape, or one that holds more than True and False, 1 and 0.
    """
    if ignore is None:
        return None
    ignore = np.asarray(ignore)
    if ignore.shape != (len(query_ids), len(gallery_ids)):
        raise _misfit(None, query_ids, gallery_ids, ignore)
    if ignore.dtype == bool:
        return ~ignore
    other = (ignore != 0) & (ignore != 1)
    if other.any():
        raise ReidlabError("ignore must hold True and False, or 1 and 0; got "
                           f"{ignore[other].flat[0]}, first at {np.argwhere(other)[0].tolist()}")
    return ignore == 0


def nothing_to_score() -> ReidlabError:
    """The error of a gallery in which no query finds its person, or of no query at all."""
    return ReidlabError("no query has a match in the gallery; nothing can be scored")


def _misfit(similarity, query_ids, gallery_ids, ignore) -> ReidlabError:
    shapes = ", ".join("None" if x is None else str(np.shape(x))
                       for x in (similarity, query_ids, gallery_ids, ignore))
    return ReidlabError("need similarity (Q, G), query_ids (Q,), gallery_ids (G,), ignore (Q, G); "
                        f"got {shapes}")


def _checked(similarity, query_ids, gallery_ids, ignore):
    """The arguments of `retrieval_metrics` as arrays, and the items shown in place of those
    ignored."""
    similarity = np.asarray(similarity)
    query_ids, gallery_ids = np.asarray(query_ids), np.asarray(gallery_ids)
    if similarity.shape != (query_ids.size, gallery_ids.size) or (
            query_ids.ndim, gallery_ids.ndim) != (1, 1):
        raise _misfit(similarity, query_ids, gallery_ids, ignore)
    if similarity.dtype.kind not in "biuf":
        raise ReidlabError(f"similarity must hold real numbers; got {similarity.dtype}")
    finite = np.isfinite(similarity)
    if not finite.all():
        where = np.argwhere(~finite)[0]
        value = similarity[tuple(where)]
        raise ReidlabError(f"similarity holds {'NaN' if np.isnan(value) else value}, first at "
                           f"{where.tolist()}; a score of it means nothing")
    return similarity, query_ids, gallery_ids, shown_items(query_ids, gallery_ids, ignore)


def _block(scores: np.ndarray, query_ids: np.ndarray, gallery_ids: np.ndarray, shown):
    """Rank of the first match, average precision and inverse penalty of each counted query."""
    match = query_ids[:, None] == gallery_ids[None, :]
    if shown is not None:
        match &= shown
    query, item = np.nonzero(match)
    reached = scores[query, item]
    order = np.lexsort((reached, -query))[::-1]
    query, reached = query[order], reached[order]            # by query, best match first
    count = np.bincount(query, minlength=len(scores))
    place = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + 1
    at_least = np.empty(len(query), np.int64)                # gallery items that reach this score
    step = max(1, BLOCK // max(1, scores.shape[1]))
    for k in range(0, len(query), step):
        some = query[k:k + step]
        reach = scores[some] >= reached[k:k + step, None]
        if shown is not None:
            reach &= shown[some]
        at_least[k:k + step] = reach.sum(axis=1)
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
        similarity, query_ids, gallery_ids, ignore: as in `retrieval_metrics`.

    Raises:
        ReidlabError: as `retrieval_metrics`.
    """
    similarity, query_ids, gallery_ids, _ = _checked(similarity, query_ids, gallery_ids, ignore)
    levels = np.unique(similarity, return_inverse=True)[1].reshape(similarity.shape)
    rng = np.random.default_rng(0)
    reports = [
        retrieval_metrics(
            levels + 0.5 * rng.random(similarity.shape), query_ids, gallery_ids, ignore
        ).to_dict()
        for _ in range(draws)
    ]  # noise below one only breaks ties
    return {name: float(np.mean([r[name] for r in reports])) for name in SCORES}
