"""Designs side by side: a dot a seed, a bar for the interval over seeds."""
from matplotlib.figure import Figure

from reidlab.plots.style import COLOURS, figure, legend_above, reference_lines, styled

MARKERS = "os^vDPX*"


@styled
def comparison_figure(table: dict, columns: dict) -> Figure:
    """A panel a score, a row a design.

    Args:
        table: of `reidlab.engine.compare.compare`.
        columns: those of the task, ``TASKS[task].columns``; drawn are those with a label.
    """
    names = list(table["designs"])
    panels = [(title, column.label, 100 if column.unit == "%" else 1, column.colour)
              for title, column in columns.items()
              if column.label and title in table["control"]]
    fig = figure(10.5, 0.9 + 0.36 * len(names))
    for axis, (title, label, factor, colour) in zip(fig.subplots(1, len(panels), sharey=True),
                                                    panels, strict=True):
        for row, name in enumerate(names):
            found = table["designs"][name].get(title)
            if found is None:
                continue
            axis.plot([factor * found["low"], factor * found["high"]], [row, row],
                      color=COLOURS[colour], linewidth=5, alpha=0.3, solid_capstyle="butt")
            axis.plot([factor * v for v in found["values"]], [row] * len(found["values"]), "o",
                      color=COLOURS[colour], markersize=4)
        axis.axvline(0, color="0.6", linewidth=0.8)
        axis.set_xlabel(label)
        axis.set_yticks(range(len(names)), names)
        axis.set_ylim(len(names) - 0.5, -0.5)
    return fig


@styled
def score_by_design(table: dict, title: str) -> Figure:
    """One score of every design: a bar for the mean, a dot a seed, the spread of A/A control.

    Args:
        table: of `reidlab.engine.compare.compare`; title: of a score in it.
    """
    found = {name: scores[title] for name, scores in table["designs"].items() if title in scores}
    fig = figure(max(4.5, 1.15 * len(found) + 1.2), 3.1)
    axis = fig.subplots()
    for place, score in enumerate(found.values()):
        axis.bar(place, score["mean"], 0.6, color=COLOURS["identity"], alpha=0.35)
        axis.plot([place] * len(score["values"]), score["values"], "o", color=COLOURS["identity"],
                  markersize=4)
    axis.set_xticks(range(len(found)), [name.replace("_", "\n") for name in found], fontsize=8.5)
    axis.set_ylabel(title)
    control = table["control"][title]
    axis.set_title("dots: seeds" if control is None else "dots: seeds; two seeds of one design "
                   f"differ by up to {control:.3g}", fontsize=9)
    return fig


def of_seeds(rows: dict[str, dict[str, list[float]]]) -> dict:
    """A table for `comparison_figure` of values alone; its bars go from the least to the most.

    Args:
        rows: design → score → one value a seed.
    """
    return {"designs": {name: {score: {"values": values, "low": min(values), "high": max(values)}
                               for score, values in scores.items()}
                        for name, scores in rows.items()},
            "control": {score: None for scores in rows.values() for score in scores}}


@styled
def scatter(found: dict[str, dict[str, dict]], *, x: str, y: str, x_label: str, y_label: str,
            factor: float = 100, marks: dict[str, float] | None = None) -> Figure:
    """One score against another, one point per seed.

    Args:
        found: design → score → ``{"values": one a seed}``.
        x, y: names of the two scores.
        x_label, y_label: of the axes, with unit.
        factor: that the second score is shown times.
        marks: name → height of a dotted line, such as chance.
    """
    fig = figure(6.6, 3.6)
    axis = fig.subplots()
    for k, (name, scores) in enumerate(found.items()):
        places, heights = scores[x]["values"], [factor * v for v in scores[y]["values"]]
        axis.plot(places, heights, MARKERS[k % len(MARKERS)], markersize=6, label=name)
    axis.margins(x=0.1, y=0.12)
    legend_above(fig, found, 9)
    reference_lines(axis, marks)
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    return fig
