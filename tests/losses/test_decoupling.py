"""What each measure of dependence sees, and what it is blind to."""
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reidlab.losses.decoupling import (
    abs_cosine,
    cka,
    cka_linear,
    cka_rbf,
    decoupler,
    delta_kernel,
    gram,
    gram_zero_diagonal,
    hsic_linear,
    hsic_rbf,
    linear_kernel,
    rbf_kernel,
    unbiased_hsic,
)


def draw(n=128, d=32, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.covers("L7")
def test_abs_cosine_is_zero_for_orthogonal_and_one_for_identical_rows():
    x = draw(8)
    assert abs_cosine(x, x).item() == pytest.approx(1)
    assert abs_cosine(torch.eye(4), torch.eye(4).roll(1, 0)).item() == 0


@pytest.mark.covers("L7")
def test_abs_cosine_is_blind_to_a_turned_copy_and_cka_is_not():
    x = draw(128, 32)
    turned = torch.stack([-x[:, 1::2], x[:, 0::2]], dim=2).reshape(128, 32)  # 90° in each plane
    assert abs_cosine(x, turned).item() < 1e-6
    assert cka_linear(x, turned).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.covers("L7")
def test_untrained_projections_of_equal_features_look_as_unrelated_as_independent_ones():
    torch.manual_seed(0)
    x, y = draw(256, 768, 1), draw(256, 768, 2)
    same, independent = [], []
    for _ in range(8):
        p, q = (torch.nn.Linear(768, 256, bias=False) for _ in range(2))
        same.append(abs_cosine(p(x), q(x)).item())
        independent.append(abs_cosine(p(x), q(y)).item())
    theory = math.sqrt(2 / (256 * math.pi))
    assert abs(np.mean(same) - theory) < 0.005 and abs(np.mean(independent) - theory) < 0.005


@pytest.mark.covers("L8")
def test_unbiased_hsic_equals_a_sum_over_distinct_indices():
    x, y = draw(7, 3, 1), draw(7, 2, 2)
    k, l = linear_kernel(x).numpy(), linear_kernel(y).numpy()  # noqa: E741
    n, pairs, triples, fours = 7, [], [], []
    for a in range(n):
        for b in set(range(n)) - {a}:
            pairs.append(k[a, b] * l[a, b])
            for c in set(range(n)) - {a, b}:
                triples.append(k[a, b] * l[a, c])
                for d in set(range(n)) - {a, b, c}:
                    fours.append(k[a, b] * l[c, d])
    expected = np.mean(pairs) + np.mean(fours) - 2 * np.mean(triples)
    assert unbiased_hsic(torch.tensor(k), torch.tensor(l)).item() == pytest.approx(expected, 1e-4)


@pytest.mark.covers("L8")
def test_unbiased_measures_are_about_zero_for_independent_samples():
    values = [cka_linear(draw(64, 256, 2 * s), draw(64, 256, 2 * s + 1)).item() for s in range(20)]
    assert abs(np.mean(values)) < 0.03
    x, y = (draw(64, 256, s) - draw(64, 256, s).mean(0) for s in (0, 1))
    biased = ((x @ x.T) * (y @ y.T)).sum() / ((x @ x.T).norm() * (y @ y.T).norm())
    assert biased > 0.5  # what the usual, biased estimator says of the same data


@pytest.mark.covers("L8")
def test_only_the_gaussian_kernel_sees_a_square():
    x = draw(512, 2, 3)
    square = x ** 2 - 1
    assert abs(cka_linear(x, square).item()) < 0.06 and cka_rbf(x, square).item() > 0.1
    assert hsic_rbf(x, square) > 5 * hsic_rbf(x, draw(512, 2, 4)).abs()


@pytest.mark.covers("L8")
def test_both_gram_forms_see_an_offset():
    x, y, ones = draw(64, 16, 5), draw(64, 16, 6), torch.ones(64, 4)
    assert gram(ones, ones).item() == pytest.approx(1)
    assert gram_zero_diagonal(ones, ones).item() == pytest.approx(1 / 64)
    for form, most in ((gram, 1), (gram_zero_diagonal, 1 / 64)):
        assert abs(form(x, y).item()) < 0.1 * most
        assert form(x + 3, y + 3).item() > 0.5 * most  # still independent
    assert abs(cka_linear(x + 3, y + 3).item()) < 0.05


def test_gram_by_hand():
    x = torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    # the diagonal and rows 0 and 2: five entries of one among nine
    assert gram(x, x).item() == pytest.approx(5 / 9)
    # without the diagonal two entries of one, over B²(B−1) = 18
    assert gram_zero_diagonal(x, x).item() == pytest.approx(2 / 18)


def test_cka_is_one_for_identical_and_unchanged_by_rotation_and_scale():
    x = draw()
    turn = torch.linalg.qr(draw(32, 32, 9))[0]
    assert cka_linear(x, x).item() == pytest.approx(1)
    assert cka_linear(x, 7 * x @ turn).item() == pytest.approx(1, abs=1e-4)


def test_dependence_on_labels_uses_a_delta_kernel():
    labels = torch.arange(64) % 4
    assert delta_kernel(torch.tensor([1, 1, 2])).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    told = F.one_hot(labels, 4).float() + 0.01 * draw(64, 4)
    assert cka(rbf_kernel(told), delta_kernel(labels)).item() > 0.9
    assert abs(cka(rbf_kernel(draw(64, 4)), delta_kernel(labels)).item()) < 0.1


def test_gradients_reach_both_sides():
    for measure in (abs_cosine, gram, gram_zero_diagonal, hsic_linear, cka_linear, hsic_rbf,
                    cka_rbf):
        x, y = (torch.nn.Parameter(draw(16, 8, s)) for s in (1, 2))
        measure(x, y).backward()
        assert x.grad.abs().sum() > 0 and y.grad.abs().sum() > 0, measure.__name__


def test_too_few_samples_and_unknown_names_are_refused():
    with pytest.raises(ValueError, match="at least 4 samples"):
        unbiased_hsic(torch.eye(3), torch.eye(3))
    with pytest.raises(ValueError, match="known: abs_cosine, gram"):
        decoupler("mutual_information")
