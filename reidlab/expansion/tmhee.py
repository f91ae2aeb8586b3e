"""T-MHEE: the heads of one attention as views of an embedding.

Shapes: R rows, N patches, D width, K heads of width d = D / K.
"""
import torch
from torch import Tensor, nn

from reidlab.config import Expansion
from reidlab.expansion.expanded import Expanded


class BatchFirstForgotten(nn.Module):
    """T-MHEE as written: the attention takes the first axis for the sequence, so that each patch
    looks at the same patch of every other picture in the batch, and no view is given back.

    Source: note 004, suggestion 1.
    """

    reads_batch = True  # several processes that share one have to hand it over whole

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, config.heads, dropout=config.dropout)
        self.norm = nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (R, N, D); one branch, the output itself."""
        found = self.attention(tokens, tokens, tokens, need_weights=False)[0]
        found = self.dropout(self.norm(found + tokens) * self.scale)
        return Expanded(found, found.mean(dim=1)[None])


class HeadViews(nn.Module):
    """T-MHEE with its heads as views: ``MHA(x) = Σ headᵢ Wᵢ + b``, one summand a view.

    Summed with equal weights, this is `nn.MultiheadAttention` over patches, added to the tokens
    behind a LayerNorm, as in the layers around it. A LayerNorm after the sum, as the note has it,
    keeps both modalities apart for hundreds of steps (docs/log.md). Options: heads that
    exchange what they saw, and weights that depend on the modality.

    Args:
        config: heads, dropout, ``interaction``, ``learned_view_weights``.
        dim: width D, a multiple of the heads.

    Source: note 004, suggestion 1 and its improvements.
    """

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.heads = config.heads
        self.attention = nn.MultiheadAttention(dim, config.heads, dropout=config.dropout,
                                               batch_first=True)
        self.exchange = nn.MultiheadAttention(dim // config.heads, 1, batch_first=True
                                              ) if config.interaction else None
        self.to_view_weights = (
            nn.Embedding(2, config.heads) if config.learned_view_weights else None
        )
        if self.to_view_weights is not None:
            nn.init.zeros_(self.to_view_weights.weight)
        self.norm = nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(config.dropout)

    def views(self, tokens: Tensor) -> Tensor:
        """(R, N, D) → (K, R, N, D): each head's part of the attention's output, without bias."""
        rows, count, dim = tokens.shape
        width = dim // self.heads
        q, k, v = (x.view(rows, count, self.heads, width).transpose(1, 2) for x in
                   nn.functional.linear(tokens, self.attention.in_proj_weight,
                                        self.attention.in_proj_bias).chunk(3, dim=-1))
        weights = (q @ k.transpose(-2, -1) / width ** 0.5).softmax(dim=-1)   # (R, K, N, N)
        weights = nn.functional.dropout(weights, self.attention.dropout, self.training)
        seen = weights @ v                                                    # (R, K, N, d)
        if self.exchange is not None:
            flat = seen.permute(0, 2, 1, 3).flatten(0, 1)                     # (R·N, K, d)
            flat = flat + self.exchange(flat, flat, flat, need_weights=False)[0]
            seen = flat.view(rows, count, self.heads, width).permute(0, 2, 1, 3)
        out = self.attention.out_proj.weight.view(dim, self.heads, width)     # (D, K, d)
        return torch.einsum("rknd,ckd->krnc", seen, out)

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (R, N, D) and K views; the weights sum to 1 a row."""
        views = self.views(self.norm(tokens))
        weights = None
        if self.to_view_weights is None:
            found = views.sum(dim=0)
        else:
            weights = self.to_view_weights(modality).softmax(dim=-1)                 # (R, K)
            found = torch.einsum("krnc,rk->rnc", views, weights * self.heads)
        found = tokens + self.dropout(self.scale * (found + self.attention.out_proj.bias))
        return Expanded(found, views.mean(dim=2), view_weights=weights)
