"""Where tokens of a picture and of a text meet: the ITM head, and words against patches.

Shapes: B pictures, C texts, N patches, L words, D width.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import Fusion
from reidlab.fusion import TOKEN_FUSIONS


class ITMHead(nn.Module):
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


def build_itm_head(config: Fusion, dim: int) -> ITMHead | None:
    """The ITM head of a token fusion; None where the fusion joins vectors or is left out."""
    return ITMHead(config, dim) if config.name in TOKEN_FUSIONS else None


class TokenAlignment(nn.Module):
    """Each word looks for its best patch; the mean over the words is the similarity.

    Args:
        dim: token width D.
        light: a quarter of the width, and pairs of patches averaged first: an eighth of the
            products, for small machines.

    Source: note 000 §1.2.2 and §1.2.3; the form is FILIP's, arXiv:2111.07783.
    """

    def __init__(self, dim: int, light: bool = False):
        super().__init__()
        width = dim // 4 if light else dim
        self.image, self.text = nn.Linear(dim, width), nn.Linear(dim, width)
        self.light = light

    def patches(self, tokens: Tensor) -> Tensor:
        """(B, 1 + N, D) → (B, N or ⌈N/2⌉, W), unit norm."""
        patches = tokens[:, 1:]
        if self.light:
            patches = F.avg_pool1d(patches.transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)
        return F.normalize(self.image(patches), dim=-1)

    def maps(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Cosine of every patch with every word of the same row: (B, 1 + N, D), (B, L, D) →
        (B, N or ⌈N/2⌉, L)."""
        return self.patches(tokens) @ F.normalize(self.text(states), dim=-1).transpose(1, 2)

    def forward(self, tokens: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """(B, 1 + N, D), (C, L, D), mask (C, L) → (B, C) similarity in [−1, 1].

        Masked words never count.
        """
        patches, words = self.patches(tokens), F.normalize(self.text(states), dim=-1)
        best = torch.einsum("bnw,clw->bcnl", patches, words).amax(dim=2)   # (B, C, L)
        keep = mask.to(best.dtype)
        return (best * keep).sum(dim=-1) / keep.sum(dim=-1).clamp(min=1)
