"""What every expansion gives back. Shapes: R rows, N patches, D width, K branches."""
from typing import NamedTuple

from torch import Tensor


class Expanded(NamedTuple):
    """Tokens after an expansion, and the views it made of each row.

    Attributes:
        tokens: (R·(1 + extra), N, D): the rows themselves first, then each set of extra rows.
        branches: (K, R, D) each view, pooled over patches; what diversity is measured on.
        extra: sets of rows that were added; 0 where views are fused.
        shares: (R, K) weight of each view in the fusion; None where nothing weighs them.
    """

    tokens: Tensor
    branches: Tensor
    extra: int = 0
    shares: Tensor | None = None
