"""From pooled features to unit-norm retrieval embeddings. Shapes: B batch, D width."""
import torch.nn.functional as F
from torch import Tensor, nn

from reidlab.config import Heads
from reidlab.errors import ReidlabError


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


class MergedHeads(nn.Module):
    """Identity comes from the split at retrieval width; its text goes the joint heads' way.

    Args:
        joint: heads of both captions and of clothing pictures.

    Source: note 000 §1.
    """

    def __init__(self, joint: JointHeads):
        super().__init__()
        self.joint = joint

    def image(self, pooled: Tensor) -> Tensor:
        """(B, embedding) → (B, embedding), unit norm."""
        return F.normalize(pooled, dim=-1)

    def text(self, pooled: Tensor) -> Tensor:
        """(B, D) → (B, embedding), unit norm."""
        return self.joint.text(pooled)


class LinearHeads(nn.Module):
    """One linear layer and one BatchNorm a modality.

    Trained from scratch for minutes, features learn far faster behind it than behind the notes'
    two hidden layers, and the BatchNorm alone keeps embeddings from collapsing to one point.

    Args:
        config: width of the embedding.
        dim: width D of the pooled features.
    """

    def __init__(self, config: Heads, dim: int):
        super().__init__()
        self.image_head, self.text_head = (
            nn.Sequential(nn.Linear(dim, config.embedding), nn.BatchNorm1d(config.embedding))
            for _ in range(2))

    def image(self, pooled: Tensor) -> Tensor:
        """(B, D) → (B, embedding), unit norm."""
        return F.normalize(self.image_head(pooled), dim=-1)

    def text(self, pooled: Tensor) -> Tensor:
        """(B, D) → (B, embedding), unit norm."""
        return F.normalize(self.text_head(pooled), dim=-1)


class NoHeads(nn.Module):
    """The encoders' own vectors: pretrained towers that meet already are left as they are.

    Args:
        config: the embedding's width must be the features'.
        dim: width D of the pooled features.

    Raises:
        ReidlabError: another width.
    """

    def __init__(self, config: Heads, dim: int):
        super().__init__()
        if config.embedding != dim:
            raise ReidlabError(f"heads.name=none leaves the encoders' {dim} channels; "
                               f"heads.embedding is {config.embedding}: set it to {dim}")

    def image(self, pooled: Tensor) -> Tensor:
        """(B, D) → (B, D), unit norm."""
        return F.normalize(pooled, dim=-1)

    def text(self, pooled: Tensor) -> Tensor:
        """(B, D) → (B, D), unit norm."""
        return F.normalize(pooled, dim=-1)


RetrievalHeads = JointHeads | MergedHeads | LinearHeads | NoHeads
HEADS: dict[str, type[JointHeads] | type[LinearHeads] | type[NoHeads]] = {
    "joint": JointHeads, "merged": JointHeads, "linear": LinearHeads, "none": NoHeads}


def build_heads(config: Heads, dim: int) -> tuple[RetrievalHeads, RetrievalHeads]:
    """Heads of identity and of clothing for features of width `dim`; one object when shared."""
    if config.name not in HEADS:
        raise ReidlabError(f"unknown heads.name {config.name!r}; known: {', '.join(HEADS)}")
    if config.name == "merged":
        joint = JointHeads(config, dim)
        return MergedHeads(joint), joint
    heads = HEADS[config.name](config, dim)
    return heads, HEADS[config.name](config, dim) if config.separate else heads
