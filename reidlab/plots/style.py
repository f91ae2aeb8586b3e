"""One look for every figure: colour-blind safe, readable at column width, byte-stable files."""
import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from textwrap import fill
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from reidlab.files import write_json, write_whole
from reidlab.places import figures_folder

P = ParamSpec("P")
R = TypeVar("R")
COLOURS = dict(zip(("identity", "clothing", "text", "gate", "accent", "good", "bad", "grey"),
                   [sns.color_palette("colorblind")[k] for k in (0, 1, 4, 3, 8, 2, 3, 7)],
                   strict=True))
DESIGN_STYLES = (("--", "o"), ("-", "s"), (":", "^"), ("-.", "v"))  # of runs, in their order
RULES: Any = {  # matplotlib's type lists every key
    "figure.dpi": 110, "savefig.dpi": 110, "font.size": 9.5, "axes.titlesize": 10.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "0.92", "grid.linewidth": 0.8, "axes.axisbelow": True, "legend.frameon": False,
    "axes.prop_cycle": cycler(color=sns.color_palette("colorblind")),
    "lines.linewidth": 1.6, "svg.hashsalt": "reidlab", "svg.fonttype": "path",
}


def figure(width: float = 8.0, height: float = 3.2) -> Figure:
    """A new figure in the house style, outside pyplot's global state (inches)."""
    with matplotlib.rc_context(RULES):
        return Figure(figsize=(width, height), layout="constrained")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Run a drawing function under the house rules."""
    def wrapped(*args: P.args, **options: P.kwargs) -> R:
        with matplotlib.rc_context(RULES):
            return draw(*args, **options)
    wrapped.__doc__, wrapped.__name__ = draw.__doc__, draw.__name__
    return wrapped


def reference_lines(axis: Axes, marks: dict[str, float] | None) -> None:
    """Dotted lines at named heights, such as chance; named beside the axes, where no curve is."""
    for name, height in (marks or {}).items():
        axis.axhline(height, color="0.4", linestyle=":", linewidth=1)
        axis.annotate(fill(name, 14), (1.01, height), xycoords=("axes fraction", "data"),
                      fontsize=8, ha="left", va="center", color="0.3")


def legend_above(fig: Figure, names: Collection[str], fontsize: float) -> None:
    """The legend of the figure's one axis over it, in as many columns as fit, three at most."""
    longest = max(map(len, names))
    column = 0.5 + longest * 0.58 * fontsize / 72  # inches: handle and gaps, and the letters
    fig.legend(loc="outside upper center", fontsize=fontsize,
               ncols=min(len(names), 3, max(1, int(fig.get_figwidth() / column))))


def save_figure(fig: Figure, name: str, folder: Path | str | None = None, **origin) -> Path:
    """Write ``name.svg``, ``name.png`` and a sidecar ``name.json``.

    Args:
        fig: what to save.
        name: file stem such as ``13_curves``; the number is the notebook's.
        folder: where to; `figures_folder` by default.
        origin: notebook, seed, commit … kept in the sidecar with a digest of the plotted data.

    Returns:
        Path of the SVG.
    """
    folder = Path(folder or figures_folder())
    with matplotlib.rc_context(RULES):
        write_whole(folder / f"{name}.svg", lambda out: fig.savefig(
            out, format="svg", metadata={"Date": None, "Creator": "reidlab"}))
        write_whole(folder / f"{name}.png", lambda out: fig.savefig(
            out, format="png", metadata={"Software": "reidlab"}))
    write_json(folder / f"{name}.json", {"figure": name, "digest": digest(fig), **origin})
    return folder / f"{name}.svg"


def digest(fig: Figure) -> str:
    """Short hash of what is plotted (lines, bars, images), for comparison across machines."""
    found = hashlib.sha256()
    for axes in fig.axes:
        for line in axes.lines:
            found.update(np.round(np.asarray(line.get_xydata(), float), 4).tobytes())
        for patch in axes.patches:
            found.update(json.dumps([round(float(v), 4) for v in patch.get_path()
                                     .get_extents(patch.get_patch_transform()).extents]).encode())
        for image in axes.images:
            found.update(np.round(np.asarray(image.get_array(), float), 4).tobytes())
    return found.hexdigest()[:16]
