"""Distances keep their digits where rows nearly agree, and gradients stay finite."""
import pytest
import torch

from reidlab.losses.metric import (
    batch_hard_triplet,
    centre_pairs,
    distances,
    paired,
)

LABELS = torch.tensor([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
MODALITY = torch.tensor([0] * 6 + [1] * 6)


def draw(seed=0, count=12, width=8):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def collapsed(seed=0, spread=1e-3, count=12, width=64):
    """Rows of length 10 that lie within `spread` of each other."""
    middle = 10 * torch.nn.functional.normalize(draw(99, 1, width), dim=1)
    return middle + spread * draw(seed, count, width)


def slow_triplet(x, labels, margin):
    x, found = x.double(), []
    for a in range(len(x)):
        apart = [(x[a] - x[b]).norm().item() for b in range(len(x))]
        own = max(apart[b] for b in range(len(x)) if b != a and labels[b] == labels[a])
        other = min(apart[b] for b in range(len(x)) if labels[b] != labels[a])
        found.append(max(0.0, own - other + margin))
    return sum(found) / len(found)


@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-5])
def test_triplets_of_collapsed_rows_are_those_of_fp64(spread):
    x = collapsed(spread=spread)
    found = batch_hard_triplet(x, LABELS, margin=spread)
    assert found.item() == pytest.approx(slow_triplet(x, LABELS, spread), rel=1e-4)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_rows_give_finite_gradients_in_every_precision(kind, value):
    same = torch.full((12, 8), value, dtype=kind, requires_grad=True)
    for loss in (lambda x: batch_hard_triplet(x, LABELS),
                 lambda x: centre_pairs(x, x, LABELS, MODALITY),
                 lambda x: paired(x, x.flip(0)).sum(),
                 lambda x: distances(x, x).sum()):
        same.grad = None
        found = loss(same)
        found.backward()
        assert torch.isfinite(found) and torch.isfinite(same.grad).all()
    assert batch_hard_triplet(same, LABELS, margin=0.3).item() == pytest.approx(0.3)
    assert centre_pairs(same, same, LABELS, MODALITY, margin=0.2).item() == pytest.approx(0.4)


def test_half_precision_rows_are_measured_in_single_precision():
    """Squares of 300 overflow fp16, which ends at 65,504."""
    x = (300 * draw()).half()
    assert batch_hard_triplet(x, LABELS).item() == pytest.approx(
        slow_triplet(x, LABELS, 0.3), rel=1e-4)
    assert centre_pairs(x, x.roll(1, 0), LABELS, MODALITY).item() == pytest.approx(
        centre_pairs(x.double(), x.double().roll(1, 0), LABELS, MODALITY).item(), rel=1e-4)


@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-5])
def test_centres_of_collapsed_rows_are_those_of_fp64(spread):
    plain, made = collapsed(0, spread), collapsed(1, spread)
    found = centre_pairs(plain, made, LABELS, MODALITY, margin=spread)
    exact = centre_pairs(plain.double(), made.double(), LABELS, MODALITY, margin=spread)
    assert found.item() == pytest.approx(exact.item(), rel=1e-4)
    a, b = collapsed(2, spread), collapsed(3, spread)
    assert torch.allclose(paired(a, b).double(), (a.double() - b.double()).norm(dim=1), rtol=1e-5)
    exact = torch.cdist(a.double(), a.double()).fill_diagonal_(torch.inf).amin(dim=1)
    assert torch.allclose(distances(a, b).double(), (a.double()[:, None] - b.double()).norm(dim=2),
                          rtol=1e-5)


def test_gradients_of_distances_equal_finite_differences():
    x = collapsed(spread=0.1, width=4).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: batch_hard_triplet(a, LABELS, margin=1.0), x)
    assert torch.autograd.gradcheck(lambda a: paired(a, a.flip(0)).sum(), x)


def test_a_gradient_in_single_precision_is_the_one_of_fp64():
    x = collapsed(spread=1e-3)
    single, double = x.clone().requires_grad_(), x.double().requires_grad_()
    batch_hard_triplet(single, LABELS, margin=1e-3).backward()
    batch_hard_triplet(double, LABELS, margin=1e-3).backward()
    assert torch.allclose(single.grad.double(), double.grad, rtol=1e-3, atol=1e-6)


def test_a_batch_without_any_pair_costs_nothing_in_half_precision_either():
    """The sum of these rows is beyond fp16; infinity times zero would be NaN."""
    alone = torch.full((4, 512), 300.0, dtype=torch.float16, requires_grad=True)
    loss = batch_hard_triplet(alone, torch.arange(4))
    loss.backward()
    assert loss.item() == 0 and not alone.grad.any()
