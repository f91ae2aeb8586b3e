"""Between the pooled vector and the classifier. Shapes: R rows, D width."""
from torch import nn

from reidlab.errors import ReidlabError


def bnneck(dim: int) -> nn.Module:
    """BatchNorm whose shift stays zero: triplets before it, classification behind it.

    Source: arXiv:1903.07071.
    """
    norm = nn.BatchNorm1d(dim)
    norm.bias.requires_grad_(False)
    return norm


def linear_neck(dim: int) -> nn.Module:
    """The note's bottleneck: Linear, BatchNorm, ReLU.

    Source: note 004 §2.5.
    """
    return nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU())


NECKS = {"bnneck": bnneck, "linear": linear_neck}


def build_neck(name: str, dim: int) -> nn.Module:
    """The neck called `name`: (R, D) → (R, D)."""
    if name not in NECKS:
        raise ReidlabError(f"unknown stages.neck {name!r}; known: {', '.join(NECKS)}")
    return NECKS[name](dim)
