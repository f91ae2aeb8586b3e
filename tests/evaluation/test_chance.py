"""Chance where R@k counts people: over all orders, by an exact fraction, by drawing."""
from fractions import Fraction
from itertools import permutations

import numpy as np
import pytest

from reidlab.data.records import Record
from reidlab.evaluation.chance import chance
from reidlab.evaluation.visible_infrared import Protocol, score, score_trials


def over_all_orders(gallery_ids, query, hidden=()):
    """Mean over every order of the shown pictures, people counted once: R1, R5, R10."""
    shown = [pid for k, pid in enumerate(gallery_ids) if k not in hidden]
    places = [list(dict.fromkeys(order)).index(query) for order in permutations(shown)]
    return [np.mean([place < k for place in places]) for k in (1, 5, 10)]


def by_fractions(sizes, own, most):
    """P(the own person is among the first 1 … most people), exactly.

    The next new person is one of those left, with a chance proportional to their pictures; states
    are how many people of each size stood already.
    """
    kinds = sorted(set(sizes))
    have = [sizes.count(s) for s in kinds]
    waiting = {tuple(0 for _ in kinds): Fraction(1)}
    reached, found = [], Fraction(0)
    for _ in range(most):
        later = {}
        for state, share in waiting.items():
            left = own + sum(s * (h - t) for s, h, t in zip(kinds, have, state, strict=True))
            found += share * Fraction(own, left)
            for k, (size, there) in enumerate(zip(kinds, have, strict=True)):
                if there > state[k]:
                    more = state[:k] + (state[k] + 1,) + state[k + 1:]
                    later[more] = later.get(more, 0) + share * Fraction(
                        size * (there - state[k]), left)
        waiting = later
        reached.append(found)
    return reached


def of_people(sizes, own):
    """Gallery ids: person 0 has `own` pictures, the others `sizes`."""
    return np.repeat(np.arange(len(sizes) + 1), [own, *sizes])


@pytest.mark.parametrize("gallery", [
    [0], [0, 1], [0, 0, 1], [0, 1, 1, 1], [0, 0, 1, 2, 2, 3], [3, 1, 0, 2, 1, 4, 5],
    [0, 1, 2, 3, 4, 5, 6]])
def test_chance_over_people_is_the_mean_over_all_orders(gallery):
    found = chance([0], gallery, people_once=True)
    assert [found[k] for k in ("r1", "r5", "r10")] == pytest.approx(over_all_orders(gallery, 0))


def test_chance_over_people_leaves_out_what_is_hidden():
    """A person all of whose pictures are hidden is nobody to this query."""
    gallery, hidden = [0, 0, 1, 1, 2, 3, 4, 5], (1, 4, 5)
    ignore = np.zeros((2, 8), bool)
    ignore[0, list(hidden)] = True
    one, other = over_all_orders(gallery, 0, hidden), over_all_orders(gallery, 3)
    found = chance([0, 3], gallery, ignore, people_once=True)
    assert [found[k] for k in ("r1", "r5", "r10")] == pytest.approx(
        [(a + b) / 2 for a, b in zip(one, other, strict=True)])
    assert found == pytest.approx(chance([0, 3], gallery, ignore.astype(int), people_once=True))
    unmatched = chance([0, 3, 77], gallery, np.vstack([ignore, ignore[1:]]), people_once=True)
    assert unmatched == pytest.approx(found)  # a query without a match is not counted


@pytest.mark.parametrize(("sizes", "own"), [
    ([1] * 30, 1), ([4, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1], 2), ([1] * 20 + [9] * 12, 1),
    ([1] * 20 + [9] * 12, 9), ([2] * 90 + [3] * 200 + [4] * 60, 3), ([200] + [1] * 13, 1)])
def test_chance_over_people_equals_exact_fractions(sizes, own):
    reached = by_fractions(sizes, own, 10)
    found = chance([0], of_people(sizes, own), people_once=True)
    for k in (1, 5, 10):
        assert found[f"r{k}"] == pytest.approx(float(reached[k - 1]), rel=1e-10)


@pytest.mark.parametrize("pictures", [1, 3])
def test_with_equally_many_pictures_chance_over_people_is_k_of_all_people(pictures):
    found = chance([0], of_people([pictures] * 11, pictures), people_once=True)
    assert [found[k] for k in ("r1", "r5", "r10")] == pytest.approx([1 / 12, 5 / 12, 10 / 12])


def test_chance_over_people_keeps_map_and_minp_of_pictures():
    gallery = of_people([4, 3, 1, 2], 3)
    plain, once = chance([0], gallery), chance([0], gallery, people_once=True)
    assert {k: once[k] for k in ("map", "minp")} == {k: plain[k] for k in ("map", "minp")}
    assert once["r1"] == pytest.approx(plain["r1"]) and once["r5"] > plain["r5"]


def people(*pairs):
    return [Record(path="", pid=pid, camid=camera) for pid, camera in pairs]


def test_chance_over_people_is_what_random_scores_reach():
    """SYSU rules on people seen by one to four cameras, camera 2 hidden from camera 3."""
    rng = np.random.default_rng(0)
    rules = Protocol(data="", direction="infrared_to_visible", people_once=True, skipped=((3, 2),))
    shown = people(*[(p, c) for p in range(12) for c in (1, 2, 4, 5)[:1 + p % 4] for _ in range(3)])
    asked = people(*[(p, c) for p in range(12) for c in (3, 6)])
    by_chance = chance([r.pid for r in asked], [r.pid for r in shown],
                       rules.ignored(asked, shown), people_once=True)
    drawn = [score(rng.random((len(asked), len(shown))), asked, shown, rules) for _ in range(400)]
    for name in ("r1", "r5", "r10", "map"):
        reached = [found[name] for found in drawn]
        tolerance = 4 * np.std(reached) / len(reached) ** 0.5  # four standard errors
        assert abs(np.mean(reached) - by_chance[name]) < tolerance, name


def test_the_chance_beside_a_score_counts_what_the_score_counts():
    """12 people with three pictures each: ten of twelve people, not 21 of 36 pictures."""
    records = {kind: people(*[(p, c) for p in range(12) for c in cameras])
               for kind, cameras in (("visible", (1, 2, 4)), ("infrared", (6,)))}
    vectors = {kind: np.random.default_rng(0).standard_normal((len(rows), 8))
               for kind, rows in records.items()}
    both = [score_trials(vectors, records, Protocol(
        data="", direction="infrared_to_visible", by_camera=True, people_once=once))
        for once in (True, False)]
    assert both[0]["chance"]["r10"] == pytest.approx(10 / 12)
    assert both[1]["chance"]["r10"] < 0.7


def test_large_galleries_are_worked_out_too():
    """Equal groups have a known answer at any size; 30,000 pictures."""
    found = chance([0], of_people([30] * 999, 30), people_once=True)
    assert [found[k] for k in ("r1", "r5", "r10")] == pytest.approx([.001, .005, .01], rel=1e-9)

