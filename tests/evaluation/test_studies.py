"""Known changes to pictures, and what the measures make of them."""
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from reidlab.data.loading import synthetic_text_image
from reidlab.data.packing import to_tensor
from reidlab.data.records import Split
from reidlab.evaluation.embeddings import embed
from reidlab.evaluation.ranking import retrieval_metrics
from reidlab.evaluation.studies import (
    blurred,
    layer_features,
    layer_probes,
    mean_gate,
    occluded,
    robustness,
    salient,
    similar_by_clothes,
    text_weight,
    token_lengths,
)
from reidlab.evaluation.text_image import query_outfit_mask, score_same_clothes
from reidlab.synthetic.world import World
from reidlab.tasks import build, load
from tests.conftest import mini


@pytest.fixture(scope="module")
def attention(data):
    return build(mini("deep_attention"), data.classes).eval()


@pytest.mark.covers("D17")
def test_occlusion_covers_the_share_it_names_and_costs_what_it_covers(run, data):
    images = np.zeros((5, 40, 20, 3), np.uint8)
    assert (occluded(images, 0.25) == 127).mean() == pytest.approx(0.25)
    assert (occluded(images, 0.0) == images).all()
    found = robustness(load(run), data.test, occluded, (0.0, 1.0))
    plain = retrieval_metrics(
        *score_same_clothes(embed(load(run), data.test), 1.0)["text_to_image"]
    )
    assert found[0]["map"] == pytest.approx(plain.map)
    assert found[1]["r1"] <= 0.2  # nothing is left to see


@pytest.mark.covers("D18")
def test_salience_is_raised_where_it_is_asked_for_and_the_gate_is_measured(attention):
    world = World(0, (96, 48))
    drawings = [world.draw(k, k, 0) for k in range(12)]
    images, parts = (np.stack([getattr(d, f) for d in drawings]) for f in ("image", "parts"))
    vivid = salient(images, parts, (3, 4), 2.0)
    grey = salient(images, parts, (3, 4), 0.0)
    elsewhere = ~np.isin(parts, (3, 4))
    assert (vivid[elsewhere] == images[elsewhere]).all()
    worn = grey[~elsewhere].astype(int)
    assert np.abs(worn.max(axis=1) - worn.min(axis=1)).max() <= 1
    gates = [mean_gate(attention, pictures) for pictures in (grey, images, vivid)]
    assert all(0 < g < 1 for g in gates) and len(set(gates)) == 3


@pytest.mark.covers("F11")
def test_text_weight_under_blur_is_measured(data):
    model = build(mini("projection"), data.classes).eval()
    texts = [r.id_captions[0] for r in data.test.records[:24]]
    images = data.test.images[:24]
    sharp = blurred(images, 3.0).astype(float)
    assert np.abs(np.diff(sharp, axis=1)).mean() < 0.5 * np.abs(
        np.diff(images.astype(float), axis=1)).mean()
    with torch.no_grad():
        given = model(to_tensor(images), id_text=texts).gate_weights
    assert text_weight(model, images, texts) == pytest.approx(given[:, 1].mean().item(), rel=1e-4)
    weights = [text_weight(model, blurred(images, s), texts) for s in (0.0, 3.0)]
    assert all(0 < w < 1 for w in weights)


@pytest.mark.covers("D19")
def test_every_layer_is_read(attention, data):
    few = [Split(s.records[:48], s.images[:48]) for s in (data.val, data.test)]
    found = layer_probes(attention, *few)
    assert set(found) == {"tokens", *(f"{side} {k}" for side in ("identity", "cloth")
                                      for k in range(1, 7)),
                          *(f"{side} ×{k}" for side in ("identity", "cloth") for k in range(1, 4))}
    assert all(set(v) == {"person/hair_colour", "outfit/upper_colour"} for v in found.values())


@pytest.mark.covers("R16")
def test_clothing_is_a_second_clue_and_zero_is_the_ranking_by_identity(run, data):
    found = embed(load(run), data.test)
    scores = similar_by_clothes(found, (0.0, 0.5, 1.0))
    keep = query_outfit_mask(found.records)
    said = keep[found.picture]
    clues = [(text[said].astype(np.float64) @ image[keep].T.astype(np.float64)) for text, image in (
        (found.id_text, found.id_image), (found.cloth_text, found.cloth_image))]
    for row, weight in zip(scores, (0.0, 0.5, 1.0), strict=True):
        plain = retrieval_metrics(clues[0] + weight * clues[1], found.pids[found.picture][said],
                     found.pids[keep])
        assert row["cloth_weight"] == weight
        assert (row["r1"], row["map"]) == pytest.approx((plain.r1, plain.map), abs=1e-3)
    shuffled = np.random.default_rng(0).permutation(found.cloth_image)
    other = similar_by_clothes(dataclasses.replace(found, cloth_image=shuffled), (0.0, 1.0))
    assert other[0] == scores[0] and other[1] != scores[2]
    assert len({s["map"] for s in scores}) == 3


@pytest.mark.covers("R17")
def test_token_lengths_and_what_a_limit_cuts(run, data):
    captions = [c for r in data.test.records for c in r.captions]
    tokens = load(run).text_encoder.tokens
    assert token_lengths(tokens, ["a " * 150 + "man"])["lengths"].tolist() == [153]  # uncut
    found = token_lengths(tokens, captions, (8, 64, 100))
    assert len(found["lengths"]) == len(captions) and found["lengths"].min() > 3
    assert found["cut"][8] > 0.9 > found["cut"][64] >= found["cut"][100] == 0


@pytest.mark.covers("D19")
def test_what_a_layer_gives_is_read_behind_that_layer(attention, data):
    """The probes' features are those of the first layer of each branch, called by hand."""
    found, split = layer_features(attention, data.test.images[:4]), attention.disentangle
    with torch.no_grad():
        x = attention.visual_encoder(to_tensor(data.test.images[:4])).last_hidden_state
        np.testing.assert_allclose(found["tokens"], x.mean(dim=1), rtol=1e-3, atol=1e-4)
        for side in ("identity", "cloth"):
            branch, seen = getattr(split, side), []
            hook = branch.norms[0].register_forward_hook(
                lambda m, given, out, s=seen: s.append(out))
            branch(x)
            hook.remove()
            np.testing.assert_allclose(found[f"{side} 1"], seen[0].mean(dim=1), rtol=1e-3,
                                       atol=1e-4)
            last = getattr(split, f"{side}_norms")[-1]
            hook = last.register_forward_hook(lambda m, given, out, s=seen: s.append(out))
            both = dict(zip(("identity", "cloth"), split.branches(x), strict=True))
            hook.remove()
            np.testing.assert_allclose(found[f"{side} ×3"], both[side].mean(dim=1), rtol=1e-3,
                                       atol=1e-4)


@pytest.mark.covers("D18")
def test_a_gate_that_leans_away_from_colour_is_seen_to_do_so():
    """The direction is read the right way up: more colour, a lower share of identity."""
    class Leaning(torch.nn.Linear):
        def image_features(self, image):
            colour = (image.amax(dim=1) - image.amin(dim=1)).mean(dim=(1, 2))
            return SimpleNamespace(gate=torch.sigmoid(-4 * colour)[:, None].expand(-1, 8)), None
    world = World(0, (96, 48))
    drawings = [world.draw(k, k, 0) for k in range(12)]
    images, parts = (np.stack([getattr(d, f) for d in drawings]) for f in ("image", "parts"))
    grey, plain, strong = (mean_gate(Leaning(1, 1), salient(images, parts, (3, 4), gain))
                           for gain in (0.0, 1.0, 2.0))
    assert grey > plain > strong


def test_the_drawn_splits_are_those_of_the_config():
    assert len(synthetic_text_image(mini().data, (96, 48)).test.records) == 144
