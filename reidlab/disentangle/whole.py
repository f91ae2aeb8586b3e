"""No split: the baseline that every split is measured against.

Shapes: B batch, N image tokens, D width.
"""
from torch import Tensor, nn

from reidlab.config import Disentangle
from reidlab.disentangle.gate import DisentangledFeatures
from reidlab.encoders.pooling import build_pooling


class Undivided(nn.Module):
    """Identity and clothing are one vector: all that the encoder says of the picture."""

    def __init__(self, config: Disentangle, dim: int, grid: tuple[int, int] = (6, 3)):
        super().__init__()
        self.identity_width = dim
        self.pool = build_pooling(config.pooling, dim)

    def forward(self, tokens: Tensor, want_maps: bool = False) -> DisentangledFeatures:
        """(B, N, D) → twice the same (B, D)."""
        pooled = self.pool(tokens)
        return DisentangledFeatures(pooled, pooled)
