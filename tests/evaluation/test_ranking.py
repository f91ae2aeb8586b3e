"""Scores from a matrix and ids: by hand, by a slow loop, by scikit-learn."""
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from reidlab.evaluation.chance import chance, expected
from reidlab.evaluation.ranking import rank, with_random_ties

RNG = np.random.default_rng(0)


def slow(similarity, query_ids, gallery_ids, ignore=None):
    """Sort each row, non-matches first among equals; count by hand."""
    r1, r5, r10, ap, inp = [], [], [], [], []
    for q, row in enumerate(similarity):
        items = [(-s, bool(g == query_ids[q])) for k, (s, g) in
                 enumerate(zip(row, gallery_ids, strict=True))
                 if ignore is None or not ignore[q, k]]
        hits = [n for n, (_, match) in enumerate(sorted(items), start=1) if match]
        if not hits:
            continue
        for k, out in ((1, r1), (5, r5), (10, r10)):
            out.append(hits[0] <= k)
        ap.append(np.mean([(j + 1) / n for j, n in enumerate(hits)]))
        inp.append(len(hits) / hits[-1])
    return [float(np.mean(x)) for x in (r1, r5, r10, ap, inp)]


def values(report):
    return [report.r1, report.r5, report.r10, report.map, report.minp]


@pytest.mark.covers("R11")
def test_a_ranking_done_by_hand():
    # gallery ids 1 2 1 3; query 1 ranks them 2(.9) 1(.8) 3(.5) 1(.1): matches at 2 and 4
    report = rank([[.8, .9, .1, .5]], [1], [1, 2, 1, 3])
    assert values(report) == pytest.approx([0, 1, 1, (1 / 2 + 2 / 4) / 2, 2 / 4])
    assert (report.queries, report.skipped, report.gallery) == (1, 0, 4)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("hidden", [False, True])
def test_equals_a_slow_loop(ties, hidden):
    for trial in range(30):
        rng = np.random.default_rng(trial)
        q, g = rng.integers(1, 15), rng.integers(2, 40)
        similarity = rng.integers(0, 4, (q, g)).astype(float) if ties else rng.normal(size=(q, g))
        ids, gallery = rng.integers(0, 4, q), rng.integers(0, 4, g)
        gallery[0] = ids[0]
        ignore = rng.random((q, g)) < 0.2 if hidden else None
        if ignore is not None:
            ignore[0, 0] = False
        expected = slow(similarity, ids, gallery, ignore)
        assert values(rank(similarity, ids, gallery, ignore)) == pytest.approx(expected)


def test_map_is_scikit_learns_without_ties():
    similarity = RNG.normal(size=(20, 60))
    ids, gallery = RNG.integers(0, 6, 20), np.arange(60) % 6
    expected = np.mean([average_precision_score(gallery == i, row)
                        for i, row in zip(ids, similarity, strict=True)])
    assert rank(similarity, ids, gallery).map == pytest.approx(expected)


@pytest.mark.parametrize("tied", [False, True])
def test_order_of_the_gallery_does_not_matter(tied):
    similarity = RNG.integers(0, 3, (12, 30)) if tied else RNG.normal(size=(12, 30))
    ids, gallery = RNG.integers(0, 5, 12), np.arange(30) % 5
    order = RNG.permutation(30)
    assert rank(similarity, ids, gallery) == rank(similarity[:, order], ids, gallery[order])


def test_an_all_equal_matrix_scores_the_worst_not_one():
    report = rank(np.zeros((4, 8)), [0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3])
    assert report.r1 == 0 and report.minp == pytest.approx(2 / 8)


def test_nan_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"NaN, first at \[1, 0\]"):
        rank([[0, 1], [np.nan, 1]], [0, 1], [0, 1])


def test_queries_without_a_match_are_skipped_and_counted():
    report = rank([[1, 0], [1, 0]], [0, 9], [0, 1])
    assert (report.queries, report.skipped, report.r1) == (1, 1, 1.0)
    with pytest.raises(ValueError, match="no query has a match"):
        rank([[1.0]], [0], [1])


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(2,\), \(2,\)"):
        rank(np.zeros((2, 3)), [0, 1], [0, 1])


def test_blocks_change_nothing(monkeypatch):
    similarity = RNG.normal(size=(30, 50))
    ids, gallery = RNG.integers(0, 5, 30), np.arange(50) % 5
    whole = rank(similarity, ids, gallery)
    monkeypatch.setattr("reidlab.evaluation.ranking.BLOCK", 64)
    assert values(rank(similarity, ids, gallery)) == pytest.approx(values(whole))


def test_shuffled_ids_score_at_chance():
    gallery = np.repeat(np.arange(50), 4)
    similarity = np.equal.outer(np.arange(50), gallery) + 0.01 * RNG.random((50, 200))
    assert rank(similarity, np.arange(50), gallery).r1 == 1
    shuffled = [rank(similarity, RNG.permutation(50), gallery).r1 for _ in range(40)]
    assert np.mean(shuffled) == pytest.approx(1 / 50, abs=0.012)
    assert chance(np.arange(50), gallery)["r1"] == pytest.approx(4 / 200)


@pytest.mark.parametrize(("gallery", "matches"), [(1, 1), (6, 1), (6, 2), (6, 3), (6, 6), (7, 4)])
def test_chance_is_the_mean_over_all_orders(gallery, matches):
    orders = [rank(np.array([order], float), [1], np.arange(gallery) < matches).to_dict()
              for order in permutations(range(gallery))]
    for name, value in expected(gallery, matches).items():
        assert value == pytest.approx(np.mean([found[name] for found in orders])), name


def test_chance_counts_what_is_left_of_the_gallery_and_queries_with_a_match():
    ignore = np.zeros((3, 6), bool)
    ignore[0, 2:4] = True                        # 4 left, 2 of person 1
    found = chance([1, 2, 9], [1, 1, 2, 2, 3, 3], ignore)
    one, two = expected(4, 2), expected(6, 2)    # nobody is person 9
    assert found == pytest.approx({name: (one[name] + two[name]) / 2 for name in one})


def test_random_ties_give_the_expected_score():
    # two items tie for the first place, one is right: R1 is one half on average
    found = with_random_ties(np.array([[1, 1, 0]] * 200), [0] * 200, [0, 1, 2], draws=20)
    assert found["r1"] == pytest.approx(0.5, abs=0.03)
