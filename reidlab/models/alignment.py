"""Words meet patches: a similarity of token sequences, and where each word finds its patch.

Shapes: B batch, N image tokens, L text tokens, D width, W width of the common space.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        """(B, N, D) → (B, N or ⌈N/2⌉, W), unit norm."""
        if self.light:
            tokens = F.avg_pool1d(tokens.transpose(1, 2), 2, ceil_mode=True).transpose(1, 2)
        return F.normalize(self.image(tokens), dim=-1)

    def maps(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Cosine of every patch with every word of the same row, (B, N, L)."""
        return self.patches(tokens) @ F.normalize(self.text(states), dim=-1).transpose(1, 2)

    def forward(self, tokens: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """(B, N, D), (C, L, D), mask (C, L) → (B, C) similarity in [−1, 1].

        Masked words never count.
        """
        patches, words = self.patches(tokens), F.normalize(self.text(states), dim=-1)
        best = torch.einsum("bnw,clw->bcnl", patches, words).amax(dim=2)   # (B, C, L)
        keep = mask.to(best.dtype)
        return (best * keep).sum(dim=-1) / keep.sum(dim=-1).clamp(min=1)
