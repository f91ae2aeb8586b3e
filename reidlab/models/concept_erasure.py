"""Remove clothing from identity vectors, linearly: what clothing captions show, or all that does
not tell people apart across their outfits.

Shapes: B samples, E embedding width.
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

RIDGE = 1e-3   # of the mean variance, added before whitening
DIRECTIONS = 80  # principal directions of the captions that are looked at


class ConceptEraser(nn.Module):
    """A projection fitted in closed form, silent until then and while training.

    `fit` reads captions. Vectors are whitened, so that weak directions count as much as strong
    ones (a dependence penalty such as CKA overlooks them; a probe does not). Directions along which
    they co-vary with the other side's captions more than shuffled captions ever do are projected
    out.

    `fit_sparing` reads who wears which outfit, and keeps the directions that vary with the person
    and not with the outfit; the other form costs identity.

    Fitted on training people only; no factor or held-out picture is used. It guards against linear
    readers; `evaluation.probes` also asks a non-linear one.

    Args:
        dim: embedding width E.

    Source: least-squares concept erasure, arXiv:2306.03819, with a permutation threshold. Linear
    discriminants against a nuisance: within-class covariance normalisation, Hatch et al. 2006.
    """

    mean: Tensor
    projection: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("projection", torch.eye(dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, E) unit vectors → (B, E) unit vectors."""
        if self.training:
            return x
        return F.normalize((x - self.mean) @ self.projection.T + self.mean, dim=-1)

    def reset(self) -> None:
        """Erase nothing."""
        self.mean.zero_()
        self.projection.copy_(torch.eye(len(self.mean)))

    @torch.no_grad()
    def fit(self, x: Tensor, other: Tensor, seed: int = 0) -> int:
        """Find the directions of `x` that tell about `other`, and erase them from now on.

        Args:
            x: (B, E) vectors that were not erased yet.
            other: (B, D) caption vectors of the other factor for the same pictures.
            seed: of the shuffling that sets the threshold.

        Returns:
            Number of erased directions; 0 where the vectors or the captions are all alike, and
            nothing can tell of anything.
        """
        device, x, other = self.mean.device, x.double().cpu(), other.double().cpu()
        mean = x.mean(dim=0)
        centred, said = x - mean, _whitened(other)
        if not said.shape[1] or _alike(centred, x):
            self.reset()
            return 0
        value, vector = torch.linalg.eigh(centred.T @ centred / len(x))
        value = value.clamp(min=0) + RIDGE * value.mean()
        whiten = vector @ torch.diag(value.rsqrt()) @ vector.T
        colour = vector @ torch.diag(value.sqrt()) @ vector.T
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        by_chance = torch.linalg.svdvals(whiten @ centred.T @ said[order] / len(x))[0]
        left, strength, _ = torch.linalg.svd(whiten @ centred.T @ said / len(x),
                                             full_matrices=False)
        told = left[:, strength > by_chance]
        projection = torch.eye(x.shape[1], dtype=x.dtype) - colour @ told @ told.T @ whiten
        self.mean.copy_(mean.float().to(device))
        self.projection.copy_(projection.float().to(device))
        return told.shape[1]


    @torch.no_grad()
    def fit_sparing(self, x: Tensor, people: Tensor, outfits: Tensor, kept: int) -> int:
        """Keep the directions of `x` that tell people apart and stay where one changes clothes.

        Directions V lead the generalised eigenvectors of (scatter between people's means, scatter
        between one person's outfits). The oblique projection S·V·(Vᵀ·S·V)⁻¹·Vᵀ, S the covariance of
        `x`, keeps them and what goes along with them.

        Args:
            x: (B, E) vectors that were not erased yet.
            people, outfits: (B,) integers.
            kept: directions to keep, at most E.

        Returns:
            Number of directions that are projected out; 0 where nobody is seen in two outfits, or
            all vectors are alike.
        """
        device, x = self.mean.device, x.double().cpu()
        mean = x.mean(dim=0)
        worn = torch.stack([people, outfits], 1).cpu()
        pairs, pair_of = worn.unique(dim=0, return_inverse=True)
        looks = _means(x, pair_of, len(pairs))                         # one a person and outfit
        _, person_of = pairs[:, 0].unique(return_inverse=True)
        whole = _means(looks, person_of, int(person_of.max()) + 1)
        changes = looks - whole[person_of]
        if _alike(changes, x) or _alike(whole - whole.mean(dim=0), x):
            self.reset()
            return 0
        between = (whole - whole.mean(dim=0)).T @ (whole - whole.mean(dim=0)) / len(whole)
        clothes = changes.T @ changes / len(changes)
        clothes += RIDGE * clothes.diagonal().mean() * torch.eye(x.shape[1], dtype=x.dtype)
        value, vector = torch.linalg.eigh(clothes)
        whiten = vector @ torch.diag(value.rsqrt()) @ vector.T
        lead = torch.linalg.eigh(whiten @ between @ whiten).eigenvectors[:, -kept:]
        v, total = whiten @ lead, (x - mean).T @ (x - mean) / len(x)
        self.mean.copy_(mean.float().to(device))
        self.projection.copy_(
            (total @ v @ torch.linalg.solve(v.T @ total @ v, v.T)).float().to(device))
        return x.shape[1] - v.shape[1]


def _means(x: Tensor, group: Tensor, groups: int) -> Tensor:
    """(B, E), (B,) → (groups, E)."""
    sums = torch.zeros(groups, x.shape[1], dtype=x.dtype).index_add_(0, group, x)
    return sums / group.bincount(minlength=groups)[:, None]


def _whitened(x: Tensor) -> Tensor:
    """Leading principal components, each of variance one; none of rows that are all alike."""
    centred = x - x.mean(dim=0)
    if _alike(centred, x):
        return x[:, :0]
    left, strength, _ = torch.linalg.svd(centred, full_matrices=False)
    count = min(DIRECTIONS, int((strength > 1e-6 * strength[0]).sum()))
    return left[:, :count] * len(x) ** 0.5


def _alike(centred: Tensor, x: Tensor) -> bool:
    """Whether rows differ by nothing but the rounding of fp32, in which they were computed."""
    return bool(centred.norm() <= 1e-6 * x.norm())
