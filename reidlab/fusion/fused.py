"""What every fusion gives. Shapes: B batch, D width."""
from typing import NamedTuple

from torch import Tensor


class Fused(NamedTuple):
    """One vector of two modalities.

    Attributes:
        vector: (B, D).
        gate_weights: (B, 2), image against text, summing to 1.
        maps: (B, heads, N, L) attention of image tokens over text tokens, where there is one.
    """

    vector: Tensor
    gate_weights: Tensor
    maps: Tensor | None = None
