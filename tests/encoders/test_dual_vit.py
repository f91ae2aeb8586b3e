"""One ViT for two modalities: shapes, groups of layers, what depends on what."""
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlab.config import Image
from reidlab.encoders.dual_vit import INFRARED, STAGES, VISIBLE, DualViT
from reidlab.errors import ReidlabError

SMALL = Image(height=96, width=48, dim=32, layers=8, heads=4)


@pytest.fixture(scope="module")
def dual():
    torch.manual_seed(0)
    dual = DualViT(SMALL).eval()
    with torch.no_grad():  # the two patch embeddings start equal
        dual.patches[INFRARED].weight.normal_()
    return dual


@pytest.mark.covers("V1", "V13")
@pytest.mark.parametrize(("side", "patches"), [(224, 196), (384, 576), (512, 1024)])
def test_patches_of_a_square_picture(side, patches):
    dual = DualViT(Image(height=224, width=224, dim=32, layers=4, heads=4)).eval()
    assert dual.embed(torch.randn(1, 3, side, side), VISIBLE).shape == (1, patches, 32)
    assert dual(torch.randn(1, 3, side, side), None).shape == (1, patches, 32)


@pytest.mark.covers("V1")
@pytest.mark.parametrize("kind", [VISIBLE, INFRARED])
def test_a_token_is_the_convolution_of_its_own_square_and_its_place(dual, kind):
    picture, made = torch.randn(2, 3, 96, 48), dual.patches[kind]
    squares = F.unfold(picture, 16, stride=16)                     # (2, 768, 18), row by row
    by_hand = (made.weight.flatten(1) @ squares + made.bias[:, None]).transpose(1, 2)
    by_hand = by_hand + dual.vit.embeddings.position_embeddings[:, 1:]
    torch.testing.assert_close(dual.embed(picture, kind), by_hand, rtol=1e-4, atol=1e-4)


@pytest.mark.covers("V2")
def test_tokens_are_dropped_in_training_and_not_in_evaluation():
    made, picture = DualViT(replace(SMALL, dropout=0.5)), torch.randn(1, 3, 96, 48)
    looks = [made.train(on).embed(picture, VISIBLE) for on in (True, True, False, False)]
    assert not torch.equal(looks[0], looks[1]) and torch.equal(looks[2], looks[3])


@pytest.mark.covers("V13")
def test_positions_are_resampled_and_exact_where_nothing_changes(dual):
    assert torch.equal(dual.positions((6, 3)), dual.vit.embeddings.position_embeddings[:, 1:])
    ramp = torch.arange(6.0)[:, None].expand(6, 3).reshape(1, 18, 1).expand(1, 18, 32)
    with torch.no_grad():
        kept = dual.vit.embeddings.position_embeddings.clone()
        dual.vit.embeddings.position_embeddings[:, 1:] = ramp
        found = dual.positions((12, 3))[0, :, 0].view(12, 3)
        dual.vit.embeddings.position_embeddings.copy_(kept)
    assert torch.allclose(found[2:-2, 0], (torch.arange(12.0)[2:-2] + 0.5) / 2 - 0.5, atol=0.1)


@pytest.mark.covers("V2", "V3")
def test_chained_groups_are_the_plain_vit_to_the_last_bit(dual):
    visible, infrared = torch.randn(3, 3, 96, 48), torch.randn(2, 3, 96, 48)
    tokens = dual.both(visible, infrared)

    class Given(nn.Module):
        def forward(self, *args, **kwargs):
            return tokens
    plain, embeddings = dual.vit, dual.vit.embeddings
    holder = Given()
    holder.patch_embeddings = nn.Module()
    holder.patch_embeddings.projection = nn.Linear(1, 1)
    plain.embeddings = holder
    whole = plain(visible).last_hidden_state
    plain.embeddings = embeddings
    assert torch.equal(dual(visible, infrared), whole)


@pytest.mark.covers("V2")
def test_both_kinds_are_each_kind_alone_one_below_the_other(dual):
    visible, infrared = torch.randn(3, 3, 96, 48), torch.randn(2, 3, 96, 48)
    both = dual(visible, infrared)
    assert torch.allclose(both[:3], dual(visible, None), atol=1e-6)
    assert torch.allclose(both[3:], dual(None, infrared), atol=1e-6)
    assert not torch.allclose(dual(visible, None), dual(None, visible), atol=1e-3)


@pytest.mark.covers("V3")
def test_a_patch_is_seen_by_its_own_picture_only(dual):
    tokens = torch.randn(3, 18, 32)
    changed = tokens.clone()
    changed[1, 5] += torch.randn(32)
    moved = (dual.stage(changed, 0) - dual.stage(tokens, 0)).abs().amax(dim=-1)
    assert (moved[1] > 1e-6).all() and moved[[0, 2]].max() < 1e-6


@pytest.mark.covers("V37")
def test_one_channel_is_three_equal_ones(dual):
    one = torch.randn(2, 1, 96, 48)
    assert torch.equal(dual.embed(one, INFRARED), dual.embed(one.expand(-1, 3, -1, -1), INFRARED))


def test_layers_must_make_four_groups():
    with pytest.raises(ReidlabError, match="multiple of 4"):
        DualViT(Image(height=96, width=48, dim=32, layers=6, heads=4))
    assert STAGES * DualViT(SMALL).per_stage == 8
    with pytest.raises(ReidlabError, match="got neither"):
        DualViT(SMALL).both(None, None)


def test_one_patch_embedding_may_serve_both_kinds():
    one, image = DualViT(SMALL, embeddings=1).eval(), torch.randn(2, 3, 96, 48)
    assert torch.equal(one.embed(image, VISIBLE), one.embed(image, INFRARED))
    two = DualViT(SMALL)
    count = sum(p.numel() for p in two.parameters()) - sum(p.numel() for p in one.parameters())
    assert count == sum(p.numel() for p in two.patches[INFRARED].parameters())
