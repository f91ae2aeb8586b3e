"""Watch runs while they train: one picture that is replaced, one line of progress."""
import time
from collections.abc import Iterable
from pathlib import Path

import ipywidgets
from IPython.display import display

from reidlab.config import Experiment
from reidlab.plots.curves import SIZE, training_curves
from reidlab.plots.style import figure
from reidlab.runs.folder import RunFolder
from reidlab.training.launch import train_all
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
        self.line = ipywidgets.HTML()
        self._figure = figure(*SIZE)

    def train(self, at_once: int | None = None, every: float = 15.0) -> dict[str, list[dict]]:
        """Train each run in a process of its own, draw until all have ended, return the logs.

        Args:
            at_once: runs that train side by side; see `train_all`.
            every: seconds between looks; drawing takes its time from training on the same cores.
        """
        trained = [name for name, run in self.runs.items() if run.report.exists()]
        for name in trained:
            print(f"{name}: already trained in {self.runs[name].path}")
        if len(trained) < len(self.runs):
            display(ipywidgets.VBox([self.line, self.image]))
        began = time.monotonic()
        train_all({name: (self.experiments[name], run.path) for name, run in self.runs.items()},
                  at_once, every, lambda running: self._look(running, began))
        return {name: run.rows() for name, run in self.runs.items()}

    def _look(self, running: Iterable[str], began: float) -> None:
        """Redraw, and print one line a running design."""
        logs = {name: run.rows() for name, run in self.runs.items()}
        logs = {name: rows for name, rows in logs.items() if rows}
        lines = [progress(name, logs[name]) for name in running if name in logs]
        if lines:
            self.image.value = png(training_curves(logs, self._figure))
            self.line.value = "<br>".join(lines)
            print(f"[{time.monotonic() - began:4.0f} s] {'; '.join(lines)}", flush=True)


def progress(name: str, rows: list[dict]) -> str:
    """One line: step, losses, the latest validation scores."""
    last = rows[-1]
    seen = next((row for row in reversed(rows) if "val/mAP" in row), None)
    text = f"{name}: step {last['step']}, loss {last['loss/total']:.3f}"
    return text + (f", val R1 {100 * seen['val/R1']:.1f} mAP {100 * seen['val/mAP']:.1f}"
                   if seen else "")

