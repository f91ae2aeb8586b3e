"""Gradient reversal: forwards nothing happens, backwards the sign turns."""
import torch
from torch import Tensor


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, alpha: float) -> Tensor:
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return -ctx.alpha * grad, None


def reverse_gradient(x: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` itself; its gradient is −alpha times what arrives.

    Source: note 001 §2.2; DANN, arXiv:1505.07818.
    """
    return _Reverse.apply(x, alpha)


def alpha_ramp(epoch: float) -> float:
    """Strength of the reversal: min(1, .1 + .02 · epoch); .1 at epoch 0, 1 from 45.

    Args:
        epoch: from 0, so that the first epoch has the note's initial value.

    Source: note 001 §2.8, ``update_alpha``.
    """
    return min(1.0, 0.1 + 0.02 * epoch)
