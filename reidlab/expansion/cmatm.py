"""CM-ATM: tokens of the other modality ask a picture what they would want to know.

Shapes: R rows, N patches, D width, K views, M tokens.
"""
import torch
from torch import Tensor, nn

from reidlab.config import Expansion
from reidlab.expansion.expanded import Expanded


class CrossModalTokens(nn.Module):
    """Cross-modal adaptive token mixing.

    In each view learned tokens of the *other* modality query the picture's own patches, and the
    patches read the answers back. Nothing needs a partner picture, so one modality alone works at
    test time. The views have weights of their own; as written they share them and are equal.

    Args:
        config: views K, heads, tokens M, dropout; ``learned_view_weights`` weighs views by picture,
            and pictures that are easy use fewer of them.
        dim: width D.

    Source: note 004, suggestion 2 and its improvements.
    """

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(2, config.views, config.tokens, dim))
        nn.init.trunc_normal_(self.tokens, std=0.02)

        def attentions():
            return nn.ModuleList(
                nn.MultiheadAttention(dim, config.heads, dropout=config.dropout, batch_first=True)
                for _ in range(config.views))
        self.ask, self.read = attentions(), attentions()
        self.to_view_weights = nn.Linear(dim, config.views) if config.learned_view_weights else None
        self.norm = nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (R, N, D), K views, weights in [0, 1] where weighed."""
        read_back = []
        for k, (ask, read) in enumerate(zip(self.ask, self.read, strict=True)):
            queries = self.tokens[1 - modality, k]                            # (R, M, D)
            answers = ask(queries, tokens, tokens, need_weights=False)[0] + queries
            read_back.append(read(tokens, answers, answers, need_weights=False)[0])
        views = torch.stack(read_back)                                        # (K, R, N, D)
        weights = None
        if self.to_view_weights is None:
            found = views.mean(dim=0)
        else:
            weights = self.to_view_weights(tokens.mean(dim=1)).sigmoid()             # (R, K)
            found = torch.einsum("krnc,rk->rnc", views, weights) / len(views)
        found = self.norm(found + tokens)
        return Expanded(self.dropout(found * self.scale), views.mean(dim=2), view_weights=weights)
