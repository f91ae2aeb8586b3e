"""Fuse token sequences, so that a part of the picture can meet its word.

Two pooled vectors have lost which colour belongs to which garment; their fusion cannot bring it
back (findings c). Shapes: B pairs, N image tokens, L text tokens, D width.
"""
import torch
from torch import Tensor, nn

from reidlab.config import Fusion
from reidlab.encoders.pooling import MaskedMean
from reidlab.fusion.fused import Fused
from reidlab.fusion.selective_scan import fastest_mamba


class TokenGate(nn.Module):
    """Means of both sequences, weighed by two shares that sum to 1, and one projection."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.pool = MaskedMean()
        self.gate = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, 2))
        self.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(dim, dim), nn.LayerNorm(dim))

    def forward(self, image: Tensor, text: Tensor, mask: Tensor, maps: Tensor | None = None
                ) -> Fused:
        """(B, N, D), (B, L, D), mask (B, L) → one vector a pair."""
        image, text = self.pool(image), self.pool(text, mask)
        weights = self.gate(torch.cat([image, text], dim=-1)).softmax(dim=-1)  # (B, 2)
        return Fused(self.fc(weights[:, :1] * image + weights[:, 1:] * text), weights, maps)


class AttentionTokens(nn.Module):
    """Layers in which image tokens read text tokens and text tokens read image tokens.

    Args:
        config: layers, heads, dropout.
        dim: token width D.
    """

    def __init__(self, config: Fusion, dim: int):
        super().__init__()
        layers = range(config.layers)
        self.image_reads, self.text_reads = (nn.ModuleList(
            nn.MultiheadAttention(dim, config.heads, dropout=config.dropout, batch_first=True)
            for _ in layers) for _ in range(2))
        self.image_mlps, self.text_mlps = (nn.ModuleList(_feed_forward(dim) for _ in layers)
                                           for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4 * config.layers))
        self.gate = TokenGate(dim, config.dropout)

    def forward(self, image: Tensor, text: Tensor, mask: Tensor, want_maps: bool = False) -> Fused:
        """(B, N, D), (B, L, D), mask (B, L) → one vector a pair."""
        norms, maps, padded = iter(self.norms), None, mask == 0
        for image_reads, text_reads, image_mlp, text_mlp in zip(
                self.image_reads, self.text_reads, self.image_mlps, self.text_mlps, strict=True):
            told, maps = image_reads(image, text, text, key_padding_mask=padded,
                                     need_weights=want_maps, average_attn_weights=False)
            seen, _ = text_reads(text, image, image, need_weights=False)
            image, text = next(norms)(image + told), next(norms)(text + seen)
            image = next(norms)(image + image_mlp(image))
            text = next(norms)(text + text_mlp(text))
        return self.gate(image, text, mask, maps)


class MambaTokens(nn.Module):
    """One sequence, image tokens then words, scanned in both directions.

    A causal scan alone would let words see the picture but not the picture the words. Backwards
    the words are turned around within their true length, so that padding never comes first.

    Args:
        config: layers, state, taps, expansion, dropout.
        dim: token width D.
    """

    def __init__(self, config: Fusion, dim: int):
        super().__init__()
        layer, layers = fastest_mamba(), range(config.layers)
        shape = (dim, config.d_state, config.d_conv, config.expand)
        self.forwards = nn.ModuleList(layer(*shape) for _ in layers)
        self.backwards = nn.ModuleList(layer(*shape) for _ in layers)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in layers)
        self.gate = TokenGate(dim, config.dropout)

    def forward(self, image: Tensor, text: Tensor, mask: Tensor, want_maps: bool = False) -> Fused:
        """(B, N, D), (B, L, D), mask (B, L) → one vector a pair; a scan has no maps."""
        count = image.shape[1]
        x = torch.cat([image, text], dim=1)                            # (B, N + L, D)
        turned = turn_around(mask.long().sum(dim=1) + count, x.shape[1])[..., None].expand_as(x)
        for ahead, back, norm in zip(self.forwards, self.backwards, self.norms, strict=True):
            behind = back(x.gather(1, turned)).gather(1, turned)
            x = norm(x + ahead(x) + behind)
        return self.gate(x[:, :count], x[:, count:], mask)


def turn_around(lengths: Tensor, total: int) -> Tensor:
    """(B, total) indices that reverse the first ``lengths`` entries of each row, and no other."""
    place = torch.arange(total, device=lengths.device)
    mirrored = lengths[:, None] - 1 - place
    return torch.where(mirrored >= 0, mirrored, place)


def _feed_forward(dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
