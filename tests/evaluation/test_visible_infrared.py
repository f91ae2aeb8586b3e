"""Visible-infrared protocols on hand-made cases, and re-ranking."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reidlab.config.changes import change
from reidlab.data.records import CrossModalSplit, Record, Split
from reidlab.encoders.dual_vit import INFRARED, VISIBLE
from reidlab.errors import ReidlabError
from reidlab.evaluation.ranking import retrieval_metrics
from reidlab.evaluation.reranking import reciprocal_similarity
from reidlab.evaluation.visible_infrared import (
    Protocol,
    embed_modalities,
    protocol,
    score,
    score_trials,
)
from reidlab.presets import preset

BOTH = {"direction": "infrared_to_visible"}


def people(*pairs):
    return [Record(path=f"{k}.png", pid=pid, camid=camera) for k, (pid, camera) in enumerate(pairs)]


def rules(source, **changes):
    plain = {"scoring.mirror": False, "scoring.channels": False, "data.source": source}
    return protocol(change(preset("embednet_corrected"), plain | changes))


@pytest.mark.covers("V36")
def test_the_protocol_says_itself_in_one_line():
    assert str(rules("sysu-mm01:DIR")) == (
        "SYSU-MM01, all search, infrared → visible; gallery 1 a person and camera; gallery cameras "
        "1, 2, 4, 5; queries of camera 3 skip gallery camera 2; R@k over people; 10 trials")
    indoor = rules("sysu-mm01:DIR", **{"scoring.search": "indoor", "scoring.gallery_shots": "10"})
    assert indoor.gallery_cameras == (1, 2) and indoor.gallery_shots == 10
    assert rules("regdb:DIR", **{"data.trial": 7}).trials == 1
    assert "gallery all pictures" in str(rules("regdb:DIR"))
    assert not rules("llcm:DIR").same_camera and rules("synthetic").skipped == ()


@pytest.mark.covers("V36")
def test_camera_three_does_not_see_camera_two():
    """The only picture of the person is in camera 2: a probe of camera 3 has no match left."""
    probes, gallery = people((1, 3), (1, 6)), people((1, 2), (2, 1))
    near = np.array([[0.9, 0.1], [0.9, 0.1]])
    found = score(near, probes, gallery, rules("sysu-mm01:DIR"))
    assert (found["queries"], found["skipped"], found["r1"]) == (1, 1, 1.0)
    both = people((1, 2), (1, 4), (2, 1))     # camera 4 remains, behind the other person
    found = score(np.array([[0.9, 0.2, 0.5]]), people((1, 3)), both, rules("sysu-mm01:DIR"))
    assert (found["r1"], found["r5"], found["map"]) == (0.0, 1.0, 0.5)


@pytest.mark.covers("V36")
def test_sysu_counts_people_once():
    """Three pictures of one wrong person come first: by pictures rank 4, by people rank 2."""
    gallery = people((2, 1), (2, 2), (2, 4), (1, 1), (3, 1))
    near = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    once = Protocol(data="", people_once=True, **BOTH)
    wrong = people((2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (1, 1))
    found = score(near, people((1, 6)), gallery, once)
    assert (found["r1"], found["r5"], found["map"]) == (0.0, 1.0, 0.25)
    far = np.array([[0.9, 0.8, 0.7, 0.65, 0.62, 0.6]])
    assert score(far, people((1, 6)), wrong, once)["r5"] == 0.0
    repeated = people((2, 1), (2, 2), (2, 4), (2, 5), (2, 1), (1, 1))
    assert score(far, people((1, 6)), repeated, once)["r5"] == 1.0
    assert score(far, people((1, 6)), repeated, Protocol(data="", **BOTH))["r5"] == 0.0


@pytest.mark.covers("V36")
def test_people_once_against_a_slow_loop():
    rng = np.random.default_rng(0)
    probes = people(*zip(rng.integers(6, size=30), rng.choice([3, 6], size=30), strict=True))
    gallery = people(*zip(rng.integers(6, size=40), rng.choice([1, 2, 4, 5], size=40), strict=True))
    near, convention = rng.random((30, 40)), rules("sysu-mm01:DIR")
    hits, precisions = [], []
    for q, probe in enumerate(probes):
        kept = [g for g in np.argsort(-near[q]) if not (probe.camid == 3 and gallery[g].camid == 2)]
        if probe.pid not in {gallery[g].pid for g in kept}:
            continue
        order = list(dict.fromkeys(gallery[g].pid for g in kept))
        hits.append(order.index(probe.pid))
        right = np.array([gallery[g].pid == probe.pid for g in kept])
        precisions.append((right.cumsum() / np.arange(1, len(right) + 1))[right].mean())
    found = score(near, probes, gallery, convention)
    assert found["queries"] == len(hits)
    for name, k in (("r1", 1), ("r5", 5)):
        assert found[name] == pytest.approx(np.mean([h < k for h in hits]))
    assert found["map"] == pytest.approx(np.mean(precisions))


@pytest.mark.covers("V36")
def test_llcm_does_not_show_a_probe_its_own_camera():
    probes, gallery = people((1, 4)), people((1, 4), (2, 4), (1, 7))
    found = score(np.array([[0.9, 0.5, 0.1]]), probes, gallery, rules("llcm:DIR"))
    assert (found["r1"], found["map"]) == (0.0, 0.5)


@pytest.mark.covers("V36")
def test_llcm_counts_people_not_pictures():
    """The own picture of the same camera, though nearest, is hidden. Before the other one stand
    three pictures each of two people: rank 7 of pictures, 3 of people. Before the second probe's
    stand ten pictures of five people: rank 11, and 6."""
    convention = rules("llcm:DIR")
    assert str(convention) == ("LLCM, infrared → visible; gallery 1 a person and camera; same "
                               "person in the same camera skipped; R@k over people; 10 trials")
    gallery = people((1, 4), (2, 1), (2, 2), (2, 4), (3, 1), (3, 2), (3, 4), (1, 7),
                     (4, 1), (5, 1), (4, 2), (6, 5))
    falling = np.linspace(0.9, 0.1, 12)[None]
    found = score(falling, people((1, 4)), gallery, convention)
    assert [found[k] for k in ("r1", "r5", "r10")] == [0, 1, 1]
    assert (found["map"], found["minp"]) == pytest.approx((1 / 7, 1 / 7))
    found = score(falling, people((6, 9)), gallery, convention)
    assert [found[k] for k in ("r1", "r5", "r10")] == [0, 0, 1]
    assert found["map"] == pytest.approx(1 / 12)


def test_huge_scores_of_people_once_are_compared_exactly():
    """Scores below any floor one would put in for hidden items, and integers no float tells
    apart; the hidden person has the best of them."""
    once = Protocol(data="", people_once=True, same_camera=False, **BOTH)
    gallery, probe = people((1, 4), (1, 2), (2, 1), (3, 1)), people((1, 4))
    lowest = np.finfo(np.float64).min
    for near in ([[9e300, lowest / 2, lowest, lowest]], [[9e9, -2e9, -3e9, -3e9]]):
        assert score(np.array(near), probe, gallery, once)["r1"] == 1
    top = 2 ** 63 - 1
    for near in (np.array([[top, top - 1, top - 2, 0]]), np.array([[9, 2, 1, 0]], np.uint8)):
        assert score(near, probe, gallery, once)["r1"] == 1
        assert score(near[:, [0, 2, 1, 3]], probe, gallery, once)["r1"] == 0


@pytest.mark.covers("V36")
def test_a_gallery_is_drawn_by_person_and_camera_and_the_same_every_time():
    shown = people(*[(pid, camera) for pid in range(3) for camera in (1, 2, 3) for _ in range(4)])
    convention = rules("sysu-mm01:DIR")
    first = convention.gallery(shown, trial=0)
    assert [(shown[k].pid, shown[k].camid) for k in first] == [
        (pid, camera) for pid in range(3) for camera in (1, 2)]   # camera 3 is infrared
    assert np.array_equal(first, convention.gallery(shown, trial=0))
    assert not np.array_equal(first, convention.gallery(shown, trial=1))
    many = rules("sysu-mm01:DIR", **{"scoring.gallery_shots": 10}).gallery(shown, 0)
    assert len(many) == 24
    assert len(rules("synthetic").gallery(shown, 0)) == 3
    assert len(rules("regdb:DIR").gallery(shown, 0)) == 36


@pytest.mark.covers("V36")
def test_random_features_score_at_chance_and_trials_are_averaged():
    rng = np.random.default_rng(0)
    shown = people(*[(pid, 1) for pid in range(50) for _ in range(4)])
    records = {"visible": shown, "infrared": shown}
    features = {kind: rng.standard_normal((200, 64)) for kind in records}
    found = score_trials(features, records, rules("synthetic"))
    assert found["r1"] == pytest.approx(1 / 50, abs=0.02)
    assert found["chance"]["r1"] == pytest.approx(1 / 50, abs=0.015)
    assert (found["queries"], found["gallery"]) == (200, 50)
    assert found["protocol"]["text"].startswith("synthetic, infrared → visible; gallery 1 a person")
    same = score_trials(features | {"infrared": features["visible"]}, records, rules("synthetic"))
    assert same["r1"] > found["r1"]
    with pytest.raises(ReidlabError, match=r"no gallery picture under .*cameras \[1\]"):
        score_trials(features, records, Protocol(data="x", gallery_cameras=(9,), **BOTH))


def test_reciprocal_neighbours_repair_a_ranking():
    """Two people in overlapping clouds: neighbourhoods know more than single distances."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((8, 16))
    ids = np.repeat(np.arange(8), 8)
    x = centres[ids] + 1.1 * rng.standard_normal((64, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    probes, gallery = np.arange(0, 64, 4), np.setdiff1d(np.arange(64), np.arange(0, 64, 4))
    plain = retrieval_metrics(x[probes] @ x[gallery].T, ids[probes], ids[gallery])
    again = retrieval_metrics(
        reciprocal_similarity(x[probes], x[gallery], k1=6, k2=3), ids[probes], ids[gallery]
    )
    assert again.map > plain.map + 0.03
    kept = reciprocal_similarity(x[probes], x[gallery], weight=1.0)
    order = np.argsort(-(x[probes] @ x[gallery].T), axis=1)
    assert np.array_equal(np.argsort(-kept, axis=1, kind="stable")[:, 0], order[:, 0])
    with pytest.raises(ReidlabError, match=r"in \[0, 1\]; got 2"):
        reciprocal_similarity(x[probes], x[gallery], weight=2)


def test_vectors_are_averaged_over_the_looks_of_the_protocol():
    image = torch.arange(2 * 3 * 2 * 4.0).view(2, 3, 2, 4)
    plain = Protocol(data="x", **BOTH)
    every = Protocol(data="x", mirror=True, channels=True, **BOTH)
    assert [look.shape for look in plain.tta_images(image, VISIBLE)] == [image.shape]
    seen = every.tta_images(image, VISIBLE)
    assert len(seen) == 6 and all(look.shape == (2, 1, 2, 4) for look in seen)
    assert torch.equal(seen[1], image[:, 1:2]) and torch.equal(seen[4], image[:, 1:2].flip(-1))
    assert [look.shape for look in every.tta_images(image, INFRARED)] == [image.shape] * 2
    assert str(every).endswith("mirror images averaged; colour channels averaged; 10 trials")


def test_features_do_not_change_when_pictures_are_mirrored_and_both_sides_are_averaged():
    class Corner(torch.nn.Linear):  # reads one corner and the opposite one
        def encode(self, image, modality):
            return F.normalize(self(image[:, 0, 0, [0, -1]]), dim=-1)

    torch.manual_seed(0)
    model = Corner(2, 3)
    images = np.random.default_rng(0).integers(0, 255, (5, 2, 4, 3), np.uint8)
    pairs = [CrossModalSplit(*(Split(people(*[(k, 0) for k in range(5)]), side) for _ in range(2)))
             for side in (images, images[:, :, ::-1])]
    for mirror in (False, True):
        one, other = (embed_modalities(model, pair, Protocol(data="x", mirror=mirror, **BOTH))
                      for pair in pairs)
        same = np.abs(one["visible"] - other["visible"]).max() < 1e-6
        assert same == mirror
        assert np.allclose(np.linalg.norm(one["infrared"], axis=1), 1, atol=1e-6)
