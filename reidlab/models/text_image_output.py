"""What the text-image model gives back. Shapes: B batch, N image tokens, D width, C identities."""
import dataclasses
from dataclasses import dataclass

from torch import Tensor

from reidlab.errors import ReidlabError


@dataclass
class TextImageOutput:
    """Everything the model knows of a batch; the same in training and evaluation.

    ``None`` stands for what was not asked for: no picture, no caption, no such component.

    Attributes:
        image_embeds, id_text_embeds: (B, 256) identity, unit norm; what retrieval compares.
        fused_embeds: (B, 256), norm ``|scale|``.
        id_logits: (B, C).
        id_embeds, cloth_embeds: (B, D) pooled image features, not normalised.
        cloth_text_embeds, cloth_image_embeds: (B, 256) clothing, unit norm.
        gate: (B, D), the share of identity against clothing.
        gate_weights: (B, 2), image against text in the fusion.
        maps: attention maps by branch, on request.
        tokens: (B, N, D) image tokens, on request.
        token_similarity: (B, B) pictures × whole descriptions, words against patches.
        itm_logits: (B, 2) does the own text fit, does the negative's; with `negative_text` only.
    """

    image_embeds: Tensor | None = None
    id_text_embeds: Tensor | None = None
    fused_embeds: Tensor | None = None
    id_logits: Tensor | None = None
    id_embeds: Tensor | None = None
    cloth_embeds: Tensor | None = None
    cloth_text_embeds: Tensor | None = None
    cloth_image_embeds: Tensor | None = None
    gate: Tensor | None = None
    gate_weights: Tensor | None = None
    maps: dict | None = None
    tokens: Tensor | None = None
    itm_logits: Tensor | None = None
    token_similarity: Tensor | None = None

    def as_tuple(self, count: int) -> tuple:
        """The notes' order: 8 outputs (note 001) or 10 (note 003)."""
        if count not in (8, 10):
            raise ReidlabError(f"the notes list 8 or 10 outputs; got {count}")
        return tuple(getattr(self, f.name) for f in dataclasses.fields(self)[:count])
