"""Several views of one embedding: DEE and its three replacements, chosen by name."""
from torch import nn

from reidlab.config import Expansion
from reidlab.errors import ReidlabError
from reidlab.expansion.cmatm import CrossModalTokens, RebuiltTokens
from reidlab.expansion.dee import DilatedExpansion, DilatedFusion
from reidlab.expansion.ssdec import DroppedTokenViews, RebuiltMasks
from reidlab.expansion.tmhee import BatchFirstForgotten, HeadViews

EXPANSIONS = {"dee": DilatedFusion, "deen": DilatedExpansion, "tmhee": HeadViews,
              "tmhee_over_batch": BatchFirstForgotten, "cmatm": CrossModalTokens,
              "cmatm_rebuilt": RebuiltTokens, "ssdec": DroppedTokenViews,
              "ssdec_rebuilt": RebuiltMasks}


def build_expansion(config: Expansion, dim: int, grid: tuple[int, int]) -> nn.Module | None:
    """The component called ``config.name`` for tokens of width `dim`; None for ``none``.

    Raises:
        ReidlabError: an unknown name.
    """
    if config.name == "none":
        return None
    if config.name not in EXPANSIONS:
        raise ReidlabError(f"unknown expansion.name {config.name!r}; known: none, "
                           f"{', '.join(EXPANSIONS)}")
    return EXPANSIONS[config.name](config, dim, grid)
