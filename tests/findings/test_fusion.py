"""Sequences of length one, gates that reach nothing, losses that never see the fused vector."""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reidlab.config import Fusion
from reidlab.fusion import TOKEN_FUSIONS, build_fusion
from reidlab.fusion.selective_scan import Mamba
from reidlab.fusion.tokens import turn_around

D = 256


def pair(b=6, d=D):
    torch.manual_seed(2)
    return torch.randn(b, d), torch.randn(b, d)


def gradient(parameter):
    return 0.0 if parameter.grad is None else parameter.grad.abs().max().item()


@pytest.mark.covers("F1", "F2")
def test_attention_of_length_one_is_a_linear_map_of_the_other_modality():
    torch.manual_seed(0)
    fusion = build_fusion(Fusion(name="attention_gated"), D).eval()
    assert sum(p.numel() for p in fusion.parameters()) == 725_506
    image, text = pair()
    fused = fusion(image, text)
    assert fused.vector.shape == (6, D) and fused.gate_weights.shape == (6, 2)
    assert (fused.gate_weights >= 0).all()
    assert torch.allclose(fused.gate_weights.sum(dim=1), torch.ones(6))
    assert torch.allclose(fused.vector.mean(dim=1), torch.zeros(6), atol=1e-5)  # LayerNorm
    attn = fusion.image_attn
    out, weights = attn(image[:, None], text[:, None], text[:, None])
    assert (weights == 1).all()
    value = F.linear(text, attn.in_proj_weight[2 * D:], attn.in_proj_bias[2 * D:])
    assert torch.allclose(out[:, 0], attn.out_proj(value), atol=1e-6)
    other, _ = attn(50 * torch.randn(6, 1, D), text[:, None], text[:, None])
    assert torch.equal(other, out)  # the query is ignored
    (fused.vector * torch.randn(6, D)).sum().backward()
    grad = attn.in_proj_weight.grad
    assert grad[:2 * D].abs().max() == 0 and grad[2 * D:].abs().max() > 0
    dead = 2 * (2 * D * D + 2 * D)
    assert dead / 725_506 == pytest.approx(0.363, abs=5e-4)


def test_dropout_of_a_single_weight_drops_the_whole_text():
    torch.manual_seed(0)
    attn = build_fusion(Fusion(name="attention_gated"), D).train().image_attn
    image, text = pair(4000)
    _, weights = attn(image[:, None], text[:, None], text[:, None], average_attn_weights=False)
    kept = (weights[:, :, 0, 0] > 0).all(dim=1).float().mean().item()
    assert kept == pytest.approx(0.9 ** 4, abs=0.03)


@pytest.mark.covers("F1", "F6")
@pytest.mark.parametrize("name", sorted(TOKEN_FUSIONS))
def test_over_tokens_everything_gets_a_gradient_and_padding_none(name):
    torch.manual_seed(0)
    fusion = TOKEN_FUSIONS[name](Fusion(name=name, layers=1, dropout=0.0), 32)
    image, text = torch.randn(3, 7, 32), torch.randn(3, 5, 32)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    fused = fusion(image, text, mask)
    (fused.vector * torch.randn(3, 32)).sum().backward()
    dead = {n for n, p in fusion.named_parameters() if not gradient(p)}
    assert not {n for n in dead if not n.endswith("k_proj.bias")}
    changed = torch.where(mask[..., None] == 1, text, 100 * torch.ones(()))
    assert torch.allclose(fusion(image, changed, mask).vector, fused.vector, atol=1e-5)
    order = torch.tensor([2, 0, 1])  # no row sees another
    assert torch.allclose(fusion(image[order], text[order], mask[order]).vector,
                          fused.vector[order], atol=1e-5)


@pytest.mark.covers("F1")
def test_over_tokens_attention_weights_differ():
    torch.manual_seed(0)
    fusion = TOKEN_FUSIONS["attention_tokens"](Fusion(layers=1), 32).eval()
    maps = fusion(torch.randn(2, 24, 32), torch.randn(2, 12, 32), torch.ones(2, 12),
                  want_maps=True).maps
    assert maps.shape == (2, 4, 24, 12) and torch.allclose(maps.sum(dim=-1), torch.ones(2, 4, 24))
    assert maps.max() > 1.3 * maps.min() > 0


def test_turning_around_leaves_padding_where_it_is():
    assert turn_around(torch.tensor([3, 5]), 5).tolist() == [[2, 1, 0, 3, 4], [4, 3, 2, 1, 0]]


@pytest.mark.parametrize("length, alive", [(1, 1), (2, 2), (8, 4)])
def test_mamba_uses_as_many_taps_as_there_are_steps(length, alive):
    torch.manual_seed(0)
    layer = Mamba(64)
    (layer(torch.randn(4, length, 64)) * torch.randn(4, length, 64)).sum().backward()
    taps = layer.conv1d.weight.grad.abs().amax(dim=(0, 1))
    assert [bool(t > 0) for t in taps] == [False] * (4 - alive) + [True] * alive
    assert (gradient(layer.A_log) > 0) == (length > 1)


def test_mamba_of_length_one_is_a_gated_mlp():
    torch.manual_seed(0)
    layer = Mamba(64)
    x = torch.randn(5, 64)
    u, z = layer.in_proj(x).chunk(2, dim=-1)
    u = F.silu(layer.conv1d.weight[:, 0, 3] * u + layer.conv1d.bias)
    dt, b, c = layer.x_proj(u).split([layer.rank, 16, 16], dim=-1)
    dt = F.softplus(layer.dt_proj(dt))
    closed = layer.out_proj((dt * (b * c).sum(-1, keepdim=True) + layer.D) * u * F.silu(z))
    whole = layer(x[:, None])[:, 0]
    assert torch.allclose(closed, whole, atol=1e-6)
    with torch.no_grad():
        layer.A_log.normal_()
    assert torch.equal(layer(x[:, None])[:, 0], whole)  # no recurrence to speak of
    assert not torch.allclose(layer(x[None]), layer(x[:, None])[:, 0][None], atol=1e-4)


@pytest.mark.covers("F5")
def test_the_gate_of_note_003_is_thrown_away_and_can_be_put_to_work():
    image, text = pair()
    for gate, works in (("discarded", False), ("applied", True)):
        torch.manual_seed(0)
        fusion = build_fusion(Fusion(name="mamba", gate=gate), D).eval()
        before = fusion(image, text).vector
        (before * torch.randn(6, D)).sum().backward()
        parts = [p for n, p in fusion.named_parameters() if n.startswith("gate")]
        assert any(gradient(p) > 0 for p in parts) == works
        with torch.no_grad():
            for p in parts:
                p.normal_()
        assert torch.equal(fusion(image, text).vector, before) != works
    dead = sum(p.numel() for p in parts)
    assert (dead, sum(p.numel() for p in fusion.parameters())) == (1_182_466, 4_838_402)


@pytest.mark.covers("F6")
@pytest.mark.slow
def test_pooled_vectors_have_lost_which_colour_belongs_to_which_part():
    """Four parts with a colour each; the text names a part and a colour; the colour asked for is
    always somewhere in the picture. Only a fusion over tokens can tell."""
    def batch(rng, n=128, parts=4, colours=6):
        colour = torch.stack([torch.randperm(colours, generator=rng)[:parts] for _ in range(n)])
        part = torch.randint(parts, (n,), generator=rng)
        right = torch.rand(n, generator=rng) < 0.5
        other = (part + 1 + torch.randint(parts - 1, (n,), generator=rng)) % parts
        asked = colour[torch.arange(n), torch.where(right, part, other)]
        image = F.one_hot(colour, 16) + F.one_hot(torch.arange(parts) + 8, 16)
        text = torch.stack([F.one_hot(part + 8, 16), F.one_hot(asked, 16)], dim=1)
        return image.float(), text.float(), right.float()

    def accuracy(fuse, steps):
        torch.manual_seed(0)
        rng = torch.Generator().manual_seed(1)
        lift = nn.Linear(16, 32)
        module, score = fuse(), nn.Linear(32, 1)
        step = torch.optim.Adam([*lift.parameters(), *module.parameters(), *score.parameters()],
                                lr=1e-3)
        for k in range(steps + 8):
            image, text, right = batch(rng)
            i, t = 3 * lift(image), 3 * lift(text)
            if isinstance(module, tuple(TOKEN_FUSIONS.values())):
                vector = module(i, t, torch.ones(t.shape[:2])).vector
            else:
                vector = module(i.mean(dim=1), t.mean(dim=1)).vector
            logit = score(vector)[:, 0]
            if k == steps:
                hits = []
            if k >= steps:
                hits.append(((logit > 0) == (right > 0)).float().mean())
                continue
            step.zero_grad()
            F.binary_cross_entropy_with_logits(logit, right).backward()
            step.step()
        return torch.stack(hits).mean().item()

    tokens = Fusion(layers=2, dropout=0.0)
    assert accuracy(lambda: TOKEN_FUSIONS["attention_tokens"](tokens, 32), 800) > 0.9
    for name in ("mamba", "attention_gated"):
        assert abs(accuracy(lambda n=name: build_fusion(
            Fusion(name=n, dropout=0.0), 32), 400) - 0.5) < 0.08, name
