"""Fuse an image and a text vector with Mamba layers over one joint vector, as note 003 has it.

Shapes: B batch, D width of each vector.
"""
import torch
from torch import Tensor, nn

from reidlab.config import Fusion
from reidlab.fusion.fused import Fused
from reidlab.fusion.selective_scan import fastest_mamba


class MambaFusion(nn.Module):
    """Align, concatenate, two Mamba layers, a gate, one projection.

    Two quirks of the note are kept. The sequence has length 1, so the scan never recurs: this is
    a gated MLP. And the note's gated sum of the two halves never reaches its output, since the
    projection reads the whole Mamba output: gate and gate attention get no gradient.
    ``gate="applied"`` weighs the two halves before the projection and so repairs the second.

    Args:
        config: layers, state, taps, expansion, dropout, gate.
        dim: width D of image and text vectors.

    Source: note 003 §4.3. 4,838,402 parameters at D = 256.
    """

    def __init__(self, config: Fusion, dim: int):
        super().__init__()
        joint, layer = 2 * dim, fastest_mamba()
        self.image_align, self.text_align = (
            nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.LayerNorm(dim)) for _ in range(2))
        self.layers = nn.ModuleList(
            layer(joint, config.d_state, config.d_conv, config.expand)
            for _ in range(config.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(joint) for _ in range(config.layers))
        self.gate_attn = nn.MultiheadAttention(joint, 4, batch_first=True)
        self.gate = nn.Sequential(nn.Linear(joint, dim), nn.ReLU(), nn.Linear(dim, 2))
        self.fc = nn.Linear(joint, dim)
        self.norm_final = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(config.dropout)
        self.applied = config.gate == "applied"

    def forward(self, image: Tensor, text: Tensor) -> Fused:
        joint = torch.cat([self.image_align(image), self.text_align(text)], dim=-1)[:, None]
        for mamba, norm in zip(self.layers, self.norms, strict=True):
            joint = norm(mamba(joint) + joint)                         # (B, 1, 2D)
        weighed, _ = self.gate_attn(joint, joint, joint, need_weights=False)
        gate_weights = self.gate(weighed[:, 0]).softmax(dim=-1)        # (B, 2)
        if self.applied:  # twice the weights, so that a gate of one half changes nothing
            shares = 2 * gate_weights.repeat_interleave(joint.shape[-1] // 2, dim=1)
            joint = joint * shares[:, None]
        vector = self.norm_final(self.dropout(self.fc(joint[:, 0])))   # (B, D)
        return Fused(vector, gate_weights)
