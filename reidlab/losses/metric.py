"""Losses on distances between people: batch-hard triplets and centre-guided pairs.

Shapes: R rows, D width, P people.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.errors import ReidlabError
from reidlab.losses.precision import precision_of

ROUNDING = 1e-14  # of the squared sizes: squared distances below it are rounding of float32 rows


def batch_hard_triplet(features: Tensor, labels: Tensor, *, margin: float = 0.3) -> Tensor:
    """For each row, its farthest own against its nearest other.

    Args:
        features: (R, D), not normalised here; Euclidean distances.
        labels: (R,).

    Returns:
        Scalar: `margin` when all rows are equal, 0 when people are farther apart than their
        pictures by the margin. Rows without an own or another are left out.

    Source: arXiv:1703.07737.
    """
    distance = distances(features, features)
    same = labels[:, None] == labels[None, :]
    own = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distance.masked_fill(~own, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    counted = own.any(dim=1) & ~same.all(dim=1)
    if not counted.any():
        return (features * 0).sum()
    return (farthest - nearest + margin)[counted].clamp(min=0).mean()


def centre_pairs(plain: Tensor, generated: Tensor, labels: Tensor, modality: Tensor, *,
                 margin: float = 0.2) -> Tensor:
    """CPM: a person's generated centre of one modality moves towards the other modality's centre,
    closer than to its own origin and than other people are.

    Args:
        plain, generated: (R, D) features of the same rows, before and after an expansion.
        labels, modality: (R,); modality 0 visible, 1 infrared.

    Returns:
        Scalar, the mean over people of the visible and infrared sides.

    Raises:
        ReidlabError: no person is there in both modalities, or only one is.

    Source: DEEN, arXiv:2303.14481, §3.3.
    """
    own_rows = labels == labels.unique()[:, None]                                    # (P, R)
    rows_of = torch.stack([own_rows & (modality == number) for number in (0, 1)]).double()
    rows_of = rows_of[:, rows_of.any(dim=2).all(dim=0)]       # people seen in both modalities
    if rows_of.shape[1] < 2:
        raise ReidlabError("centre_pairs needs at least two people in both modalities; got "
                           f"{rows_of.shape[1]}")

    def centres(features: Tensor, number: int) -> Tensor:
        return rows_of[number] @ features.double() / rows_of[number].sum(dim=1, keepdim=True)
    sides = []
    for number in (0, 1):
        own, other = centres(plain, number), centres(plain, 1 - number)
        made = centres(generated, number)
        near = paired(other, made)
        sides.append(
            (margin + near - paired(own, made).detach()).clamp(min=0)
            + 0.5 * (margin + near - nearest_other(made)).clamp(min=0)
            + 0.5 * (margin + near - nearest_other(own)).clamp(min=0))
    return ((sides[0] + sides[1]).mean() / 2).to(precision_of(plain, generated))


def distances(a: Tensor, b: Tensor) -> Tensor:
    """(R, D), (S, D) → (R, S) Euclidean, in float32 or the inputs' own higher precision.

    Squares are expanded around the common mean in float64, so that rows that lie close together
    far from the origin keep their digits at the price of one matrix product. Rows nearer to each
    other than float32 could tell apart are equal: distance and gradient are 0.
    """
    middle = torch.cat([a, b]).detach().double().mean(dim=0)
    x, y = a.double() - middle, b.double() - middle
    sizes = x.square().sum(dim=1)[:, None] + y.square().sum(dim=1)[None, :]
    squared = sizes - 2 * x @ y.T
    apart = squared.detach() > ROUNDING * sizes.detach()
    return (torch.where(apart, squared, 1.0).sqrt() * apart).to(precision_of(a, b))


def paired(a: Tensor, b: Tensor) -> Tensor:
    """(P, D), (P, D) → (P,) distance of row i to row i; its gradient is 0 where rows are equal."""
    precision = precision_of(a, b)
    return torch.linalg.vector_norm(a.to(precision) - b.to(precision), dim=1)


def nearest_other(centres: Tensor) -> Tensor:
    """(P, D) → (P,) distance of each row to the nearest other one."""
    self_pair = torch.eye(len(centres), dtype=torch.bool, device=centres.device)
    return distances(centres, centres).masked_fill(self_pair, torch.inf).amin(dim=1)


def modality_gap(features: Tensor, modality: Tensor) -> Tensor:
    """Distance between the two modalities' mean directions.

    Args:
        features: (R, D), normalised here; modality: (R,).

    Returns:
        Scalar in [0, 2]: 0 when both modalities lie around the same point.

    Source: note 004, suggestion 2, improvement.
    """
    unit = F.normalize(features, dim=-1)
    return (unit[modality == 0].mean(dim=0) - unit[modality == 1].mean(dim=0)).norm()
