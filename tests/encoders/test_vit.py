"""Pixels to tokens."""
import pytest
import torch

from reidlab.config import Image
from reidlab.encoders.vit import ConvStem, build_vit

SMALL = dict(dim=32, layers=2, heads=4)


@pytest.mark.covers("E1")
@pytest.mark.parametrize("stem", [False, True])
def test_token_count_and_cls_first(stem):
    vit = build_vit(Image(height=224, width=224, stem=stem, **SMALL)).eval()
    tokens = vit(torch.randn(2, 3, 224, 224)).last_hidden_state
    assert tokens.shape == (2, 197, 32)
    first = vit.embeddings(torch.zeros(1, 3, 224, 224))[:, 0]
    assert torch.allclose(first, vit.embeddings.cls_token[:, 0]
                          + vit.embeddings.position_embeddings[:, 0])


@pytest.mark.covers("E1")
def test_crops_twice_as_high_as_wide():
    vit = build_vit(Image(height=96, width=48, **SMALL))
    assert vit(torch.randn(1, 3, 96, 48)).last_hidden_state.shape == (1, 1 + 6 * 3, 32)


@pytest.mark.covers("E1")
def test_local_weights_load_exactly(tmp_path):
    made = build_vit(Image(height=96, width=48, **SMALL)).eval()
    made.save_pretrained(tmp_path)
    read = build_vit(Image(pretrained=str(tmp_path), height=96, width=48, **SMALL)).eval()
    x = torch.randn(1, 3, 96, 48)
    assert torch.allclose(made(x).last_hidden_state, read(x).last_hidden_state, atol=1e-5)


@pytest.mark.covers("E3")
def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such-vit"):
        build_vit(Image(pretrained=str(tmp_path / "no-such-vit")))


@pytest.mark.parametrize("patch", [8, 16, 32])
def test_stem_ends_on_the_patch_grid_and_keeps_pictures_apart(patch):
    stem, x = ConvStem(32, patch), torch.randn(3, 3, 96, 64)
    out = stem(x)
    assert out.shape == (3, 32, 96 // patch, 64 // patch)
    assert torch.allclose(stem(x[:1]), out[:1], atol=1e-5)
