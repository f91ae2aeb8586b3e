"""What is watched while a model trains, on people it does not train on."""
import resource
import sys

import torch
from torch import nn

from reidlab.data.augmentation import to_tensor
from reidlab.data.records import Split
from reidlab.evaluation.dependence import dependence
from reidlab.models.modes import evaluating


class Monitor:
    """Looks at one fixed held-out batch.

    Args:
        split: the validation split.
        count: pictures in the batch; unbiased estimates need 128 or more.
    """

    def __init__(self, split: Split, count: int = 256):
        every = max(1, len(split.records) // count)
        self.image = to_tensor(split.images[::every][:count])

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Dependence of identity and clothing on raw pooled features and on embeddings; gate.

        Embeddings are those the losses read, before any erasure: that was fitted to the weights
        of the last validation, and no curve of training should mix in a step taken after it.
        """
        with evaluating(model):
            parts, _ = model.split(self.image.to(next(model.parameters()).device))
            raw = dependence(parts.identity, parts.cloth)
            embedded = dependence(*model.embed(parts, erase=False))
        seen = {f"monitor/id_cloth_{name}": value for name, value in raw.items()}
        seen |= {f"monitor/embedding_{name}": value for name, value in embedded.items()}
        if parts.gate is not None:
            seen |= {"gate/mean": parts.gate.mean().item(), "gate/std": parts.gate.std().item(),
                     "gate/saturated": ((parts.gate < 0.05) | (parts.gate > 0.95)
                                        ).float().mean().item()}
        return seen


def gradient_norms(model: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each top-level part; 0 where nothing arrives."""
    norms = {}
    for name, part in model.named_children():
        grads = [p.grad for p in part.parameters() if p.grad is not None]
        norms[f"gradient/{name}"] = (
            torch.stack([g.norm() for g in grads]).norm().item() if grads else 0.0)
    return norms


def memory() -> dict[str, float]:
    """Most memory this process has held so far, in GB: of the GPU where it trains on one."""
    if torch.cuda.is_available():
        return {"memory_gb": torch.cuda.max_memory_allocated() / 1e9}
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB elsewhere
    return {"memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9}
