"""One learned query a factor pools the tokens it needs: the corrected split.

Shapes: B batch, N image tokens, D width.
"""
from collections.abc import Mapping

from torch import Tensor, nn

from reidlab.config import Disentangle
from reidlab.disentangle.gate import DisentangledFeatures
from reidlab.encoders.pooling import QueryPool


class QueryDisentangler(nn.Module):
    """Identity and clothing each read the tokens once and never each other.

    Cross-attention and gate are left out on purpose: from perfectly separate inputs, one untrained
    cross-attention layer already makes clothing fully readable from identity.
    """

    def __init__(self, config: Disentangle, dim: int, grid: tuple[int, int] = (6, 3)):
        super().__init__()
        self.identity_width = dim
        self.identity, self.cloth = (QueryPool(dim, config.heads, config.dropout) for _ in range(2))

    def forward(self, tokens: Tensor, want_maps: bool = False) -> DisentangledFeatures:
        """(B, N, D) → two (B, D); maps are (B, heads, 1, N)."""
        maps: dict[str, list[Tensor]] | None = {"identity": [], "cloth": []} if want_maps else None
        of: Mapping[str, list[Tensor] | None] = maps or {"identity": None, "cloth": None}
        return DisentangledFeatures(self.identity(tokens, of["identity"]),
                             self.cloth(tokens, of["cloth"]), None, maps)
