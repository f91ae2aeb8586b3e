"""The scan against a step-by-step loop and against transformers' Mamba, values and gradients."""
import sys
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

from reidlab.fusion.selective_scan import (
    Mamba,
    _probe,
    linear_recurrence,
    mamba_path,
    selective_scan,
)


def inputs(b=2, length=13, e=6, s=4):
    torch.manual_seed(0)
    parts = [torch.randn(b, length, e), F.softplus(torch.randn(b, length, e)),
             -torch.rand(e, s) - 0.1, torch.randn(b, length, s), torch.randn(b, length, s),
             torch.randn(e)]
    return [p.double().requires_grad_() for p in parts]


def step_by_step(u, delta, A, B, C, D):
    """The definition, one time step after the other."""
    h, out = torch.zeros(u.shape[0], u.shape[2], A.shape[1], dtype=u.dtype), []
    for t in range(u.shape[1]):
        h = torch.exp(delta[:, t, :, None] * A) * h + (
            delta[:, t, :, None] * B[:, t, None] * u[:, t, :, None])
        out.append((h * C[:, t, None]).sum(-1) + D * u[:, t])
    return torch.stack(out, 1)


@pytest.mark.covers("F4")
@pytest.mark.parametrize("length", [1, 2, 3, 8, 13, 64])
def test_values_and_gradients_equal_the_loop(length):
    parts = inputs(length=length)
    weight = torch.randn(2, length, 6, dtype=torch.double)
    fast, slow = selective_scan(*parts), step_by_step(*parts)
    assert torch.allclose(fast, slow, atol=1e-12)
    for a, b in zip(torch.autograd.grad((fast * weight).sum(), parts),
                    torch.autograd.grad((slow * weight).sum(), parts), strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_gradient_check_by_finite_differences():
    assert torch.autograd.gradcheck(selective_scan, inputs(1, 5, 2, 2))


def test_recurrence_runs_both_ways():
    decay, drive = torch.full((4, 1), 0.5), torch.ones(4, 1)
    assert linear_recurrence(decay, drive).flatten().tolist() == [1, 1.5, 1.75, 1.875]
    assert linear_recurrence(decay, drive, reverse=True).flatten().tolist() == [
        1.875, 1.75, 1.5, 1]


def test_long_sequences_stay_finite():
    parts = [p.float() for p in inputs(length=600)]
    assert selective_scan(*parts).isfinite().all()


def transformers_mixer(layer: Mamba, dim: int) -> MambaMixer:
    theirs = MambaMixer(MambaConfig(hidden_size=dim, state_size=16, conv_kernel=4, expand=2,
                                    time_step_rank=layer.rank), layer_idx=0)
    missing = theirs.load_state_dict(layer.state_dict(), strict=False)
    assert not missing.missing_keys and not missing.unexpected_keys
    return theirs


@pytest.mark.covers("F4")
def test_layer_equals_transformers_mamba_in_values_and_all_gradients():
    torch.manual_seed(1)
    ours = Mamba(32)
    theirs = transformers_mixer(ours, 32)
    x, weight = torch.randn(2, 9, 32), torch.randn(2, 9, 32)
    a, b = ours(x), theirs(x)
    assert torch.allclose(a, b, atol=1e-5)
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    other = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert torch.allclose(parameter.grad, other[name].grad, atol=1e-4), name


def test_names_and_shapes_are_those_of_mamba_ssm():
    shapes = {n: tuple(p.shape) for n, p in Mamba(64, d_state=16, d_conv=4).named_parameters()}
    assert shapes == {
        "A_log": (128, 16), "D": (128,), "in_proj.weight": (256, 64),
        "conv1d.weight": (128, 1, 4), "conv1d.bias": (128,), "x_proj.weight": (36, 128),
        "dt_proj.weight": (128, 4), "dt_proj.bias": (128,), "out_proj.weight": (64, 128)}
    assert sum(p.numel() for p in Mamba(512).parameters()) == 1_694_720


def test_the_layer_is_causal():
    torch.manual_seed(0)
    layer, x = Mamba(16), torch.randn(1, 8, 16)
    changed = x.clone()
    changed[:, 5:] += 1
    before, after = layer(x), layer(changed)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-6)
    assert not torch.allclose(before[:, 5:], after[:, 5:], atol=1e-3)


@pytest.mark.covers("F4")
def test_a_sequence_of_length_one_never_recurs():
    torch.manual_seed(0)
    for length, moves in ((1, False), (8, True)):
        layer = Mamba(16)
        layer(torch.randn(4, length, 16)).square().sum().backward()
        assert bool(layer.A_log.grad.any()) == moves
        taps = layer.conv1d.weight.grad.abs().sum((0, 1))
        assert (taps[:3] > 0).all() == moves and taps[3] > 0


@pytest.mark.covers("R18")
def test_the_path_taken_is_said_with_its_reason():
    if not torch.cuda.is_available():
        assert mamba_path() == "torch (no CUDA device)"
    assert "(" in mamba_path()


@pytest.mark.covers("R18")
@pytest.mark.parametrize(("installed", "says"), [
    (None, "torch (mamba_ssm is not installed)"),
    (SimpleNamespace(Mamba=lambda *given, **named: 1 / 0), "failed a test scan")])
def test_beside_a_gpu_a_missing_or_broken_mamba_ssm_is_named(monkeypatch, installed, says):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "mamba_ssm", installed)
    _probe.cache_clear()
    try:
        assert says in mamba_path() and _probe()[0] is Mamba
    finally:
        _probe.cache_clear()
