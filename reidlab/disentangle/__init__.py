"""Image tokens → identity part + clothing part."""
from reidlab.config import Disentangle
from reidlab.disentangle.attention import AttentionDisentangler
from reidlab.disentangle.projection import (
    MergedDisentangler,
    ProjectionDisentangler,
    ResidualDisentangler,
)
from reidlab.disentangle.queries import QueryDisentangler
from reidlab.errors import ReidlabError

DISENTANGLERS = {
    "projection": ProjectionDisentangler,
    "merged": MergedDisentangler,
    "residual": ResidualDisentangler,
    "attention": AttentionDisentangler,
    "queries": QueryDisentangler,
}


def build_disentangler(config: Disentangle, dim: int, grid: tuple[int, int] = (6, 3)):
    """The component called ``config.name`` for tokens of width `dim` on a grid of patches."""
    if config.name not in DISENTANGLERS:
        raise ReidlabError(
            f"unknown disentangle.name {config.name!r}; known: {', '.join(DISENTANGLERS)}")
    if config.name == "attention":
        return AttentionDisentangler(config, dim, grid)
    return DISENTANGLERS[config.name](config, dim)
