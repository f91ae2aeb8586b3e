"""What EmbedNet and DEEN share: expansion, last stage, pooling, neck, classifier, test features.

Shapes: R rows (visible first), N or n patches or positions, D or c width, C training identities,
S sets of rows.
"""
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import VisibleInfraredExperiment
from reidlab.encoders.dual_vit import INFRARED, VISIBLE
from reidlab.encoders.pooling import MaskedMean, QueryPool
from reidlab.errors import ReidlabError
from reidlab.expansion import build_expansion
from reidlab.expansion.expanded import Expanded
from reidlab.expansion.ssdec import cut_mix
from reidlab.losses.orthogonality import between_patches
from reidlab.models.necks import build_neck

POOLINGS = {"mean": lambda experiment, dim: MaskedMean(),
            "query": lambda experiment, dim: QueryPool(dim, experiment.image.heads)}


@dataclass
class VisibleInfraredOutput:
    """Everything the model knows of a batch; the same in training and evaluation.

    Attributes:
        pooled: (S·R, D) over patches after stage 4, set after set.
        features: (S·R, D) behind the neck.
        logits: (S·R, C); None where no loss classifies.
        modality: (R,) 0 visible, 1 infrared.
        visible_rows: how many of R are visible; they come first.
        before, after: (R, D) pooled tokens before the expansion, and (S', R, D) of what it made.
        views: (K, R, d) pooled views; the tokens' own mean without an expansion.
        tokens: (S·R, N, D) that the expansion gave.
        patches: (R, n, D) of the rows themselves after stage 4, which pooling reads.
        mixed_logits: (R, C) of pictures with another one's patches in them; None where not asked.
        partner: (R,) whose patches came in; kept: share of patches that stayed.
        view_weights: (R, K) weight of each view, where the expansion weighs them.
    """

    pooled: Tensor
    features: Tensor
    logits: Tensor | None
    modality: Tensor
    visible_rows: int
    before: Tensor
    after: Tensor
    views: Tensor
    tokens: Tensor
    patches: Tensor
    mixed_logits: Tensor | None = None
    partner: Tensor | None = None
    kept: float = 1.0
    view_weights: Tensor | None = None

    @property
    def sets(self) -> int:
        """Sets of rows S: 1, or more where an expansion added some."""
        return len(self.pooled) // len(self.modality)

    def as_tuple(self, training: bool) -> tuple[Tensor | None, ...]:
        """What note 004 §2.5 returns.

        Args:
            training: (pooled, logits, orthogonality of the expansion's patches); else both vectors
                of length 1.
        """
        if training:
            return self.pooled, self.logits, between_patches(self.tokens)
        return F.normalize(self.pooled, dim=-1), F.normalize(self.features, dim=-1)


class CrossModal(nn.Module):
    """From tokens of both modalities to vectors, logits and views.

    Subclasses give ``dim``, ``grid``, ``stages_to_expansion`` and ``last_stage``.
    """

    def __init__(self, experiment: VisibleInfraredExperiment, expand_dim: int, dim: int,
                 grid: tuple[int, int], classes: int):
        super().__init__()
        weights = experiment.loss.weights
        self.dim, self.grid, self.mixes = dim, grid, bool(weights.cut_mix)
        self.expansion = build_expansion(experiment.expansion, expand_dim, grid)
        self.pool = POOLINGS[experiment.stages.pooling](experiment, dim)
        self.neck = build_neck(experiment.stages.neck, dim)
        self.retrieve = experiment.stages.retrieve
        self.classifier = None
        if weights.cls or weights.cut_mix:
            bias = experiment.stages.neck == "linear"  # the note's neck is not centred
            self.classifier = nn.Linear(dim, classes, bias)
            nn.init.normal_(self.classifier.weight, std=0.001)

    def stages_to_expansion(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        """Pictures → tokens (R, N, d) before the expansion, visible rows first."""
        raise NotImplementedError

    def last_stage(self, tokens: Tensor) -> Tensor:
        """Tokens (R, N, d) → (R, n, D) after stage 4."""
        raise NotImplementedError

    def forward(self, visible: Tensor | None = None, infrared: Tensor | None = None
                ) -> VisibleInfraredOutput:
        """All outputs for the given pictures, (B, 3, H, W) or (B, 1, H, W) of each modality.

        Raises:
            ReidlabError: neither modality is given.
        """
        if visible is None and infrared is None:
            raise ReidlabError("need visible or infrared pictures; got neither")
        tokens = self.stages_to_expansion(visible, infrared)
        modality = torch.cat([torch.full((len(image),), number, device=tokens.device)
                              for number, image in ((VISIBLE, visible), (INFRARED, infrared))
                              if image is not None])
        made = (self.expansion(tokens, modality) if self.expansion is not None
                else Expanded(tokens, tokens.mean(dim=1)[None]))
        last = self.last_stage(made.tokens)
        pooled = self.pool(last)
        count = 0 if visible is None else len(visible)
        features = self.neck(pooled.unflatten(0, (-1, len(tokens))), count).flatten(0, 1)
        after = made.tokens.mean(dim=1).view(made.extra + 1, len(tokens), -1)
        out = VisibleInfraredOutput(
            pooled=pooled, features=features, modality=modality,
            logits=None if self.classifier is None else self.classifier(features),
            visible_rows=count, before=tokens.mean(dim=1), after=after, views=made.views,
            tokens=made.tokens, patches=last[:len(tokens)], view_weights=made.view_weights)
        if self.mixes and self.training:
            self._mix(out, made.tokens[:len(tokens)])
        return out

    def _mix(self, out: VisibleInfraredOutput, tokens: Tensor) -> None:
        """Classify rows with a partner's patches in them; the partner is of the same modality."""
        count, device = out.visible_rows, tokens.device
        partner = torch.cat([torch.randperm(count, device=device),
                             count + torch.randperm(len(tokens) - count, device=device)])
        mixed, out.kept = cut_mix(tokens, partner, float(torch.rand(())), self.grid)
        out.partner = partner
        classifier = cast(nn.Linear, self.classifier)  # there is one where rows are mixed
        out.mixed_logits = classifier(self.neck(self.pool(self.last_stage(mixed))[None], count)[0])

    def encode(self, image: Tensor, modality: int) -> Tensor:
        """Test features of one modality.

        Args:
            image: (B, 3, H, W) or (B, 1, H, W).
            modality: ``VISIBLE`` or ``INFRARED``.

        Returns:
            (B, 2·S·D), each of the 2·S parts of unit norm / √(2·S): the dot product of two is the
            mean of the cosines over sets × {pooled, behind the neck}. (B, S·D) where only what is
            behind the neck retrieves: pooled vectors still tell the modality.

        Source: note 004 §2.5 (two unit vectors); DEEN (sum over the sets).
        """
        given = {VISIBLE: (image, None), INFRARED: (None, image)}[modality]
        out = self(*given)
        vectors = (out.features,) if self.retrieve == "neck" else (out.pooled, out.features)
        parts = [F.normalize(part, dim=-1) for vector in vectors for part in vector.chunk(out.sets)]
        return torch.cat(parts, dim=-1) / len(parts) ** 0.5
