"""Watch runs while they train: one picture that is replaced, one bar of progress."""
import os
import time
from pathlib import Path

import ipywidgets
from IPython.display import display

from reidlab.config import Experiment
from reidlab.engine.launch import refuse_other_runs, train_all
from reidlab.engine.progress import RunsBar
from reidlab.plots.curves import SIZE, training_curves
from reidlab.plots.style import figure
from reidlab.runs.folder import RunFolder
from reidlab.tasks import TASKS
from reidlab.widgets.panel import png


class LiveCurves:
    """Curves of several runs, redrawn from their logs.

    Args:
        runs: name in the legend → (experiment, folder of the run).
    """

    def __init__(self, runs: dict[str, tuple[Experiment, str | Path]]):
        self.experiments = {name: experiment for name, (experiment, _) in runs.items()}
        self.runs = {name: RunFolder(folder) for name, (_, folder) in runs.items()}
        self.image = ipywidgets.Image(format="png")
        self._figure, self._drawn = figure(*SIZE), 0.0
        self._panels = tuple(dict.fromkeys(  # runs of one task, or of both
            panel for e in self.experiments.values() for panel in TASKS[e.task].curves))

    def train(self, at_once: int | None = None, every: float = 15.0) -> dict[str, list[dict]]:
        """Train each run in a process of its own, draw until all have ended, return the logs.

        Args:
            at_once: runs that train side by side; see `train_all`.
            every: seconds between drawings, which take their time from training on the same cores.

        Raises:
            ReidlabError: a folder holds the run of another experiment, or a run failed.
        """
        runs = {name: (self.experiments[name], run.path) for name, run in self.runs.items()}
        refuse_other_runs(runs)
        waiting = [name for name, run in self.runs.items() if not run.report.exists()]
        for name in self.runs.keys() - set(waiting):
            print(f"{name}: already trained in {os.path.relpath(self.runs[name].path)}")
        if waiting:
            display(self.image)
        with RunsBar({name: self.runs[name].path for name in waiting}, off=not waiting) as bar:
            def seen(running: list[str]) -> None:
                bar(running)
                if not running or time.monotonic() - self._drawn > every:
                    self.draw()
            train_all(runs, at_once, on_progress=seen)
        return {name: run.rows() for name, run in self.runs.items()}

    def draw(self) -> None:
        """Redraw the curves of what has been logged so far."""
        logs = {name: rows for name, run in self.runs.items() if (rows := run.rows())}
        if logs:
            self.image.value = png(training_curves(logs, self._panels, self._figure))
            self._drawn = time.monotonic()
