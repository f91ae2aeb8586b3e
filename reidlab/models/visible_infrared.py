"""The visible-infrared models: EmbedNet of note 004, and DEEN beside it.

Shapes: R rows (visible first), N patches, D width, C training identities.
"""
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from reidlab.config import VisibleInfraredExperiment
from reidlab.encoders.dual_vit import STAGES, DualViT
from reidlab.fusion.mfa import MFA
from reidlab.models.chunks import in_chunks
from reidlab.models.cross_modal import CrossModal
from reidlab.models.deen import DEEN


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
        dual.vit.layernorm.requires_grad_(False)  # stage 4 comes instead
        super().__init__(experiment, dual.dim, dual.dim, dual.grid, classes)
        stages = experiment.stages
        self.backbone, self.chained, self.low = dual, stages.chained, stages.low
        first = 1 if stages.chained and stages.low == "previous" else 0
        self.aggregations = nn.ModuleDict()
        if stages.low != "none":
            self.aggregations = nn.ModuleDict({
                str(number): MFA(dual.dim, form=stages.aggregation)
                for number in range(first, STAGES)})
        image = experiment.image
        self.stage4 = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(dual.dim, image.heads, 4 * dual.dim, 0.0, image.activation,
                                       batch_first=True, norm_first=True),
            stages.depth, norm=nn.LayerNorm(dual.dim) if stages.final_norm else None,
            enable_nested_tensor=False)

    def stages_to_expansion(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        """Stages 0 to 3 with their aggregation: (R, N, D)."""
        tokens = first = None
        for number in range(STAGES):
            if tokens is None or not self.chained:
                start = self.backbone.both(visible, infrared)
            else:
                start = tokens
            low = tokens
            tokens = self._in_chunks(partial(self.backbone.stage, number=number), start)
            first = tokens if first is None else first
            if str(number) in self.aggregations:
                low = first if self.low == "stage0" or low is None else low
                tokens = self.aggregations[str(number)](tokens, low)
        return cast(Tensor, tokens)

    def last_stage(self, tokens: Tensor) -> Tensor:
        """(R, N, D) → (R, N, D) through the extra transformer layers."""
        return self._in_chunks(self.stage4, tokens)

    def _in_chunks(self, layers: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
        """Layers that treat every row alone; in training `micro_batch` rows at a time."""
        return cast(Tensor, in_chunks(lambda rows: (layers(rows),), tokens,
                                      self.micro_batch if self.training else None)[0])

    @property
    def published(self) -> dict[str, Any]:
        """What the backbone is, as the library says it, by part of the experiment."""
        return {"image": self.backbone.vit.config}

    @property
    def encoders(self) -> list[list[nn.Module]]:
        """Parts of the backbone, from input to output."""
        vit = self.backbone.vit
        return [[nn.ModuleList([self.backbone.patches, vit.embeddings]), *vit.layers]]


BACKBONES = {"dual_vit": EmbedNet, "resnet": DEEN}


def build(experiment: VisibleInfraredExperiment, classes: int | None = None, tokenizer=None
          ) -> CrossModal:
    """The untrained model of an experiment; see `reidlab.tasks.build`. It reads no captions."""
    torch.manual_seed(experiment.seed)
    return BACKBONES[experiment.stages.backbone](experiment, classes or 395)
