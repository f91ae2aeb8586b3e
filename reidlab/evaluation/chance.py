"""What a ranking by pure chance scores, worked out instead of drawn."""
from math import comb

import numpy as np


def chance(query_ids, gallery_ids, ignore=None) -> dict[str, float]:
    """Expected scores when each query's gallery stands in random order; arguments as in `rank`."""
    match = np.asarray(query_ids)[:, None] == np.asarray(gallery_ids)[None, :]
    left = np.ones_like(match) if ignore is None else ~np.asarray(ignore)
    sizes = np.stack([left.sum(axis=1), (match & left).sum(axis=1)], axis=1)
    kinds, counts = np.unique(sizes[sizes[:, 1] > 0], axis=0, return_counts=True)
    each = [expected(int(gallery), int(matches)) for gallery, matches in kinds]
    return {name: float(np.average([found[name] for found in each], weights=counts))
            for name in each[0]}


def expected(gallery: int, matches: int) -> dict[str, float]:
    """Expected R@k, AP and INP of one query.

    Args:
        gallery: N items in random order.
        matches: m of them, at least 1, are of the right person.

    A match stands at rank i with chance m / N, and (m − 1)(i − 1) / (N − 1) of the others before
    it; the last match stands at rank r with chance C(r − 1, m − 1) / C(N, m).
    """
    place = np.arange(1, gallery + 1)
    before = (place - 1) * (matches - 1) / max(1, gallery - 1)
    last = place[matches - 1:]
    steps_down = (last[:0:-1] - matches) / (last[:0:-1] - 1)  # chance of r − 1 over that of r
    ends_here = matches / gallery * np.cumprod(np.append(1.0, steps_down))[::-1]
    return {**{f"r{k}": 1 - comb(gallery - matches, k) / comb(gallery, k) if k <= gallery else 1.0
               for k in (1, 5, 10)},
            "map": float(((1 + before) / place).mean()),
            "minp": float((ends_here * matches / last).sum())}
