"""What EmbedNet and DEEN share: expansion, last stage, pooling, neck, classifier, test features.

Shapes: R rows (visible first), N or n patches or positions, D or c width, C training identities,
S sets of rows.
"""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

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
from reidlab.models.parallel import gather_modalities, processes, share_batch_norms

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
        partner: (R,) whose patches came in; kept: (R,) share of patches that stayed.
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
    kept: Tensor | None = None
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

    Subclasses give ``dim``, ``grid``, ``encoders``, ``published``, ``stages_to_expansion`` and
    ``last_stage``.
    """

    def __init__(self, experiment: VisibleInfraredExperiment, expand_dim: int, dim: int,
                 grid: tuple[int, int], classes: int):
        super().__init__()
        weights = experiment.loss.weights
        self.dim, self.grid, self.mixes = dim, grid, bool(weights.cut_mix)
        self.compares_tokens = bool(
            weights.orthogonality and experiment.loss.orthogonality == "patches")
        self.compares_patches, self.micro_batch = bool(weights.patches), None
        self.expansion = build_expansion(experiment.expansion, expand_dim, grid)
        self.pool = POOLINGS[experiment.stages.pooling](experiment, dim)
        self.neck = build_neck(experiment.stages.neck, dim)
        self.retrieve = experiment.stages.retrieve
        self.classifier = None
        if weights.cls or weights.cut_mix:
            bias = experiment.stages.neck == "linear"  # the note's neck is not centred
            self.classifier = nn.Linear(dim, classes, bias)
            nn.init.normal_(self.classifier.weight, std=0.001)

    @property
    def encoders(self) -> list[list[nn.Module]]:
        """Parts of the backbone, from input to output."""
        raise NotImplementedError

    @property
    def published(self) -> dict[str, Any]:
        """What the backbone is, as the library says it, by part of the experiment."""
        raise NotImplementedError

    def stages_to_expansion(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        """Pictures → tokens (R, N, d) before the expansion, visible rows first."""
        raise NotImplementedError

    def last_stage(self, tokens: Tensor) -> Tensor:
        """Tokens (R, N, d) → (R, n, D) after stage 4."""
        raise NotImplementedError

    def forward(self, visible: Tensor | None = None, infrared: Tensor | None = None
                ) -> VisibleInfraredOutput:
        """All outputs for the given pictures, (B, 3, H, W) or (B, 1, H, W) of each modality.

        In a training launch of several processes each passes its own rows, and every process gets
        the outputs of the whole batch; `tokens` and `patches` where a loss compares them.

        Raises:
            ReidlabError: neither modality is given.
        """
        if visible is None and infrared is None:
            raise ReidlabError("need visible or infrared pictures; got neither")
        tokens = self.stages_to_expansion(visible, infrared)
        modality = torch.cat([torch.full((len(image),), number, device=tokens.device)
                              for number, image in ((VISIBLE, visible), (INFRARED, infrared))
                              if image is not None])
        rows, count = len(tokens), 0 if visible is None else len(visible)

        def whole(values: Tensor) -> Tensor:
            return gather_modalities(values, rows, count) if self.training else values
        made = self._expand(tokens, modality, count)
        last = self.last_stage(made.tokens)
        pooled, after = whole(self.pool(last)), whole(made.tokens.mean(dim=1))
        every, modality = whole(tokens.mean(dim=1)), whole(modality)
        seen = count * len(every) // rows  # visible rows of the whole batch
        features = self.neck(pooled.unflatten(0, (-1, len(every))), seen).flatten(0, 1)
        views, weights = whole(made.views.flatten(0, 1)), made.view_weights
        out = VisibleInfraredOutput(
            pooled=pooled, features=features, modality=modality,
            logits=None if self.classifier is None else self.classifier(features),
            visible_rows=seen, before=every, after=after.unflatten(0, (-1, len(every))),
            views=views.unflatten(0, (-1, len(every))),
            tokens=whole(made.tokens) if self.compares_tokens else made.tokens,
            patches=whole(last[:rows]) if self.compares_patches else last[:rows],
            view_weights=None if weights is None else whole(weights))
        if self.mixes and self.training:
            self._mix(out, made.tokens[:rows], count, whole)
        return out

    def _expand(self, tokens: Tensor, modality: Tensor, visible: int) -> Expanded:
        """The expansion of (R, N, d) tokens; one that reads the batch gets those of all processes.
        """
        if self.expansion is None:
            return Expanded(tokens, tokens.mean(dim=1)[None])
        if not (self.training and processes() > 1 and hasattr(self.expansion, "reads_batch")):
            return self.expansion(tokens, modality)
        rows = len(tokens)
        made = self.expansion(gather_modalities(tokens, rows, visible),
                              gather_modalities(modality, rows, visible))
        own = self._places(torch.arange(rows, device=tokens.device), visible)
        return made._replace(tokens=made.tokens[own], views=made.views[:, own])

    @staticmethod
    def _places(rows: Tensor, visible: int) -> Tensor:
        """Where rows of this process, visible ones first, stand among those of all processes."""
        if processes() == 1:
            return rows
        infrared, rank = len(rows) - visible, torch.distributed.get_rank()
        return torch.where(rows < visible, rows + rank * visible,
                           rows - visible + processes() * visible + rank * infrared)

    def share_batch(self) -> None:
        """Train with other processes: BatchNorms before the pooled vectors read all rows."""
        for name, part in self.named_children():
            if name not in ("neck", "classifier"):
                share_batch_norms(part)

    def _mix(self, out: VisibleInfraredOutput, tokens: Tensor, visible: int,
             whole: Callable[[Tensor], Tensor]) -> None:
        """Classify rows with a partner's patches in them; the partner is of the same modality."""
        device = tokens.device
        partner = torch.cat([torch.randperm(visible, device=device),
                             visible + torch.randperm(len(tokens) - visible, device=device)])
        mixed, kept = cut_mix(tokens, partner, float(torch.rand(())), self.grid)
        out.partner = whole(self._places(partner, visible))
        out.kept = whole(torch.full((len(tokens),), kept, device=device))
        pooled = whole(self.pool(self.last_stage(mixed)))
        classifier = cast(nn.Linear, self.classifier)  # there is one where rows are mixed
        out.mixed_logits = classifier(self.neck(pooled[None], out.visible_rows)[0])

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
