"""Flow charts: boxes in columns, arrows from left to right."""
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from reidlab.plots.style import COLOURS, figure, styled

LOSS = "loss: "  # boxes of this kind are rounded
SIDES = {"identity": "identity", "ID": "identity", "clothing": "clothing"}  # first word → colour
WIDE, HIGH = 1.55, 0.38  # of a box, in inches


@styled
def flow_chart(edges: list[tuple[str, str]]) -> Figure:
    """Boxes with an arrow for each edge; losses stand last, each box right of all that feed it.

    Args:
        edges: (from, to), without a circle. A name is wrapped, and breaks where it has a newline.

    Raises:
        ValueError: there is a circle.
    """
    columns = _columns(edges)
    count, most = len(columns), max(map(len, columns))
    fig = figure((WIDE + 0.55) * count, (HIGH + 0.16) * most)
    axis = fig.subplots()
    place = {}
    for k, column in enumerate(columns):
        for n, name in enumerate(column):
            row = (n + 0.5) * most / len(column) - 0.5    # columns fill the height
            place[name] = (k * (WIDE + 0.55), -row * (HIGH + 0.16))
            _box(axis, name, *place[name])
    for start, end in edges:
        (x, y), (to_x, to_y) = place[start], place[end]
        axis.add_patch(FancyArrowPatch(
            (x + WIDE / 2, y), (to_x - WIDE / 2, to_y), arrowstyle="-|>", mutation_scale=9,
            linewidth=1, shrinkA=0, shrinkB=0, color=_colour(start), alpha=0.8, zorder=1,
            connectionstyle=f"arc3,rad={_bend(place, start, end)}", clip_on=False))
    axis.set_xlim(-WIDE / 2 - 0.1, (count - 1) * (WIDE + 0.55) + WIDE / 2 + 0.1)
    axis.set_ylim(-(most - 1) * (HIGH + 0.16) - HIGH / 2 - 0.1, HIGH / 2 + 0.1)
    axis.axis("off")
    return fig


def _bend(place: dict[str, tuple[float, float]], start: str, end: str) -> float:
    """Slight, or wide around a box that the straight line would cross, on the nearer side."""
    (x, y), (to_x, to_y) = place[start], place[end]
    for at, middle in place.values():
        if x < at < to_x:
            below = middle - (y + (to_y - y) * (at - x) / (to_x - x))
            if abs(below) < HIGH / 2:
                return 0.25 if below >= 0 else -0.25
    return 0.06


def _columns(edges: list[tuple[str, str]]) -> list[list[str]]:
    """Names by their longest way to the end; within a column, near to what they meet."""
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for start, end in edges:
            depth[end] = max(depth[end], depth[start] + 1)
    if max(depth.values(), default=0) >= len(names):
        raise ValueError("the edges go round in a circle; a flow chart has none")
    last = max(depth.values())
    depth |= {name: last for name in names if name.startswith(LOSS)}
    for _ in names:  # arrows are short where a box stands as late as what it feeds allows
        for name in names:
            fed = [depth[end] for start, end in edges if start == name]
            depth[name] = min(fed) - 1 if fed else depth[name]
    columns: list[list[str]] = [[] for _ in range(last + 1)]
    for name in names:
        columns[depth[name]].append(name)
    for _ in range(4):
        for column in columns:
            column.sort(key=lambda name: _middle(name, edges, columns))
    return columns


def _middle(name: str, edges: list[tuple[str, str]], columns: list[list[str]]) -> float:
    """Mean height, from 0 to 1, of what has an arrow to or from a box."""
    height = {n: (k + 0.5) / len(column) for column in columns for k, n in enumerate(column)}
    beside = [height[a if b == name else b] for a, b in edges if name in (a, b)]
    return sum(beside) / len(beside)


def _colour(name: str):
    return COLOURS[SIDES.get(name.split()[0], "grey")]


def _box(axis: Axes, name: str, x: float, y: float) -> None:
    loss = name.startswith(LOSS)
    axis.add_patch(FancyBboxPatch(
        (x - WIDE / 2, y - HIGH / 2), WIDE, HIGH, linewidth=1.3, zorder=2,
        boxstyle="round,pad=0,rounding_size=0.2" if loss else "square,pad=0",
        facecolor="0.95" if loss else "white", edgecolor="0.5" if loss else _colour(name)))
    said = "\n".join(fill(line, 20) for line in name.removeprefix(LOSS).split("\n"))
    axis.text(x, y, said, ha="center", va="center", fontsize=9, zorder=3)
