"""Every expansion: what it promises, and what the printed form of it does instead."""
import pytest
import torch
from torch import nn

from reidlab.config import Expansion
from reidlab.errors import ReidlabError
from reidlab.expansion import EXPANSIONS, build_expansion
from reidlab.expansion.dee import DilatedView
from reidlab.expansion.ssdec import cut_mix
from reidlab.losses.decoupling import cka_linear
from reidlab.losses.orthogonality import between_views

DIM, GRID = 48, (4, 3)
MODALITY = torch.tensor([0, 0, 0, 1, 1, 1])


def build(name, **fields):
    torch.manual_seed(0)
    return build_expansion(Expansion(name=name, dropout=0.0, **fields), DIM, GRID)


def tokens():
    return torch.randn(6, 12, DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.covers("V6", "V15", "V19", "V22", "V29")
@pytest.mark.parametrize("name", EXPANSIONS)
def test_every_expansion_takes_the_place_of_every_other(name):
    x, module = tokens(), build(name)
    out = module(x, MODALITY)
    assert out.tokens.shape == ((1 + out.extra) * 6, 12, DIM)
    assert out.views.shape[1] == 6
    if out.extra:
        assert torch.equal(out.tokens[:6], x)  # the rows themselves come first
    (out.tokens.square().sum() + out.views.square().sum()).backward()
    still = {n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()}
    assert not still, name


@pytest.mark.covers("V19", "V22")
@pytest.mark.parametrize("name", [n for n in EXPANSIONS if n != "tmhee_over_batch"])
def test_a_row_does_not_depend_on_its_batch(name):
    x, module = tokens(), build(name).eval()
    together, alone = module(x, MODALITY), module(x[4:5], MODALITY[4:5])
    rows = together.tokens.view(1 + together.extra, 6, 12, DIM)[:, 4]
    assert torch.allclose(rows, alone.tokens, atol=1e-5)
    assert torch.allclose(together.views[:, 4], alone.views[:, 0], atol=1e-5)


@pytest.mark.covers("V15")
def test_as_written_attention_runs_over_the_batch():
    """Another picture changes this one; another patch of this picture does not."""
    x, module = tokens(), build("tmhee_over_batch").eval()
    before = module(x, MODALITY).tokens
    other = x.clone()
    other[3] += 1
    assert (module(other, MODALITY).tokens - before)[0].abs().max() > 0.01
    patch = x.clone()
    patch[:, 5] += 1
    moved = (module(patch, MODALITY).tokens - before).abs().amax(dim=(0, 2))
    assert moved[5] > 0.01 and moved[[k for k in range(12) if k != 5]].max() == 0
    alone = module(x[:1], MODALITY[:1]).tokens
    assert (alone - before[:1]).abs().max() > 0.1


@pytest.mark.covers("V15", "V32")
def test_the_sum_of_head_views_is_multi_head_attention():
    x, module = tokens(), build("tmhee").eval()
    whole = module.attention(x, x, x)[0]
    parts = module.views(x).sum(dim=0) + module.attention.out_proj.bias
    assert torch.allclose(parts, whole, atol=1e-6)
    assert module.views(x).shape == (4, 6, 12, DIM)


@pytest.mark.covers("V17")
def test_heads_exchange_what_they_saw_when_asked_to():
    def reach(**fields):
        x, module = tokens().requires_grad_(), build("tmhee", **fields).eval()
        width = DIM // 4
        value = module.attention.in_proj_weight
        module.views(x)[0].sum().backward()
        return value.grad[2 * DIM + width:2 * DIM + 2 * width].abs().sum().item()
    assert reach() == 0.0                      # head 1's values say nothing to view 0
    assert reach(interaction=True) > 0.0


@pytest.mark.covers("V18")
def test_weights_of_heads_are_equal_first_and_learn_to_differ_by_modality():
    x, plain, module = (
        tokens(),
        build("tmhee").eval(),
        build("tmhee", learned_view_weights=True).eval(),
    )
    out = module(x, MODALITY)
    assert torch.allclose(out.view_weights, torch.full((6, 4), 0.25))
    assert torch.allclose(out.tokens, plain(x, MODALITY).tokens, atol=1e-5)
    step = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(30):  # view 0 is wanted in visible light, view 1 in infrared
        out = module(x, MODALITY)
        loss = -torch.where(MODALITY == 0, out.view_weights[:, 0], out.view_weights[:, 1]).sum()
        step.zero_grad()
        loss.backward()
        step.step()
    assert torch.allclose(out.view_weights.sum(dim=1), torch.ones(6))
    assert out.view_weights[0, 0] > 0.4 > 0.25 > out.view_weights[5, 0]


@pytest.mark.covers("V19", "V38")
def test_tokens_of_the_other_modality_ask():
    module = build("cmatm")
    x = tokens()[:3]
    module(x, torch.zeros(3, dtype=torch.long)).tokens.square().sum().backward()
    assert module.tokens.grad[1].any() and not module.tokens.grad[0].any()
    module.zero_grad()
    module(x, torch.ones(3, dtype=torch.long)).tokens.square().sum().backward()
    assert module.tokens.grad[0].any() and not module.tokens.grad[1].any()  # and the other way
    module.eval()
    day, night = (module(x, torch.full((3,), kind)).tokens for kind in (0, 1))
    assert (day - night).abs().max() > 1e-3     # a visible picture is asked by infrared tokens
    changed = x.clone()
    changed[0, 2] += 1
    assert (module(changed, torch.zeros(3, dtype=torch.long)).tokens[0] - day[0]).abs().max() > 1e-3
    views = module(x, torch.zeros(3, dtype=torch.long)).views
    assert (views[0] - views[1]).abs().max() > 1e-3
    with torch.no_grad():  # also where all views ask with the same tokens: weights of their own
        module.tokens.copy_(module.tokens[:, :1].expand_as(module.tokens).clone())
    views = module(x, torch.zeros(3, dtype=torch.long)).views
    assert (views[0] - views[1]).abs().max() > 1e-3
    for parts in (module.ask, module.read):
        assert len({id(part) for part in parts}) == len(views) > 1


@pytest.mark.covers("V15")
def test_heads_add_to_their_tokens_by_a_scale_and_drop_in_training_only():
    torch.manual_seed(0)
    module, x = build_expansion(Expansion(name="tmhee", dropout=0.5), DIM, GRID), tokens()
    weights, module.attention.dropout = module.attention.dropout, 0.0  # its own, not attention's
    assert weights == 0.5
    looks = [module.train(on)(x, MODALITY).tokens for on in (True, True, False, False)]
    assert not torch.equal(looks[0], looks[1]) and torch.equal(looks[2], looks[3])
    layer = module.attention
    normed = module.norm(x)
    by_hand = x + module.scale * layer(normed, normed, normed)[0]
    torch.testing.assert_close(looks[3], by_hand, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        module.scale.zero_()
    assert torch.equal(module(x, MODALITY).tokens, x)


@pytest.mark.covers("V22")
def test_views_of_ssdec_are_a_third_wide_see_holes_in_training_and_stay_on_their_device():
    module, x = build("ssdec"), tokens()
    assert module(x, MODALITY).views.shape == (3, 6, DIM // 3)
    assert not torch.equal(module(x, MODALITY).tokens, module(x, MODALITY).tokens)
    whole = build("ssdec", drop=0.0)
    assert torch.equal(whole(x, MODALITY).tokens, whole(x, MODALITY).tokens)
    far = build("ssdec").to("meta").train()(x.to("meta"), MODALITY.to("meta"))
    assert far.tokens.device.type == "meta"


def test_cmatm_as_printed_cannot_run():
    """The note takes 2B rows for B: its first half is all rows, its second none, and one token a
    row of the doubled count does not fit the attention's batch."""
    x = tokens()
    count = len(x)
    assert len(x[:count]) == 6 and len(x[count:]) == 0
    asked = torch.randn(2 * count, 1, DIM)
    with pytest.raises((RuntimeError, AssertionError)):
        nn.MultiheadAttention(DIM, 4)(asked, x, x)


@pytest.mark.covers("V21")
def test_easy_pictures_use_fewer_views():
    module = build("cmatm", learned_view_weights=True)
    step = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(60):  # the loss pays for views on the first three pictures alone
        out = module(tokens(), MODALITY)
        used = out.view_weights.sum(dim=1)
        loss = used[:3].sum() - used[3:].sum()
        step.zero_grad()
        loss.backward()
        step.step()
    assert (used > 0).all() and (used < 3).all()
    assert used[:3].max() < 1.0 < 2.0 < used[3:].min()


@pytest.mark.covers("V22")
def test_holes_are_for_training_and_keep_the_mean():
    module, x = build("ssdec", drop=0.3), torch.ones(400, 12, DIM)
    holed = module.train().holes(x)
    assert holed.mean().item() == pytest.approx(1.0, abs=0.02)
    assert holed.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (holed.amax(dim=-1) == holed.amin(dim=-1)).all()   # whole patches
    module.eval()
    assert torch.equal(module.holes(x), x)
    assert torch.equal(module(x[:2], MODALITY[:2]).tokens, module(x[:2], MODALITY[:2]).tokens)


def test_ssdec_as_printed_cannot_run():
    views = [torch.randn(2, 12, DIM) for _ in range(3)]
    with pytest.raises(RuntimeError, match="normalized_shape"):
        nn.LayerNorm(DIM)(torch.cat(views, dim=-1))   # three whole widths into a norm of one
    masked = torch.ones(400, 100) * (torch.rand(400, 100) > 0.3)
    assert masked.mean().item() == pytest.approx(0.7, abs=0.02)  # and nothing scaled up


@pytest.mark.covers("V25")
def test_cut_mix_weights_the_label_by_what_stayed():
    x = torch.arange(6.0)[:, None, None].expand(6, 12, DIM)
    for share in (0.5, 0.3):  # whole patches: what stayed need be neither share nor its rest
        mixed, stayed = cut_mix(x, torch.arange(6).flip(0), share, GRID)
        own = (mixed == x).all(dim=-1).float().mean(dim=1)
        assert own.tolist() == pytest.approx([stayed] * 6)
        assert 0 < stayed < 1 and set(mixed[0].unique().tolist()) == {0.0, 5.0}
    assert stayed not in (pytest.approx(0.3), pytest.approx(0.7), pytest.approx(0.5))


@pytest.mark.covers("V6")
def test_views_of_dee_differ_and_start_from_different_distances():
    view = DilatedView(DIM, GRID).eval()
    x = torch.zeros(1, 12, DIM)
    x[0, 4] = 1.0
    _, looks = view(x)
    quiet = [
        look(torch.zeros(1, DIM, *GRID)).flatten(2).transpose(1, 2) for look in view.convolutions
    ]
    reached = [((a - b).abs().sum(dim=-1) > 1e-6).sum().item()
               for a, b in zip(looks, quiet, strict=True)]
    assert len({tuple(look.flatten().tolist()) for look in looks}) == 3
    assert reached == [9, 2, 1]  # of 4 × 3 patches, from the second row's middle: 1, 2 and 3 away
    out = build("deen")(tokens(), MODALITY)
    assert out.extra == 2 and out.views.shape == (3, 6, DIM)
    assert between_views(out.views) < 0.99


@pytest.mark.covers("V15")
def test_at_full_width_each_view_is_one_branch_of_192_behind_its_share_of_the_projection():
    torch.manual_seed(0)
    module = build_expansion(Expansion(name="tmhee", dropout=0.0), 768, (16, 16)).eval()
    with torch.no_grad():
        views = module.views(torch.randn(1, 256, 768))
        assert views.shape == (4, 1, 256, 768)
        for k, view in enumerate(views[:, 0]):
            own = module.attention.out_proj.weight[:, 192 * k:192 * k + 192]
            branch = torch.linalg.lstsq(own, view.T).solution       # (192, 256)
            assert torch.allclose((own @ branch).T, view, rtol=1e-3, atol=1e-5)
            assert torch.linalg.matrix_rank(view.double(), rtol=1e-4) == 192


@pytest.mark.covers("V33")
def test_tied_heads_are_one_head_and_drawn_ones_are_not():
    torch.manual_seed(0)
    module = build_expansion(Expansion(name="tmhee", dropout=0.0), 32, (4, 2)).eval()
    x, kind, layer = torch.randn(64, 8, 32), torch.zeros(64, dtype=torch.long), module.attention
    with torch.no_grad():
        drawn = module(x, kind).views
        for w in (layer.in_proj_weight.view(3, 4, 8, 32), layer.out_proj.weight.view(32, 4, 8)):
            w.copy_(w[:, :1].expand_as(w).clone())
        tied = module(x, kind).views
    assert max(cka_linear(drawn[0], drawn[k]).item() for k in (1, 2, 3)) < 0.4
    assert min(cka_linear(tied[0], tied[k]).item() for k in (1, 2, 3)) > 0.999
    assert between_views(tied).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.covers("V14")
def test_the_replacements_mix_patches_by_attention_and_dee_by_convolution():
    """"Transformer-native", the first principle of the note, as a count."""
    for name in ("dee", "deen", "tmhee", "cmatm", "ssdec"):
        convolutions, attentions = (
            sum(isinstance(part, kind) for part in build(name).modules())
            for kind in ((nn.Conv1d, nn.Conv2d), nn.MultiheadAttention))
        assert (convolutions > 0) == (name in ("dee", "deen")), name
        assert (attentions > 0) == (name not in ("dee", "deen")), name


def test_unknown_expansions_are_listed():
    with pytest.raises(ReidlabError, match="known: none, dee, deen, tmhee"):
        build("dei")
    assert build("none") is None
