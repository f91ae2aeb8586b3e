"""Image tokens → identity part + clothing part."""
import torch
from torch import nn

from reidlab.config import Disentangle
from reidlab.disentangle.attention import AttentionDisentangler
from reidlab.disentangle.projection import (
    MergedDisentangler,
    ProjectionDisentangler,
    ResidualDisentangler,
)
from reidlab.disentangle.queries import QueryDisentangler
from reidlab.disentangle.whole import Undivided
from reidlab.errors import ReidlabError

DISENTANGLERS = {
    "projection": ProjectionDisentangler,
    "merged": MergedDisentangler,
    "residual": ResidualDisentangler,
    "attention": AttentionDisentangler,
    "queries": QueryDisentangler,
    "none": Undivided,
}


def build_disentangler(config: Disentangle, dim: int, grid: tuple[int, int] = (6, 3)):
    """The component called ``config.name`` for tokens of width `dim` on a grid of patches.

    Each takes ``(config, dim, grid)``, has ``identity_width``, and turns tokens (B, 1 + rows ·
    columns, D) into `DisentangledFeatures`: identity (B, identity_width), clothing (B, D), and a
    gate and attention maps where it has them.

    Raises:
        ReidlabError: an unknown name, or a component of other widths.
    """
    if config.name not in DISENTANGLERS:
        raise ReidlabError(
            f"unknown disentangle.name {config.name!r}; known: {', '.join(DISENTANGLERS)}")
    made = DISENTANGLERS[config.name](config, dim, grid)
    _refuse_other_widths(config.name, made, dim, grid)
    return made


@torch.no_grad()
def _refuse_other_widths(name: str, made: nn.Module, dim: int, grid: tuple[int, int]) -> None:
    """What the model around a disentangler relies on, tried on one image of zeros."""
    resting = made.training
    found = made.eval()(torch.zeros(1, 1 + grid[0] * grid[1], dim))
    made.train(resting)
    widths = tuple(found.identity.shape), tuple(found.cloth.shape)
    if widths != ((1, made.identity_width), (1, dim)):
        raise ReidlabError(f"disentangle.name {name!r} gives identity and clothing of shape "
                           f"{widths[0]} and {widths[1]}; needed are (B, identity_width) = "
                           f"(1, {made.identity_width}) and (B, D) = (1, {dim})")
