"""What may stand in a branch where the notes put self-attention.

Shapes: B batch, N query tokens (CLS first, then the patch grid), M source tokens, D width, H heads.
All take and give what ``nn.MultiheadAttention(batch_first=True)`` does, as far as branches ask.

Source: suggestions of notes 001 §6.1 and 000 §1.2; Performer, arXiv:2009.14794; Linformer,
arXiv:2006.04768.
"""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import Disentangle


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


class _Projected(nn.Module):
    """Queries, keys and values by head, and the way back; subclasses weigh the values."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.in_proj, self.out_proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False,
                average_attn_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """(B, N, D), (B, M, D) twice → (B, N, D) and, on request, weights (B, H, N, columns)."""
        projected = []
        for source, weight, bias in zip((query, key, value), self.in_proj.weight.chunk(3),
                                        self.in_proj.bias.chunk(3), strict=True):
            x = F.linear(source, weight, bias)
            projected.append(x.unflatten(-1, (self.heads, -1)).transpose(1, 2))
        q, k, v = projected
        out, weights = self.weigh(q, k, v, need_weights)               # (B, H, N, D/H)
        return self.out_proj(out.transpose(1, 2).flatten(2)), weights

    def weigh(self, q: Tensor, k: Tensor, v: Tensor, need_weights: bool):
        raise NotImplementedError

    @torch.no_grad()
    def like(self, exact: nn.MultiheadAttention):
        """Take over the weights of exact attention; returns self."""
        self.in_proj.weight.copy_(exact.in_proj_weight)
        self.in_proj.bias.copy_(exact.in_proj_bias)
        self.out_proj.load_state_dict(exact.out_proj.state_dict())
        return self


class PerformerAttention(_Projected):
    """Softmax by positive random features: exp(q·k) = E[φ(q)·φ(k)].

    Args:
        dim: width D; heads: H.
        features: random features a head; the error falls with their square root.
    """

    directions: Tensor

    def __init__(self, dim: int, heads: int, features: int = 64):
        super().__init__(dim, heads)
        self.register_buffer("directions", _orthogonal_gaussian(features, dim // heads))

    def features(self, x: Tensor) -> Tensor:
        """(B, H, N, d) → (B, H, N, features), positive."""
        x = x * x.shape[-1] ** -0.25
        power = x @ self.directions.T - x.square().sum(-1, keepdim=True) / 2
        return torch.exp(power - power.amax(dim=(-1, -2), keepdim=True).detach()) + 1e-6

    def weigh(self, q, k, v, need_weights):
        q, k = self.features(q), self.features(k)
        out = q @ (k.transpose(-1, -2) @ v)                            # never (N, M)
        total = q @ k.sum(dim=-2)[..., None]                           # (B, H, N, 1)
        weights = (q @ k.transpose(-1, -2)) / total if need_weights else None
        return out / total, weights


class LinformerAttention(_Projected):
    """Keys and values are first mixed down to `retrieval_metrics` learned summaries of all tokens.

    Args:
        dim: width D; heads: H.
        tokens: M, fixed.
        rank: summaries; at ``rank == tokens`` it starts as exact attention.
    """

    weighs_tokens = False  # its weights are over summaries

    def __init__(self, dim: int, heads: int, tokens: int, rank: int = 16):
        super().__init__(dim, heads)
        segments = torch.arange(tokens) * rank // tokens
        pool = F.one_hot(segments, rank).float().T                     # (rank, M)
        self.mix = nn.Parameter(pool / pool.sum(dim=1, keepdim=True).clamp(min=1))

    def weigh(self, q, k, v, need_weights):
        k, v = self.mix @ k, self.mix @ v                              # (B, H, rank, d)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
        return weights @ v, weights if need_weights else None


def _orthogonal_gaussian(rows: int, dim: int) -> Tensor:
    """(rows, dim) Gaussian directions, orthogonal within each block of `dim`."""
    blocks = [torch.linalg.qr(torch.randn(dim, dim)).Q for _ in range(-(-rows // dim))]
    lengths = torch.randn(rows, dim).norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:rows] * lengths
