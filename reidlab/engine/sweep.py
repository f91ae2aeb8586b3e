"""Try combinations of fields, resumably, and say which was best on validation people."""
import hashlib
import itertools
import json
import re
from pathlib import Path

from reidlab.config.changes import change, to_dict
from reidlab.engine.launch import train_all
from reidlab.engine.progress import RunsBar
from reidlab.errors import ReidlabError
from reidlab.files import write_json
from reidlab.presets import preset
from reidlab.runs.folder import RunFolder
from reidlab.tables import grid
from reidlab.tasks import TASKS


def sweep(name: str, grid: dict[str, list], folder: str | Path, size: str = "tiny",
          changes: dict | None = None, seed: int = 0, at_once: int | None = None,
          quiet: bool = True) -> dict:
    """Train every combination that has no report yet.

    A run is used again only where its experiment is equal field by field.

    Args:
        name: preset.
        grid: field → values, for example ``{"loss.temperature": [0.05, 0.1]}``.
        folder: holds one run a combination, and ``sweep.json``.
        size, changes, seed: of every run.
        at_once: runs side by side; see `train_all`.
        quiet: no progress bar.

    Returns:
        ``{"rows": [{field: value, …, "val_map", "test_r1", "test_map", …}], "best": row,
        "experiments": …}``, in the order of the grid, with the ``leak`` of a text-image run or the
        ``view_similarity`` of a visible-infrared one; best by mAP on val, never on test.

    Raises:
        ReidlabError: an empty grid, a value given twice, an unknown field, a folder that holds
            runs of other settings, or a run that failed.
    """
    if not grid or not all(grid.values()):
        raise ReidlabError("a sweep needs fields with values, such as loss.temperature=0.05,0.1")
    start = preset(name, size, **({"seed": seed} | (changes or {})))
    combinations = [dict(zip(grid, values, strict=True))
                    for values in itertools.product(*grid.values())]
    runs = {label(chosen): (change(start, chosen), Path(folder) / label(chosen))
            for chosen in combinations}
    if len({json.dumps(to_dict(experiment)) for experiment, _ in runs.values()}) < len(
            combinations):
        raise ReidlabError("two combinations of the sweep are one experiment; give each value once")
    with RunsBar({name: run for name, (_, run) in runs.items()}, off=quiet) as bar:
        train_all(runs, at_once, on_progress=bar)
    rows = [chosen | {score: column.value(RunFolder(run).scores())
                      for score, column in TASKS[start.task].sweep.items()}
            for chosen, (_, run) in zip(combinations, runs.values(), strict=True)]
    found = {"preset": name, "size": size, "seed": seed, "changes": changes or {}, "rows": rows,
             "best": max(rows, key=lambda row: row["val_map"]),
             "experiments": {name: to_dict(experiment) for name, (experiment, _) in runs.items()}}
    write_json(Path(folder) / "sweep.json", found)
    return found


def label(chosen: dict) -> str:
    """Folder name of a combination: whole field names, so that two never share one."""
    text = "_".join(f"{field}={value}" for field, value in chosen.items())
    plain = re.sub(r"[^\w.=+-]", "-", text)
    if plain == text and len(text) < 120:
        return text
    return f"{plain[:100]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def markdown(found: dict) -> str:
    """One row a combination; the best by val mAP is marked."""
    names = list(found["rows"][0])
    rows = []
    for row in found["rows"]:
        cells = ["–" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v)
                 for v in row.values()]
        rows.append(cells + ["best" if row == found["best"] else ""])
    return grid([*names, "best"], rows)
