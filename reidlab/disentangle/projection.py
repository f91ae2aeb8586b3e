"""Splits of one pooled image vector by small networks: note 001 and the two of note 000.

Shapes: B batch, N image tokens, D width. Identity and clothing read the same vector; nothing but
the losses tells them apart.
"""
from torch import Tensor, nn

from reidlab.config import Disentangle
from reidlab.config.text_image import MERGED_WIDTH
from reidlab.disentangle.gate import DisentangledFeatures
from reidlab.disentangle.reversal import reverse_gradient
from reidlab.encoders.pooling import build_pooling


class ReversedProjection(nn.Module):
    """Clothing as note 001 has it: Linear, gradient reversal, ReLU.

    The reversal stands before every clothing loss and no identity classifier follows it, so the
    encoder is pushed to lose clothing instead of identity (findings e).

    Args:
        dim: width D.
        reversed_: False leaves the reversal out, the control.

    Source: note 001 §2.11.1.
    """

    def __init__(self, dim: int, reversed_: bool = True):
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        self.reversed_, self.alpha = reversed_, 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) → (B, D)."""
        x = self.linear(x)
        return (reverse_gradient(x, self.alpha) if self.reversed_ else x).relu()


class ProjectionDisentangler(nn.Module):
    """Identity: Linear and ReLU. Clothing: `ReversedProjection`.

    Args:
        config: pooling of the image tokens, and whether the gradient is reversed.
        dim: width D.

    Source: note 001 §2.5, §2.11.1.
    """

    def __init__(self, config: Disentangle, dim: int, grid: tuple[int, int] = (6, 3)):
        super().__init__()
        self.pool = build_pooling(config.pooling, dim)
        self.identity = self.identity_network(dim)
        self.identity_width = dim
        self.cloth = ReversedProjection(dim, config.reversal)

    def identity_network(self, dim: int) -> nn.Module:
        """(B, D) → (B, identity width)."""
        return nn.Sequential(nn.Linear(dim, dim), nn.ReLU())

    def forward(self, tokens: Tensor, want_maps: bool = False) -> DisentangledFeatures:
        """(B, N, D) → (B, identity width) and (B, D); there are no maps."""
        pooled = self.pool(tokens)
        return DisentangledFeatures(self.identity(pooled), self.cloth(pooled))


class MergedDisentangler(ProjectionDisentangler):
    """Identity goes down to the retrieval width in one network, and is classified there.

    Its last BatchNorm and ReLU confine identity vectors to the positive orthant (findings m).

    Source: note 000 §1.
    """

    WIDTHS = (512, MERGED_WIDTH)

    def __init__(self, config: Disentangle, dim: int, grid: tuple[int, int] = (6, 3)):
        super().__init__(config, dim)
        self.identity_width = self.WIDTHS[-1]

    def identity_network(self, dim: int) -> nn.Module:
        middle, last = self.WIDTHS
        return nn.Sequential(
            nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(),
            nn.Linear(dim, middle), nn.BatchNorm1d(middle), nn.ReLU(),
            nn.Linear(middle, last), nn.BatchNorm1d(last), nn.ReLU())


class ResidualBlock(nn.Module):
    """x + Linear·ReLU·Linear(x), (B, D) → (B, D)."""

    def __init__(self, dim: int):
        super().__init__()
        self.block = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


class ResidualDisentangler(ProjectionDisentangler):
    """Identity through two residual blocks; their sums are cut by a ReLU, as the note has it.

    Note 000 replaces the network and leaves the forward pass of note 001, whose ReLU cuts the
    result.

    Source: note 000 §2, note 001 §2.11.1.
    """

    def identity_network(self, dim: int) -> nn.Module:
        return nn.Sequential(ResidualBlock(dim), nn.ReLU(), ResidualBlock(dim), nn.ReLU(),
                             nn.Linear(dim, dim), nn.ReLU())
