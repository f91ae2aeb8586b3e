"""Diverse embedding expansion by dilated convolutions: the note's form and DEEN's.

Shapes: R rows, N patches, D width.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import Expansion
from reidlab.expansion.expanded import Expanded

DILATIONS = (1, 2, 3)


class DilatedView(nn.Module):
    """One generated view: the mean of three convolutions over neighbouring patches, then ReLU.

    Args:
        dim: width D; the convolutions work on a quarter of it.
        grid: (rows, columns) of patches; None convolves along the sequence, as note 004 does.
    """

    def __init__(self, dim: int, grid: tuple[int, int] | None):
        super().__init__()
        kind = nn.Conv2d if grid else nn.Conv1d
        self.grid = grid
        self.convolutions = nn.ModuleList(kind(dim, dim // 4, 3, padding=d, dilation=d)
                                   for d in DILATIONS)
        self.out = kind(dim // 4, dim, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(R, N, D) → (R, N, D), and the three convolutions, (R, N, D/4) each."""
        x = tokens.transpose(1, 2)
        if self.grid:
            x = x.unflatten(2, self.grid)
        convolutions = [convolution(x) for convolution in self.convolutions]
        view = self.out(F.relu(sum(convolutions) / len(convolutions)))
        return view.flatten(2).transpose(1, 2), [o.flatten(2).transpose(1, 2) for o in convolutions]


class DilatedFusion(nn.Module):
    """The note's DEE: three convolutions become one view in place of the input; no row is added.

    Source: note 004 §2.4; kernels, dilations, their mean and the ReLU are not in the note.
    """

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.view = DilatedView(dim, None)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (R, N, D); the views are the three convolutions."""
        view, convolutions = self.view(tokens)
        return Expanded(self.dropout(view * self.scale),
                        torch.stack([convolution.mean(dim=1) for convolution in convolutions]))


class DilatedExpansion(nn.Module):
    """DEEN's DEE: generated views stand beside the input as further rows.

    Source: DEEN, arXiv:2303.14481, §3.2.
    """

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.views = nn.ModuleList(DilatedView(dim, grid) for _ in range(config.views - 1))

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (K·R, N, D), the input among the K views."""
        sets = [tokens, *(view(tokens)[0] for view in self.views)]
        return Expanded(torch.cat(sets), torch.stack([s.mean(dim=1) for s in sets]),
                        extra=len(self.views))
