"""Designs × seeds, trained resumably and laid side by side with their spread."""
import statistics
from itertools import combinations, pairwise
from pathlib import Path
from typing import cast

from scipy.stats import t

from reidlab.config.changes import to_dict
from reidlab.engine.launch import train_all
from reidlab.engine.progress import RunsBar
from reidlab.errors import ReidlabError
from reidlab.files import read_json, write_json, write_whole
from reidlab.plots.comparison import comparison_figure
from reidlab.plots.style import save_figure
from reidlab.presets import preset
from reidlab.runs.folder import RunFolder
from reidlab.tables import grid
from reidlab.tasks import TASKS


def compare(presets: list[str], seeds: list[int], folder: str | Path, size: str = "tiny",
            changes: dict | None = None, at_once: int | None = None, quiet: bool = True,
            trials: list[int] | None = None) -> dict:
    """Train what is missing; write ``table.json``, ``table.md``, ``curves.json`` (what monitor,
    gates and validation showed on the way) and the figure ``comparison``.

    A run is used again only where its experiment is equal field by field.

    Args:
        presets: designs by name.
        seeds: of weights and batches; the synthetic world stays the same.
        folder: holds one run a design and seed; the same call goes on where it was stopped.
        size: of every design.
        changes: fields changed in every design.
        at_once: runs side by side; see `train_all`.
        quiet: no progress bar.
        trials: of regdb, its splits in place of seeds, all with the first seed: papers report the
            mean over its ten.

    Returns:
        ``{"designs": {name: {score: {mean, low, high, values}}}, "against": …, "control": …,
        "experiments": …}``: `against` holds paired differences of the last design to each other
        one with their 95 % interval over seeds, `control` the largest difference between two seeds
        of one design (None with one seed), `experiments` what each run was.

    Raises:
        ReidlabError: no or repeated seeds or presets, presets of two tasks, a folder that holds
            runs of other settings, or a run that failed.
    """
    for what, given in (("preset", presets), ("seed", seeds), ("split", trials or [1])):
        if not given or len(set(given)) < len(given):
            raise ReidlabError(f"a comparison needs at least one {what}, and none twice; got "
                               f"{', '.join(map(str, given)) or 'none'}")
    if trials and not str((changes or {}).get("data__source", "")).startswith("regdb:"):
        raise ReidlabError("splits in place of seeds are of regdb; name its folder by --data "
                           "regdb:DIR, or leave --trials out")
    each = ({f"split{k}": {"seed": seeds[0], "data__trial": k} for k in trials} if trials else
            {f"seed{seed}": {"seed": seed} for seed in seeds})
    runs = {f"{name}-{label}": (preset(name, size, **(changes or {}) | its),
                                Path(folder) / f"{name}-{label}")
            for label, its in each.items() for name in presets}
    tasks = {experiment.task for experiment, _ in runs.values()}
    if len(tasks) > 1:
        raise ReidlabError(f"{' and '.join(sorted(tasks))} designs cannot stand in one table; "
                           "compare each task by itself")
    with RunsBar({name: run for name, (_, run) in runs.items()}, off=quiet) as bar:
        train_all(runs, at_once, on_progress=bar)
    folder = Path(folder)
    reports = {name: [report_of(folder / f"{name}-{label}") for label in each]
               for name in presets}
    table = summarise(reports) | {
        "size": size, "seeds": seeds, "changes": changes or {},
        **({"trials": trials} if trials else {}),
        "steps": {name: found[0]["steps"] for name, found in reports.items()},
        "experiments": {name: to_dict(RunFolder(run).experiment())
                        for name, (_, run) in runs.items()}}
    write_json(folder / "table.json", table)
    write_json(folder / "curves.json", {name: curves_of(run) for name, (_, run) in runs.items()})
    text = f"{markdown(table)}\n".encode()
    write_whole(folder / "table.md", lambda out: out.write(text))
    save_figure(comparison_figure(table, TASKS[tasks.pop()].columns), "comparison", folder,
                notebook=None, seed=seeds[0])
    return table


def report_of(folder: Path) -> dict:
    """A run's report, with step time and memory from its log.

    Raises:
        ReidlabError: a file of the run is missing or damaged.
    """
    run = RunFolder(folder)
    rows = run.rows()
    if not rows:
        raise ReidlabError(f"{run.metrics} holds no step; train {folder} again in a new folder")
    times = [b["seconds"] - a["seconds"] for a, b in pairwise(rows)
             if b["seconds"] > a["seconds"]] or [rows[-1]["seconds"]]
    return run.scores() | {
        "steps": rows[-1]["step"], "step_seconds": statistics.median(times),
        **read_json(folder / "machine.json")}


def curves_of(folder: Path) -> dict[str, list]:
    """What a run's log holds of monitor, gates and validation: series → steps and values.

    Gates are logged at each step, and kept where the monitor looked.
    """
    curves: dict[str, list] = {}
    for row in RunFolder(folder).rows():
        looked = any(name.startswith("monitor/") for name in row)
        for name, value in row.items():
            if name.startswith(("monitor/", "val/")) or (looked and name.startswith("gate/")):
                curves.setdefault(name, []).append([row["step"], value])
    return curves


def summarise(reports: dict[str, list[dict]]) -> dict:
    """Mean and spread of each score by design, paired differences, and the A/A control.

    Args:
        reports: design → one report a seed, seeds in the same order everywhere.
    """
    columns = TASKS[next(iter(reports.values()))[0]["task"]].columns
    given = {name: {title: [column.value(r) for r in found] for title, column in columns.items()}
             for name, found in reports.items()}
    values = {name: {title: cast(list[float], v) for title, v in found.items() if None not in v}
              for name, found in given.items()}
    last = list(values)[-1]
    against = {name: {title: interval([a - b for a, b in zip(values[last][title], v, strict=True)])
                      for title, v in found.items() if title in values[last]}
               for name, found in values.items() if name != last}
    control = {title: max((abs(a - b) for found in values.values()
                           for a, b in combinations(found.get(title, []), 2)), default=None)
               for title in columns}
    return {"designs": {name: {title: interval(v) for title, v in found.items()}
                        for name, found in values.items()},
            "against": {"design": last, "others": against}, "control": control}


def interval(values: list[float]) -> dict:
    """Mean with its two-sided 95 % interval of Student's t over seeds; a point with one seed."""
    mean, n = statistics.fmean(values), len(values)
    half = t.ppf(0.975, n - 1) * statistics.stdev(values) / n ** 0.5 if n > 1 else 0.0
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": values}


def markdown(table: dict) -> str:
    """One row a score, one column a design: mean and half the 95 % interval over seeds."""
    names = list(table["designs"])
    rows = []
    for title in table["control"]:
        cells = [_cell(title, table["designs"][name].get(title)) for name in names]
        if any(cell != "–" for cell in cells):
            control = table["control"][title]
            rows.append([title, *cells, "–" if control is None else _number(title, control)])
    return grid(["score", *names, "A/A control"], rows)


def _cell(title: str, found: dict | None) -> str:
    if found is None:
        return "–"
    half = found["mean"] - found["low"]
    spread = f" ± {_number(title, half)}" if len(found["values"]) > 1 else ""
    return _number(title, found["mean"]) + spread


def _number(title: str, value: float) -> str:
    return next(task.columns[title] for task in TASKS.values() if title in task.columns
                ).text(value)
