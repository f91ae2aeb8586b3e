"""Pictures of people: contact sheets and ranked hits."""
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reidlab.files import write_whole
from reidlab.plots.style import COLOURS, figure, styled
from reidlab.synthetic.world import PARTS, Drawing

MOST_DRAWN = 24  # hits in one row
LONGEST = 400    # letters of a description that are drawn

@styled
def contact_sheet(rows: list[list[np.ndarray]], titles: list[str] | None = None,
                  labels: list[str] | None = None, height: float = 1.5) -> Figure:
    """Rows of pictures of one size.

    Args:
        rows: (H, W, 3) uint8 pictures.
        titles: over the columns; labels: beside the rows.
        height: of a row, inches.
    """
    columns = max(map(len, rows))
    fig = figure(columns * height * 0.52 + 0.5, len(rows) * height + 0.25)
    axes = fig.subplots(len(rows), columns, squeeze=False)
    for r, row in enumerate(rows):
        for c in range(columns):
            axis = axes[r, c]
            axis.set_axis_off()
            if c < len(row):
                axis.imshow(row[c], interpolation="nearest")
            if titles and r == 0 and c < len(titles):
                axis.set_title(titles[c], fontsize=8)
        if labels:
            axes[r, 0].text(-0.12, 0.5, labels[r], rotation=90, ha="right", va="center",
                            fontsize=8, transform=axes[r, 0].transAxes)
    return fig


def part_colours() -> np.ndarray:
    """(parts, 3) a colour each; the background is light grey."""
    return np.array([(0.94, 0.94, 0.94), *sns.color_palette("colorblind", len(PARTS) - 1)])


def part_legend(parts: np.ndarray) -> list[Patch]:
    """A legend's handles for the parts that stand in a label map; the background needs none."""
    colours = part_colours()
    return [Patch(color=colours[k], label=PARTS[k]) for k in np.unique(parts) if k]


@styled
def portrait(drawing: Drawing) -> Figure:
    """One synthetic picture, visible and infrared, its true parts, and what is said of it."""
    fig = figure(7.6, 3.6)
    axes = fig.subplots(1, 3)
    shown = [("visible", drawing.image), ("infrared", drawing.infrared)]
    for axis, (title, picture) in zip(axes[:2], shown, strict=True):
        axis.imshow(picture, interpolation="nearest")
        axis.set_title(title)
    colours = part_colours()
    axes[2].imshow(colours[drawing.parts], interpolation="nearest")
    axes[2].set_title("true parts")
    axes[2].legend(handles=part_legend(drawing.parts), fontsize=8,
                   loc="center left", bbox_to_anchor=(1.02, 0.5))
    for axis in axes:
        axis.set_axis_off()
    fig.suptitle(_wrapped(drawing.id_caption, 100) + "\n" + _wrapped(drawing.cloth_caption, 100),
                 fontsize=8.5)
    return fig


@styled
def ranked(queries: list[dict], columns: int = 8, title: str = "") -> Figure:
    """Queries and their best hits; a green frame and ✓ is the right person, orange ✗ another.

    Args:
        queries: each with ``text``, or ``image`` under an optional ``text``, and ``hits``:
            (picture, score, what it is) best first. What it is: True for the right person, False
            for another, ``"same clothes"`` for another in the query's clothes (≈), None where
            nobody knows, or any other words, which take the place of the score.
        columns: hits shown.
    """
    looks: dict[Any, tuple[Any, str]] = {
        True: (COLOURS["good"], " ✓"), False: (COLOURS["bad"], " ✗"),
        "same clothes": (COLOURS["text"], " ≈"), None: ("0.35", "")}
    fig = figure(8.6, 1.75 * len(queries) + (0.3 if title else 0))
    grid = fig.add_gridspec(len(queries), columns + 3)
    for r, query in enumerate(queries):
        asked = fig.add_subplot(grid[r, :3])
        asked.set_axis_off()
        if "image" in query:
            asked.imshow(query["image"])
            asked.set_title(_wrapped(query.get("text", ""), 20), fontsize=8, parse_math=False)
        else:
            asked.text(0, 0.5, _wrapped(query["text"][:LONGEST], 34), fontsize=7.5, va="center",
                       transform=asked.transAxes, parse_math=False)  # "$" is what it is
        for c, (picture, score, right) in enumerate(query["hits"][:columns]):
            axis = fig.add_subplot(grid[r, c + 3])
            axis.imshow(picture, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
            colour, mark = looks.get(right, ("0.35", right))
            for side in axis.spines.values():
                side.set_visible(True)
                side.set_color(colour)
                side.set_linewidth(2.4)
            said = f"{score:.2f}{mark}" if right in looks else str(mark)
            axis.set_title(said, fontsize=8, color=colour, pad=4)
    if title:
        fig.suptitle(title, fontsize=10, parse_math=False)
    return fig


def draw_hits(hits, text: str, file: Path) -> None:
    """The best hits of a search, `MOST_DRAWN` at most, as a PNG."""
    drawn = hits[:MOST_DRAWN]
    fig = ranked([{"text": text, "hits": [(h.image, h.score, None) for h in drawn]}],
                 columns=len(drawn))
    write_whole(file, lambda out: fig.savefig(out, format="png", dpi=130))


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
