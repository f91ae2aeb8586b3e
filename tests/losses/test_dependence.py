"""A measure of dependence knows no scale and no origin, in its value and in its gradient."""
import pytest
import torch
import torch.nn.functional as F

from reidlab.errors import ReidlabError
from reidlab.evaluation.dependence import dependence, permutation_level
from reidlab.losses.decoupling import (
    cka,
    cka_linear,
    cka_rbf,
    hsic_linear,
    hsic_rbf,
    linear_kernel,
    rbf_kernel,
    unbiased_hsic,
)

BOTH = pytest.mark.parametrize("measure", [cka_linear, cka_rbf])


def draw(n=64, d=32, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def slow_cka(x, y):
    """Song's estimator as printed, in fp64, of centred linear kernels."""
    def hsic(k, l):  # noqa: E741
        n = len(k)
        return ((k * l).sum() + k.sum() * l.sum() / ((n - 1) * (n - 2))
                - 2 * (k.sum(0) @ l.sum(0)) / (n - 2)) / (n * (n - 3))

    def kernel(a):
        a = a.double() - a.double().mean(0)
        return (a @ a.T).fill_diagonal_(0)
    k, l = kernel(x), kernel(y)  # noqa: E741
    return (hsic(k, l) / (hsic(k, k) * hsic(l, l)).sqrt()).item()


@BOTH
@pytest.mark.parametrize("scale", [1e-20, 0.003, 1.0, 1e10, 1e18])
def test_a_set_depends_on_itself_at_any_scale(measure, scale):
    x = draw() * scale
    assert measure(x, x).item() == pytest.approx(1, rel=1e-6)
    assert measure(x, draw()).item() == pytest.approx(1, rel=1e-5)
    assert abs(measure(x, draw(seed=1)).item() - measure(draw(), draw(seed=1)).item()) < 1e-5


@BOTH
def test_unit_vectors_that_nearly_agree_still_depend_on_themselves(measure):
    x = F.normalize(draw(128, 256) * 0.05 + F.normalize(draw(1, 256, 9)) * 16, dim=1)
    assert (x @ x.T).mean() > 0.99
    assert measure(x, x).item() == pytest.approx(1, rel=1e-5)
    assert dependence(x, x)["cka_linear"] == pytest.approx(1, rel=1e-5)


@BOTH
@pytest.mark.parametrize("offset", [10.0, 10_000.0])
def test_the_origin_does_not_matter(measure, offset):
    x, y = draw(), draw(seed=1)
    moved = x + offset
    assert measure(moved, x).item() == pytest.approx(1, abs=1e-4)
    assert measure(moved, y).item() == pytest.approx(measure(moved - offset, y).item(), abs=1e-6)
    exact = (x.double() + offset, y.double())
    assert measure(*exact).item() == pytest.approx(measure(x, y).item(), abs=1e-6)


@BOTH
@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e10])
@pytest.mark.parametrize("count", [4, 63])
def test_a_set_without_variance_depends_on_nothing_and_nothing_moves_it(measure, value, count):
    flat = torch.full((count, 8), value, requires_grad=True)
    other = draw(count, 8).requires_grad_()
    for pair in ((flat, other), (other, flat), (flat, flat)):
        flat.grad = other.grad = None
        found = measure(*pair)
        found.backward()
        assert found.item() == 0
        assert all(x.grad is None or not x.grad.any() for x in pair)


@BOTH
def test_rows_that_are_all_equally_far_apart_tell_nothing(measure):
    """Every pair is like every other: the centred kernel is nothing but rounding."""
    x = torch.eye(16).requires_grad_()
    assert measure(x, draw(16)).item() == measure(x, x).item() == 0
    measure(x, x).backward()
    assert torch.isfinite(x.grad).all()


def test_values_are_those_of_the_printed_estimator():
    for seed in range(5):
        x = F.normalize(draw(32, 16, seed), dim=1)
        y = F.normalize(x + draw(32, 16, seed + 50), dim=1)
        assert cka_linear(x, y).item() == pytest.approx(slow_cka(x, y), rel=1e-6)
        assert cka_linear(x * 1e-6, y + 3).item() == pytest.approx(slow_cka(x, y), rel=1e-3)


def test_hsic_of_raw_kernels_keeps_its_scale():
    """HSIC is quadratic in the scale of either kernel: by definition, so it stays."""
    k, l = linear_kernel(draw()), linear_kernel(draw() + draw(seed=1))  # noqa: E741
    assert unbiased_hsic(100 * k, l).item() == pytest.approx(100 * unbiased_hsic(k, l).item())
    x, y = draw(), draw() + draw(seed=1)
    assert hsic_linear(9 * x, y).item() == pytest.approx(hsic_linear(x, y).item())  # of unit rows
    assert hsic_rbf(9 * x + 5, y).item() == pytest.approx(hsic_rbf(x, y).item(), rel=1e-4)


def test_kernels_of_any_scale_give_one_cka():
    k, l = rbf_kernel(draw()), linear_kernel(draw() + draw(seed=1))  # noqa: E741
    for scale in (1e-12, 1e12):
        assert cka(scale * k, l).item() == pytest.approx(cka(k, l).item())
        assert cka(k.float(), scale * l.float()).item() == pytest.approx(cka(k, l).item(), rel=1e-4)


def test_the_answer_has_the_precision_of_the_question():
    x = draw()
    assert cka_linear(x, x).dtype == hsic_linear(x, x).dtype == torch.float32
    assert cka_rbf(x.double(), x).dtype == torch.float64
    assert cka_rbf(x.half(), x.bfloat16()).dtype == torch.float32
    assert cka_linear(x.half(), x.half()).item() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_gradients_equal_finite_differences_at_any_scale(scale):
    x, y = (scale * draw(7, 3)).double().requires_grad_(), draw(7, 2, 1).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: cka_linear(a * scale, y), (x.detach() / scale
                                                                         ).requires_grad_())
    cka_linear(x, y).backward()
    step = 1e-5 * scale
    for row, column in ((0, 0), (3, 2), (6, 1)):
        shift = torch.zeros_like(x)
        shift[row, column] = step
        with torch.no_grad():
            slope = (cka_linear(x + shift, y) - cka_linear(x - shift, y)) / (2 * step)
        assert x.grad[row, column].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8 / scale)


def test_gradient_of_the_gaussian_form_is_the_one_with_the_bandwidth_held():
    x, y = draw(9, 3).double().requires_grad_(), rbf_kernel(draw(9, 2, 1).double())
    with torch.no_grad():
        apart = torch.cdist(x, x).square()
        width = apart[~torch.eye(9, dtype=torch.bool)].median()

    def held(a):
        return cka(torch.exp(-torch.cdist(a, a).square() / width), y)
    cka(rbf_kernel(x), y).backward()
    for row, column in ((0, 0), (4, 2), (8, 1)):
        shift = torch.zeros_like(x)
        shift[row, column] = 1e-5
        with torch.no_grad():
            slope = (held(x + shift) - held(x - shift)) / 2e-5
        assert x.grad[row, column].item() == pytest.approx(slope.item(), rel=1e-5, abs=1e-8)


@BOTH
@pytest.mark.parametrize(("scale", "offset"), [(1e-8, 0.0), (1e-3, 0.0), (1e8, 0.0), (1.0, 1e4)])
def test_the_gradient_follows_the_scale_and_forgets_the_offset(measure, scale, offset):
    """Twice as long rows need twice as long steps: the gradient is the inverse of the scale."""
    y = draw(16, 6, 1)
    plain, other = draw(16, 6).requires_grad_(), (scale * draw(16, 6) + offset).requires_grad_()
    measure(plain, y).backward()
    measure(other, y).backward()
    assert torch.isfinite(other.grad).all()
    assert torch.allclose(scale * other.grad, plain.grad, rtol=1e-3 if not offset else 0.05,
                          atol=1e-2 * plain.grad.abs().max())


def test_nan_is_not_taken_for_a_set_without_variance():
    x = draw()
    x[3, 2] = torch.nan
    for measure in (cka_linear, cka_rbf):
        assert measure(x, draw(seed=1)).isnan() and measure(x, x).isnan()


def test_the_level_by_chance_is_that_of_the_moved_and_scaled_set():
    x, y = draw(), draw(seed=1)
    assert permutation_level(1e-3 * x + 5, y, draws=20) == pytest.approx(
        permutation_level(x, y, draws=20), abs=1e-4)


def test_the_level_by_chance_is_that_of_cka_with_one_set_reordered():
    x, y = draw(), draw(seed=1)
    generator = torch.Generator().manual_seed(0)
    slow = [cka(rbf_kernel(x), rbf_kernel(y[torch.randperm(len(y), generator=generator)]))
            for _ in range(20)]
    assert permutation_level(x, y, draws=20) == pytest.approx(
        torch.stack(slow).quantile(0.95).item(), rel=1e-6)


def test_no_level_by_chance_of_three_samples():
    with pytest.raises(ReidlabError, match="at least 4 samples"):
        permutation_level(draw(n=3), draw(n=3, seed=1))
