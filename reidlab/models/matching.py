"""Does this description fit this picture? Read from the tokens of both, for the best few hits.

Shapes: B pairs, N image tokens, L text tokens, D width.
"""
from torch import Tensor, nn

from reidlab.config import Fusion
from reidlab.fusion import TOKEN_FUSIONS


class Matcher(nn.Module):
    """Fusion over tokens and one number a pair.

    A fused vector of the gallery depends on the query, so it cannot be a search index; it can say
    of a few candidates which fits best. Trained on matched and mismatched pairs, since a contrast
    of fused vectors with the text alone is solved without the picture (findings j).

    Args:
        config: a token fusion.
        dim: token width D.
    """

    def __init__(self, config: Fusion, dim: int):
        super().__init__()
        self.fusion = TOKEN_FUSIONS[config.name](config, dim)
        self.score = nn.Linear(dim, 1)

    def forward(self, image: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D), (B, L, D), mask (B, L) → (B,) logits of a match."""
        return self.score(self.fusion(image, text, mask).vector)[:, 0]


def build_matcher(config: Fusion, dim: int) -> Matcher | None:
    """The matcher of a token fusion; None where the fusion joins vectors or is left out."""
    return Matcher(config, dim) if config.name in TOKEN_FUSIONS else None
