"""Maps over pictures: attention in one colour from 0, credit in two colours around 0."""
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from reidlab.plots.people import part_colours, part_legend
from reidlab.plots.style import figure, styled

WEIGHTS, SIGNED = "magma", "vlag"


@styled
def overlays(rows: list[tuple[np.ndarray, dict[str, np.ndarray]]], *, label: str,
             parts: list[np.ndarray] | None = None, strength: float = 0.65,
             signed: bool = False, most: float | None = None) -> Figure:
    """Pictures and, beside each, maps laid over it; one scale for all of them.

    Args:
        rows: (picture (H, W, 3) uint8, title → (r, c) map) a person; the same titles everywhere.
        label: of the colour bar: what a value is.
        parts: (H, W) true labels a person, shown after the picture.
        strength: of the map over the grey picture, 0 to 1.
        signed: values around 0 instead of from 0.
        most: value at the end of the scale, of larger ones, too; the largest by default.
    """
    titles = list(rows[0][1])
    first = 1 + (parts is not None)
    fig = figure(1.15 * (first + len(titles)) + 0.9, 2.05 * len(rows) + 0.35)
    axes = fig.subplots(len(rows), first + len(titles), squeeze=False)
    most = most or max(
        float(np.abs(found).max()) for _, maps in rows for found in maps.values()) or 1.0
    for r, (picture, maps) in enumerate(rows):
        axes[r, 0].imshow(picture, interpolation="nearest")
        if parts is not None:
            axes[r, 1].imshow(part_colours()[parts[r]], interpolation="nearest")
        for axis, title in zip(axes[r, first:], titles, strict=True):
            shown = _overlay(axis, picture, maps[title], most, strength, signed)
    for axis, title in zip(axes[0], ["picture", "true parts"][:first] + titles, strict=True):
        axis.set_title(title, fontsize=8.5)
    for axis in axes.flat:
        axis.set_axis_off()
    fig.colorbar(shown, ax=axes[:, -1], label=label, fraction=0.12, aspect=24)
    if parts is not None:
        fig.legend(handles=part_legend(np.stack(parts)), loc="outside lower left", ncols=7,
                   fontsize=8)
    return fig


def _overlay(axis, picture: np.ndarray, values: np.ndarray, most: float, strength: float,
             signed: bool):
    """The picture in grey, and over it the map in colour, patch by patch."""
    height, width = picture.shape[:2]
    axis.imshow(picture.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    scale, alpha = Normalize(0, most), strength
    if signed:  # nothing is laid over a patch that adds nothing
        scale = TwoSlopeNorm(0, -most, most)
        alpha = strength * np.minimum(np.abs(values) / most, 1) ** 0.5
    return axis.imshow(values, cmap=SIGNED if signed else WEIGHTS, norm=scale, alpha=alpha,
                       extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")


@styled
def shared_out(picture: np.ndarray, found: dict, title: str = "") -> Figure:
    """One score shared out over words and patches, side by side for each half of a description.

    Words and patches add up to the score alike; what CLS of the picture adds has no place in it.

    Args:
        picture: (H, W, 3) uint8.
        found: side → a `Attribution`.
        title: over the figure.
    """
    fig = figure(2.4 + 3.4 * len(found), 3.3)
    grid = fig.add_gridspec(1, 1 + 3 * len(found))
    first = fig.add_subplot(grid[0, 0])
    first.imshow(picture, interpolation="nearest")
    first.set_axis_off()
    most = max(float(np.abs(c.patches()).max()) for c in found.values())
    bars: list[Axes] = []
    shown: Any = None
    for k, (side, credit) in enumerate(found.items()):
        over = fig.add_subplot(grid[0, 1 + 3 * k])
        shown = _overlay(over, picture, credit.patches(), most, 0.8, signed=True)
        over.set_axis_off()
        name = "clothing" if side == "cloth" else side
        over.set_title(f"{name} score\n{credit.score:+.2f}", fontsize=9)
        words = fig.add_subplot(grid[0, 2 + 3 * k:4 + 3 * k], sharex=bars[0] if bars else None)
        bars.append(words)
        spoken = _spoken(credit)
        places = np.arange(len(spoken))
        words.barh(places, [v for _, v in spoken],
                   color=[shown.cmap(0.9 if v > 0 else 0.1) for _, v in spoken])
        words.set_yticks(places, [w for w, _ in spoken], fontsize=7, parse_math=False)
        words.invert_yaxis()
        words.axvline(0, color="0.3", linewidth=0.8)
        words.set_xlabel("added to the score", fontsize=8)
    solid = ScalarMappable(shown.norm, shown.cmap)
    fig.colorbar(solid, ax=bars[-1], label="added by a patch", fraction=0.1, aspect=18)
    if title:
        fig.suptitle(title, fontsize=10, parse_math=False)
    return fig


def _spoken(credit) -> list[tuple[str, float]]:
    """What each word adds, and in one row at the end what [CLS] and [SEP] add."""
    added = list(zip(credit.words, credit.of_words(), strict=True))
    return [(w, v) for w, v in added if not w.startswith("[")] + [
        ("[CLS], [SEP]", sum(v for w, v in added if w.startswith("[")))]
