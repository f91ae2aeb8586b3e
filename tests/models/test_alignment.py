"""Words find the patch that was planted for them."""
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from reidlab.batches.text_image import Batches
from reidlab.losses.text_image import TextImageLoss
from reidlab.models.matching import TokenAlignment
from reidlab.tasks import build
from tests.conftest import mini


def planted(b=8, n=12, length=5, dim=32):
    """Word k of a text belongs to patch `place[b, k]` of its picture; CLS stands before them."""
    torch.manual_seed(0)
    words = torch.randn(b, length, dim)
    place = torch.stack([torch.randperm(n)[:length] for _ in range(b)])
    tokens = 0.3 * torch.randn(b, n, dim)
    tokens.scatter_add_(1, place[..., None].expand(-1, -1, dim), words)
    return torch.cat([words[:, :1], tokens], dim=1), words, torch.ones(b, length), place


@pytest.mark.covers("F13")
def test_words_find_their_patch_and_pictures_their_text():
    tokens, words, mask, place = planted()
    align = TokenAlignment(32)
    align.text.load_state_dict(align.image.state_dict())
    assert (align.maps(tokens, words).argmax(dim=1) == place).float().mean() > 0.95
    similarity = align(tokens, words, mask)
    assert similarity.shape == (8, 8) and (similarity.argmax(dim=1) == torch.arange(8)).all()
    assert similarity.abs().max() <= 1 + 1e-6


@pytest.mark.covers("F13")
@pytest.mark.parametrize("light", [False, True])
def test_no_word_picks_cls(light):
    """CLS is no place: whatever it holds, even the word itself, changes nothing."""
    tokens, words, mask, _ = planted()
    align = TokenAlignment(32, light)
    align.text.load_state_dict(align.image.state_dict())
    other = tokens.clone()
    other[:, 0] = 100 * torch.randn(8, 32)
    assert align.patches(tokens).shape[1] == (6 if light else 12)
    assert align.maps(tokens, words).shape == (8, 6 if light else 12, 5)
    for read in (lambda t: align.patches(t), lambda t: align.maps(t, words),
                 lambda t: align(t, words, mask)):
        assert torch.equal(read(tokens), read(other))


@pytest.mark.covers("F13")
def test_masked_words_never_count():
    tokens, words, mask, _ = planted()
    mask[:, 3:] = 0
    align = TokenAlignment(32)
    changed = words.clone()
    changed[:, 3:] = 100
    assert torch.allclose(align(tokens, words, mask), align(tokens, changed, mask), atol=1e-6)


def learned(light, seed):
    """Words are a turned copy of their patch, and the turn is learned from pairs alone."""
    torch.manual_seed(seed)
    kinds, turn = torch.randn(40, 32), torch.linalg.qr(torch.randn(32, 32)).Q
    align = TokenAlignment(32, light)

    def see(count):
        kind = torch.stack([torch.randperm(40)[:12] for _ in range(count)])
        place = torch.stack([torch.randperm(12)[:5] for _ in range(count)])
        patches = kinds[kind] + 0.3 * torch.randn(count, 12, 32)
        said = kinds[kind.gather(1, place)] @ turn
        return torch.cat([patches.mean(dim=1, keepdim=True), patches], dim=1), said, place

    def share(count=256):
        tokens, words, place = see(count)
        with torch.no_grad():
            found = align.maps(tokens, words).argmax(dim=1) == (place // 2 if light else place)
            right = align(tokens, words, torch.ones(count, 5)).argmax(dim=1) == torch.arange(count)
        return found.float().mean().item(), right.float().mean().item()
    before, step = share(), torch.optim.Adam(align.parameters(), lr=5e-3)
    for _ in range(300):
        tokens, words, _ = see(16)
        logits, own = align(tokens, words, torch.ones(16, 5)) / 0.07, torch.arange(16)
        step.zero_grad()
        (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)).backward()
        step.step()
    return before, share()


@pytest.mark.covers("F13", "F14")
def test_where_a_word_belongs_is_learned_from_pairs_and_light_finds_fewer_pairs():
    for seed in range(3):
        (before, _), (found, right) = learned(False, seed)
        (_, _), (lightly, still_right) = learned(True, seed)
        assert before < 0.3 and found > 0.9 and right > 0.8, (seed, found, right)
        assert found - 0.25 < lightly <= found, (seed, lightly)  # of half as many places
        assert 0.1 < still_right < right - 0.2, (seed, still_right)  # of 256; chance is .004


@pytest.mark.covers("F14")
def test_light_costs_an_eighth_and_still_finds_most():
    tokens, words, mask, place = planted()
    flops = {}
    for light in (False, True):
        torch.manual_seed(1)
        align = TokenAlignment(32, light)
        with FlopCounterMode(display=False) as counter:
            similarity = align(tokens, words, mask)
        flops[light] = counter.get_total_flops()
    assert similarity.shape == (8, 8)
    assert flops[True] < 0.16 * flops[False]
    align.text.load_state_dict(align.image.state_dict())
    assert (align(tokens, words, mask).argmax(dim=1) == torch.arange(8)).float().mean() >= 0.5


@pytest.mark.covers("F13")
@pytest.mark.parametrize("kind", ["full", "light"])
def test_it_is_a_term_of_the_loss(data, kind):
    experiment = mini("corrected", loss__weights__fine_grained=1.0, heads__alignment=kind)
    model, batch = build(experiment, data.classes), Batches(data.train, experiment)(0)
    loss = TextImageLoss(experiment.loss, 128, 256)
    out = model(batch.image, cloth_text=batch.cloth_text, id_text=batch.id_text,
                negative_text=batch.negative_text)
    words = {s: model.text_encoder.tokens.bag(getattr(batch, f"{s}_text")) for s in ("id", "cloth")}
    loss(out, batch, 1, 1.0, words)["fine_grained"].backward()
    assert model.alignment.image.weight.grad.any()
    assert model.visual_encoder.embeddings.position_embeddings.grad.any()
