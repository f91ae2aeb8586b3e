"""Losses on a gate. Shapes: B batch, D width."""
import torch
from torch import Tensor, nn


def gate_regularization(gate: Tensor) -> Tensor:
    """Mean squared distance of a gate from one half: 0 at .5, .25 at 0 or 1.

    Args:
        gate: any shape, in [0, 1].

    Source: note 002 §3.2.
    """
    return (gate - 0.5).square().mean()


class RunningMean(nn.Module):
    """Mean squared distance of a gate from its own running mean: keeps it from jumping.

    Args:
        dim: channels D of the gate.
        keep: share of the old mean that a step keeps.

    Source: note 001 §6.2, smoothing of weights.
    """

    mean: Tensor

    def __init__(self, dim: int, keep: float = 0.9):
        super().__init__()
        self.keep = keep
        self.register_buffer("mean", torch.full((dim,), 0.5))

    def forward(self, gate: Tensor) -> Tensor:
        """(B, D) → scalar; in training the mean moves towards the batch's."""
        loss = (gate - self.mean).square().mean()
        if self.training:
            self.mean.lerp_(gate.detach().mean(dim=0), 1 - self.keep)
        return loss
