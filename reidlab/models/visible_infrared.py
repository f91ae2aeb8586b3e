"""Visible and infrared pictures, several views of each embedding: EmbedNet, and DEEN beside it.

Shapes: R rows (visible first), N or n patches or positions, D or c width, C training identities,
S sets of rows.
"""
import copy
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from reidlab.config import VisibleInfraredExperiment
from reidlab.encoders.dual_vit import INFRARED, STAGES, VISIBLE, DualViT
from reidlab.encoders.pooling import MaskedMean, QueryPool
from reidlab.encoders.pretrained import load_pretrained
from reidlab.errors import ReidlabError
from reidlab.expansion import build_expansion
from reidlab.expansion.expanded import Expanded
from reidlab.expansion.ssdec import cut_mix
from reidlab.fusion.mfa import MFA
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


class CrossModal(nn.Module):
    """What both backbones share: expansion, last stage, pooling, neck, classifier, test features.

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
            self.classifier = nn.Linear(dim, classes, bias=False)
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
        features = self.neck(pooled, modality.repeat(made.extra + 1))
        after = made.tokens.mean(dim=1).view(made.extra + 1, len(tokens), -1)
        out = VisibleInfraredOutput(
            pooled=pooled, features=features, modality=modality,
            logits=None if self.classifier is None else self.classifier(features),
            before=tokens.mean(dim=1), after=after, views=made.views, tokens=made.tokens,
            patches=last[:len(tokens)], view_weights=made.view_weights)
        if self.mixes and self.training:
            self._mix(out, made.tokens[:len(tokens)], modality)
        return out

    def _mix(self, out: VisibleInfraredOutput, tokens: Tensor, modality: Tensor) -> None:
        """Classify rows with a partner's patches in them; the partner is of the same modality."""
        partner = torch.arange(len(tokens), device=tokens.device)
        for number in (VISIBLE, INFRARED):
            rows = torch.nonzero(modality == number)[:, 0]
            partner[rows] = rows[torch.randperm(len(rows), device=rows.device)]
        mixed, out.kept = cut_mix(tokens, partner, float(torch.rand(())), self.grid)
        out.partner = partner
        classifier = cast(nn.Linear, self.classifier)  # there is one where rows are mixed
        out.mixed_logits = classifier(self.neck(self.pool(self.last_stage(mixed)), modality))

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


class EmbedNet(CrossModal):
    """The note's model on a `DualViT`, chained or, as written, with every stage on the images.

    As written each stage embeds the pictures again and runs its own layers on that, and stage 3's
    result alone goes on: stages 1 and 2 and the first three MFA blocks never learn.

    Args:
        experiment: which components.
        classes: C training identities.

    Source: note 004 §1 to §3.
    """

    def __init__(self, experiment: VisibleInfraredExperiment, classes: int):
        dual = DualViT(experiment.image, experiment.stages.embeddings)
        dual.vit.layernorm.requires_grad_(False)  # stage 4 has a norm of its own
        super().__init__(experiment, dual.dim, dual.dim, dual.grid, classes)
        stages = experiment.stages
        self.backbone, self.chained, self.low = dual, stages.chained, stages.low
        first = 1 if stages.chained and stages.low == "previous" else 0
        self.aggregations = nn.ModuleDict()
        if stages.low != "none":
            self.aggregations = nn.ModuleDict({
                str(number): MFA(dual.dim) for number in range(first, STAGES)})
        heads = experiment.image.heads
        self.stage4 = nn.TransformerEncoder(nn.TransformerEncoderLayer(
            dual.dim, heads, 4 * dual.dim, 0.0, experiment.image.activation, batch_first=True,
            norm_first=True), stages.depth, norm=nn.LayerNorm(dual.dim), enable_nested_tensor=False)

    def stages_to_expansion(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        """Stages 0 to 3 with their aggregation: (R, N, D)."""
        tokens = first = None
        for number in range(STAGES):
            if tokens is None or not self.chained:
                start = self.backbone.both(visible, infrared)
            else:
                start = tokens
            low = tokens
            tokens = self.backbone.stage(start, number)
            first = tokens if first is None else first
            if str(number) in self.aggregations:
                low = first if self.low == "stage0" or low is None else low
                tokens = self.aggregations[str(number)](tokens, low)
        return cast(Tensor, tokens)

    def last_stage(self, tokens: Tensor) -> Tensor:
        """(R, N, D) → (R, N, D) through the extra transformer layers."""
        return self.stage4(tokens)


DEPTHS = {50: ((3, 4, 6, 3), "bottleneck"), 18: ((2, 2, 2, 2), "basic"),
          10: ((1, 1, 1, 1), "basic")}


class DEEN(CrossModal):
    """Separate stems, a shared trunk, MFA after stages 1 to 3, the expansion before stage 4.

    The lower map is averaged down to the higher one's size before an MFA block.

    Args:
        experiment: which components; ``image.dim`` is the width of the last stage.
        classes: C training identities.

    Raises:
        ReidlabError: a field that asks for what the reference does not have.

    Source: DEEN, arXiv:2303.14481.
    """

    def __init__(self, experiment: VisibleInfraredExperiment, classes: int):
        _refuse_what_is_not_there(experiment)
        image = experiment.image
        if image.pretrained:
            trunk = load_pretrained(ResNetModel, image.pretrained)
        else:
            depths, layer = DEPTHS[experiment.stages.resnet]
            widths = [image.dim // 8, image.dim // 4, image.dim // 2, image.dim]
            trunk = ResNetModel(ResNetConfig(
                embedding_size=max(8, widths[0] // (4 if layer == "bottleneck" else 1)),
                hidden_sizes=widths, depths=list(depths), layer_type=layer))
        widths = trunk.config.hidden_sizes
        grid = (-(-image.height // 16), -(-image.width // 16))
        super().__init__(experiment, widths[2], widths[3], grid, classes)
        self.stems = nn.ModuleList([trunk.embedder, copy.deepcopy(trunk.embedder)])
        self.trunk = trunk.encoder.stages
        self.trunk[3].layers[0].apply(_keep_resolution)
        before = [trunk.config.embedding_size, *widths]
        self.aggregations = nn.ModuleList(
            MFA(before[k + 1], before[k]) for k in range(3)
        ) if experiment.stages.low != "none" else None

    def stages_to_expansion(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        """Stems and stages 1 to 3: (R, n, c)."""
        maps = torch.cat([self.stems[number](x if x.shape[1] == 3 else x.expand(-1, 3, -1, -1))
                          for number, x in ((VISIBLE, visible), (INFRARED, infrared))
                          if x is not None])
        for number in range(3):
            low, maps = maps, self.trunk[number](maps)
            if self.aggregations is not None:
                size = maps.shape[-2:]
                low = F.adaptive_avg_pool2d(low, size).flatten(2).transpose(1, 2)
                high = self.aggregations[number](maps.flatten(2).transpose(1, 2), low)
                maps = high.transpose(1, 2).unflatten(2, size)
        return maps.flatten(2).transpose(1, 2)

    def last_stage(self, tokens: Tensor) -> Tensor:
        """(R, n, c) → (R, n, D) through the last residual stage."""
        maps = self.trunk[3](tokens.transpose(1, 2).unflatten(2, self.grid))
        return maps.flatten(2).transpose(1, 2)


def _refuse_what_is_not_there(experiment: VisibleInfraredExperiment) -> None:
    low, weight = experiment.stages.low, experiment.loss.weights.patches
    if low == "stage0":
        raise ReidlabError(f"stages.low is {low}, but the aggregation of stages.backbone resnet "
                           "reads the stage before; set it to previous or none")
    if weight:
        raise ReidlabError(f"loss.weights.patches is {weight}, but stages.backbone resnet is the "
                           "published reference, which compares no patches; set it to 0")


def _keep_resolution(module: nn.Module) -> None:
    """Stride 1 in the last stage, as re-identification has it."""
    if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
        module.stride = (1, 1)


BACKBONES = {"dual_vit": EmbedNet, "resnet": DEEN}


def build(experiment: VisibleInfraredExperiment, classes: int | None = None, tokenizer=None
          ) -> CrossModal:
    """The untrained model of an experiment; see `reidlab.tasks.build`. It reads no captions."""
    torch.manual_seed(experiment.seed)
    return BACKBONES[experiment.stages.backbone](experiment, classes or 395)
