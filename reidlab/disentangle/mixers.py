"""What may stand in a branch where the notes put self-attention.

Shapes: B batch, N query tokens (CLS first, then the patch grid), M source tokens, D width, H heads.
All take and give what ``nn.MultiheadAttention(batch_first=True)`` does, as far as branches ask.

Source: note 003, question; cheaper attention is note 001 §6.1's idea for another place.
"""
import math

import torch
from torch import Tensor, nn

from reidlab.config import Disentangle
from reidlab.encoders.efficient_attention import LinformerAttention, PerformerAttention


class GridMixer(nn.Module):
    """Base of mixers that need to know where a patch lies; CLS passes through.

    Takes and gives what ``nn.MultiheadAttention`` does where query and source are the same.

    Args:
        grid: (rows, columns) of patches.
    """

    weighs_tokens = False  # for `attend`: there is no map of the tokens

    def __init__(self, grid: tuple[int, int]):
        super().__init__()
        self.grid = grid

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False,
                average_attn_weights: bool = False) -> tuple[Tensor, None]:
        """(B, 1 + rows · columns, D) → the same shape; there are no weights."""
        patches = key[:, 1:].unflatten(1, self.grid)                   # (B, rows, columns, D)
        return torch.cat([key[:, :1], self.mix(patches).flatten(1, 2)], dim=1), None

    def mix(self, patches: Tensor) -> Tensor:
        raise NotImplementedError


class ConvMixer(GridMixer):
    """A depthwise 3 × 3 and a pointwise convolution: neighbours only, equal everywhere."""

    def __init__(self, dim: int, grid: tuple[int, int]):
        super().__init__(grid)
        self.depthwise = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.pointwise = nn.Conv2d(dim, dim, 1)

    def mix(self, patches: Tensor) -> Tensor:
        x = patches.permute(0, 3, 1, 2)
        return self.pointwise(self.depthwise(x).relu()).permute(0, 2, 3, 1)


class WindowMixer(GridMixer):
    """Self-attention within horizontal bands of the grid, as Swin has it within windows.

    Bands suit people: head, trunk and legs lie below each other.
    """

    def __init__(self, dim: int, heads: int, grid: tuple[int, int], rows: int = 3):
        super().__init__(grid)
        self.rows = math.gcd(rows, grid[0]) if grid[0] % rows else rows
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)

    def mix(self, patches: Tensor) -> Tensor:
        bands = patches.unflatten(1, (-1, self.rows)).flatten(2, 3)    # (B, bands, tokens, D)
        x = bands.flatten(0, 1)
        return self.attention(x, x, x, need_weights=False)[0].reshape(patches.shape)


def build_mixer(config: Disentangle, dim: int, grid: tuple[int, int]) -> nn.Module:
    """The self-mixing layer called ``config.mixer``."""
    match config.mixer:
        case "conv":
            return ConvMixer(dim, grid)
        case "window":
            return WindowMixer(dim, config.heads, grid)
        case "performer":
            return PerformerAttention(dim, config.heads, config.features)
        case "linformer":
            return LinformerAttention(dim, config.heads, 1 + grid[0] * grid[1], config.features)
    return build_attention(config, dim)


def build_attention(config: Disentangle, dim: int) -> nn.MultiheadAttention:
    """Exact attention over tokens, batch first."""
    return nn.MultiheadAttention(dim, config.heads, dropout=config.dropout, batch_first=True)
