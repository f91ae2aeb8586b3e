"""Groups of pictures nobody has named, found while training. Shapes: R rows, K groups, D width."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OnlineClusters(nn.Module):
    """Centres that follow the pictures of each batch; no label is used.

    A batch is shared out so that no group takes all of it (Sinkhorn), then each centre moves
    towards the pictures it was given. Centres are buffers: a checkpoint keeps them.

    Args:
        dim: width D of the vectors.
        count: groups K, about as many as people are expected.
        keep: share of a centre that a step keeps.
        sharpness: how strictly rows are shared out; larger is stricter.

    Source: note 004, suggestion 3, improvement; balanced assignment as in arXiv:2006.09882.
    """

    centres: Tensor

    def __init__(self, dim: int, count: int, keep: float = 0.9, sharpness: float = 20.0):
        super().__init__()
        self.keep, self.sharpness = keep, sharpness
        self.register_buffer("centres", F.normalize(torch.randn(count, dim), dim=-1))

    @torch.no_grad()
    def forward(self, features: Tensor) -> Tensor:
        """(R, D) → (R,) group of each row; in training the centres learn from it."""
        unit = F.normalize(features, dim=-1)
        scores = (self.sharpness * unit @ self.centres.T)
        shares = (scores - scores.max()).exp()                    # (R, K)
        part = max(1.0, len(unit) / len(self.centres))            # a group's part of the batch
        for _ in range(3):
            shares = shares / shares.sum(dim=0, keepdim=True).clamp(min=part)
            shares = shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-12)
        chosen = shares.argmax(dim=1)
        if self.training:
            total = torch.zeros_like(self.centres).index_add_(0, chosen, unit)
            moved = F.normalize(self.keep * self.centres
                                + (1 - self.keep) * F.normalize(total, dim=-1), dim=-1)
            given = torch.bincount(chosen, minlength=len(self.centres)) > 0
            self.centres[given] = moved[given]
        return chosen
