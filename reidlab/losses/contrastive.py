"""Losses that pull an image and its text together. Shapes: B batch, D width."""
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import ReidlabError

NOWHERE = -1e4  # a logit that takes no part: its share of a softmax is exactly 0


def info_nce(image: Tensor, text: Tensor, *, temperature: float | Tensor = 0.1) -> Tensor:
    """Symmetric InfoNCE whose only positive is the text with the same index.

    Two pictures of one person in a batch are pushed apart: see `multi_positive`.

    Args:
        image, text: (B, D), any length; normalised here.
        temperature: > 0.

    Returns:
        Scalar in nats: log B when embeddings carry no information.

    Source: note 001 §2.2.2; InfoNCE, arXiv:1807.03748.
    """
    logits = similarity(image, text) / temperature
    index = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, index) + F.cross_entropy(logits.T, index)) / 2


def one_way_info_nce(feature: Tensor, text: Tensor, *, temperature: float | Tensor = 0.1) -> Tensor:
    """InfoNCE from the image feature to the text only: the notes' ``bio`` and ``cloth``.

    Args:
        feature, text: (B, D), any length; normalised here.

    Source: the ancestor's form of note 002 §3.3, in one direction.
    """
    logits = similarity(feature, text) / temperature
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def multi_positive(image: Tensor, text: Tensor, image_keys: Tensor, text_keys: Tensor, *,
                   temperature: float | Tensor = 0.1, valid: Tensor | None = None,
                   valid_images: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE in which every pair with equal keys is a positive.

    Keys are persons for identity and outfits for clothing. The target of a row is spread evenly
    over its positives; rows without any are left out of the mean.

    Args:
        image: (B, D); text: (B', D); normalised here.
        image_keys: (B,), text_keys: (B',) integers.
        temperature: > 0.
        valid: (B',) bool, texts that say something; the others are neither row nor column.
        valid_images: (B,) bool, the same of pictures.

    Returns:
        Scalar in nats; log k at best when each row has k positives. Zero if no row has any.

    Source: many positives as in arXiv:2004.11362.
    """
    logits = similarity(image, text, same_count=False) / temperature
    positive = image_keys[:, None] == text_keys[None, :]
    for kept in (valid, None if valid_images is None else valid_images[:, None]):
        if kept is not None:
            logits, positive = logits.masked_fill(~kept, NOWHERE), positive & kept
    return (_spread(logits, positive) + _spread(logits.T, positive.T)) / 2


def summed_scores(pairs: list[tuple[Tensor, Tensor]], same: Tensor, keep: Tensor | None = None, *,
                  temperature: float | Tensor = 0.1) -> Tensor:
    """Symmetric contrast on the sum of several cosines: identity and clothing as retrieval adds
    them.

    Args:
        pairs: (image, text) of each side, (B, D) each; normalised here.
        same: (B, B) bool, which pairs are positives (one person in one outfit).
        keep: (B,) bool, rows that take part; the others are neither picture nor text.

    Returns:
        Scalar in nats; `multi_positive` when there is one pair and all texts say something.
    """
    logits = cast(Tensor, sum(similarity(image, text) for image, text in pairs)) / temperature
    if keep is not None:
        logits = logits.masked_fill(~(keep & keep[:, None]), NOWHERE)
        same = same & keep & keep[:, None]
    return (_spread(logits, same) + _spread(logits.T, same)) / 2


def same_person_other_picture(image: Tensor, pids: Tensor, *, temperature: float | Tensor = 0.1,
                              valid: Tensor | None = None) -> Tensor:
    """Supervised contrast among pictures: all pictures of one person are positives.

    With a person's different outfits in one batch, what they share is the person.

    Args:
        image: (B, D); normalised here.
        pids: (B,).
        valid: (B,) bool, pictures that take part; all, where it is None.

    Returns:
        Scalar in nats. Zero if nobody appears twice.

    Source: arXiv:2004.11362.
    """
    logits = similarity(image, image) / temperature
    self_pair = torch.eye(len(image), dtype=torch.bool, device=image.device)
    positive = (pids[:, None] == pids[None, :]) & ~self_pair
    left_out = self_pair
    if valid is not None:
        left_out = self_pair | ~(valid & valid[:, None])
    return _spread(logits.masked_fill(left_out, NOWHERE), positive & ~left_out)


def masked_info_nce(image: Tensor, text: Tensor, is_matched: Tensor, *,
                    temperature: float | Tensor = 0.1) -> Tensor:
    """Symmetric InfoNCE over the matched pairs; mismatched texts remain as negatives.

    Args:
        image, text: (B, D); normalised here.
        is_matched: (B,) bool; a False pair is never pulled together.

    Returns:
        Scalar in nats. Zero if no pair is matched.

    Source: note 001 §2.2.2 (intent), the corrected form is the kit's.
    """
    logits = similarity(image, text) / temperature
    positive = torch.diag(is_matched)
    return (_spread(logits, positive) + _spread(logits.T, positive)) / 2


def sdm(image: Tensor, text: Tensor, keys: Tensor, *, temperature: float | Tensor = 0.02,
        valid: Tensor | None = None) -> Tensor:
    """Similarity distribution matching: how scores are spread is to be how labels are spread.

    KL(softmax of a row's scores ‖ even over its positives), both ways. Unlike `multi_positive` it
    punishes a wrong score by the share that it takes, and hard ones so most.

    Args:
        image, text: (B, D); normalised here.
        keys: (B,) integers; equal ones are positives.
        temperature: > 0.
        valid: (B,) bool, texts that say something; the others are neither row nor column.

    Returns:
        Scalar in nats, 0 where both agree.

    Source: IRRA, arXiv:2303.12501, §3.3.
    """
    logits, positive = similarity(image, text) / temperature, keys[:, None] == keys
    if valid is not None:
        logits, positive = logits.masked_fill(~valid, NOWHERE), positive & valid
    return _divergence(logits, positive) + _divergence(logits.T, positive.T)


def similarity(a: Tensor, b: Tensor, same_count: bool = True) -> Tensor:
    """(B, B') cosine of every row of `a` with every row of `b`.

    Raises:
        ReidlabError: widths, or batch sizes that should agree, differ.
    """
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[1] or (
            same_count and len(a) != len(b)):
        raise ReidlabError(f"need two (B, D) of one width and batch size; got {tuple(a.shape)} "
                           f"and {tuple(b.shape)}")
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T


def _divergence(logits: Tensor, positive: Tensor, least: float = 1e-8) -> Tensor:
    """KL from each row's softmax to its positives, mean over rows that have any."""
    count = positive.sum(dim=1)
    target = positive / count.clamp(min=1)[:, None]
    found = logits.log_softmax(dim=1)
    rows = (found.exp() * (found - (target + least).log())).sum(dim=1) * (count > 0)
    return rows.sum() / (count > 0).sum().clamp(min=1)


def _spread(logits: Tensor, positive: Tensor) -> Tensor:
    """Cross entropy against targets shared evenly by each row's positives."""
    count = positive.sum(dim=1)
    target = positive / count.clamp(min=1)[:, None]
    rows = -(target * logits.log_softmax(dim=1)).sum(dim=1)
    return rows.sum() / (count > 0).sum().clamp(min=1)
