"""Between the pooled vector and the classifier.

Shapes: S sets of R rows each, of which V come first and are visible; D width. Rows are told apart
by their place: to look for them by a mask would make the processor wait for the device.
"""
import torch
from torch import Tensor, nn

from reidlab.errors import ReidlabError


class BNNeck(nn.Module):
    """BatchNorm whose shift stays zero: triplets before it, classification behind it.

    Source: arXiv:1903.07071.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm = unshifted(dim)

    def forward(self, pooled: Tensor, visible: int) -> Tensor:
        """(S, R, D), V → (S, R, D)."""
        return self.norm(pooled.flatten(0, 1)).view(pooled.shape)


class ModalityBNNeck(nn.Module):
    """A BatchNorm for each modality: what all pictures of one modality share drops out.

    From scratch the distance between the two modalities is several times what people differ by
    within one, and one BatchNorm for both keeps it. Running statistics serve either modality alone.

    Source: arXiv:1906.03950 (domain-specific batch normalisation).
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norms = nn.ModuleList([unshifted(dim), unshifted(dim)])

    def forward(self, pooled: Tensor, visible: int) -> Tensor:
        """(S, R, D), V → (S, R, D)."""
        parts = pooled[:, :visible], pooled[:, visible:]
        return torch.cat([norm(part.flatten(0, 1)).view(part.shape) for norm, part in
                          zip(self.norms, parts, strict=True) if part.shape[1]], dim=1)


class LinearModalityNeck(nn.Module):
    """One Linear for both modalities, then a BatchNorm for each.

    The Linear is where a place is found in which people of both modalities can meet; the pooled
    tokens stay free to serve the patches.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.linear, self.by_modality = nn.Linear(dim, dim), ModalityBNNeck(dim)

    def forward(self, pooled: Tensor, visible: int) -> Tensor:
        """(S, R, D), V → (S, R, D)."""
        return self.by_modality(self.linear(pooled), visible)


class LinearNeck(nn.Module):
    """The note's bottleneck: Linear, BatchNorm, ReLU.

    Source: note 004 §2.5.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU())

    def forward(self, pooled: Tensor, visible: int) -> Tensor:
        """(S, R, D), V → (S, R, D)."""
        return self.layers(pooled.flatten(0, 1)).view(pooled.shape)


def unshifted(dim: int) -> nn.BatchNorm1d:
    """A BatchNorm without a trained shift."""
    norm = nn.BatchNorm1d(dim)
    norm.bias.requires_grad_(False)
    return norm


NECKS = {"bnneck": BNNeck, "bnneck_by_modality": ModalityBNNeck,
         "linear_by_modality": LinearModalityNeck, "linear": LinearNeck}


def build_neck(name: str, dim: int) -> nn.Module:
    """The neck called `name`: (S, R, D), and how many of R are visible → (S, R, D)."""
    if name not in NECKS:
        raise ReidlabError(f"unknown stages.neck {name!r}; known: {', '.join(NECKS)}")
    return NECKS[name](dim)
