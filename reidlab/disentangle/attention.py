"""Two attention branches that read each other, a mean over the tokens, and a gate.

Shapes: B batch, N image tokens, D width. Attention runs over the tokens of one picture; the
batch comes first everywhere.
"""
from torch import Tensor, nn

from reidlab.config import Disentangle
from reidlab.disentangle.gate import DisentangledFeatures, GatedDisentangler
from reidlab.disentangle.mixers import build_attention, build_mixer
from reidlab.encoders.pooling import attend, build_pooling


class Branch(nn.Module):
    """One factor's own path: Linear, then self-attention layers with residual and LayerNorm.

    Args:
        config: layers, heads, and where the residual comes from.
        dim: token width D.
        grid: (rows, columns) of patches, for mixers that need it.
    """

    def __init__(self, config: Disentangle, dim: int, grid: tuple[int, int]):
        super().__init__()
        self.residual_from = config.residual_from
        self.linear = nn.Linear(dim, dim)
        self.layers = nn.ModuleList(build_mixer(config, dim, grid)
                                    for _ in range(config.self_layers))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(config.self_layers))

    def forward(self, tokens: Tensor, maps: list[Tensor] | None = None) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        x = self.linear(tokens)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            residual = tokens if self.residual_from == "input" else x
            x = norm(attend(layer, x, x, maps) + residual)
        return x


class AttentionDisentangler(nn.Module):
    """Identity and clothing from all tokens, as the notes have it.

    Note 003: one self- and one cross-attention layer a branch, the self-attention residual taken
    from the encoder's tokens. Note 002: six and three layers, residual from the running feature.

    Args:
        config: layers, and ``cross_order``: with ``parallel`` both branches read what the other was
            before a cross layer, as note 003 prints; with ``in_turn`` clothing reads identity after
            it. Note 002 does not say which.
        dim: token width D.
        grid: (rows, columns) of patches, for mixers that need it.

    Source: note 003 §2; note 002 §2.2 and §2.3, §2.5.
    """

    def __init__(self, config: Disentangle, dim: int, grid: tuple[int, int] = (14, 14)):
        super().__init__()
        self.identity_width, self.in_turn = dim, config.cross_order == "in_turn"
        self.identity = Branch(config, dim, grid)
        self.cloth = Branch(config, dim, grid)
        layers = range(config.cross_layers)
        self.identity_cross = nn.ModuleList(build_attention(config, dim) for _ in layers)
        self.cloth_cross = nn.ModuleList(build_attention(config, dim) for _ in layers)
        self.identity_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in layers)
        self.cloth_norms = nn.ModuleList(nn.LayerNorm(dim) for _ in layers)
        self.identity_pool = build_pooling(config.pooling, dim)
        self.cloth_pool = build_pooling(config.pooling, dim)
        self.gate = GatedDisentangler(dim, config.gate)

    def branches(self, tokens: Tensor, maps: dict | None = None) -> tuple[Tensor, Tensor]:
        """Both branches before pooling, (B, N, D) each."""
        of = maps or {"identity": None, "cloth": None}
        identity = self.identity(tokens, of["identity"])
        cloth = self.cloth(tokens, of["cloth"])
        for to_id, to_cloth, id_norm, cloth_norm in zip(
                self.identity_cross, self.cloth_cross, self.identity_norms, self.cloth_norms,
                strict=True):
            before = identity
            identity = id_norm(identity + attend(to_id, identity, cloth, of["identity"]))
            seen = identity if self.in_turn else before
            cloth = cloth_norm(cloth + attend(to_cloth, cloth, seen, of["cloth"]))
        return identity, cloth

    def forward(self, tokens: Tensor, want_maps: bool = False, gate: Tensor | float | None = None
                ) -> DisentangledFeatures:
        """(B, N, D) → two (B, D), the gate (B, D), and maps (B, heads, N, N) on request: one for
        each layer that weighs tokens, self layers first. `gate` replaces the learned one."""
        maps: dict[str, list[Tensor]] | None = {"identity": [], "cloth": []} if want_maps else None
        identity, cloth = self.branches(tokens, maps)
        pooled = self.identity_pool(identity), self.cloth_pool(cloth)
        return self.gate(*pooled, gate)._replace(maps=maps)


