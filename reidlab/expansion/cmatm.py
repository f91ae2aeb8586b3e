"""CM-ATM, rebuilt and corrected: tokens of the other modality ask a picture.

Shapes: R rows, N patches, D width, K views, M tokens.
"""
import torch
from torch import Tensor, nn

from reidlab.config import Expansion
from reidlab.expansion.expanded import Expanded


class RebuiltTokens(nn.Module):
    """CM-ATM with as few changes as let the note's code run.

    One token a modality, one attention that all views share, its answer added to every patch. So
    views differ by dropout only, and not at all in evaluation. Changed, and why:

    - views: a field; the printed loop runs over a name that nothing defines.
    - batch first, one token a row: the printed code doubles the tokens of 2B rows, so that shapes
      do not fit.
    - a row is asked by the token of the other modality, as the note's text has it; the printed
      order of tokens would have its own ask.

    Args:
        config: views K, heads (8 in the note), dropout.
        dim: width D.

    Source: note 004, suggestion 2, rebuilt.
    """

    def __init__(self, config: Expansion, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.tokens = nn.Parameter(torch.empty(2, 1, dim))
        nn.init.trunc_normal_(self.tokens, std=0.02)
        self.count = config.views
        self.attention = nn.MultiheadAttention(dim, config.heads, dropout=config.dropout,
                                               batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor, modality: Tensor) -> Expanded:
        """(R, N, D), (R,) → tokens (R, N, D) and K views."""
        query = self.tokens[1 - modality]                                     # (R, 1, D)
        views = torch.stack([
            self.norm(self.attention(query, tokens, tokens, need_weights=False)[0] + tokens)
            for _ in range(self.count)])                                      # (K, R, N, D)
        return Expanded(self.dropout(views.mean(dim=0) * self.scale), views.mean(dim=2))


class CrossModalTokens(nn.Module):
    """Cross-modal adaptive token mixing, corrected.

    In each view learned tokens of the *other* modality query the picture's own patches, and the
    patches read the answers back. Nothing needs a partner picture, so one modality alone works at
    test time. The views have weights of their own.

    Args:
        config: views K, heads, tokens M, dropout; ``learned_view_weights`` weighs views by picture,
            and pictures that are easy use fewer of them.
        dim: width D.

    Source: the kit's; note 004, suggestion 2 (intent and improvements).
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
