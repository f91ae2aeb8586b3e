"""Scores from a matrix and ids: by hand, by a slow loop, by scikit-learn."""
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from reidlab.errors import ReidlabError
from reidlab.evaluation.chance import chance, expected
from reidlab.evaluation.ranking import RetrievalMetrics, retrieval_metrics, with_random_ties

RNG = np.random.default_rng(0)


def slow(similarity, query_ids, gallery_ids, ignore=None):
    """Sort each row, non-matches first among equals; count by hand."""
    r1, r5, r10, r20, ap, inp = [], [], [], [], [], []
    for q, row in enumerate(similarity):
        items = [(-s, bool(g == query_ids[q])) for k, (s, g) in
                 enumerate(zip(row, gallery_ids, strict=True))
                 if ignore is None or not ignore[q, k]]
        hits = [n for n, (_, match) in enumerate(sorted(items), start=1) if match]
        if not hits:
            continue
        for k, out in ((1, r1), (5, r5), (10, r10), (20, r20)):
            out.append(hits[0] <= k)
        ap.append(np.mean([(j + 1) / n for j, n in enumerate(hits)]))
        inp.append(len(hits) / hits[-1])
    return [float(np.mean(x)) for x in (r1, r5, r10, r20, ap, inp)]


def values(report):
    return [report.r1, report.r5, report.r10, report.r20, report.map, report.minp]


@pytest.mark.covers("R11")
def test_a_ranking_done_by_hand():
    # gallery ids 1 2 1 3; query 1 ranks them 2(.9) 1(.8) 3(.5) 1(.1): matches at 2 and 4
    report = retrieval_metrics([[.8, .9, .1, .5]], [1], [1, 2, 1, 3])
    assert values(report) == pytest.approx([0, 1, 1, 1, (1 / 2 + 2 / 4) / 2, 2 / 4])
    assert (report.queries, report.skipped, report.gallery) == (1, 0, 4)


@pytest.mark.covers("R11")
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
        assert values(retrieval_metrics(similarity, ids, gallery, ignore)) == pytest.approx(
            expected
        )


def test_map_is_scikit_learns_without_ties():
    similarity = RNG.normal(size=(20, 60))
    ids, gallery = RNG.integers(0, 6, 20), np.arange(60) % 6
    expected = np.mean([average_precision_score(gallery == i, row)
                        for i, row in zip(ids, similarity, strict=True)])
    assert retrieval_metrics(similarity, ids, gallery).map == pytest.approx(expected)


@pytest.mark.parametrize("tied", [False, True])
def test_order_of_the_gallery_does_not_matter(tied):
    similarity = RNG.integers(0, 3, (12, 30)) if tied else RNG.normal(size=(12, 30))
    ids, gallery = RNG.integers(0, 5, 12), np.arange(30) % 5
    order = RNG.permutation(30)
    assert retrieval_metrics(similarity, ids, gallery) == retrieval_metrics(
        similarity[:, order], ids, gallery[order]
    )


def test_an_all_equal_matrix_scores_the_worst_not_one():
    report = retrieval_metrics(np.zeros((4, 8)), [0, 1, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3])
    assert report.r1 == 0 and report.minp == pytest.approx(2 / 8)


def test_nan_is_refused_with_its_place():
    with pytest.raises(ValueError, match=r"NaN, first at \[1, 0\]"):
        retrieval_metrics([[0, 1], [np.nan, 1]], [0, 1], [0, 1])


def test_queries_without_a_match_are_skipped_and_counted():
    report = retrieval_metrics([[1, 0], [1, 0]], [0, 9], [0, 1])
    assert (report.queries, report.skipped, report.r1) == (1, 1, 1.0)
    with pytest.raises(ValueError, match="no query has a match"):
        retrieval_metrics([[1.0]], [0], [1])


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"got \(2, 3\), \(2,\), \(2,\)"):
        retrieval_metrics(np.zeros((2, 3)), [0, 1], [0, 1])


def test_blocks_change_nothing(monkeypatch):
    similarity = RNG.normal(size=(30, 50))
    ids, gallery = RNG.integers(0, 5, 30), np.arange(50) % 5
    whole = retrieval_metrics(similarity, ids, gallery)
    monkeypatch.setattr("reidlab.evaluation.ranking.BLOCK", 64)
    assert values(retrieval_metrics(similarity, ids, gallery)) == pytest.approx(values(whole))


def test_shuffled_ids_score_at_chance():
    gallery = np.repeat(np.arange(50), 4)
    similarity = np.equal.outer(np.arange(50), gallery) + 0.01 * RNG.random((50, 200))
    assert retrieval_metrics(similarity, np.arange(50), gallery).r1 == 1
    shuffled = [retrieval_metrics(similarity, RNG.permutation(50), gallery).r1 for _ in range(40)]
    assert np.mean(shuffled) == pytest.approx(1 / 50, abs=0.012)
    assert chance(np.arange(50), gallery)["r1"] == pytest.approx(4 / 200)


@pytest.mark.parametrize(("gallery", "matches"), [(1, 1), (6, 1), (6, 2), (6, 3), (6, 6), (7, 4)])
def test_chance_is_the_mean_over_all_orders(gallery, matches):
    orders = [
        retrieval_metrics(np.array([order], float), [1], np.arange(gallery) < matches).to_dict()
        for order in permutations(range(gallery))
    ]
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


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64, np.uint64, np.float16, np.float32])
def test_scores_of_any_kind_of_number_are_ranked_and_never_turned_around(kind):
    """Matches stand at 1 and 3: precision 1 and 2/3, and the last match at rank 3."""
    report = retrieval_metrics(np.array([[0, 5, 3]], kind), [0], [0, 0, 1])
    assert values(report) == pytest.approx([1, 1, 1, 1, (1 + 2 / 3) / 2, 2 / 3])
    # a non-match ties with a match
    turned = retrieval_metrics(np.array([[True, False, False]]), [0], [0, 0, 1])
    assert values(turned) == pytest.approx([1, 1, 1, 1, (1 + 2 / 3) / 2, 2 / 3])


@pytest.mark.parametrize(("kind", "high"), [(np.uint64, 2 ** 64 - 1), (np.int64, 2 ** 63 - 1)])
def test_large_integers_that_differ_by_one_are_never_equal(kind, high):
    """As float64 the two scores would tie, and the non-match would count first."""
    close = np.array([[high, high - 1]], kind)
    assert (
        retrieval_metrics(close, [0], [0, 1]).r1 == with_random_ties(close, [0], [0, 1])["r1"] == 1
    )
    assert (
        retrieval_metrics(close, [0], [1, 0]).r1 == with_random_ties(close, [0], [1, 0])["r1"] == 0
    )
    lowest = np.array([[np.iinfo(kind).min, 3]], kind)
    assert (
        retrieval_metrics(lowest, [0], [0, 1]).r1 == 0
        and retrieval_metrics(lowest, [0], [1, 0]).r1 == 1
    )


def test_scores_that_are_no_real_numbers_are_refused():
    for wrong in (np.array([[1j, 2]]), np.array([["a", "b"]]), np.array([[None, 1]], object)):
        with pytest.raises(ReidlabError, match="similarity must hold real numbers; got "):
            retrieval_metrics(wrong, [0], [0, 1])


@pytest.mark.covers("R11")
def test_a_score_outside_zero_to_one_is_impossible():
    assert RetrievalMetrics(1.0, 1.0, 1.0, 1.0, 0.0, 0.5, 1, 0, 3).r1 == 1
    with pytest.raises(ReidlabError, match=r"map is 1\.1667, outside of \[0, 1\]"):
        RetrievalMetrics(1.0, 1.0, 1.0, 1.0, 1.1667, 0.5, 1, 0, 3)
    with pytest.raises(ReidlabError, match="minp is nan"):
        RetrievalMetrics(1.0, 1.0, 1.0, 1.0, 0.5, float("nan"), 1, 0, 3)


@pytest.mark.parametrize("kind", [int, np.uint8, float])
def test_an_ignore_mask_of_zeros_and_ones_is_the_boolean_mask(kind):
    """The best item is removed: the match stands first of two, not second of three."""
    near, mask = np.array([[9.0, 5.0, 1.0]]), np.array([[1, 0, 0]], kind)
    report = retrieval_metrics(near, [1], [2, 1, 2], mask)
    assert (
        values(report)
        == [1, 1, 1, 1, 1, 1]
        == values(retrieval_metrics(near, [1], [2, 1, 2], mask > 0))
    )
    by_chance = chance([1], [2, 1, 2], mask)
    assert by_chance == pytest.approx(expected(2, 1)) == chance([1], [2, 1, 2], mask > 0)
    assert with_random_ties([[9, 5, 1]], [1], [2, 1, 2], mask)["r1"] == 1


@pytest.mark.parametrize("wrong", [2, -1, 0.5, float("nan")])
def test_an_ignore_mask_of_other_values_is_refused(wrong):
    mask = np.array([[wrong, 0.0, 0.0]])
    for ask in (lambda: retrieval_metrics(np.ones((1, 3)), [1], [2, 1, 2], mask),
                lambda: chance([1], [2, 1, 2], mask),
                lambda: with_random_ties(np.ones((1, 3)), [1], [2, 1, 2], mask)):
        with pytest.raises(ReidlabError, match="ignore must hold True and False, or 1 and 0; got"):
            ask()


@pytest.mark.parametrize("wrong", [np.inf, -np.inf])
def test_infinite_scores_are_refused_with_their_place(wrong):
    for ask in (retrieval_metrics, with_random_ties):
        with pytest.raises(ReidlabError, match=rf"holds {wrong}, first at \[0, 1\]"):
            ask(np.array([[1.0, wrong, 0.0]]), [0], [0, 0, 1])


def test_removed_items_stand_behind_no_score_however_low():
    """A removed item that shares the lowest score must not count as ranked before the match."""
    lowest = np.finfo(np.float64).min
    near, mask = np.array([[lowest, lowest, 1.0]]), np.array([[False, True, False]])
    assert values(retrieval_metrics(near, [0], [0, 1, 2], mask)) == [0, 1, 1, 1, 0.5, 0.5]


NOBODY = "no query has a match in the gallery; nothing can be scored"


@pytest.mark.parametrize(("queries", "gallery", "hidden"), [
    ([9, 8], [0, 1, 2], False), ([], [0, 1, 2], False), ([0, 1], [], False), ([], [], False),
    ([0, 1], [0, 1, 2], True)])
def test_queries_without_any_match_are_the_same_error_everywhere(queries, gallery, hidden):
    near = np.zeros((len(queries), len(gallery)))
    mask = np.ones(near.shape, bool) if hidden else None
    for ask in (lambda: retrieval_metrics(near, queries, gallery, mask),
                lambda: with_random_ties(near, queries, gallery, mask),
                lambda: chance(queries, gallery, mask),
                lambda: chance(queries, gallery, mask, people_once=True)):
        with pytest.raises(ReidlabError, match=NOBODY):
            ask()


def test_shapes_that_do_not_fit_are_named_by_chance_and_ties_too():
    with pytest.raises(ReidlabError, match=r"ignore \(Q, G\); got .*\(2,\), \(3,\), \(2, 2\)"):
        chance([0, 1], [0, 1, 2], np.zeros((2, 2), bool))
    with pytest.raises(ReidlabError, match=r"got \(2, 3\), \(2,\), \(2,\)"):
        with_random_ties(np.zeros((2, 3)), [0, 1], [0, 1])
