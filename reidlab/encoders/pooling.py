"""Many tokens in, one vector out. Shapes: B batch, L tokens, D width."""
import torch
from torch import Tensor, nn

from reidlab.errors import ReidlabError


class FirstToken(nn.Module):
    """The first token, [CLS], whatever the mask."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D) → (B, D)."""
        return tokens[:, 0]


class LastToken(nn.Module):
    """The last token that the mask keeps: the end of a text, which has seen all words before it.

    Source: CLIP, arXiv:2103.00020.
    """

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D), mask (B, L) → (B, D)."""
        if mask is None:
            return tokens[:, -1]
        last = (mask.long().sum(dim=1) - 1).clamp(min=0)                      # (B,)
        return tokens.gather(1, last[:, None, None].expand(-1, 1, tokens.shape[2]))[:, 0]


class MaskedMean(nn.Module):
    """Mean over the tokens that the mask keeps; a row without any token gives zeros.

    Source: note 003 §3.
    """

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D), mask (B, L) → (B, D); what stands in masked places never matters."""
        if mask is None:
            return tokens.mean(dim=1)
        keep = mask[..., None].to(tokens.dtype)                       # (B, L, 1)
        return (tokens * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)


class MaskedMax(nn.Module):
    """Largest value of each channel over the tokens that the mask keeps."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D), mask (B, L) → (B, D)."""
        if mask is not None:
            tokens = tokens.masked_fill(mask[..., None] == 0, -torch.inf)
        return tokens.amax(dim=1)


class AttentionPool(nn.Module):
    """Weights of the tokens by one learned query: softmax of a linear score.

    Args:
        dim: width D.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, D), mask (B, L) → (B, D)."""
        score = self.score(tokens)                                    # (B, L, 1)
        if mask is not None:
            score = score.masked_fill(mask[..., None] == 0, -torch.inf)
        return (score.softmax(dim=1) * tokens).sum(dim=1)


POOLINGS = {"cls": lambda dim: FirstToken(), "masked_mean": lambda dim: MaskedMean(),
            "max": lambda dim: MaskedMax(), "attention": AttentionPool,
            "last": lambda dim: LastToken()}


def build_pooling(name: str, dim: int) -> nn.Module:
    """The pooling called `name` for tokens of width `dim`."""
    if name not in POOLINGS:
        raise ReidlabError(f"unknown pooling {name!r}; known: {', '.join(POOLINGS)}")
    return POOLINGS[name](dim)


def attend(layer: nn.Module, query: Tensor, source: Tensor,
           maps: list[Tensor] | None = None) -> Tensor:
    """`query` reads `source`; the heads' weights are appended to `maps` when it is a list.

    Layers whose ``weighs_tokens`` is False have no weight for each token and append nothing.
    """
    wanted = maps is not None and getattr(layer, "weighs_tokens", True)
    out, weights = layer(query, source, source, need_weights=wanted, average_attn_weights=False)
    if maps is not None and wanted:
        maps.append(weights)
    return out


class QueryPool(nn.Module):
    """Attention pooling with a query, keys and values of its own.

    Args:
        dim: token width D.
        heads: of the attention.
        dropout: of its weights.
    """

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, dim) * dim ** -0.5)
        self.attention = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)

    def forward(self, tokens: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        """(B, N, D) → (B, D)."""
        query = self.query.expand(len(tokens), -1, -1)
        return attend(self.attention, query, tokens, maps)[:, 0]
