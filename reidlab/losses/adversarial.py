"""The adversarial term on clothing: the forms of notes 000 and 002, and what their prose wants.

Shapes: B batch, D width.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.disentangle.reversal import reverse_gradient
from reidlab.losses.contrastive import one_way_info_nce, similarity


def negative_info_nce(cloth: Tensor, text: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Minus the ``cloth`` loss on the same pair: at equal weights the two cancel exactly.

    Returns:
        Scalar; at least −log(1 + (B−1)·exp(2/T)), reached for B = 2 only, where
        positives point opposite ways.

    Source: note 000, the list of losses; no ramp.
    """
    return -one_way_info_nce(cloth, text, temperature=temperature)


def off_diagonal(cloth: Tensor, text: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Flatten the similarity to all texts, the diagonal set to 0 (not masked out).

    It asks for right angles to the texts of others: log B is least, where every such similarity is
    0, and a negative one is raised towards it.

    Returns:
        Scalar; minus the mean of the row log-softmax over all B² entries: log B at least.

    Source: the ancestor's form of note 002 §3.4.
    """
    logits = similarity(cloth, text) / temperature
    logits = logits * (1 - torch.eye(len(logits), device=logits.device))
    return -F.log_softmax(logits, dim=1).mean()


def off_diagonal_mean(cloth: Tensor, text: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Lower the similarity to the texts of others.

    It asks for opposite vectors: −1 is least, and the own text plays no part.

    Args:
        temperature: plays no part; a factor of the whole term would be its weight.

    Returns:
        Mean cosine of all pairs i ≠ j, in [−1, 1]; 0 for a batch of one.

    Source: note 002 §3.4 as it reads.
    """
    alike = similarity(cloth, text)
    count = len(alike)
    return (alike.sum() - alike.diagonal().sum()) / max(1, count * (count - 1))


def cloth_adv_ramp(epoch: float) -> float:
    """Strength of the term: min(1, .2 + .05 · epoch); .25 at epoch 1, 1 from 16.

    Source: note 002 §3.4 lets it grow up to 1; the formula is the ancestor's.
    """
    return min(1.0, 0.2 + 0.05 * epoch)


class IdentityAdversary(nn.Module):
    """A classifier that reads identity from clothing behind a gradient reversal, and its twin,
    which reads the words of the clothing caption from identity.

    The classifiers learn to read; what they read learns to be unreadable. Features are normalised
    per batch first, since their norms would run away otherwise (findings e).

    Args:
        identity_width, dim: widths of identity and clothing features.
        classes: training identities C.
        words: entries of the vocabulary V.
        strength: of the reversal.
    """

    def __init__(self, identity_width: int, dim: int, classes: int, words: int, strength: float):
        super().__init__()
        self.strength = strength
        self.who = _classifier(dim, classes)
        self.wears = _classifier(identity_width, words)

    def forward(self, identity: Tensor, cloth: Tensor, labels: Tensor, words: Tensor) -> Tensor:
        """Cross entropy of both readers.

        Args:
            identity, cloth: (B, D) features.
            labels: (B,) in [0, C).
            words: (B, V), 1 where the clothing caption holds the word.
        """
        who = self.who(reverse_gradient(cloth, self.strength))
        wears = self.wears(reverse_gradient(identity, self.strength))
        return F.cross_entropy(who, labels) + F.binary_cross_entropy_with_logits(wears, words)


def _classifier(dim: int, classes: int) -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(dim), nn.Linear(dim, 256), nn.ReLU(),
                         nn.Linear(256, classes))


CLOTH_ADVERSARIES = {"negative_info_nce": negative_info_nce, "off_diagonal": off_diagonal,
                     "off_diagonal_mean": off_diagonal_mean}
RAMPED = {"off_diagonal", "off_diagonal_mean"}  # note 002's forms grow with the epoch
