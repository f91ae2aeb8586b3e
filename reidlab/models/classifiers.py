"""From the vector behind the neck to one logit a training person. Shapes: R rows, D width."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.errors import ReidlabError

SCALE = 10.0  # of cosines in logits: the contrast's temperature of .1


class LinearClassifier(nn.Linear):
    """One weight vector a person, no bias: long vectors count more.

    Source: arXiv:1903.07071; note 004 §2.5.
    """

    def __init__(self, dim: int, classes: int):
        super().__init__(dim, classes, bias=False)
        nn.init.normal_(self.weight, std=0.001)


class CosineClassifier(nn.Module):
    """Cosine to one learned direction a person, times 10: every person of the training split is
    somebody to be told apart, not only those in the batch, in the geometry that retrieval uses.

    Source: arXiv:1704.06369 (NormFace).
    """

    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, dim) / dim ** 0.5)

    def forward(self, features: Tensor) -> Tensor:
        """(R, D) → (R, C)."""
        return SCALE * F.linear(F.normalize(features, dim=-1), F.normalize(self.weight, dim=-1))


CLASSIFIERS = {"linear": LinearClassifier, "cosine": CosineClassifier}


def build_classifier(name: str, dim: int, classes: int) -> nn.Module:
    """The classifier called `name`: (R, D) → (R, C)."""
    if name not in CLASSIFIERS:
        raise ReidlabError(f"unknown stages.classifier {name!r}; known: {', '.join(CLASSIFIERS)}")
    return CLASSIFIERS[name](dim, classes)
