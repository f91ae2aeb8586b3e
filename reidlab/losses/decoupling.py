"""Losses and monitors of dependence between two sets of vectors.

The notes' two forms and the estimators that do measure dependence. The latter are computed in
float64: features that nearly agree differ in digits that float32 sums lose, and a measure of
dependence must know neither scale nor origin of what it reads. Shapes: B batch, D width.
Sources: HSIC, Gretton 2005; unbiased form, Song 2012; CKA, Kornblith, arXiv:1905.00414.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import ReidlabError
from reidlab.losses.precision import precision_of

ROUNDING = 1e-12  # relative size below which a float64 difference is taken for rounding


def abs_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute cosine of row i of `x` with row i of `y`.

    Returns:
        Scalar in [0, 1]: 0 for orthogonal rows, 1 for identical ones. Blind to dependence: a copy
        turned by 90° scores 0.

    Source: note 001 §2.2.2.
    """
    return F.cosine_similarity(x, y, dim=-1).abs().mean()


def gram(x: Tensor, y: Tensor) -> Tensor:
    """The note's ``HSIC``: mean of the product of both Gram matrices, without centring.

    Returns:
        Scalar in [0, 1]: mostly the squared common offset of the two sets. The diagonal adds
        1/B whatever the rows are.

    Source: note 002 §3.1; note 000 names the loss only.
    """
    x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    return ((x @ x.T) * (y @ y.T)).mean()


def gram_zero_diagonal(x: Tensor, y: Tensor) -> Tensor:
    """`gram` without its diagonal, over B − 1 once more: its gradient is B − 1 times smaller.

    Returns:
        Scalar in [−1/(B(B − 1)), 1/B], for B of 2 or more.

    Source: the ancestor's form of note 002 §3.1.
    """
    x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    n = len(x)
    return (_zero_diagonal(x @ x.T) * (y @ y.T)).sum() / (n * n * (n - 1))


def linear_kernel(x: Tensor) -> Tensor:
    """(B, D) → (B, B) float64 inner products of centred rows, at their own scale.

    Centring does not change HSIC or CKA. A column without variance counts as exactly constant.
    """
    x = _centred(x)
    return x @ x.T


def rbf_kernel(x: Tensor) -> Tensor:
    """(B, D) → (B, B) float64 Gaussian kernel; bandwidth by the median distance, without gradient.

    Neither scale nor origin of `x` changes it. Rows that are all equal give ones everywhere.
    """
    x = _centred(x)
    inner = x @ x.T
    norms = inner.diagonal()
    distance = (norms[:, None] + norms[None, :] - 2 * inner).clamp(min=0)
    with torch.no_grad():
        off = distance[~torch.eye(len(x), dtype=torch.bool, device=x.device)]
        width = torch.maximum(off.median(), ROUNDING * off.max())  # most rows may be equal
        width = torch.where(width > 0, width, 1.0)
    return torch.exp(-distance / width)


def delta_kernel(labels: Tensor) -> Tensor:
    """(B,) integer labels → (B, B): 1 where they agree."""
    return (labels[:, None] == labels[None, :]).float()


def unbiased_hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """Unbiased HSIC of two kernel matrices: 0 on average for independent samples.

    It keeps the scale of its kernels: ten times the one is ten times the value.

    Args:
        k, l: (B, B), symmetric; their diagonals are ignored.

    Raises:
        ReidlabError: fewer than four samples.

    Source: Song et al. 2012, equation 5, as the inner product of the kernels without row means.
    """
    _check_kernels(k, l)
    n = len(k)
    return ((_without_means(k) * _without_means(l)).sum() / (n * (n - 3))).to(precision_of(k, l))


def cka(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """Unbiased HSIC over the geometric mean of the self-terms: about 0 independent, 1 identical.

    The scale of a kernel, and a constant added to it, change nothing. A kernel of which centring
    leaves nothing but rounding depends on nothing: value and gradient are 0.

    Args:
        k, l: (B, B) kernel matrices, symmetric; their diagonals are ignored.

    Raises:
        ReidlabError: fewer than four samples.
    """
    _check_kernels(k, l)
    return (unit_centred(k) * unit_centred(l)).sum().to(precision_of(k, l))


def hsic_linear(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased linear HSIC of unit-norm rows: small where the rows lie close together."""
    x, y = (F.normalize(rows.to(precision_of(x, y)), dim=-1) for rows in (x, y))
    return unbiased_hsic(linear_kernel(x), linear_kernel(y)).to(x.dtype)


def cka_linear(x: Tensor, y: Tensor) -> Tensor:
    """Debiased linear CKA: sees every linear dependence, whatever rotation, scale and origin."""
    return cka(linear_kernel(x), linear_kernel(y)).to(precision_of(x, y))


def hsic_rbf(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased HSIC with Gaussian kernels: sees non-linear dependence too."""
    return unbiased_hsic(rbf_kernel(x), rbf_kernel(y)).to(precision_of(x, y))


def cka_rbf(x: Tensor, y: Tensor) -> Tensor:
    """Debiased CKA with Gaussian kernels, whatever scale and origin."""
    return cka(rbf_kernel(x), rbf_kernel(y)).to(precision_of(x, y))


def _check_kernels(k: Tensor, l: Tensor) -> None:  # noqa: E741
    if len(k) < 4 or k.shape != l.shape:
        raise ReidlabError(f"unbiased HSIC needs two kernels of at least 4 samples; got "
                           f"{tuple(k.shape)} and {tuple(l.shape)}")


def _centred(x: Tensor) -> Tensor:
    """(B, D) → float64 rows around their mean, exactly zero in columns that do not vary."""
    x = x.double()
    moved = x - x.mean(dim=0)
    with torch.no_grad():
        varies = moved.norm(dim=0) > ROUNDING * x.norm(dim=0)
    return moved * varies


def _without_means(k: Tensor) -> Tensor:
    """(B, B) → float64, U-centred: rows and columns sum to zero without their diagonal, which is
    zero, too."""
    n, k = len(k), _zero_diagonal(k.double())
    rows = k.sum(dim=0) / (n - 2)
    return _zero_diagonal(k - rows[:, None] - rows[None, :] + k.sum() / ((n - 1) * (n - 2)))


def unit_centred(k: Tensor) -> Tensor:
    """(B, B) kernel → float64, U-centred and of norm 1; zeros where only rounding is left of it.

    `cka` is the inner product of two. Reordering the samples reorders rows and columns.

    Raises:
        ReidlabError: fewer than four samples.
    """
    _check_kernels(k, k)
    centred = _without_means(k)
    with torch.no_grad():
        size = centred.abs().max()
        told = size > ROUNDING * _zero_diagonal(k.double()).abs().max()
    centred = centred / torch.where(told, size, 1.0)
    return centred / torch.where(told, centred.norm(), 1.0) * told


def _zero_diagonal(k: Tensor) -> Tensor:
    return k - torch.diag(k.diagonal())


DECOUPLERS = {"abs_cosine": abs_cosine, "gram": gram, "gram_zero_diagonal": gram_zero_diagonal,
              "hsic_linear": hsic_linear, "cka_linear": cka_linear, "hsic_rbf": hsic_rbf,
              "cka_rbf": cka_rbf}


def decoupler(name: str):
    """The dependence loss called `name`."""
    if name not in DECOUPLERS:
        raise ReidlabError(f"unknown loss.decouple {name!r}; known: {', '.join(DECOUPLERS)}")
    return DECOUPLERS[name]
