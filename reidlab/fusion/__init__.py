"""Two streams in, one out."""
from reidlab.config import Fusion
from reidlab.errors import ReidlabError
from reidlab.fusion.mamba import MambaFusion

FUSIONS = {"mamba": MambaFusion}


def build_fusion(config: Fusion | None, dim: int):
    """The fusion called ``config.name`` for vectors of width `dim`; None when left out.

    Raises:
        ReidlabError: unknown name, with the known ones.

    Source: note 001 §2.4, ``get_fusion_module``.
    """
    if config is None or config.name == "none":
        return None
    if config.name not in FUSIONS:
        raise ReidlabError(
            f"unknown fusion.name {config.name!r}; known: none, {', '.join(FUSIONS)}")
    return FUSIONS[config.name](config, dim)
