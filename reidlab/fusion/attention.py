"""Fuse an image and a text vector by attention and a gate, as note 001 has it.

Shapes: B batch, D width of each vector.
"""
import torch
from torch import Tensor, nn

from reidlab.config import Fusion
from reidlab.encoders.efficient_attention import LinformerAttention, PerformerAttention
from reidlab.fusion.fused import Fused


class AttentionGatedFusion(nn.Module):
    """Image reads text, text reads image, two weights, one projection.

    Each sequence has length 1, so every attention weight is 1, queries and keys get no gradient,
    and dropout of weights drops the whole other modality, a head at a time (findings b).

    Args:
        config: heads and dropout. Improvements that the note names: ``gate_groups`` gives groups of
            channels two weights of their own; ``mixer`` takes a cheaper attention, which at length
            1 is the exact one.
        dim: width D of image and text vectors, a multiple of the groups.

    Source: note 001, fusion §2; §6.1 and §6.2 for the improvements. 725,506 parameters at D = 256.
    """

    def __init__(self, config: Fusion, dim: int):
        super().__init__()
        self.image_attn, self.text_attn = (_attention(config, dim) for _ in range(2))
        self.groups = config.gate_groups
        self.norm_image, self.norm_text = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.gate = nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Dropout(config.dropout),
                                  nn.Linear(dim, 2 * self.groups))
        self.fc, self.norm_final = nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, image: Tensor, text: Tensor) -> Fused:
        from_text, _ = self.image_attn(image[:, None], text[:, None], text[:, None])
        from_image, _ = self.text_attn(text[:, None], image[:, None], image[:, None])
        image = self.norm_image(from_text[:, 0] + image)               # (B, D)
        text = self.norm_text(from_image[:, 0] + text)                 # (B, D)
        weights = self.gate(torch.cat([image, text], dim=-1)).unflatten(-1, (self.groups, 2))
        weights = weights.softmax(dim=-1)                              # (B, groups, 2)
        mean = weights.mean(dim=1)                                     # (B, 2)
        weights = mean[:, None] if self.groups == 1 else weights
        image, text = (x.unflatten(-1, (self.groups, -1)) for x in (image, text))
        mixed = (weights[..., :1] * image + weights[..., 1:] * text).flatten(1)
        return Fused(self.norm_final(self.fc(self.dropout(mixed))), mean)


def _attention(config: Fusion, dim: int) -> nn.Module:
    """From one vector to another; a sequence of one token each."""
    match config.mixer:
        case "performer":
            return PerformerAttention(dim, config.heads)
        case "linformer":
            return LinformerAttention(dim, config.heads, tokens=1, rank=1)
    return nn.MultiheadAttention(dim, config.heads, dropout=config.dropout, batch_first=True)
