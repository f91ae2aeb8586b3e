"""Attention that costs less than every query times every key.

Shapes: B batch, N query tokens, M source tokens, D width, H heads, d = D / H.
Both take and give what ``nn.MultiheadAttention(batch_first=True)`` does, as far as the kit asks. At
length 1 both are exact attention: one value has nothing to be weighed against.

Source: note 001 §6.1; Performer, arXiv:2009.14794; Linformer, arXiv:2006.04768.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
    """Keys and values are first mixed down to `rank` learned summaries of all tokens.

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
