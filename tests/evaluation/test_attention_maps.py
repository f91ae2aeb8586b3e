"""Maps of attention are the real ones, and scores are shared out to the last digit."""
import numpy as np
import pytest
import torch

from reidlab.data.packing import to_tensor
from reidlab.errors import ReidlabError
from reidlab.evaluation.attention_maps import (
    branch_maps,
    encoder_maps,
    mass_inside,
    on_patches,
    rollout,
)
from reidlab.evaluation.attribution import SIDES, attribute
from reidlab.evaluation.embeddings import embed_images, embed_texts
from reidlab.synthetic.world import World
from reidlab.tasks import build, load
from tests.conftest import mini


@pytest.fixture(scope="module")
def people():
    world = World(0, (96, 48))
    return [world.draw(k, k, 0) for k in range(4)]


@pytest.fixture(scope="module")
def images(people):
    return np.stack([p.image for p in people])


@pytest.mark.covers("D16")
@pytest.mark.parametrize("name", ["attention", "corrected"])
def test_rows_of_every_map_sum_to_one(data, images, name):
    model = build(mini(name), data.classes)
    maps = encoder_maps(model, images)
    assert maps.shape == (4, 4, 4, 19, 19)  # layers, pictures, heads, tokens (CLS + 6 · 3)
    branches = branch_maps(model, images)
    assert set(branches) == {"identity", "cloth"}
    for weights in (maps, rollout(maps), *branches.values()):
        assert weights.sum(dim=-1).sub(1).abs().max() < 1e-5


@pytest.mark.covers("D16")
def test_maps_of_branches_are_those_of_their_last_layer(data, images):
    """Shares of one layer, not the sum of several."""
    model = build(mini("deep_attention"), data.classes).eval()
    found = branch_maps(model, images)
    with torch.no_grad():
        kept = model.image_features(to_tensor(images), want_maps=True)[0].maps
    for side, layers in kept.items():
        assert len(layers) > 1 and torch.equal(found[side], layers[-1].float())


def test_a_design_without_attention_has_no_branch_maps(data, images):
    assert branch_maps(build(mini("projection"), data.classes), images) == {}


@pytest.mark.parametrize("mixer", ["conv", "window", "linformer"])
def test_mixers_without_a_weight_for_each_token_give_no_maps(data, images, mixer):
    """linformer weighs learned summaries; with as many of them as tokens (19), too."""
    for features in (8, 19):
        model = build(mini("attention", disentangle__mixer=mixer, disentangle__cross_layers=0,
                           disentangle__features=features), data.classes).eval()
        assert branch_maps(model, images) == {}
        parts, _ = model.image_features(to_tensor(images), want_maps=True)
        assert parts.maps == {"identity": [], "cloth": []}
        assert torch.equal(parts.identity, model.image_features(to_tensor(images))[0].identity)


@pytest.mark.parametrize(("mixer", "layers", "cross", "count"), [
    ("attention", 1, 0, 1), ("attention", 2, 1, 3), ("performer", 1, 0, 1), ("attention", 0, 0, 0),
    ("linformer", 2, 1, 1), ("window", 1, 1, 1), ("performer", 1, 1, 2)])
def test_every_map_is_over_tokens(data, images, mixer, layers, cross, count):
    model = build(mini("attention", disentangle__mixer=mixer, disentangle__self_layers=layers,
                       disentangle__cross_layers=cross), data.classes)
    maps = model.eval().image_features(to_tensor(images), want_maps=True)[0].maps
    for found in maps.values():
        assert [tuple(m.shape) for m in found] == [(4, 4, 19, 19)] * count
        assert all(m.sum(dim=-1).sub(1).abs().max() < 1e-4 for m in found)
    assert set(branch_maps(model, images)) == ({"identity", "cloth"} if count else set())


def test_the_maps_are_those_the_encoder_used(data, images):
    """Values read with the last layer's weights by hand are what that layer put out."""
    model = build(mini(), data.classes).eval()
    last, kept = model.visual_encoder.layers[-1].attention, {}
    values = last.v_proj.register_forward_hook(
        lambda module, given, out: kept.update(values=out.view(4, 19, 4, -1).transpose(1, 2)))
    output = last.register_forward_hook(lambda module, given, out: kept.update(out=out[0]))
    try:
        maps = encoder_maps(model, images)[-1]
    finally:
        values.remove()
        output.remove()
    read = (maps @ kept["values"]).transpose(1, 2).flatten(2)
    assert torch.allclose(last.o_proj(read), kept["out"], atol=1e-5)


def test_rollout_by_hand():
    """Two tokens, two layers of one head; half of each layer stays where it was."""
    maps = torch.tensor([[[[[0.0, 1.0], [1.0, 0.0]]]], [[[[1.0, 0.0], [1.0, 0.0]]]]])
    first, second = torch.tensor([[.5, .5], [.5, .5]]), torch.tensor([[1., 0.], [.5, .5]])
    assert torch.allclose(rollout(maps)[0], second @ first)
    assert torch.allclose(rollout(torch.eye(3).view(1, 1, 1, 3, 3).repeat(4, 1, 2, 1, 1))[0],
                          torch.eye(3))


@pytest.mark.covers("D16")
def test_mass_of_an_even_map_is_the_regions_area():
    parts = np.zeros((1, 6, 4), int)
    parts[0, :3, :2] = 3                                   # a quarter of the picture
    even = np.full((1, 2, 2), 0.25)
    assert mass_inside(even, parts, (3,)) == (0.25, 0.25)
    pointed = np.array([[[0.8, 0.0], [0.0, 0.2]]])
    assert mass_inside(pointed, parts, (3,)) == (pytest.approx(0.8), 0.25)
    nobody = np.zeros((1, 6, 4), int)                      # pictures without the part count nothing
    both = mass_inside(np.concatenate([pointed, even]), np.concatenate([parts, nobody]), (3,))
    assert both == (pytest.approx(0.8), 0.25)


def test_cls_is_left_out_of_the_picture_but_not_of_the_numbers():
    weights = torch.tensor([0.4, 0.1, 0.2, 0.1, 0.1, 0.05, 0.05])
    assert on_patches(weights, (3, 2)).sum() == pytest.approx(0.6)


def test_pairs_of_word_and_patch_add_up_to_the_score(run, people):
    model = load(run)
    for person in people:
        image = to_tensor(person.image[None])
        for side, text, see, read in (
                ("identity", person.id_caption, model.encode_image, model.encode_text),
                ("cloth", person.cloth_caption, model.encode_cloth_image,
                 model.encode_cloth_text)):
            found = attribute(model, person.image, text, side)
            with torch.inference_mode():
                score = (see(image)[0] @ read(text)).item()
            assert found.score == pytest.approx(score, abs=1e-5)
            assert found.pairs.shape == (len(found.words), 19) and found.grid == (6, 3)
            assert found.of_words().sum() == pytest.approx(score, abs=1e-5)
            whole = sum(found.patches(k) for k in range(len(found.words)))
            assert np.allclose(found.patches(), whole, atol=1e-6)
            assert found.words[0] == "[CLS]" and found.words[-1] == "[SEP]"


def test_the_erasure_is_part_of_what_is_shared_out(run, people):
    """With and without erasure the pairs add up, to different scores."""
    model, person = load(run), people[0]
    before = attribute(model, person.image, person.id_caption, "identity").score
    model.concept_eraser.reset()
    after = attribute(model, person.image, person.id_caption, "identity").score
    with torch.inference_mode():
        score = (model.encode_image(to_tensor(person.image[None]))[0]
                 @ model.encode_text(person.id_caption)).item()
    assert after == pytest.approx(score, abs=1e-5) and after != before


@pytest.mark.parametrize("side", SIDES)
def test_a_mirrored_score_is_shared_out_where_the_patches_are(run, people, side):
    model, image, said = load(run), people[0].image, "a tall man in a red coat"
    there = attribute(model, image, said, side, mirror=True)
    turned = attribute(model, image[:, ::-1].copy(), said, side, mirror=True)
    assert np.allclose(there.patches(), turned.patches()[:, ::-1], atol=1e-6)
    assert abs(there.patches() - there.patches()[:, ::-1]).max() > 1e-4
    vectors = dict(zip(SIDES, embed_images(model, image[None], [0], mirror=True)[:2], strict=True))
    heads = {"identity": model.id_heads, "cloth": model.cloth_heads}[side]
    asked = embed_texts(model, [said], heads)[0]
    assert there.score == pytest.approx((vectors[side][0] @ asked).item(), abs=1e-5)


def test_what_cannot_be_shared_out_is_refused(run, data, people):
    with pytest.raises(ReidlabError, match="use corrected"):
        attribute(build(mini("attention"), data.classes), people[0].image, "a man", "identity")
    with pytest.raises(ReidlabError, match="says nothing of that side"):
        attribute(load(run), people[0].image, " ", "cloth")
    with pytest.raises(ReidlabError, match="unknown side 'clothes'; known: identity, cloth"):
        attribute(load(run), people[0].image, "a man", "clothes")
