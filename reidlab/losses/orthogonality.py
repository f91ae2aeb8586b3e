"""How alike several views of one picture are. Shapes: K views, R rows, N patches, D width."""
import torch
import torch.nn.functional as F
from torch import Tensor


def between_views(views: Tensor) -> Tensor:
    """Mean absolute cosine between the views of a picture.

    Args:
        views: (K, R, D) pooled views, K ≥ 2; normalised here.

    Returns:
        Scalar in [0, 1]: 0 orthogonal, 1 identical, whatever the number of rows. 0 for one view.

    Source: note 004 (intent); the form is the kit's.
    """
    return _pairs(F.normalize(views, dim=-1)).abs().mean() if len(views) > 1 else (
        views.sum() * 0)


def between_views_inner(views: Tensor) -> Tensor:
    """DEEN's form: the signed inner product of views. Unbounded below where features have signs.

    Args:
        views: (K, R, D), not normalised.

    Source: DEEN, arXiv:2303.14481, its public code.
    """
    return _pairs(views).mean() if len(views) > 1 else views.sum() * 0


def between_patches(tokens: Tensor) -> Tensor:
    """The note's form: patches of one picture are pushed apart, summed over the batch.

    Not divided by the batch: R copies of one picture cost R times as much. Identical patches
    give R. Pushing patches apart shortens their mean, which is what is used afterwards.

    Args:
        tokens: (R, N, D), N ≥ 2; normalised here.

    Source: note 004 §3.1.4 and §3.5.
    """
    unit = F.normalize(tokens, dim=-1)
    count = tokens.shape[1]
    alike = (unit @ unit.transpose(1, 2)).abs()
    off = ~torch.eye(count, dtype=torch.bool, device=tokens.device)
    return (alike * off).sum() / (count * (count - 1))


def _pairs(views: Tensor) -> Tensor:
    """(K, R, D) → (pairs, R) inner products of every two views of a row."""
    products = torch.einsum("krd,lrd->klr", views, views)
    first, second = torch.triu_indices(len(views), len(views), offset=1)
    return products[first, second]
