"""Bars side by side: what differs between designs, part by part."""
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from reidlab.plots.style import COLOURS, figure, legend_above, reference_lines, styled

MOST_NUMBERS = 16  # bars up to which each shows its number


@styled
def bars(found: dict[str, dict[str, float]], *, y: str, log: bool = False,
         marks: dict[str, float] | None = None) -> Figure:
    """One group of bars per part, one bar per design; few bars carry their number, a zero always.

    Args:
        found: design → part → value; a part that a design lacks gets no bar.
        y: label of the values, with unit.
        log: a logarithmic axis.
        marks: name → height of a dotted line, such as chance.
    """
    parts = list(dict.fromkeys(part for values in found.values() for part in values))
    fig = figure(max(5.0, 0.75 * len(parts) + 1.6, 2.2 * min(len(found), 3)), 3.1)
    axis = fig.subplots()
    width = 0.8 / len(found)
    drawn = [v for values in found.values() for v in values.values() if v > 0]
    floor = 10 ** np.floor(np.log10(min(drawn, default=1) / 2)) if log else 0
    for k, (name, values) in enumerate(found.items()):
        place = np.arange(len(parts)) + (k - (len(found) - 1) / 2) * width
        heights = [values.get(part, np.nan) for part in parts]
        drawing = axis.bar(place, heights, width * 0.92, label=name, edgecolor="white",
                           hatch=("", "//", "..", "xx")[k % 4])
        if len(found) * len(parts) <= MOST_NUMBERS:
            axis.bar_label(drawing, [_said(height) for height in heights], fontsize=7, padding=1)
        for x, height in zip(place, heights, strict=True):
            if height == 0:
                axis.text(x, floor, "0", ha="center", va="bottom", fontsize=8)
    if any(v < 0 for values in found.values() for v in values.values()):
        axis.axhline(0, color="0.3", linewidth=0.8)
    reference_lines(axis, marks)
    if log:
        axis.set_yscale("log")
        axis.set_ylim(bottom=floor)
    axis.set_xticks(range(len(parts)), parts, rotation=25 if len(parts) > 6 else 0,
                    ha="right" if len(parts) > 6 else "center")
    axis.set_ylabel(fill(y, 28))
    if len(found) > 1:
        legend_above(fig, found, 9)
    return fig


def _said(height: float) -> str:
    """Two digits, three from 100 on; nothing for a zero, which is written at the floor."""
    return f"{height:.{2 if height < 99.5 else 3}g}" if height and not np.isnan(height) else ""


@styled
def before_after(found: dict[str, tuple[float, list[float]]], *, x: str, y: str,
                 labels: tuple[str, str]) -> Figure:
    """Points with an arrow each: where a design stood, and where it stands now.

    Args:
        found: design → place along the axis, and its two heights.
        x, y: labels of the axes, with unit.
        labels: what the two heights are.
    """
    fig = figure(6.6, 3.4)
    axis = fig.subplots()
    for place, (old, new) in found.values():
        axis.annotate("", (place, new), (place, old), arrowprops={
            "arrowstyle": "->", "color": "0.6", "shrinkA": 5, "shrinkB": 4})
    places = [place for place, _ in found.values()]
    for k, (label, filled) in enumerate(zip(labels, (False, True), strict=True)):
        colour = COLOURS["clothing" if k == 0 else "good"]
        axis.scatter(places, [pair[k] for _, pair in found.values()], s=34, label=label,
                     edgecolor=colour, facecolor=colour if filled else "white",
                     marker="os"[k], zorder=3)
    for n, (name, (place, (old, _))) in enumerate(sorted(found.items(), key=lambda f: f[1][0])):
        left = n % 2 == 0  # by turns, so that names of near points part
        axis.annotate(name, (place, old), textcoords="offset points", va="center", fontsize=8,
                      xytext=(-6 if left else 6, 8 * (n % 3 - 1)), ha="right" if left else "left")
    axis.margins(0.3, 0.15)
    axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axis.set_xlabel(x)
    axis.set_ylabel(fill(y, 28))
    legend_above(fig, list(labels), 9)
    return fig
