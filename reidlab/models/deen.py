"""DEEN on a residual network: the reference that note 004 starts from.

Shapes: R rows (visible first), n positions, D or c width.
"""
import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import VisibleInfraredExperiment
from reidlab.encoders.dual_vit import INFRARED, VISIBLE
from reidlab.encoders.resnet import build_resnet
from reidlab.errors import ReidlabError
from reidlab.fusion.mfa import MFA
from reidlab.models.cross_modal import CrossModal


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
        trunk = build_resnet(image, experiment.stages.resnet)
        widths = trunk.config.hidden_sizes
        grid = (-(-image.height // 16), -(-image.width // 16))
        super().__init__(experiment, widths[2], widths[3], grid, classes)
        self.stems = nn.ModuleList([trunk.embedder, copy.deepcopy(trunk.embedder)])
        self.trunk, self.config = trunk.encoder.stages, trunk.config
        before = [trunk.config.embedding_size, *widths]
        self.aggregations = nn.ModuleList(
            MFA(before[k + 1], before[k], experiment.stages.aggregation) for k in range(3)
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

    @property
    def published(self) -> dict[str, Any]:
        """What the backbone is, as the library says it, by part of the experiment."""
        return {"image": self.config}

    @property
    def encoders(self) -> list[list[nn.Module]]:
        """Parts of the residual network, from input to output."""
        return [[self.stems, *self.trunk]]

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
