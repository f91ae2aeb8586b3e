"""Losses on distances between people: batch-hard triplets and centre-guided pairs.

Shapes: R rows, D width, P people.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab.losses.precision import precision_of

ROUNDING = 1e-14  # of the squared sizes: squared distances below it are rounding of float32 rows


def batch_hard_triplet(features: Tensor, labels: Tensor, *, margin: float = 0.3) -> Tensor:
    """For each row, its farthest own against its nearest other.

    Args:
        features: (R, D), not normalised here; Euclidean distances.
        labels: (R,); a row whose label is negative is nobody's and left out.

    Returns:
        Scalar: `margin` when all rows are equal, 0 when people are farther apart than their
        pictures by the margin. Rows without an own or another are left out.

    Source: arXiv:1703.07737.
    """
    distance, known = distances(features, features), labels >= 0
    same, met = labels[:, None] == labels[None, :], known & known[:, None]
    own = same & met & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    other = ~same & met
    farthest = distance.masked_fill(~own, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(~other, torch.inf).amin(dim=1)
    counted = own.any(dim=1) & other.any(dim=1)
    each = torch.where(counted, farthest - nearest + margin, 0.0).clamp(min=0)
    return each.sum() / counted.sum().clamp(min=1)


def centre_pairs(plain: Tensor, generated: Tensor, labels: Tensor, modality: Tensor, *,
                 margin: float = 0.2) -> Tensor:
    """CPM: a person's generated centre of one modality moves towards the other modality's centre,
    closer than to its own origin and than other people are.

    Args:
        plain, generated: (R, D) features of the same rows, before and after an expansion.
        labels, modality: (R,); modality 0 visible, 1 infrared.

    Returns:
        Scalar, the mean over people of the visible and infrared sides. Counted are people with a
        label of 0 or more who are there in both modalities; 0 where there is none, and where there
        is one, nobody else is there to keep away from.

    Source: DEEN, arXiv:2303.14481, §3.3.
    """
    own = labels == labels[:, None]                                          # (R, R)
    rows_of = torch.stack([own & (modality == number) for number in (0, 1)]).double()
    counts = rows_of.sum(dim=2)                                              # (2, R)
    counted = (counts > 0).all(dim=0) & (labels >= 0)
    weight = counted / own.sum(dim=1)                                # a person's rows count as one

    def centres(features: Tensor, number: int) -> Tensor:      # of each row's person
        return rows_of[number] @ features.double() / counts[number].clamp(min=1)[:, None]

    def nearest_other(of: Tensor) -> Tensor:
        return distances(of, of).masked_fill(own | ~counted, torch.inf).amin(dim=1)
    sides = []
    for number in (0, 1):
        origin, other = centres(plain, number), centres(plain, 1 - number)
        made = centres(generated, number)
        near = paired(other, made)
        sides.append(
            (margin + near - paired(origin, made).detach()).clamp(min=0)
            + 0.5 * (margin + near - nearest_other(made)).clamp(min=0)
            + 0.5 * (margin + near - nearest_other(origin)).clamp(min=0))
    each = torch.where(counted, sides[0] + sides[1], 0.0) / 2
    return ((each * weight).sum() / weight.sum().clamp(min=1)).to(precision_of(plain, generated))


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


def modality_gap(features: Tensor, modality: Tensor) -> Tensor:
    """Distance between the two modalities' mean directions.

    Args:
        features: (R, D), normalised here; modality: (R,).

    Returns:
        Scalar in [0, 2]: 0 when both modalities lie around the same point.

    Source: note 004, suggestion 2, improvement.
    """
    unit = F.normalize(features, dim=-1)
    first, second = ((modality == number).to(unit.dtype) for number in (0, 1))
    return (first @ unit / first.sum() - second @ unit / second.sum()).norm()
