"""Bring a lower layer's view into a higher one: the MFA block of DEEN and that of note 004.

Shapes: R rows, N positions, C channels of the higher view, c of the lower one.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PYRAMID = (1, 4, 16)  # parts into which the sequence is averaged, level by level


class LastBatchNorm(nn.Module):
    """A Linear and a BatchNorm that starts at zero, so that a block starts as the identity."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.linear, self.norm = nn.Linear(inside, outside), nn.BatchNorm1d(outside)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(R, N, inside) → (R, N, outside), zero at the start."""
        return self.norm(self.linear(tokens).transpose(1, 2)).transpose(1, 2)


class NonLocal(nn.Module):
    """What both blocks share: three projections and an end that starts at zero.

    Args:
        high, low: channels C and c.
        inside: channels that are compared.
    """

    def __init__(self, high: int, low: int, inside: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, inside) for width in (high, low, low))
        self.out = LastBatchNorm(inside, high)


class ChannelNonLocal(NonLocal):
    """Channels of the higher view ask channels of the lower one; scores over N, no softmax.

    Args:
        high, low: channels C and c.

    Source: CNL of DEEN, arXiv:2303.14481.
    """

    def __init__(self, high: int, low: int):
        super().__init__(high, low, low)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """(R, N, C), (R, N, c) → (R, N, C)."""
        scores = self.query(high).transpose(1, 2) @ self.key(low)     # (R, c, c)
        found = self.value(low) @ (scores / scores.shape[-1]).transpose(1, 2)
        return high + self.out(found)


class PositionNonLocal(NonLocal):
    """Positions of the higher view ask positions of the lower one; no softmax.

    Args:
        high, low: channels C and c.

    Source: PNL of DEEN, arXiv:2303.14481.
    """

    def __init__(self, high: int, low: int):
        super().__init__(high, low, max(1, low // 2))

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """(R, N, C), (R, n, c) → (R, N, C); the two views may differ in positions."""
        scores = self.query(high) @ self.key(low).transpose(1, 2)     # (R, N, n)
        return high + self.out(scores / scores.shape[-1] @ self.value(low))


class CrossNonLocal(NonLocal):
    """Positions of the higher view attend to positions of the lower one of the same picture.

    The note calls it cross-modal, and computes attention between a stage and the first one.

    Args:
        high, low: channels C and c.

    Source: CNL of note 004 §2.1, described only; one head, width c / 2 and the start are assumed.
    """

    def __init__(self, high: int, low: int):
        super().__init__(high, low, max(1, low // 2))

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """(R, N, C), (R, n, c) → (R, N, C); the two views may differ in positions."""
        return high + self.out(F.scaled_dot_product_attention(
            self.query(high), self.key(low), self.value(low)))


class PyramidNonLocal(CrossNonLocal):
    """Positions of the higher view attend to averages of the lower one: the whole picture, its
    quarters, its sixteenths, as far as there are so many positions.

    Source: PNL of note 004 §2.1, of which it says the name; the levels are assumed.
    """

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """(R, N, C), (R, n, c) → (R, N, C)."""
        sequence = low.transpose(1, 2)
        levels = [F.adaptive_avg_pool1d(sequence, min(parts, low.shape[1])) for parts in PYRAMID]
        return super().forward(high, torch.cat(levels, dim=2).transpose(1, 2))


AGGREGATIONS = {"deen": (ChannelNonLocal, PositionNonLocal),
                "cross_pyramid": (CrossNonLocal, PyramidNonLocal)}


class MFA(nn.Module):
    """Multi-stage feature aggregation: two blocks, one after the other.

    It starts as the identity. The notes hand it a ``flag`` that nothing defines on tokens (in
    DEEN it halves the lower map); here the two views come with equal positions instead.

    Args:
        high, low: channels of the two views.
        form: ``deen``, channels then positions; ``cross_pyramid``, the reading of note 004.

    Source: DEEN, arXiv:2303.14481; note 004 §2.
    """

    def __init__(self, high: int, low: int | None = None, form: str = "deen"):
        super().__init__()
        first, second = AGGREGATIONS[form]
        self.cnl, self.pnl = first(high, low or high), second(high, low or high)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """(R, N, C), (R, N, c) → (R, N, C)."""
        return self.pnl(self.cnl(high, low), low)
