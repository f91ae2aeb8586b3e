"""Curves of one or several runs, read from their logs."""
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reidlab.plots.style import COLOURS, DESIGN_STYLES, figure, styled


def series(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of one logged number; empty when it was never logged."""
    found = [(row["step"], row[name]) for row in rows if name in row]
    return tuple(np.array(found, float).T) if found else (np.empty(0), np.empty(0))


def smoothed(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean over the last `window` values."""
    if len(values) == 0:
        return values
    total = np.cumsum(np.insert(values, 0, 0.0))
    start = np.maximum(np.arange(1, len(values) + 1) - window, 0)
    stop = np.arange(1, len(values) + 1)
    return (total[stop] - total[start]) / (stop - start)


SIZE = (12.5, 3.5)  # inches, of one row of panels
ABREAST = 4  # panels in a row, at most
UNEQUAL = 5  # times as long as another run: from there on steps are drawn on a logarithmic axis


@styled
def training_curves(runs: dict[str, list[dict]], curves: tuple, fig: Figure | None = None
                    ) -> Figure:
    """Losses, dependence, gates and validation of runs over their steps, where they were logged.

    Args:
        runs: name → rows of ``metrics.jsonl``.
        curves: panels: (title, ((logged number, name in the legend, colour), …)), those of the
            task: ``TASKS[experiment.task].curves``.
        fig: drawn into again when given, so that a live view keeps one figure.

    A run alone has full lines.
    """
    fig = fig or figure(*SIZE)
    fig.clear()
    logged = {key for rows in runs.values() for row in rows for key in row}
    panels = [(title, lines) for title, lines in curves
              if any(key in logged for key, _, _ in lines)]
    if not panels:
        return fig
    down = -(-len(panels) // ABREAST)
    fig.set_size_inches(SIZE[0], SIZE[1] * down)
    lengths = [rows[-1]["step"] for rows in runs.values() if rows]
    axes = fig.subplots(down, -(-len(panels) // down), squeeze=False).ravel()
    for axis in axes[len(panels):]:
        axis.set_axis_off()
    first = 1 if len(runs) == 1 else 0  # of the styles: full lines for a run alone
    for axis, (title, lines) in zip(axes[:len(panels)], panels, strict=True):
        for n, (name, rows) in enumerate(runs.items(), start=first):
            for key, label, colour in lines:
                _line(axis, rows, key, f"{label}, {name}", COLOURS[colour], n)
        axis.set_title(title)
        axis.set_xlabel("step")
        if max(lengths) > UNEQUAL * min(lengths):
            axis.set_xscale("log")
        if title.endswith("0 to 1"):
            axis.set_ylim(0, 1)
        if axis.lines:
            axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return fig


def _line(axis: Axes, rows: list[dict], key: str, label: str, colour: tuple,
          number: int) -> None:
    steps, values = series(rows, key)
    if not len(steps):
        return
    style, marker = DESIGN_STYLES[number % len(DESIGN_STYLES)]
    few = len(steps) < 60
    axis.plot(steps, values if few else smoothed(values, 20), linestyle=style, color=colour,
              marker=marker if few else None, markersize=3, label=label)


@styled
def probe_bars(reports: list[dict]) -> Figure:
    """What each vector gives away: balanced accuracy above chance, by kind of factor."""
    fig = figure(8.0, 2.9)
    axes = fig.subplots(1, 2, sharey=True)
    for axis, vector in zip(axes, ("identity", "clothing"), strict=True):
        width = 0.8 / len(reports)
        for k, report in enumerate(reports):
            # no factor could be probed
            found = {kind: cell or {"above_chance": np.nan, "permutation_95": np.nan}
                     for kind, cell in report["probes"]["matrix"][vector].items()}
            x = np.arange(2) + (k - (len(reports) - 1) / 2) * width
            bars = axis.bar(x, [found[kind]["above_chance"] for kind in ("identity", "clothing")],
                            width * 0.92, label=report["preset"], hatch=("", "//", "..")[k % 3],
                            color=[COLOURS["identity"], COLOURS["clothing"]], edgecolor="white",
                            alpha=1 - 0.35 * k / max(1, len(reports) - 1))
            axis.bar_label(bars, fmt="%.2f", fontsize=7)
            for centre, kind in zip(x, ("identity", "clothing"), strict=True):
                axis.hlines(found[kind]["permutation_95"], centre - width / 2, centre + width / 2,
                            color="0.25", linewidth=1, linestyle=":")
        axis.set_xticks(range(2), ["identity factors", "clothing factors"])
        axis.set_title(f"read from the {vector} vector")
    axes[0].set_ylabel("balanced accuracy\nabove chance")
    axes[1].legend(handles=[Patch(facecolor="0.6", edgecolor="white", label=report["preset"],
                                  hatch=("", "//", "..")[k % 3],
                                  alpha=1 - 0.35 * k / max(1, len(reports) - 1))
                            for k, report in enumerate(reports)],
                   title="design (dotted: 95 % of\nshuffled labels)", fontsize=7, title_fontsize=7)
    return fig
