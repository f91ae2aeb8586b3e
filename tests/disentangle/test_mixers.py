"""What may replace exact attention in a branch, and how far it is from it."""
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reidlab.config import Disentangle
from reidlab.disentangle import build_disentangler
from reidlab.disentangle.gate import GatedDisentangler
from reidlab.encoders.efficient_attention import LinformerAttention, PerformerAttention
from reidlab.losses.gate import RunningMean

MIXERS = ("attention", "performer", "linformer", "conv", "window")


def exact(dim=32):
    torch.manual_seed(0)
    return nn.MultiheadAttention(dim, 4, batch_first=True)


@pytest.mark.covers("F7")
def test_performer_nears_exact_attention_with_more_features():
    layer, x = exact(), 0.5 * torch.randn(8, 40, 32)
    true = layer(x, x, x)[0]
    errors = []
    for features in (8, 64, 512):
        each = []
        for seed in range(5):
            torch.manual_seed(seed)
            guess = PerformerAttention(32, 4, features).like(layer)(x, x, x)[0]
            each.append(((guess - true).norm() / true.norm()).item())
        errors.append(sum(each) / 5)
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.15 < errors[0]


@pytest.mark.covers("F7")
def test_linformer_is_exact_at_full_rank_and_nears_it_with_rank():
    layer, x = exact(), torch.randn(8, 40, 32)
    true = layer(x, x, x)[0]
    errors = [((LinformerAttention(32, 4, 40, rank).like(layer)(x, x, x)[0] - true).norm()
               / true.norm()).item() for rank in (4, 20, 40)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 1e-5


@pytest.mark.covers("F7")
def test_work_of_the_cheaper_ones_grows_with_tokens_and_that_of_exact_attention_faster():
    """Twice the tokens: twice the multiply-adds, and more than three times for exact attention."""
    work: dict = {}
    for tokens in (128, 256, 512, 1024):
        x = torch.randn(1, tokens, 32)
        for name, layer in (("exact", exact()), ("performer", PerformerAttention(32, 4, 16)),
                            ("linformer", LinformerAttention(32, 4, tokens, 16))):
            with FlopCounterMode(display=False) as counted:
                layer.train()(x, x, x)
            work.setdefault(name, []).append(counted.get_total_flops())
    growth = {name: [b / a for a, b in pairwise(counts)] for name, counts in work.items()}
    assert growth["performer"] == growth["linformer"] == [2.0] * 3
    assert min(growth["exact"]) > 3 and growth["exact"] == sorted(growth["exact"])
    assert work["exact"][-1] > 8 * max(work["performer"][-1], work["linformer"][-1])


@pytest.mark.covers("F7")
def test_efficient_maps_are_shares():
    x = torch.randn(2, 10, 32)
    for layer, columns in ((PerformerAttention(32, 4), 10), (LinformerAttention(32, 4, 10, 5), 5)):
        _, weights = layer(x, x, x, need_weights=True)
        assert weights.shape == (2, 4, 10, columns) and (weights >= 0).all()
        assert torch.allclose(weights.sum(dim=-1), torch.ones(2, 4, 10), atol=1e-4)


@pytest.mark.covers("D13")
@pytest.mark.parametrize("mixer", MIXERS)
def test_every_mixer_trains_and_keeps_pictures_apart(mixer):
    torch.manual_seed(0)
    split = build_disentangler(Disentangle(mixer=mixer, features=8), 32, (6, 3))
    x = torch.randn(4, 19, 32)
    parts = split(x)
    (parts.identity.sum() + parts.cloth.square().sum()).backward()
    dead = [n for n, p in split.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [n for n in dead if "in_proj_bias" not in n and "k_proj" not in n], dead
    assert torch.allclose(split(x[:1]).identity, split(x).identity[:1], atol=1e-5)


@pytest.mark.covers("D13")
def test_reach_of_each_mixer():
    """How many patches one patch changes: neighbours, a band, or all."""
    reach = {}
    for mixer in ("conv", "window", "attention"):
        torch.manual_seed(0)
        branch = build_disentangler(Disentangle(mixer=mixer), 32, (6, 3)).identity
        x = torch.randn(1, 19, 32)
        y = x.clone()
        y[0, 1] += 1.0
        reach[mixer] = int((branch.layers[0](x, x, x)[0] - branch.layers[0](y, y, y)[0]
                            ).abs().amax(dim=-1).gt(1e-6).sum())
    assert reach == {"conv": 4, "window": 9, "attention": 19}


@pytest.mark.covers("D14")
@pytest.mark.parametrize(("layers", "cross"), [(0, 1), (1, 0), (1, 1)])
def test_self_only_cross_only_and_both(layers, cross):
    split = build_disentangler(Disentangle(self_layers=layers, cross_layers=cross), 16)
    parts = split(torch.randn(2, 7, 16), want_maps=True)
    assert len(parts.maps["identity"]) == layers + cross


@pytest.mark.covers("F9")
@pytest.mark.parametrize("kind", ["linear", "mlp", "multihead"])
def test_richer_gates_train(kind):
    torch.manual_seed(0)
    gate = GatedDisentangler(32, kind)
    a, b = torch.randn(16, 32), torch.randn(16, 32)
    goal = torch.rand(16, 32) if kind != "multihead" else torch.rand(16, 8).repeat_interleave(4, 1)
    step = torch.optim.Adam(gate.parameters(), lr=0.05)
    losses = []
    for _ in range(60):
        parts = gate(a, b)
        assert torch.allclose(parts.identity + parts.gate * 0, parts.gate * a)
        loss = (parts.gate - goal).square().mean()
        losses.append(loss.item())
        step.zero_grad()
        loss.backward()
        step.step()
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.covers("F8")
def test_smoothing_lowers_the_gates_variance_under_noise():
    def variance(weight):
        torch.manual_seed(0)
        gate, smooth = GatedDisentangler(16), RunningMean(16)
        x, goal = torch.randn(64, 16), torch.rand(64, 16).round()
        step = torch.optim.Adam(gate.parameters(), lr=0.02)
        for _ in range(150):
            given = gate(x, x).gate
            loss = (given - goal).square().mean() + weight * smooth(given)
            step.zero_grad()
            loss.backward()
            step.step()
        with torch.no_grad():
            noisy = torch.stack([gate(x + 0.3 * torch.randn_like(x), x).gate for _ in range(20)])
        return noisy.var(dim=0).mean().item()
    assert variance(1.0) < 0.7 * variance(0.0)
