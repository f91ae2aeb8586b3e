"""Losses and monitors of dependence between two sets of vectors.

The notes' two forms and the estimators that do measure dependence. Shapes: B batch, D width.
Sources: HSIC, Gretton 2005; unbiased form, Song 2012; CKA, Kornblith, arXiv:1905.00414.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import ReidlabError


def abs_cosine(x: Tensor, y: Tensor) -> Tensor:
    """Mean absolute cosine of row i of `x` with row i of `y`.

    Returns:
        Scalar in [0, 1]: 0 for orthogonal rows, 1 for identical ones. Blind to dependence: a copy
        turned by 90° scores 0.

    Source: note 001 §2.2.2.
    """
    return F.cosine_similarity(x, y, dim=-1).abs().mean()


def gram(x: Tensor, y: Tensor) -> Tensor:
    """The note's ``HSIC``: products of Gram matrices off the diagonal, without centring.

    Returns:
        Scalar in [−1/B, 1/B]: mostly the squared common offset of the two sets.

    Source: notes 000 and 002 §3.1.
    """
    x, y = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
    k, l = _zero_diagonal(x @ x.T), _zero_diagonal(y @ y.T)  # noqa: E741
    n = len(x)
    return (k * l).sum() / (n * n * (n - 1))


def linear_kernel(x: Tensor) -> Tensor:
    """(B, D) → (B, B) inner products of centred rows.

    Centring does not change HSIC or CKA; it keeps float32 sums exact enough to subtract.
    """
    x = x - x.mean(dim=0)
    return x @ x.T


def rbf_kernel(x: Tensor) -> Tensor:
    """(B, D) → (B, B) Gaussian kernel; bandwidth by the median distance, without gradient."""
    inner = x @ x.T
    norms = inner.diagonal()
    distance = (norms[:, None] + norms[None, :] - 2 * inner).clamp(min=0)
    with torch.no_grad():
        off = distance[~torch.eye(len(x), dtype=torch.bool, device=x.device)]
        width = off.median().clamp(min=1e-12)
    return torch.exp(-distance / width)


def delta_kernel(labels: Tensor) -> Tensor:
    """(B,) integer labels → (B, B): 1 where they agree."""
    return (labels[:, None] == labels[None, :]).float()


def unbiased_hsic(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """Unbiased HSIC of two kernel matrices: 0 on average for independent samples.

    Args:
        k, l: (B, B), symmetric; their diagonals are ignored.

    Raises:
        ReidlabError: fewer than four samples.

    Source: Song et al. 2012, equation 5.
    """
    n = len(k)
    if n < 4 or k.shape != l.shape:
        raise ReidlabError(f"unbiased HSIC needs two kernels of at least 4 samples; got "
                           f"{tuple(k.shape)} and {tuple(l.shape)}")
    k, l = _zero_diagonal(k), _zero_diagonal(l)  # noqa: E741
    rows_k, rows_l = k.sum(dim=0), l.sum(dim=0)
    trace = (k * l).sum()
    total = rows_k.sum() * rows_l.sum() / ((n - 1) * (n - 2))
    cross = 2 * (rows_k @ rows_l) / (n - 2)
    return (trace + total - cross) / (n * (n - 3))


def cka(k: Tensor, l: Tensor) -> Tensor:  # noqa: E741
    """Unbiased HSIC over the geometric mean of the self-terms: about 0 independent, 1 identical.

    Args:
        k, l: (B, B) kernel matrices.
    """
    own = (unbiased_hsic(k, k) * unbiased_hsic(l, l)).clamp(min=1e-12)
    return unbiased_hsic(k, l) / own.sqrt()


def hsic_linear(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased linear HSIC of unit-norm rows."""
    return unbiased_hsic(linear_kernel(F.normalize(x, dim=-1)),
                         linear_kernel(F.normalize(y, dim=-1)))


def cka_linear(x: Tensor, y: Tensor) -> Tensor:
    """Debiased linear CKA: sees every linear dependence, whatever the rotation."""
    return cka(linear_kernel(x), linear_kernel(y))


def hsic_rbf(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased HSIC with Gaussian kernels: sees non-linear dependence too."""
    return unbiased_hsic(rbf_kernel(x), rbf_kernel(y))


def cka_rbf(x: Tensor, y: Tensor) -> Tensor:
    """Debiased CKA with Gaussian kernels."""
    return cka(rbf_kernel(x), rbf_kernel(y))


def _zero_diagonal(k: Tensor) -> Tensor:
    return k - torch.diag(k.diagonal())


DECOUPLERS = {"abs_cosine": abs_cosine, "gram": gram, "hsic_linear": hsic_linear,
              "cka_linear": cka_linear, "hsic_rbf": hsic_rbf, "cka_rbf": cka_rbf}


def decoupler(name: str):
    """The dependence loss called `name`."""
    if name not in DECOUPLERS:
        raise ReidlabError(f"unknown loss.decouple {name!r}; known: {', '.join(DECOUPLERS)}")
    return DECOUPLERS[name]
