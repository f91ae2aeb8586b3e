"""Try combinations of fields, resumably, and say which was best on validation people."""
import itertools
import json
from pathlib import Path

from reidlab.changes import change
from reidlab.config import Experiment, InfraredExperiment
from reidlab.errors import ReidlabError
from reidlab.files import write_json
from reidlab.presets import preset
from reidlab.runs.folder import RunFolder
from reidlab.training.launch import train_all


def sweep(name: str, grid: dict[str, list], folder: str | Path, size: str = "tiny",
          changes: dict | None = None, seed: int = 0, at_once: int | None = None,
          look=lambda running: None) -> dict:
    """Train every combination that has no report yet.

    Args:
        name: preset.
        grid: field → values, for example ``{"loss.temperature": [0.05, 0.1]}``.
        folder: holds one run a combination, and ``sweep.json``.
        size, changes, seed: of every run.
        at_once: runs side by side; see `train_all`.
        look: called now and then with the names that train.

    Returns:
        ``{"rows": [{field: value, …, "val_map", "test_r1", "test_map", …}], "best": row}``, in
        the order of the grid, with the ``leak`` of a text-image run or the ``view_similarity`` of
        a visible-infrared one; best by mAP on val, never on test.

    Raises:
        ReidlabError: an empty grid, an unknown field, or a run that failed.
    """
    if not grid or not all(grid.values()):
        raise ReidlabError("a sweep needs fields with values, such as loss.temperature=0.05,0.1")
    folder, start = Path(folder), preset(name, size, seed=seed, **(changes or {}))
    combinations = [dict(zip(grid, values, strict=True))
                    for values in itertools.product(*grid.values())]
    runs = {}
    for chosen in combinations:
        label = "_".join(f"{field.rpartition('.')[2]}={value}" for field, value in chosen.items())
        runs[label] = (change(start, chosen), folder / label)
    train_all(runs, at_once, look=look)
    rows = []
    for chosen, (_, run) in zip(combinations, runs.values(), strict=True):
        report = json.loads(RunFolder(run).report.read_text())
        rows.append(chosen | SCORES[start.task](report))
    found = {"preset": name, "size": size, "seed": seed, "rows": rows,
             "best": max(rows, key=lambda row: row["val_map"])}
    write_json(folder / "sweep.json", found)
    return found


def _text_image(report: dict) -> dict:
    val, test = (report["tables"][split]["as_dressed"]["text_to_image"]
                 for split in ("val", "test"))
    leak = report["probes"]["factors"]["identity"]["outfit/upper_colour"]["above"] if (
        report["probes"]) else None
    return {"val_map": val["map"], "test_r1": test["r1"], "test_map": test["map"], "leak": leak}


def _visible_infrared(report: dict) -> dict:
    val, test = (report["tables"][split]["infrared_to_visible"] for split in ("val", "test"))
    return {"val_map": val["map"], "test_r1": test["r1"], "test_map": test["map"],
            "test_minp": test["minp"], "view_similarity": report["view_similarity"]}


SCORES = {Experiment.task: _text_image, InfraredExperiment.task: _visible_infrared}


def markdown(found: dict) -> str:
    """One row a combination; the best by val mAP is marked."""
    names = list(found["rows"][0])
    lines = [names + ["best"], ["---"] * (len(names) + 1)]
    for row in found["rows"]:
        cells = ["–" if v is None else f"{v:.3f}" if isinstance(v, float) else str(v)
                 for v in row.values()]
        lines.append(cells + ["best" if row == found["best"] else ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
