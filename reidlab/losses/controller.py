"""Raise a weight while what it should lower does not fall."""
import torch
from torch import Tensor, nn


class PlateauController(nn.Module):
    """Multiplies a weight when a watched value has stopped falling; bounded, kept in checkpoints.

    Args:
        factor: by which the weight is raised.
        patience: looks without a fall before it is.
        least: fall of the best value that counts as one.
        most: largest multiple of the weight as configured.

    Source: note 001 §5.1. Raising the weight of a form that is blind to dependence raises nothing
    but the weight (findings f3).
    """

    multiple: Tensor
    best: Tensor
    waited: Tensor

    def __init__(self, factor: float = 1.5, patience: int = 3, least: float = 0.005,
                 most: float = 8.0):
        super().__init__()
        self.factor, self.patience, self.least, self.most = factor, patience, least, most
        self.register_buffer("multiple", torch.ones(()))
        self.register_buffer("best", torch.tensor(torch.inf))
        self.register_buffer("waited", torch.zeros(()))

    def update(self, value: float) -> float:
        """Take note of a new value; the multiple from now on."""
        if value < self.best - self.least:
            self.best.fill_(value)
            self.waited.zero_()
        else:
            self.waited += 1
        if self.waited >= self.patience:
            self.multiple.mul_(self.factor).clamp_(max=self.most)
            self.waited.zero_()
        return self.multiple.item()

    def forward(self, weight: float) -> Tensor:
        """`weight` times the multiple."""
        return weight * self.multiple
