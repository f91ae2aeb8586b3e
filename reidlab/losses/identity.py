"""Losses on one stream alone. Shapes: B batch, C identities, D width."""
import torch.nn.functional as F
from torch import Tensor


def classification(id_logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy over training identities.

    Args:
        id_logits: (B, C); labels: (B,) in [0, C).
        label_smoothing: in [0, 1).

    Source: note 001 §2.2.2, ``cls``.
    """
    return F.cross_entropy(id_logits, labels, label_smoothing=label_smoothing)


def gate_regularization(gate: Tensor) -> Tensor:
    """Mean squared distance of a gate from one half: 0 at .5, .25 at 0 or 1.

    Args:
        gate: any shape, in [0, 1].

    Source: note 002 §3.2.
    """
    return (gate - 0.5).square().mean()
