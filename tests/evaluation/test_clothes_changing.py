"""General, same clothes, other clothes: which pictures a query is shown, by hand."""
import numpy as np
import pytest

from reidlab.data.records import Record
from reidlab.errors import ReidlabError
from reidlab.evaluation.clothes_changing import TRIALS, ignored, outfit_tables
from reidlab.evaluation.embeddings import Embeddings
from reidlab.evaluation.ranking import retrieval_metrics


def record(name, pid, camera, outfit, role=""):
    return Record(name, pid, camera, ("",), ("",), ("",), outfit, role=role)


def embeddings(records, vectors):
    vectors = np.asarray(vectors, np.float32)
    nothing = np.zeros((len(records), vectors.shape[1]), np.float32)
    return Embeddings(records, vectors, nothing, nothing, nothing, np.arange(len(records)),
                      np.zeros(len(records), int))


QUERY = record("q", 1, 1, 10, "query")
GALLERY = [record("camera and outfit", 1, 1, 10), record("outfit", 1, 2, 10),
           record("camera", 1, 1, 11), record("neither", 1, 2, 11), record("other", 2, 1, 10)]


@pytest.mark.parametrize(("kind", "left_out"), [
    ("general", [1, 0, 1, 0, 0]), ("clothes_changing", [1, 1, 1, 0, 0]),
    ("same_clothes", [1, 0, 1, 1, 0])])
def test_who_is_left_out_when_camera_or_outfit_are_equal(kind, left_out):
    assert ignored([QUERY], GALLERY, kind).astype(int).tolist() == [left_out]


def test_a_query_never_meets_itself_and_unknown_cameras_are_not_equal():
    unknown = [record("a", 1, 0, 10), record("b", 1, 0, 10), record("c", 1, 0, 11)]
    assert ignored(unknown, unknown, "general").tolist() == np.eye(3, dtype=bool).tolist()
    assert ignored(unknown[:1], unknown, "clothes_changing").tolist() == [[True, True, False]]


def test_tables_are_scores_of_what_is_left():
    records = [QUERY, *(record(r.path, r.pid, r.camid, r.outfit, "gallery") for r in GALLERY)]
    # by identity: camera and outfit .9, outfit .8, camera .7, neither .5, other .6
    angles = np.arccos([1, .9, .8, .7, .5, .6])
    found = outfit_tables(embeddings(records, np.stack([np.cos(angles), np.sin(angles)], axis=1)),
                          "ltcc:DIR")
    assert set(found) == {"general", "same_clothes", "clothes_changing"}
    assert (found["general"]["r1"], found["general"]["map"]) == (1, pytest.approx((1 + 2 / 3) / 2))
    assert (found["same_clothes"]["r1"], found["same_clothes"]["map"]) == (1, 1)
    assert (found["clothes_changing"]["r1"], found["clothes_changing"]["map"]) == (0, .5)
    assert found["clothes_changing"]["chance"]["r1"] == pytest.approx(1 / 2)
    assert "and in its outfit" in found["clothes_changing"]["protocol"]


def test_a_kind_that_nobody_can_be_asked_in_is_left_out_and_skipped_queries_are_counted():
    one = [record("a", 1, 1, 1), record("b", 1, 2, 1), record("c", 2, 1, 2), record("d", 3, 1, 3)]
    found = outfit_tables(embeddings(one, np.eye(4)), "folder:DIR")
    assert set(found) == {"general", "same_clothes"}
    assert (found["general"]["queries"], found["general"]["skipped"]) == (2, 2)
    unknown = [record("a", 1, 0, -1), record("b", 1, 0, -1), record("c", 2, 0, -1)]
    found = outfit_tables(embeddings(unknown, [[1, 0], [1, 0], [0, 1]]), "folder:DIR")
    assert set(found) == {"general"} and found["general"]["r1"] == 1


def test_prcc_asks_from_b_and_c_and_draws_one_picture_a_person():
    rng = np.random.default_rng(0)
    records = [record(f"{camera}{pid}{n}", pid, camera, 2 * pid + (camera == 3),
                      "gallery" if camera == 1 else "query")
               for camera in (1, 2, 3) for pid in range(6) for n in range(3)]
    vectors = rng.standard_normal((len(records), 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = outfit_tables(embeddings(records, vectors), "prcc:DIR")
    pids = np.array([r.pid for r in records])
    gallery = np.arange(18)
    for kind, asking in (("same_clothes", np.arange(18, 36)), ("clothes_changing",
                                                               np.arange(36, 54))):
        similarity = (vectors[asking] @ vectors[gallery].T).astype(np.float32)
        whole = retrieval_metrics(similarity, pids[asking], pids[gallery])
        assert found[kind]["map"] == pytest.approx(whole.map, rel=1e-5)
        slowly = []
        for trial in range(TRIALS):  # one of each person's three pictures
            dice = np.random.default_rng([0, trial])
            drawn = [int(dice.choice(np.flatnonzero(pids[gallery] == pid))) for pid in range(6)]
            slowly.append(retrieval_metrics(similarity[:, drawn], pids[asking], range(6)).r1)
        single = found[f"{kind}_single_shot"]
        assert single["r1"] == pytest.approx(np.mean(slowly)) and single["gallery"] == 6
    assert set(found) == {"same_clothes", "clothes_changing", "same_clothes_single_shot",
                          "clothes_changing_single_shot"}


def test_a_perfect_identity_scores_one_everywhere_and_a_perfect_outfit_fails_across():
    records = [record(f"{pid}{n}", pid, n + 1, 10 * pid + n // 2) for pid in range(5)
               for n in range(4)]
    perfect = outfit_tables(embeddings(records, np.eye(5)[[r.pid for r in records]]), "x")
    assert {table["map"] for table in perfect.values()} == {1.0}
    by_outfit = np.eye(10)[[2 * r.pid + r.outfit % 10 for r in records]]
    worn = outfit_tables(embeddings(records, by_outfit), "x")
    assert worn["same_clothes"]["r1"] == 1 and worn["clothes_changing"]["r1"] == 0
    with pytest.raises(ReidlabError):
        outfit_tables(embeddings(records, np.full((20, 5), np.nan)), "x")
