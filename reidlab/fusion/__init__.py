"""Two streams in, one out: of vectors as the notes have it, of tokens as they want it."""
from reidlab.config import Fusion
from reidlab.errors import ReidlabError
from reidlab.fusion.attention import AttentionGatedFusion
from reidlab.fusion.mamba import MambaFusion
from reidlab.fusion.tokens import AttentionTokens, MambaTokens

FUSIONS = {"attention_gated": AttentionGatedFusion, "mamba": MambaFusion}
TOKEN_FUSIONS = {"attention_tokens": AttentionTokens, "mamba_tokens": MambaTokens}


def build_fusion(config: Fusion | None, dim: int):
    """The vector fusion called ``config.name`` for width `dim`; None when there is none.

    Raises:
        ReidlabError: unknown name, with the known ones.

    Source: note 001 §2.4, ``get_fusion_module``.
    """
    if config is None or config.name == "none" or config.name in TOKEN_FUSIONS:
        return None
    if config.name not in FUSIONS:
        raise ReidlabError(f"unknown fusion.name {config.name!r}; known: none, "
                           + ", ".join([*FUSIONS, *TOKEN_FUSIONS]))
    return FUSIONS[config.name](config, dim)
