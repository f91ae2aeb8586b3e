"""What a ranking by pure chance scores, worked out instead of drawn.

Shapes: Q queries, G gallery pictures, P people in the gallery.
"""
from functools import lru_cache
from math import comb

import numpy as np

from reidlab.evaluation.ranking import nothing_to_score, shown_items

FIRST = (1, 5, 10, 20)  # the k of R@k


def chance(query_ids, gallery_ids, ignore=None, people_once: bool = False) -> dict[str, float]:
    """Expected scores when each query's gallery stands in random order.

    Args:
        query_ids, gallery_ids, ignore: as in `retrieval_metrics`.
        people_once: R@k counts people, each at the place of their best picture; ``map`` and
            ``minp`` count pictures either way.

    Raises:
        ReidlabError: as `retrieval_metrics`.
    """
    query_ids, gallery_ids = np.asarray(query_ids), np.asarray(gallery_ids)
    shown = shown_items(query_ids, gallery_ids, ignore)
    match = query_ids[:, None] == gallery_ids[None, :]
    shown = np.ones_like(match) if shown is None else shown
    matches = (match & shown).sum(axis=1)
    counted = matches > 0
    if not counted.any():
        raise nothing_to_score()
    sizes = np.stack([shown.sum(axis=1), matches], axis=1)[counted]
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    each = [expected(int(gallery), int(own)) for gallery, own in kinds]
    means = {name: float(np.average([found[name] for found in each], weights=counts))
             for name in each[0]}
    if people_once:
        means |= _over_people(gallery_ids, shown[counted], matches[counted])
    return means


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
               for k in FIRST},
            "map": float(((1 + before) / place).mean()),
            "minp": float((ends_here * matches / last).sum())}


def expected_over_people(others: dict[int, int], own: int) -> dict[str, float]:
    """Expected R@k over people of one query, whose person stands at their best picture.

    Give every picture a place drawn evenly from [0, 1]; that is a random order. With 1 − u for the
    right person's best place, the density of u is n·uⁿ⁻¹, and a person with s pictures stands
    before with chance 1 − uˢ, independently of the others. So R@k is the integral over u of
    n·uⁿ⁻¹ · P(at most k − 1 of the others stand before), a sum of binomials for equal s.

    The integrand is a polynomial of degree N − 1 in u: Gauss-Legendre quadrature at N / 2 points
    gives the integral itself, but for rounding; all summands are positive. For many pictures
    64 + 4√N points are enough: uᴺ has Chebyshev coefficients of the size exp(−j² / N).

    Args:
        others: pictures s → how many other people have that many.
        own: n of the N pictures show the right person, at least 1.
    """
    pictures = own + sum(size * people for size, people in others.items())
    u, weights = _quadrature(min(-(-pictures // 2), 64 + 4 * int(pictures ** 0.5)))
    most = max(FIRST)
    before = np.zeros((most, len(u)))                # P(exactly j of the others stand before)
    before[0] = 1.0
    for size, people in others.items():
        absent, present = u ** size, -np.expm1(size * np.log(u))
        reach = min(most - 1, people)
        group = [comb(people, j) * present ** j * absent ** (people - j) for j in range(reach + 1)]
        before = np.stack([sum(group[j] * before[k - j] for j in range(min(k, reach) + 1))
                           for k in range(most)])
    at_place = before @ (weights * own * u ** (own - 1))
    return {f"r{k}": min(1.0, float(at_place[:k].sum())) for k in FIRST}


def _over_people(gallery_ids: np.ndarray, shown: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """Mean over queries, each with (G,) shown pictures and own matches; equal ones are one."""
    order = np.argsort(gallery_ids, kind="stable")
    _, first = np.unique(gallery_ids[order], return_index=True)
    sizes = np.add.reduceat(shown[:, order], first, axis=1, dtype=np.int64)  # (Q, P) pictures
    sizes = np.concatenate([own[:, None], np.sort(sizes, axis=1)], axis=1)
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    each = []
    for own_size, *everybody in kinds.tolist():
        everybody.remove(own_size)
        size, people = np.unique([s for s in everybody if s], return_counts=True)
        each.append(expected_over_people(dict(zip(size.tolist(), people.tolist(), strict=True)),
                                         own_size))
    return {name: float(np.average([found[name] for found in each], weights=counts))
            for name in each[0]}


@lru_cache(maxsize=8)
def _quadrature(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights of Gauss-Legendre quadrature on (0, 1)."""
    place, weight = np.polynomial.legendre.leggauss(points)
    return (place + 1) / 2, weight / 2
