"""A step on copies, to learn something of a run before it begins: nothing of the run changes."""
import copy
from typing import Any

import torch
from torch import nn

MOMENTS = ((0, 0.0), (1, 0.0), (0, 0.99), (1, 0.99))  # step and share of training done


def copied(task: Any, device: torch.device | str = "cpu") -> Any:
    """The task with a model and a loss of its own, on a device; data are shared."""
    trial = copy.copy(task)
    trial.model, trial.loss = (part.to(device) for part in copy.deepcopy((task.model, task.loss)))
    return trial


def one_pass(trial: Any, step: int, progress: float, shard: slice) -> None:
    """Forward and backward pass of a copied task.

    Args:
        trial: a `copied` task.
        step, progress: which batch, and what has set in by then.
        shard: this process's rows.
    """
    with torch.random.fork_rng(devices=[]):
        batch = trial.finish(trial.read(step, shard, progress), step)
        trial.forward(trial.model.train(), batch, 1, progress)[0]["total"].backward()


def unreached(task: Any, shard: slice, device: torch.device | str = "cpu") -> list[str]:
    """Trained parameters of the model that some step gives no gradient.

    Looked at early and late, in two steps each, since terms set in late or not in every step.
    Several processes have to look for such parameters in each step, which costs them time.
    """
    found: set[str] = set()
    trial = copied(task, device)
    model: nn.Module = trial.model
    for step, progress in MOMENTS:
        model.zero_grad()
        one_pass(trial, step, progress, shard)
        found |= {name for name, p in model.named_parameters() if p.requires_grad
                  and p.grad is None}
    return sorted(found)
