"""Image tokens → identity part + clothing part."""
from reidlab.config import Disentangle
from reidlab.disentangle.attention import AttentionSplit
from reidlab.disentangle.projection import MergedSplit, ProjectionSplit, ResidualSplit
from reidlab.disentangle.queries import QuerySplit
from reidlab.errors import ReidlabError

DISENTANGLERS = {"projection": ProjectionSplit, "merged": MergedSplit, "residual": ResidualSplit,
                 "attention": AttentionSplit, "queries": QuerySplit}


def build_disentangler(config: Disentangle, dim: int):
    """The component called ``config.name`` for tokens of width `dim`."""
    if config.name not in DISENTANGLERS:
        raise ReidlabError(
            f"unknown disentangle.name {config.name!r}; known: {', '.join(DISENTANGLERS)}")
    return DISENTANGLERS[config.name](config, dim)
