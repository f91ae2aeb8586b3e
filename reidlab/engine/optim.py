"""Optimizer and learning rate of an experiment."""
import math
from typing import Any

import torch
from torch import nn

from reidlab.config import Training


def build_optimizer(config: Training, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam or AdamW; vectors and scalars (biases, norms, scales) are never decayed by AdamW.

    Args:
        config: which, and how strong.
        parameters: trainable parameters only.
    """
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay,
                                fused=True)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.dim() > 1]},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr,
                             weight_decay=config.weight_decay, fused=True)


def learning_rate(config: Training, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine from ``lr`` to ``final_lr``.

    Args:
        step: from 0; steps: of the whole run.
    """
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, steps - config.warmup)
    return config.final_lr + (config.lr - config.final_lr) * (1 + math.cos(math.pi * done)) / 2
