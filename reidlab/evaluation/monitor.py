"""What is watched of a text-image model while it trains: one fixed held-out batch."""
import torch

from reidlab.data.packing import to_tensor
from reidlab.data.records import Split
from reidlab.evaluation.dependence import dependence
from reidlab.models.modes import evaluating
from reidlab.models.text_image import TextImageModel


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
    def __call__(self, model: TextImageModel) -> dict[str, float]:
        """Dependence of identity and clothing on raw pooled features and on embeddings; gate.

        Embeddings are those the losses read, before any erasure: that was fitted to the weights
        of the last validation, and no curve of training should mix in a step taken after it.
        """
        with evaluating(model):
            parts, _ = model.image_features(self.image.to(next(model.parameters()).device))
            raw = dependence(parts.identity, parts.cloth)
            embedded = dependence(*model.embed(parts, concept_erasure=False))
        seen = {f"monitor/id_cloth_{name}": value for name, value in raw.items()}
        seen |= {f"monitor/embedding_{name}": value for name, value in embedded.items()}
        if parts.gate is not None:
            seen |= {"gate/mean": parts.gate.mean().item(), "gate/std": parts.gate.std().item(),
                     "gate/saturated": ((parts.gate < 0.05) | (parts.gate > 0.95)
                                        ).float().mean().item()}
        return seen
