"""Matrices and attention as pictures: 0 is the light end, or the middle where values are signed."""
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reidlab.plots.style import COLOURS, figure, legend_above, reference_lines, styled

MOST_NUMBERS = 10  # cells a side up to which each cell shows its number
FEW_POINTS = 15  # of a curve, up to which each is marked
# as many as designs are compared: solid, dashed, dash-dotted, dotted, long and three short, sparse
LINES: tuple = ("-", "--", "-.", ":", (0, (6, 2, 1, 2, 1, 2)), (0, (1, 3)))


@styled
def matrices(found: dict[str, np.ndarray], *, rows: str, columns: str, most: float | None = None,
             label: str = "weight", framed: Sequence[tuple[int, int]] = ()) -> Figure:
    """Matrices side by side on one scale.

    Args:
        found: title → (n, m) values; a negative one anywhere makes the scale diverge from 0.
        rows, columns: what an index along each side is.
        most: value of the dark end; the largest distance from 0 by default.
        label: of the colour bar, with its unit.
        framed: (row, column) of cells to look at, in every matrix.
    """
    found = {title: np.asarray(values) for title, values in found.items()}
    flat = min(len(values) / len(values[0]) for values in found.values())
    fig = figure(2.9 * len(found) + 0.7, 3.0 if flat > 0.5 else 2.2)
    most = most or max(float(np.abs(values).max()) for values in found.values())
    signed = any(values.min() < 0 for values in found.values())
    axes = fig.subplots(1, len(found), squeeze=False,
                        width_ratios=[len(values[0]) for values in found.values()])[0]
    for axis, (title, values) in zip(axes, found.items(), strict=True):
        shown = _matrix(axis, values, most, signed)
        for row, column in framed:
            axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, linewidth=2.5,
                                     edgecolor="0.1" if signed else COLOURS["clothing"]))
        axis.set_title(title)
        axis.set_xlabel(columns)
    axes[0].set_ylabel(rows)
    fig.colorbar(shown, ax=list(axes), label=label, shrink=0.85)
    return fig


def _matrix(axis: Axes, values: np.ndarray, most: float, signed: bool = False):
    """One matrix, with numbers where they can be read."""
    shown = axis.imshow(values, cmap="PuOr" if signed else "Blues", vmin=-most if signed else 0,
                        vmax=most, interpolation="nearest")
    axis.grid(False)
    axis.set_xticks(_ticks(values.shape[1]))
    axis.set_yticks(_ticks(values.shape[0]))
    if max(values.shape) <= MOST_NUMBERS:
        for (r, c), value in np.ndenumerate(values):
            said = f"{round(float(value), 2) + 0:.2f}"             # no "-0.00"
            said = "0" if float(said) == 0 else said
            axis.text(c, r, said, ha="center", va="center", fontsize=8,
                      color="white" if abs(value) > 0.6 * most else "0.15")
    return shown


def _ticks(count: int) -> range:
    """Every place, or every fifth where they would touch."""
    return range(0, count, 1 if count <= MOST_NUMBERS else 5)


@styled
def lines(curves: dict[str, tuple], *, x: str, y: str, log: bool = False,
          marks: dict[str, float] | None = None) -> Figure:
    """Curves over one axis, each with a style of its own.

    Args:
        curves: name → (x values, y values).
        x, y: axis labels, with units.
        log: a logarithmic x axis.
        marks: name → height of a dotted line, such as chance.
    """
    fig = figure(5.6, 3.1)
    axis = fig.subplots()
    for k, (name, (xs, ys)) in enumerate(curves.items()):
        axis.plot(xs, ys, linestyle=LINES[k % len(LINES)], label=name, markersize=4,
                  marker="o" if len(xs) <= FEW_POINTS else None)
    reference_lines(axis, marks)
    if log:
        axis.set_xscale("log")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    if len(curves) > 1:
        legend_above(fig, curves, 8)
    return fig
