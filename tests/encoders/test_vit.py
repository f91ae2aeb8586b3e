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


@pytest.mark.covers("E1")
@pytest.mark.parametrize("stem", [False, True])
def test_pictures_of_another_size_get_the_positions_that_the_library_would_resample(
        stem, tmp_path):
    made = build_vit(Image(height=64, width=64, stem=stem, **SMALL)).eval()
    made.save_pretrained(tmp_path)
    read = build_vit(Image(pretrained=str(tmp_path), height=96, width=32, stem=stem,
                           **SMALL)).eval()
    assert read.config.image_size == (96, 32)
    places = read.embeddings.position_embeddings
    assert places.shape == (1, 1 + 6 * 2, 32) and places.requires_grad
    x = torch.randn(2, 3, 96, 32)
    theirs = made.embeddings.interpolate_pos_encoding(torch.zeros(1, 13, 32), 96, 32)
    assert torch.allclose(places, theirs, atol=1e-6)
    assert torch.equal(places[:, 0], made.embeddings.position_embeddings[:, 0])  # CLS
    assert torch.allclose(read(x).last_hidden_state,
                          made(x, interpolate_pos_encoding=True).last_hidden_state, atol=1e-5)


@pytest.mark.covers("E1")
def test_positions_of_a_picture_that_is_not_square_are_resampled_row_by_row(tmp_path):
    """The library takes every grid for a square; a crop of 96 × 32 is none."""
    made = build_vit(Image(height=96, width=32, **SMALL))
    rows = torch.arange(6.0).repeat_interleave(2)                    # a place's row, in channel 0
    made.embeddings.position_embeddings.data[0, 1:, 0] = rows
    made.save_pretrained(tmp_path)
    read = build_vit(Image(pretrained=str(tmp_path), height=192, width=64, **SMALL))
    found = read.embeddings.position_embeddings[0, 1:, 0].view(12, 4)
    assert torch.allclose(found, found[:, :1].expand(12, 4), atol=1e-5)          # rows stay rows
    middle = found[3:9, 0]
    assert torch.allclose(middle, (torch.arange(3, 9) + 0.5) / 2 - 0.5, atol=0.05)


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
