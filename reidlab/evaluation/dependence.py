"""How strongly two sets of vectors depend on each other, with the level chance reaches.

The estimators are those of `losses.decoupling`; here they are read, not minimised.
"""
import torch
from torch import Tensor

from reidlab.losses.decoupling import (
    abs_cosine,
    cka,
    linear_kernel,
    rbf_kernel,
    unbiased_hsic,
    unit_centred,
)


@torch.no_grad()
def dependence(x: Tensor, y: Tensor) -> dict[str, float]:
    """Every measure of one pair of features.

    Args:
        x, y: (B, D) and (B, E) with B ≥ 4; the more samples, the smaller the noise around 0.

    Returns:
        ``hsic`` and ``cka`` (unbiased, Gaussian kernels), ``cka_linear`` (unbiased) and, between
        vectors of one width, ``abs_cosine`` (mean absolute cosine of paired rows; blind to
        rotation).
    """
    x, y = x.double(), y.double()
    kx, ky = rbf_kernel(x), rbf_kernel(y)
    found = {"hsic": unbiased_hsic(kx, ky).item(), "cka": cka(kx, ky).item(),
             "cka_linear": cka(linear_kernel(x), linear_kernel(y)).item()}
    return found | ({"abs_cosine": abs_cosine(x, y).item()} if x.shape == y.shape else {})


@torch.no_grad()
def permutation_level(x: Tensor, y: Tensor, draws: int = 200, seed: int = 0) -> float:
    """95 % level of unbiased RBF CKA when the pairing is shuffled: below it, nothing is shown."""
    generator = torch.Generator().manual_seed(seed)
    kx, ky = unit_centred(rbf_kernel(x)), unit_centred(rbf_kernel(y))
    values = []
    for _ in range(draws):
        order = torch.randperm(len(y), generator=generator).to(y.device)
        values.append((kx * ky[order][:, order]).sum())
    return torch.stack(values).quantile(0.95).item()
