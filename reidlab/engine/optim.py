"""Optimizer and learning rate of an experiment."""
import math
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import nn

from reidlab.config import Training


def build_optimizer(config: Training, parameters: list[nn.Parameter],
                    shares: Mapping[nn.Parameter, float] | None = None) -> torch.optim.Optimizer:
    """Adam or AdamW; vectors and scalars (biases, norms, scales) are never decayed by AdamW.

    Args:
        config: which, and how strong.
        parameters: trainable parameters only.
        shares: `rate_shares`; 1 for every parameter it does not name.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = defaultdict(list)
    for parameter in parameters:
        free = config.optimizer == "adamw" and parameter.dim() <= 1
        groups[free, (shares or {}).get(parameter, 1.0)].append(parameter)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    ordered = sorted(groups.items(), key=lambda item: item[0])  # a checkpoint counts places
    return kind([{"params": held, "share": share,
                  "weight_decay": 0.0 if free else config.weight_decay}
                 for (free, share), held in ordered],
                lr=config.lr, weight_decay=config.weight_decay, fused=True)


def rate_shares(config: Training, encoders: list[list[nn.Module]]) -> dict[nn.Parameter, float]:
    """Of the learning rate, what each parameter of the encoders gets.

    The k-th of an encoder's n parts gets ``backbone_lr / lr · layer_decay^(n − 1 − k)``: what was
    learned on millions of pictures moves less than what is new, and early layers least.

    Args:
        config: ``backbone_lr``, ``layer_decay``, ``lr``.
        encoders: parts of each encoder, from its input to its output.

    Source: BEiT, arXiv:2106.08254 (layer-wise decay).
    """
    if config.backbone_lr is None and config.layer_decay == 1:
        return {}
    whole = 1.0 if config.backbone_lr is None else config.backbone_lr / config.lr
    return {parameter: whole * config.layer_decay ** (len(parts) - 1 - k)
            for parts in encoders for k, part in enumerate(parts)
            for parameter in part.parameters()}


def learning_rate(config: Training, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine from ``lr`` to ``final_lr``.

    Args:
        step: from 0; steps: of the whole run.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.final_lr + (config.lr - config.final_lr) * (1 + math.cos(math.pi * done)) / 2
