"""Two modalities in, tokens of one ViT out, layer group by layer group.

Shapes: R rows (visible and infrared pictures together), N patches, D width. A row's modality is
0 (visible) or 1 (infrared).
"""
import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ViTModel

from reidlab.config import Image
from reidlab.encoders.vit import build_vit
from reidlab.errors import ReidlabError

VISIBLE, INFRARED = 0, 1
STAGES = 4


class DualViT(nn.Module):
    """One ViT with a patch embedding a modality, or one for both; its layers in four groups.

    Positions and layers are shared, so that a place in the picture means the same in both
    modalities.
    There is no CLS token: what follows pools patches. Chaining the groups is the ViT itself, to
    the last bit.

    Args:
        config: the ViT; ``layers`` is a multiple of four.
        embeddings: 2, or 1 where both modalities share it: with twice the pictures to learn from,
            edges are found sooner and look alike in both from the start.

    Raises:
        ReidlabError: layers that do not divide by four.

    Source: note 004 §2.1.
    """

    def __init__(self, config: Image, embeddings: int = 2):
        super().__init__()
        self.vit = build_vit(config)
        if not isinstance(self.vit, ViTModel):
            raise ReidlabError(f"stages.backbone=dual_vit takes the layers of a ViT apart; got a "
                               f"{type(self.vit).__name__}")
        layers = len(self.vit.layers)
        if layers % STAGES:
            raise ReidlabError(f"image.layers {layers} must be a multiple of {STAGES}: the layers "
                               "are used in four groups")
        self.dim, self.patch = self.vit.config.hidden_size, config.patch
        self.per_stage = layers // STAGES
        visible = self.vit.embeddings.patch_embeddings.projection
        self.patches = nn.ModuleList([visible] + [copy.deepcopy(visible)] * (embeddings - 1))
        embeddings_of: Any = self.vit.embeddings
        embeddings_of.patch_embeddings = nn.Identity()  # all live in `patches` now
        self.vit.embeddings.cls_token.requires_grad_(False)
        size = self.vit.config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        self.grid = (height // self.patch, width // self.patch)

    def embed(self, image: Tensor, modality: int) -> Tensor:
        """Pictures of one modality → tokens before any layer.

        Args:
            image: (B, 3, H, W), or (B, 1, H, W), which is read as three equal channels.
            modality: ``VISIBLE`` or ``INFRARED``.

        Returns:
            (B, N, D); N is 196 at 224², 576 at 384², 1024 at 512² with patches of 16.
        """
        if image.shape[1] == 1:
            image = image.expand(-1, 3, -1, -1)
        found = self.patches[min(modality, len(self.patches) - 1)](image)     # (B, D, h, w)
        positions = self.positions(found.shape[-2:])                # (1, N, D)
        return self.vit.embeddings.dropout(found.flatten(2).transpose(1, 2) + positions)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """(1, N, D) position embeddings for a grid of patches, resampled where it differs."""
        known = self.vit.embeddings.position_embeddings[:, 1:]
        if tuple(grid) == self.grid:
            return known
        known = known.transpose(1, 2).unflatten(2, self.grid)
        return F.interpolate(known, size=tuple(grid), mode="bicubic", align_corners=False
                             ).flatten(2).transpose(1, 2)

    def stage(self, tokens: Tensor, number: int) -> Tensor:
        """(R, N, D) → (R, N, D) through layer group `number`, 0 to 3."""
        for layer in self.vit.layers[number * self.per_stage:(number + 1) * self.per_stage]:
            tokens = layer(tokens)
        return tokens

    def forward(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        """Both modalities through all groups, visible rows first: (B_v + B_i, N, D),
        layer-normed."""
        tokens = self.both(visible, infrared)
        for number in range(STAGES):
            tokens = self.stage(tokens, number)
        return self.vit.layernorm(tokens)

    def both(self, visible: Tensor | None, infrared: Tensor | None) -> Tensor:
        """Tokens before any layer of the given modalities, visible rows first.

        Raises:
            ReidlabError: neither is given.
        """
        given = [self.embed(image, number) for number, image in ((VISIBLE, visible),
                                                             (INFRARED, infrared))
                 if image is not None]
        if not given:
            raise ReidlabError("need visible or infrared pictures; got neither")
        return torch.cat(given)
