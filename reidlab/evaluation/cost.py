"""What a forward pass costs, counted and not timed."""
import torch
from torch.utils.flop_counter import FlopCounterMode

from reidlab.config import InfraredExperiment
from reidlab.encoders.dual_vit import VISIBLE
from reidlab.models.modes import evaluating


def multiplications(model, experiment: InfraredExperiment) -> float:
    """Multiply-adds of one picture's test features: half of torch's count of operations.

    Gradients stay on: the counter follows modules by them.
    """
    image = torch.zeros(1, 3, experiment.image.height, experiment.image.width,
                        device=next(model.parameters()).device)
    with evaluating(model), FlopCounterMode(display=False) as counter:
        model.encode(image, VISIBLE)
    return counter.get_total_flops() / 2
