"""Image tokens → identity part + clothing part."""
from reidlab.config import Disentangle
from reidlab.disentangle.attention import AttentionSplit
from reidlab.disentangle.projection import MergedSplit, ProjectionSplit, ResidualSplit
from reidlab.disentangle.queries import QuerySplit
from reidlab.errors import ReidlabError

DISENTANGLERS = {"projection": ProjectionSplit, "merged": MergedSplit, "residual": ResidualSplit,
                 "attention": AttentionSplit, "queries": QuerySplit}


def build_disentangler(config: Disentangle, dim: int, grid: tuple[int, int] = (6, 3)):
    """The component called ``config.name`` for tokens of width `dim` on a grid of patches."""
    if config.name not in DISENTANGLERS:
        raise ReidlabError(
            f"unknown disentangle.name {config.name!r}; known: {', '.join(DISENTANGLERS)}")
    if config.name == "attention":
        return AttentionSplit(config, dim, grid)
    return DISENTANGLERS[config.name](config, dim)
