"""Share one image feature between identity and clothing.

Shapes: B batch, D feature width.
"""
from typing import NamedTuple

import torch
from torch import Tensor, nn


class DisentangledFeatures(NamedTuple):
    """Two factors of B pictures.

    Attributes:
        identity, cloth: (B, D).
        gate: (B, D) in (0, 1), the share identity keeps; None without a gate.
        maps: attention of each branch on request, ``{"identity": [(B, heads, rows, N) …], …}``.
    """

    identity: Tensor
    cloth: Tensor
    gate: Tensor | None = None
    maps: dict[str, list[Tensor]] | None = None


class _Spread(nn.Module):
    """(B, groups) → (B, D): neighbouring channels share a value."""

    def __init__(self, dim: int):
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(-(-self.dim // x.shape[-1]), dim=-1)[:, :self.dim]


class GatedDisentangler(nn.Module):
    """Give each channel to identity or to clothing by a learned share.

    What identity keeps, clothing loses: ``identity = g · a``, ``cloth = (1 − g) · b``.
    This divides channels; it does not by itself make the two parts independent
    (measure that with ``evaluation.probes``).

    Args:
        dim: feature width D.
        kind: ``linear``, one Linear as in note 003; ``mlp``, two as note 002's prose has it;
            ``multihead``, one share for each of eight groups of channels.

    Source: note 002 §2.5, note 003; note 001 §6.2 asks for a richer gate of the
        fusion; here it is the kit's addition.
    """

    def __init__(self, dim: int, kind: str = "linear"):
        super().__init__()
        self.to_gate = {
            "linear": lambda: nn.Linear(2 * dim, dim),
            "mlp": lambda: nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, dim)),
            "multihead": lambda: nn.Sequential(nn.Linear(2 * dim, 8), _Spread(dim)),
        }[kind]()

    def forward(self, identity: Tensor, cloth: Tensor, gate: Tensor | float | None = None
                ) -> DisentangledFeatures:
        """(B, D) twice → both parts; `gate`, which broadcasts to (B, D), replaces the learned."""
        if gate is None:
            gate = self.to_gate(torch.cat([identity, cloth], dim=-1)).sigmoid()  # (B, D)
        gate = torch.as_tensor(gate, dtype=identity.dtype, device=identity.device
                               ).expand(identity.shape)
        return DisentangledFeatures(gate * identity, (1 - gate) * cloth, gate)
