"""What every expansion gives back. Shapes: R rows, N patches, D width, K views."""
from typing import NamedTuple

from torch import Tensor


class Expanded(NamedTuple):
    """Tokens after an expansion, and the views it made of each row.

    Attributes:
        tokens: (R·(1 + extra), N, D): the rows themselves first, then each set of extra rows.
        views: (K, R, D) each view, pooled over patches; what diversity is measured on.
        extra: sets of rows that were added; 0 where views are fused.
        view_weights: (R, K) weight of each view in the fusion; None where nothing weighs them.
    """

    tokens: Tensor
    views: Tensor
    extra: int = 0
    view_weights: Tensor | None = None
