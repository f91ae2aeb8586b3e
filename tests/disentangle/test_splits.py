"""Branches, gate and queries: which axis mixes, what depends on what."""
import pytest
import torch

from reidlab.config import Disentangle
from reidlab.disentangle import build_disentangler
from reidlab.disentangle.attention import AttentionDisentangler
from reidlab.disentangle.gate import GatedDisentangler
from reidlab.disentangle.queries import QueryDisentangler
from reidlab.disentangle.reversal import alpha_ramp, reverse_gradient

DIM = 16
NOTE_003 = Disentangle(name="attention", residual_from="input")
NOTE_002 = Disentangle(name="attention", self_layers=6, cross_layers=3, residual_from="running")


def build(config):
    torch.manual_seed(0)
    return build_disentangler(config, DIM).eval()


def tokens(n=7, b=4):
    torch.manual_seed(1)
    return torch.randn(b, n, DIM)


@pytest.mark.covers("D7")
def test_branches_have_weights_of_their_own():
    split = build(NOTE_003)
    assert not torch.equal(split.identity.linear.weight, split.cloth.linear.weight)
    one, other = split.branches(tokens())
    assert one.shape == other.shape == (4, 7, DIM) and not torch.allclose(one, other)


@pytest.mark.covers("D8", "D10")
@pytest.mark.parametrize("config", [NOTE_003, NOTE_002, Disentangle(name="queries")])
def test_attention_runs_over_patches_never_over_the_batch(config):
    split, x = build(config), tokens()
    whole = split(x)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.allclose(split(x[order]).identity, whole.identity[order], atol=1e-6)
    assert torch.allclose(split(x[:1]).identity, whole.identity[:1], atol=1e-6)  # alone: the same
    changed = x.clone()
    changed[3] += 1
    after = split(changed)
    assert torch.allclose(after.identity[:3], whole.identity[:3], atol=1e-6)
    assert not torch.allclose(after.identity[3], whole.identity[3], atol=1e-3)


@pytest.mark.covers("D8")
@pytest.mark.parametrize("config", [NOTE_003, NOTE_002])
def test_one_patch_reaches_the_others(config):
    split, x = build(config), tokens()
    changed = x.clone()
    changed[0, 5] += 3
    for branch in (split.identity, split.cloth):  # by its own layers, before any cross-attention
        assert not torch.allclose(branch(x)[0, 2], branch(changed)[0, 2], atol=1e-4)


@pytest.mark.covers("D8", "D10", "D9")
def test_layers_and_residuals_are_those_of_each_note():
    shallow, deep = build(NOTE_003), build(NOTE_002)
    assert [len(s.identity.layers) for s in (shallow, deep)] == [1, 6]
    assert [len(s.identity_cross) for s in (shallow, deep)] == [1, 3]
    for split in (shallow, deep):  # with silent attention only the residual is left
        for layer in split.identity.layers:
            torch.nn.init.zeros_(layer.out_proj.weight)
            torch.nn.init.zeros_(layer.out_proj.bias)
    x = tokens()
    raw = torch.nn.functional.layer_norm(x, (DIM,))
    own = torch.nn.functional.layer_norm(shallow.identity.linear(x), (DIM,))
    assert torch.allclose(shallow.identity(x), raw, atol=1e-5)
    assert not torch.allclose(shallow.identity(x), own, atol=1e-2)
    deep_own = torch.nn.functional.layer_norm(deep.identity.linear(x), (DIM,))
    assert torch.allclose(deep.identity(x), deep_own, atol=1e-3)


@pytest.mark.covers("D9")
def test_identity_depends_on_clothing_after_cross_attention_and_not_before():
    split, x = build(NOTE_003), tokens()
    before, after_cross = split.identity(x), split.branches(x)[0]
    with torch.no_grad():
        split.cloth.linear.weight.mul_(-1)
    assert torch.equal(split.identity(x), before)
    assert not torch.allclose(split.branches(x)[0], after_cross, atol=1e-4)


@pytest.mark.covers("D9", "D10")
def test_both_branches_read_what_the_other_was_before_the_layer():
    split, x = build(NOTE_003), tokens()
    identity, cloth = split.identity(x), split.cloth(x)
    read, _ = split.cloth_cross[0](cloth, identity, identity)
    assert torch.allclose(split.branches(x)[1], split.cloth_norms[0](cloth + read), atol=1e-6)


@pytest.mark.covers("D11")
def test_pooling_is_the_mean_over_all_tokens():
    split, x = build(NOTE_003), tokens()
    identity, cloth = split.branches(x)
    out, expected = split(x), split.gate(identity.mean(1), cloth.mean(1))
    assert torch.allclose(out.identity, expected.identity) and torch.allclose(out.gate,
                                                                              expected.gate)


@pytest.mark.covers("D12")
def test_gate_shares_and_every_parameter_gets_a_gradient():
    split, x, y = GatedDisentangler(6), torch.randn(3, 6), torch.randn(3, 6)
    out = split(x, y)
    assert torch.allclose(out.identity, out.gate * x)
    assert torch.allclose(out.cloth, (1 - out.gate) * y)
    out = split(x, x)
    assert torch.allclose(out.identity + out.cloth, x)  # the two shares add up to the whole
    assert ((out.gate > 0) & (out.gate < 1)).all() and out.gate.shape == (3, 6)
    assert sum(p.numel() for p in GatedDisentangler(768).parameters()) == 1536 * 768 + 768
    out.identity.sum().backward()
    assert [n for n, p in split.named_parameters() if not p.grad.any()] == []


@pytest.mark.covers("D10")
@pytest.mark.parametrize(("config", "millions"), [(NOTE_003, 11.82), (NOTE_002, 44.91)])
def test_sizes_at_full_width(config, millions):
    count = sum(p.numel() for p in AttentionDisentangler(config, 768).parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_maps_are_given_on_request_and_sum_to_one():
    for config, rows in ((NOTE_003, 7), (Disentangle(name="queries"), 1)):
        split, x = build(config), tokens()
        assert split(x).maps is None
        out = split(x, want_maps=True)
        assert torch.allclose(out.identity, split(x).identity, atol=1e-6)
        for maps in out.maps.values():
            assert maps[0].shape == (4, 4, rows, 7)
            assert torch.allclose(maps[0].sum(-1), torch.ones(4, 4, rows), atol=1e-5)


def test_queries_have_no_gate_and_never_read_each_other():
    split, x = QueryDisentangler(Disentangle(name="queries"), DIM).eval(), tokens()
    before = split(x)
    with torch.no_grad():
        split.cloth.query.add_(1)
    after = split(x)
    assert before.gate is None and torch.equal(before.identity, after.identity)
    assert not torch.allclose(before.cloth, after.cloth)


def test_untrained_cross_attention_alone_mixes_what_was_apart():
    """A picture's clothing moves its identity feature through one cross layer."""
    split = build(NOTE_003)
    identity, coats = torch.randn(1, 7, DIM), torch.randn(2, 7, DIM)
    from reidlab.encoders.pooling import attend
    read = [split.identity_norms[0](identity + attend(split.identity_cross[0], identity, c[None]))
            for c in coats]
    assert (read[0].mean(1) - read[1].mean(1)).norm() > 0.05


@pytest.mark.covers("D1")
def test_gradient_reversal():
    x = torch.randn(3, 4, requires_grad=True)
    y = reverse_gradient(x, 0.3)
    assert torch.equal(x, y)
    weight = torch.randn(3, 4)
    (y * weight).sum().backward()
    assert torch.allclose(x.grad, -0.3 * weight)


@pytest.mark.covers("D3")
def test_alpha_ramp():
    assert alpha_ramp(1) == pytest.approx(0.12)
    assert alpha_ramp(45) == pytest.approx(1) == alpha_ramp(80) and alpha_ramp(44) < 1


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match="known: projection, merged, residual, attention, queries"):
        build_disentangler(Disentangle(name="capsules"), DIM)
