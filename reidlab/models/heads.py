"""From pooled features to unit-norm retrieval embeddings. Shapes: B batch, D width."""
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import Heads


def _mlp(config: Heads) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm1d(config.hidden), nn.ReLU(), nn.Dropout(config.dropout),
        nn.Linear(config.hidden, config.embedding), nn.BatchNorm1d(config.embedding), nn.ReLU(),
        nn.Dropout(config.dropout), nn.Linear(config.embedding, config.embedding))


class JointHeads(nn.Module):
    """A first layer shared by image and text, then one MLP a modality.

    Args:
        config: widths and dropout.
        dim: width D of the pooled features, the same for both modalities.

    Source: note 001 §2.6, note 003 §1.
    """

    def __init__(self, config: Heads, dim: int):
        super().__init__()
        self.shared_mlp = nn.Linear(dim, config.hidden)
        self.image_mlp, self.text_mlp = _mlp(config), _mlp(config)

    def image(self, pooled: Tensor) -> Tensor:
        """(B, D) → (B, embedding), unit norm."""
        return F.normalize(self.image_mlp(self.shared_mlp(pooled)), dim=-1)

    def text(self, pooled: Tensor) -> Tensor:
        """(B, D) → (B, embedding), unit norm."""
        return F.normalize(self.text_mlp(self.shared_mlp(pooled)), dim=-1)
