"""Pixels in, maps out: a residual network whose last stage keeps the resolution.

Shapes: B pictures, D width of the last stage.
"""
from typing import Any, Literal

import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel

from reidlab.config import Image
from reidlab.encoders.pretrained import load_pretrained, refuse_another_shape

DEPTHS = {50: ((3, 4, 6, 3), "bottleneck"), 18: ((2, 2, 2, 2), "basic"),
          10: ((1, 1, 1, 1), "basic")}


def build_resnet(config: Image, depth: Literal[50, 18, 10]) -> Any:
    """A ResNetModel, pretrained or new; its last stage has stride 1, as re-identification has it.

    Args:
        config: ``dim`` is the width D of the last stage of a new network.
        depth: of a new network.

    Returns:
        A model whose last maps are (B, D, H/16, W/16).

    Raises:
        MissingPath: pretrained weights are neither a folder nor to be had from the hub.
        ReidlabError: they have another width than the experiment says.
    """
    if config.pretrained:
        network = load_pretrained(ResNetModel, config.pretrained, dtype=torch.float32)
        refuse_another_shape("image", config, {"dim": network.config.hidden_sizes[-1]})
    else:
        depths, layer = DEPTHS[depth]
        widths = [config.dim // 8, config.dim // 4, config.dim // 2, config.dim]
        network = ResNetModel(ResNetConfig(
            embedding_size=max(8, widths[0] // (4 if layer == "bottleneck" else 1)),
            hidden_sizes=widths, depths=list(depths), layer_type=layer))
    network.encoder.stages[3].layers[0].apply(_keep_resolution)
    return network


def _keep_resolution(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
        module.stride = (1, 1)
