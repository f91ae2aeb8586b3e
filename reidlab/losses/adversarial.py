"""The notes' adversarial term on clothing, in its two readings. Shapes: B batch, D width."""
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.losses.contrastive import one_way_info_nce, similarity


def negative_info_nce(cloth: Tensor, text: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Minus the ``cloth`` loss on the same pair: at equal weights the two cancel exactly.

    Returns:
        Scalar; at least −log(1 + (B−1)·exp(2/T)), reached when positives point opposite ways.

    Source: note 000, note 001.
    """
    return -one_way_info_nce(cloth, text, temperature=temperature)


def off_diagonal(cloth: Tensor, text: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Flatten the similarity to all texts, the diagonal set to 0 (not masked out).

    Returns:
        Scalar; minus the mean of the row log-softmax over all B² entries: log B at least.

    Source: note 002 §3.4.
    """
    logits = similarity(cloth, text) / temperature
    logits = logits * (1 - torch.eye(len(logits), device=logits.device))
    return -F.log_softmax(logits, dim=1).mean()


def cloth_adv_ramp(epoch: float) -> float:
    """Strength of the term: min(1, .2 + .05 · epoch); .25 at epoch 1, 1 from 16.

    Source: note 002 §3.4.
    """
    return min(1.0, 0.2 + 0.05 * epoch)


CLOTH_ADVERSARIES = {"negative_info_nce": negative_info_nce, "off_diagonal": off_diagonal}
