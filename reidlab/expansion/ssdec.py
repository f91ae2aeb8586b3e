"""SS-DEC, rebuilt and corrected: several small views, each of another part of the patches.

Shapes: R rows, N patches, D width, K views.
"""
import torch
from torch import Tensor, nn

from reidlab.config import Expansion
from reidlab.expansion.expanded import Expanded


class RebuiltMasks(nn.Module):
    """SS-DEC with as few changes as let the note's code run.

    Each view masks single numbers, not scaled up again, and goes through a transformer layer of
    its own; views stand side by side, and the input is not added. Changed, and why:

    - the layer: the printed ``TransformerEncoder`` is not defined; one of the kit's stages is.
    - views end in D / K channels, as the note's text says; the printed code joins K·D channels
      and hands them to a LayerNorm of width D.
    - in evaluation each view has one fixed mask; the printed one is drawn each time, and no vector
      of a picture could be compared twice.

    Args:
        config: views K, heads (8 in the note), ``drop`` (0.3), dropout.
        dim: width D.

    Source: note 004, suggestion 3, rebuilt.
    """

    fixed: Tensor

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.drop = config.drop
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, config.heads, 4 * dim, config.dropout, "gelu",
                                       batch_first=True, norm_first=True)
            for _ in range(config.views))
        widths = [len(part) for part in torch.arange(dim).tensor_split(config.views)]
        self.cuts = nn.ModuleList(nn.Linear(dim, width) for width in widths)
        drawn = torch.Generator().manual_seed(0)
        self.register_buffer("fixed", torch.rand(config.views, grid[0] * grid[1], dim,
                                                 generator=drawn) > self.drop, persistent=False)
        self.norm = nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (R, N, D) and K views of width D, before they are cut."""
        views = [layer(tokens * (torch.rand(tokens.shape, device=tokens.device) > self.drop
                                 if self.training else fixed))
                 for layer, fixed in zip(self.layers, self.fixed, strict=True)]
        joined = torch.cat([cut(v) for cut, v in zip(self.cuts, views, strict=True)], dim=-1)
        return Expanded(self.dropout(self.norm(joined) * self.scale),
                        torch.stack([view.mean(dim=1) for view in views]))


class DroppedTokenViews(nn.Module):
    """Self-supervised diverse embedding, corrected: each view sees the patches through its own
    holes.

    A transformer layer a view, cut to D / K channels; side by side, one Linear makes D of them.
    Patches are dropped whole, in training only, and what is kept is scaled up to keep its mean.

    Args:
        config: views K, heads, ``drop``, dropout.
        dim: width D.

    Source: the kit's; note 004, suggestion 3 (intent).
    """

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.drop, width = config.drop, dim // config.views
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, config.heads, 2 * dim, config.dropout,
                                       batch_first=True) for _ in range(config.views))
        self.cuts = nn.ModuleList(nn.Linear(dim, width) for _ in self.layers)
        self.fuse = nn.Linear(width * config.views, dim)
        self.norm = nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (R, N, D) and K views of width D / K."""
        views = [cut(layer(self.holes(tokens)))
                 for layer, cut in zip(self.layers, self.cuts, strict=True)]
        found = self.norm(self.fuse(torch.cat(views, dim=-1)) + tokens)
        return Expanded(self.dropout(found * self.scale),
                        torch.stack([view.mean(dim=1) for view in views]))

    def holes(self, tokens: Tensor) -> Tensor:
        """Whole patches dropped at random in training, the rest scaled by 1 / (1 − drop)."""
        if not self.training or not self.drop:
            return tokens
        keep = torch.rand(tokens.shape[:2], device=tokens.device) >= self.drop
        return tokens * keep[..., None] / (1 - self.drop)


def cut_mix(tokens: Tensor, partner: Tensor, share: float, grid: tuple[int, int]
            ) -> tuple[Tensor, float]:
    """Put a rectangle of each row's partner over its own patches.

    Args:
        tokens: (R, N, D).
        partner: (R,) row whose patches come in; the same modality is the caller's business.
        share: of the area to keep, about.
        grid: (rows, columns) of patches.

    Returns:
        Mixed tokens, and the share of patches that stayed: the weight of the own label.

    Source: CutMix, arXiv:1905.04899; note 004, suggestion 3.
    """
    side = (1 - share) ** 0.5
    height, width = (max(1, round(n * side)) for n in grid)
    top = int(torch.randint(grid[0] - height + 1, ()))
    left = int(torch.randint(grid[1] - width + 1, ()))
    inside = torch.zeros(grid, dtype=torch.bool, device=tokens.device)
    inside[top:top + height, left:left + width] = True
    inside = inside.flatten()[None, :, None]
    return torch.where(inside, tokens[partner], tokens), 1 - height * width / (grid[0] * grid[1])
